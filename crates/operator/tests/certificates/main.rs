//! Certificates, status and events against a real API server: nodes are pods without a kubelet, whose tokens are bound ones.

mod authority;
mod signer;
mod stage;
mod told;
