//! The protocol's messages and services, generated from proto/
