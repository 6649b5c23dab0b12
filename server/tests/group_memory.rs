//! What groups take in memory, counted by the allocator: no more than 1 KiB for each partition that a group has an offset
//! in, however few a group has; and never more than the coordinator counts against its bound.
#![allow(clippy::unwrap_used, reason = "tests")]
#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ringmain::group::record::{OffsetKey, Parsed, Record};
use ringmain::group::{Committed, Coordinator};
use ringmain_storage::types::Offset;

/// Counts what a thread has allocated and not given back.
struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // A thread that ends frees what nobody asks about.
    let _ = NOW.try_with(|now| now.set(now.get() + change));
}

// SAFETY: it passes every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that a group's partition may take.
const BYTES_MAX: usize = 1024;

/// A coordinator that has read commits of so many groups, each in so many partitions of as many topics, from bytes as they
/// stand in a log; what it takes, by the allocator.
fn loaded(groups: i32, topics: i32, partitions: i32) -> (Coordinator, usize) {
    let before = NOW.with(Cell::get);
    let mut coordinator = Coordinator::default();
    let mut offset = 0;
    // Each group commits again and again, as groups do.
    for _ in 0..2 {
        for group in 0..groups {
            for (topic, partition) in
                (0..topics).flat_map(|topic| (0..partitions).map(move |partition| (topic, partition)))
            {
                let key = OffsetKey {
                    group: format!("a-group-of-consumers-{group:05}").into(),
                    topic: format!("a-topic-that-they-read-{topic:03}").into(),
                    partition,
                };
                let committed = Committed {
                    offset: i64::from(partition),
                    leader_epoch: 0,
                    metadata: "".into(),
                    commit_timestamp: 1_700_000_000_000,
                    expire_timestamp: None,
                };
                let (key, value) = Record::Offset(key, Some(committed)).to_bytes().unwrap();
                let Parsed::Known(record) = Record::parse(key, value).unwrap() else { unreachable!() };
                coordinator.replay(record, Offset(offset), None);
                offset += 1;
            }
        }
    }
    let taken = NOW.with(Cell::get) - before;
    (coordinator, usize::try_from(taken).unwrap())
}

/// Holds a coordinator against what it may take.
fn check(groups: i32, topics: i32, partitions: i32) {
    let (coordinator, taken) = loaded(groups, topics, partitions);
    let count = usize::try_from(groups * topics * partitions).unwrap();
    assert_eq!(coordinator.tally().offsets, count);
    let each = taken / count;
    assert!(
        each <= BYTES_MAX,
        "{groups} groups, {topics} topics, {partitions} partitions: {each} bytes each"
    );
    let counted = coordinator.tally().bytes;
    assert!(taken <= counted, "{groups} groups, {topics} topics: {taken} bytes are taken, {counted} counted");
    assert!(
        counted <= 3 * taken,
        "{groups} groups, {topics} topics: {taken} bytes are taken, {counted} counted"
    );
    drop(coordinator);
}

#[test]
fn a_groups_partition_takes_no_more_than_a_kibibyte_and_no_more_than_is_counted() {
    check(10_000, 1, 1);
    check(1000, 1, 100);
    check(1000, 10, 1);
    check(1, 1, 10_000);
    check(1, 1000, 1);
}

#[test]
fn what_is_taken_is_given_back_with_the_coordinator() {
    let before = NOW.with(Cell::get);
    drop(loaded(100, 2, 3));
    assert_eq!(NOW.with(Cell::get), before);
}
