//! The `imgforge` binary.
fn main() {}
