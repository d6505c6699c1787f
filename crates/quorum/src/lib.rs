//! One state machine per read and per write: sloppy quorum, read repair, hedging (§4.5, 4.6)
