//! Helpers for black-box tests over the running binary. They import nothing of ours: what they
//! know about the protocol is written here again, from its specification, so that a mistake in
//! our codec cannot hide itself.

pub mod batch;
pub mod broker;
pub mod checker;
pub mod client;
pub mod dice;
pub mod wire;
