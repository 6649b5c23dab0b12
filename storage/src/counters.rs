//! Numbers that a shard counts and other threads read: plain stores and loads, no lock and no atomic addition. Each
//! counter has one writing thread; a reader sees some recent value, and two counters need not fit together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that one thread changes.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. Only the owning thread may.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Adds a number of bytes or things. Only the owning thread may.
    pub fn add_len(&self, len: usize) {
        self.add(u64::try_from(len).unwrap_or(u64::MAX));
    }

    /// Takes off. Only the owning thread may.
    pub fn sub(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).saturating_sub(count), Relaxed);
    }

    /// Puts another value there, for what rises and falls. Only the owning thread may.
    pub fn set_len(&self, len: usize) {
        self.0.store(u64::try_from(len).unwrap_or(u64::MAX), Relaxed);
    }

    /// A recent value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Buckets of a histogram; the last one takes everything above.
pub const BUCKETS: usize = 24;

/// How many values lie below each power of two.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Values of 2^i at most, in the unit of what is counted, above those of the bucket before.
    buckets: [Counter; BUCKETS],
    sum: Counter,
}

impl Histogram {
    /// Counts a value. Only the owning thread may.
    pub fn record(&self, value: u64) {
        let bits = u64::BITS - value.saturating_sub(1).leading_zeros();
        let index = usize::try_from(bits).unwrap_or(BUCKETS).min(BUCKETS - 1);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.add(1);
        }
        self.sum.add(value);
    }

    /// Counts a time in microseconds. Only the owning thread may.
    pub fn record_micros(&self, time: Duration) {
        self.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Recent counts by bucket: bucket i has values of at most 2^i, the last one all above.
    pub fn buckets(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|index| self.buckets.get(index).map_or(0, Counter::get))
    }

    /// The sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }
}

/// What the stores of one shard count.
#[derive(Debug, Default)]
pub struct StoreCounters {
    /// Batches in each group that the journal made durable with one write.
    pub group_batches: Histogram,
    /// Bytes of such a write, in KiB.
    pub group_kibibytes: Histogram,
    /// Microseconds that the write and its sync took.
    pub sync_micros: Histogram,
    /// Bytes of batches that were appended.
    pub appended_bytes: Counter,
    /// Bytes of batches and their headers that were copied into the journal's frames.
    pub journal_copied_bytes: Counter,
    /// Bytes of batches that were copied into segments.
    pub segment_copied_bytes: Counter,
    /// Logs that were taken offline, found damaged or failing.
    pub logs_offline: Counter,
    /// Logs whose files failed since the start: they take no appends.
    pub logs_failing: Counter,
    /// Places of segments where a read met damage, each counted once.
    pub damaged_batches: Counter,
    /// Reads that the disk refused.
    pub read_errors: Counter,
}

impl StoreCounters {
    /// Counts a group of batches of these lengths, which goes out in a frame of so many bytes.
    pub(crate) fn count_group(&self, batches: impl ExactSizeIterator<Item = usize>, frame_bytes: usize) {
        self.group_batches.record(u64::try_from(batches.len()).unwrap_or(u64::MAX));
        self.group_kibibytes.record(u64::try_from(frame_bytes.div_ceil(1024)).unwrap_or(u64::MAX));
        self.journal_copied_bytes.add_len(batches.sum());
    }
}

/// The counters of one shard's stores, shared with whoever shows them.
pub type SharedCounters = Arc<StoreCounters>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_the_bucket_of_the_next_power_of_two() {
        let histogram = Histogram::default();
        for value in [0, 1, 2, 3, 4, 5, 1 << 22, (1 << 22) + 1, u64::MAX / 2] {
            histogram.record(value);
        }
        let buckets = histogram.buckets();
        assert_eq!(&buckets[..4], [2, 1, 2, 1]);
        assert_eq!((buckets[22], buckets[23]), (1, 2));
        assert_eq!(buckets.iter().sum::<u64>(), 9);
    }

    #[test]
    fn another_thread_sees_what_was_counted() {
        let counters = SharedCounters::default();
        let seen = Arc::clone(&counters);
        counters.appended_bytes.add_len(7);
        counters.appended_bytes.add(1);
        let seen = std::thread::spawn(move || seen.appended_bytes.get()).join().unwrap();
        assert_eq!(seen, 8);
    }
}
