//! `dynamo-node`: one storage node.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    dynamo_node::cli::main_with(std::env::args_os().skip(1))
}
