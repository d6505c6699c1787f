//! dynamo
fn main() {}
