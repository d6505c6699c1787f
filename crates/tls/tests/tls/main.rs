//! Certificates that authorities of the tests have signed, in files and on sockets.

mod authority;
mod files;
mod handshakes;
