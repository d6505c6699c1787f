//! Membership, liveness and bucket definitions spread by gossip (§4.8)
