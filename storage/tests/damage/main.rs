//! Damage that a start finds: it costs no acknowledged record, and no partition but the one it is in.
#![allow(clippy::unwrap_used, reason = "tests")]

mod deleting;
mod flips;
mod folders;
mod forged;
mod journal;
mod kit;
mod strays;
mod swaps;
mod tails;
mod told;
