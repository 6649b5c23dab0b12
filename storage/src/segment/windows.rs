//! What is known of the parts of a segment's file, one note for each [`WINDOW_BYTES`]: how much of it was read past the
//! page cache, and how much of what the page cache holds was checked.
//!
//! A check counts while the page cache has held the window: whoever sends from it asks the kernel first, and has the note
//! [forgotten](Windows::forget) if a page is missing. Pages that went and came back between two questions, read by
//! another process, are not noticed; so a check counts no longer than [`CHECKED_FOR`] either.

use std::cell::RefCell;
use std::time::Duration;

use event_listener::{Event, EventListener};

use super::segment::{WINDOW_BYTES, to_usize};
use crate::types::Offset;

/// After so long a window is checked again. The check costs half of what sending it once costs.
const CHECKED_FOR: Duration = Duration::from_mins(5);
/// Places of damage that are remembered for a segment: enough to name each once, and a bound where all is damaged.
const DAMAGED_MAX: usize = 256;

/// One window. Both counts are of bytes from its start.
#[derive(Clone, Copy, Default)]
struct Window {
    read_directly: u32,
    checked: u32,
    /// Seconds of the clock when that was.
    checked_at: u32,
}

/// The windows of one segment. Lives on its shard's thread.
#[derive(Default)]
pub(crate) struct Windows {
    known: RefCell<Vec<Window>>,
    /// Those that are being checked.
    busy: RefCell<Vec<u64>>,
    done: Event,
    damaged: RefCell<Vec<Damaged>>,
}

/// A place of damage.
#[derive(Clone, Copy)]
struct Damaged {
    /// Where the damaged batch begins.
    at: u64,
    /// Where the next good one begins, and its base offset, once that was looked for.
    behind: Option<(u64, Offset)>,
}

impl Windows {
    /// Notes that `[from, to)` was read past the page cache, and was good.
    pub(crate) fn note_direct_read(&self, from: u64, to: u64) {
        for (index, upto) in parts(from, to) {
            self.with(index, |window| window.read_directly = window.read_directly.max(upto));
        }
        self.damaged.borrow_mut().retain(|damaged| !(from..to).contains(&damaged.at));
    }

    /// Whether the byte at `position` was read past the page cache before: somebody reads it again.
    pub(crate) fn was_read_directly(&self, position: u64) -> bool {
        let known = self.known.borrow();
        let upto = known.get(to_usize(position / WINDOW_BYTES)).map_or(0, |window| window.read_directly);
        position % WINDOW_BYTES < u64::from(upto)
    }

    /// Notes that at `now` all batches were good that have bytes in `[from, to)`, a range that begins with a window or
    /// with what was checked of it.
    pub(crate) fn note_checked(&self, from: u64, to: u64, now: Duration) {
        let now = seconds(now);
        for (index, upto) in parts(from, to) {
            self.with(index, |window| {
                // Of two checks of its parts the older one says how long they count.
                let first = from <= index * WINDOW_BYTES;
                window.checked_at = if first { now } else { window.checked_at };
                window.checked = if first { upto } else { window.checked.max(upto) };
            });
        }
    }

    /// Up to where the window that `position` lies in is checked; its start if nothing is.
    pub(crate) fn checked_end(&self, position: u64, now: Duration) -> u64 {
        let index = position / WINDOW_BYTES;
        let known = self.known.borrow();
        let window = known
            .get(to_usize(index))
            .filter(|window| seconds(now).saturating_sub(window.checked_at) < seconds(CHECKED_FOR));
        index * WINDOW_BYTES + window.map_or(0, |window| u64::from(window.checked))
    }

    /// Where the first byte of `[from, to)` is that is not checked.
    pub(crate) fn unchecked(&self, from: u64, to: u64, now: Duration) -> Option<u64> {
        parts(from, to).find_map(|(index, upto)| {
            let end = self.checked_end(index * WINDOW_BYTES, now);
            (end < index * WINDOW_BYTES + u64::from(upto)).then_some(end)
        })
    }

    /// The page cache lacks something of `[from, to)`: what it will hold there is not checked.
    pub(crate) fn forget(&self, from: u64, to: u64) {
        for (index, _) in parts(from, to) {
            if let Some(window) = self.known.borrow_mut().get_mut(to_usize(index)) {
                window.checked = 0;
            }
        }
    }

    /// Says that the window of `position` is being checked, until what is returned is dropped. If it is already, the end
    /// of that is returned instead.
    pub(crate) fn begin_check(&self, position: u64) -> Result<Busy<'_>, EventListener> {
        let index = position / WINDOW_BYTES;
        if self.is_busy(position) {
            return Err(self.done.listen());
        }
        self.busy.borrow_mut().push(index);
        Ok(Busy { windows: self, index })
    }

    /// Whether the window of `position` is being checked.
    pub(crate) fn is_busy(&self, position: u64) -> bool {
        self.busy.borrow().contains(&(position / WINDOW_BYTES))
    }

    /// Notes damage at a position. False if it was known, or if so much is that no more is kept.
    pub(crate) fn note_damage(&self, position: u64) -> bool {
        let is_new = !self.knows_damage(position);
        if is_new {
            self.damaged.borrow_mut().push(Damaged { at: position, behind: None });
        }
        is_new
    }

    /// Notes what is behind damage at a position, if that is remembered.
    pub(crate) fn note_behind(&self, position: u64, behind: (u64, Offset)) {
        if let Some(known) = self.damaged.borrow_mut().iter_mut().find(|damaged| damaged.at == position) {
            known.behind = Some(behind);
        }
    }

    /// What is behind damage at a position, if it was looked for.
    pub(crate) fn behind(&self, position: u64) -> Option<(u64, Offset)> {
        self.damaged.borrow().iter().find(|damaged| damaged.at == position)?.behind
    }

    /// Whether damage at a position is no news.
    pub(crate) fn knows_damage(&self, position: u64) -> bool {
        let damaged = self.damaged.borrow();
        damaged.iter().any(|damaged| damaged.at == position) || damaged.len() >= DAMAGED_MAX
    }

    /// Whether damage is known in `[from, to)`.
    pub(crate) fn has_damage(&self, from: u64, to: u64) -> bool {
        self.damaged.borrow().iter().any(|damaged| (from..to).contains(&damaged.at))
    }

    fn with(&self, index: u64, change: impl FnOnce(&mut Window)) {
        let mut known = self.known.borrow_mut();
        let at = to_usize(index);
        if known.len() <= at {
            known.resize(at + 1, Window::default());
        }
        if let Some(window) = known.get_mut(at) {
            change(window);
        }
    }
}

/// The windows of a range, each with how many of its bytes from its start lie before the range's end.
fn parts(from: u64, to: u64) -> impl Iterator<Item = (u64, u32)> {
    (from / WINDOW_BYTES..to.div_ceil(WINDOW_BYTES)).map(move |index| {
        let upto = (to - index * WINDOW_BYTES).min(WINDOW_BYTES);
        (index, u32::try_from(upto).unwrap_or(u32::MAX))
    })
}

/// A time of the clock in whole seconds: 136 years of them.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// A check that is under way.
pub(crate) struct Busy<'a> {
    windows: &'a Windows,
    index: u64,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.windows.busy.borrow_mut().retain(|index| *index != self.index);
        self.windows.done.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: u64 = WINDOW_BYTES;
    const NOW: Duration = Duration::from_secs(7);

    #[test]
    fn a_range_is_checked_when_all_its_windows_are() {
        let windows = Windows::default();
        assert_eq!(windows.unchecked(10, W + 5, NOW), Some(0));
        windows.note_checked(0, W + 5, NOW);
        assert_eq!(windows.unchecked(10, W + 5, NOW), None);
        assert_eq!(windows.unchecked(10, W + 6, NOW), Some(W + 5));
        windows.note_checked(W + 5, 2 * W, NOW);
        assert_eq!(windows.unchecked(10, 2 * W, NOW), None);
        windows.forget(W, W + 1);
        assert_eq!(windows.unchecked(10, 2 * W, NOW), Some(W));
        assert_eq!(windows.unchecked(10, W, NOW), None);
    }

    #[test]
    fn a_check_counts_for_a_while_and_as_long_as_its_oldest_part() {
        let windows = Windows::default();
        windows.note_checked(0, 100, NOW);
        windows.note_checked(100, 200, NOW + CHECKED_FOR / 2);
        assert_eq!(windows.unchecked(0, 200, NOW + CHECKED_FOR / 2), None);
        assert_eq!(windows.unchecked(0, 50, NOW + CHECKED_FOR), Some(0));
    }

    #[test]
    fn one_check_of_a_window_runs_at_a_time() {
        let windows = Windows::default();
        let busy = windows.begin_check(5).ok();
        assert!(busy.is_some() && windows.begin_check(W - 1).is_err() && windows.begin_check(W).is_ok());
        drop(busy);
        assert!(windows.begin_check(5).is_ok());
    }

    #[test]
    fn damage_is_new_once_until_it_was_read_whole() {
        let windows = Windows::default();
        assert!(windows.note_damage(70) && !windows.note_damage(70));
        assert!(windows.has_damage(0, 71) && !windows.has_damage(0, 70));
        windows.note_direct_read(70, 90);
        assert!(!windows.has_damage(0, 100) && windows.note_damage(70));
    }
}
