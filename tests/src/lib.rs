//! Helpers for black-box tests over the running binary. They import nothing of ours: what they
//! know about the protocol is written here again, from its specification, so that a mistake in
//! our codec cannot hide itself.

pub mod admin;
pub mod batch;
pub mod broker;
pub mod checker;
pub mod client;
pub mod dice;
pub mod group;
pub mod neighbour;
pub mod neighbourhood;
pub mod wire;

/// The folder of this crate, as cargo says when it runs a test: a build that was copied here with its
/// tree may have been compiled elsewhere.
pub fn crate_root() -> std::path::PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).into()
}
