//! The client library: routing on the ring, contexts, retries, merge callbacks
