//! How often the power was cut and what was left was opened and checked.

use std::cell::Cell;

thread_local! {
    static CUTS: Cell<u64> = const { Cell::new(0) };
}

/// Counts one: a store was opened after a power cut, and found to be what it should be.
pub(crate) fn count() {
    CUTS.set(CUTS.get() + 1);
}

/// Cuts of this thread so far.
pub(crate) fn so_far() -> u64 {
    CUTS.get()
}

/// Prints, at the end of a test, how many cuts it made: `tests/run` adds them up.
#[must_use]
pub(crate) struct Told;

impl Drop for Told {
    fn drop(&mut self) {
        tell(so_far());
    }
}

/// Prints how many cuts a test made.
#[expect(clippy::print_stdout, reason = "the figure is the test command's")]
pub(crate) fn tell(cuts: u64) {
    let thread = std::thread::current();
    println!("cuts: {cuts} ({})", thread.name().unwrap_or("a test"));
}

/// Says how far a long test is.
#[expect(clippy::print_stdout, reason = "somebody waits for hours")]
pub(crate) fn tell_progress(cuts: u64, wanted: u64, seed: u64) {
    println!("cut {cuts} of {wanted}, at seed {seed}");
}
