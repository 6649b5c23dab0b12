//! Tests of the record formats, one file per subject.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod round_trip;
