//! How many requests that take much memory a shard works on at a time.
//!
//! What a request without records is read into is many times as large as its bytes, and its answer may be, too. A small
//! one is worked on at a stretch and is done before the next. All others are worked on in turns, so that many may be
//! under way at once: these need a right, of which there are few for middling ones and one for large ones. A request
//! that needs none, or less, never waits for one that needs more. A fetch that waits for data gives its right back
//! before: it keeps little then.
//!
//! Whoever is given a right must go on to poll the request; nobody is given one who only waits in a line.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use event_listener::{Event, EventListener};
use ringmain_protocol::ApiKey;

/// Requests up to this size need no right: they name few things more than are done at a stretch.
const SMALL_BYTES_MAX: usize = 4 << 10;
/// From this size on a request is large.
const LARGE_BYTES_MIN: usize = 256 << 10;
/// A middling request is begun if those under way have less than this together.
const MIDDLING_BYTES_MAX: usize = 1 << 20;

/// Requests of one size.
#[derive(Debug, Default)]
struct Class {
    /// Bytes of those under way.
    bytes: AtomicUsize,
    freed: Event,
}

/// What a shard works on.
#[derive(Debug, Default)]
pub struct Workload {
    middling: Arc<Class>,
    large: Arc<Class>,
}

/// The right to work on a request; dropping it gives it back, on whichever shard that is.
#[derive(Debug)]
pub struct Right {
    class: Arc<Class>,
    bytes: usize,
}

impl Drop for Right {
    fn drop(&mut self) {
        self.class.bytes.fetch_sub(self.bytes, Relaxed);
        // All of them: whoever is first may be somebody who is not polled now.
        self.class.freed.notify(usize::MAX);
    }
}

impl Workload {
    /// The class of a request, and what those under way may have for it to be begun; `None` if it needs no right.
    fn class(&self, frame: &[u8]) -> Option<(&Arc<Class>, usize)> {
        let key = frame.first_chunk().map_or(-1, |key| i16::from_be_bytes(*key));
        if frame.len() <= SMALL_BYTES_MAX || key == ApiKey::Produce.code() {
            None
        } else if frame.len() < LARGE_BYTES_MIN {
            Some((&self.middling, MIDDLING_BYTES_MAX))
        } else {
            Some((&self.large, 1))
        }
    }

    /// Whether a request needs a right.
    pub fn needs_right(&self, frame: &[u8]) -> bool {
        self.class(frame).is_some()
    }

    /// Whether a request could be begun now.
    pub fn has_place(&self, frame: &[u8]) -> bool {
        self.class(frame).is_none_or(|(class, bytes_max)| class.bytes.load(Relaxed) < bytes_max)
    }

    /// Wakes when there may be a place for a request that needs a right.
    pub fn listen(&self, frame: &[u8]) -> Option<EventListener> {
        self.class(frame).map(|(class, _)| class.freed.listen())
    }

    /// The right to begin a request, if it needs one. Call it if there [is a place](Self::has_place).
    pub fn begin(&self, frame: &[u8]) -> Option<Right> {
        let (class, _) = self.class(frame)?;
        class.bytes.fetch_add(frame.len(), Relaxed);
        Some(Right { class: Arc::clone(class), bytes: frame.len() })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn frame(key: ApiKey, bytes: usize) -> Vec<u8> {
        let mut frame = vec![0; bytes];
        frame[..2].copy_from_slice(&key.code().to_be_bytes());
        frame
    }

    #[test]
    fn one_large_request_is_worked_on_at_a_time_beside_few_middling_ones_and_any_small_ones() {
        let workload = Workload::default();
        let [small, middling, large] =
            [4 << 10, 200 << 10, 300 << 10].map(|bytes| frame(ApiKey::Fetch, bytes));
        let first = workload.begin(&large);
        assert!(!workload.has_place(&large));
        let mut rights = Vec::new();
        while workload.has_place(&middling) {
            rights.push(workload.begin(&middling));
        }
        assert_eq!(rights.len(), 6, "the last goes beyond the limit, so that none is too large for it");
        assert!(workload.has_place(&small) && workload.begin(&small).is_none());
        assert!(workload.begin(&frame(ApiKey::Produce, 1 << 20)).is_none());
        let mut waiting = [&middling, &large].map(|frame| workload.listen(frame).unwrap());
        drop(first);
        assert!((&mut waiting[0]).now_or_never().is_none() && (&mut waiting[1]).now_or_never().is_some());
        assert!(workload.has_place(&large) && !workload.has_place(&middling));
        rights.pop();
        assert!(workload.has_place(&middling));
    }
}
