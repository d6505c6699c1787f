//! Generates the messages and services from proto/ with protox: no protoc binary is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 5] = [
    "dynamo/v1/kv.proto",
    "dynamo/v1/admin.proto",
    "dynamo/v1/ring.proto",
    "dynamo/v1/replica.proto",
    "dynamo/v1/gossip.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("dynamo_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
