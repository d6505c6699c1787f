//! The storage node: drives the protocol crates with tokio, tonic and the engine
