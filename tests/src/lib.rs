//! Helpers for black-box tests over the running binary; imports nothing of ours.
