//! `ringmain produce`, `consume`, `topic` and `group`: small clients that speak the wire through our own codec
//! to any Kafka-protocol broker, for trying things out and for scripts. They block, use plain sockets,
//! and know nothing of the broker in the same binary. `ringmain log` looks at a stopped broker's files.

pub mod completions;
pub mod consume;
pub mod group;
pub mod log;
pub mod produce;
pub mod topic;

mod client;
mod clock;
mod error;
mod offsets;
mod output;
mod sender;
