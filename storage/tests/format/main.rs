//! The formats of records, indexes and small files: what they take, what they refuse, and that no bytes
//! make them panic. Randomness is seeded; a failing assertion names its case.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod corpus;
mod damage;
mod epochs;
mod golden;
mod indexes;
mod producers;
mod recompression;
mod validation;
