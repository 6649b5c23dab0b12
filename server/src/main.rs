//! The `ringmain` binary: no subcommand runs the broker.

fn main() {}
