//! A directory of an Apache broker that ended amid a compaction or a split loses no record: what was interrupted is
//! completed or taken back, whatever is cut meanwhile.

use std::collections::BTreeMap;
use std::path::Path;

use ringmain_storage::error::StoreError;
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{SimIo, SimWorld};
use ringmain_storage::record::batch;
use ringmain_storage::segment::{ReadLimits, Slice};
use ringmain_storage::types::{Offset, TimestampMs};

use crate::kit::{Stop, config_of, create, file, lead, open, world};

const END: i64 = 40;

/// What is left of the segments and of those that take their place.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    /// Not all is renamed to `.swap`.
    Cleaned,
    /// The log is, its index is not.
    HalfSwap,
    /// All is, the segments are all there.
    Swap,
    /// One of them is not.
    OneDeleted,
    /// None of them is.
    AllDeleted,
    /// The log has its name already, its index not.
    HalfDone,
}

const ALL: [Left; 6] =
    [Left::Cleaned, Left::HalfSwap, Left::Swap, Left::OneDeleted, Left::AllDeleted, Left::HalfDone];

impl Left {
    /// Whether the old segments are what counts.
    fn is_taken_back(self) -> bool {
        matches!(self, Self::Cleaned | Self::HalfSwap)
    }
}

/// Segments' files and their batches.
async fn segments(io: &SimIo) -> Vec<(String, BTreeMap<i64, Vec<u8>>)> {
    let mut files = io.list_files(&file(1, "")).await.unwrap();
    files.retain(|(name, _)| name.strip_suffix(".log").is_some());
    files.sort();
    let mut segments = Vec::new();
    for (name, _) in files {
        let bytes = io.read_file(&file(1, &name), 1 << 20).await.unwrap();
        let batches = batch::batches(&bytes).map(|(header, bytes)| (header.base_offset().0, bytes.to_vec()));
        segments.push((name, batches.collect()));
    }
    segments
}

/// Leaves the directory as Apache does that is killed amid a compaction of the first two of three segments. Returns
/// the offsets that a compaction keeps.
async fn interrupt(io: &SimIo, left: Left) -> Vec<i64> {
    let segments = segments(io).await;
    let [(first, one), (second, two), (_, three)] = &segments[..] else {
        panic!("{} segments", segments.len())
    };
    let old: Vec<(&i64, &Vec<u8>)> = one.iter().chain(two).collect();
    // The new one ends below the old ones.
    let last = two.keys().max().unwrap();
    let kept = old.into_iter().filter(|(offset, _)| **offset % 3 == 0 && *offset != last);
    let offsets: Vec<i64> = kept.clone().map(|(offset, _)| *offset).chain(three.keys().copied()).collect();
    let log: Vec<u8> = kept.flat_map(|(_, bytes)| bytes.clone()).collect();
    let (log_suffix, index_suffix) = match left {
        Left::Cleaned => (".cleaned", ".cleaned"),
        Left::HalfSwap => (".swap", ".cleaned"),
        Left::HalfDone => ("", ".swap"),
        _ => (".swap", ".swap"),
    };
    let gone: &[&String] = match left {
        Left::Cleaned | Left::HalfSwap | Left::Swap => &[],
        Left::OneDeleted => &[first],
        Left::AllDeleted | Left::HalfDone => &[first, second],
    };
    for name in gone {
        for suffix in ["log", "index", "timeindex"] {
            let path = file(1, name).with_extension(suffix);
            io.rename(&path, &path.with_extension(format!("{suffix}.deleted"))).await.unwrap();
        }
    }
    let index = first.replace(".log", ".index");
    io.replace_file(&file(1, &format!("{first}{log_suffix}")), log).await.unwrap();
    io.replace_file(&file(1, &format!("{index}{index_suffix}")), Vec::new()).await.unwrap();
    io.remove_file(Path::new("/data/.kafka_cleanshutdown")).await.unwrap();
    offsets
}

fn interrupted(left: Left) -> (SimWorld, Vec<i64>) {
    let world = world(&[(1, END)], Stop::Clean);
    let offsets = world.run(interrupt(&world.io(), left)).unwrap();
    let all = (0..END).collect();
    (world.kill(2), if left.is_taken_back() { all } else { offsets })
}

/// The offsets that are served.
async fn served(io: &SimIo) -> Result<Vec<i64>, StoreError> {
    let store = open(io, config_of(&[1])).await.unwrap();
    let log = create(&store, 1).await.unwrap();
    assert_eq!(log.offsets().log_start_offset, Offset(0));
    let end = log.offsets().log_end_offset;
    assert_eq!(end, Offset(END));
    let mut offsets = Vec::new();
    let mut next = Offset(0);
    while next < end {
        let read = log.read(next, ReadLimits { end, bytes_max: 64 << 10, at_least_one: true }).await.unwrap();
        assert!(!read.slices.is_empty(), "nothing at {next}");
        for slice in read.slices {
            let Slice::Memory(bytes) = slice else { panic!("a file") };
            for (header, _) in batch::batches(&bytes) {
                offsets.push(header.base_offset().0);
                next = header.next_offset();
            }
        }
    }
    log.enforce_retention(TimestampMs(0)).await?;
    Ok(offsets)
}

#[test]
fn a_compaction_that_was_interrupted_is_completed_or_taken_back() {
    for left in ALL {
        let (world, expected) = interrupted(left);
        world
            .run(async {
                let io = world.io();
                assert_eq!(served(&io).await.unwrap(), expected, "{left:?}");
                for (name, _) in io.list_files(&file(1, "")).await.unwrap() {
                    let over = [".swap", ".cleaned", ".deleted"].iter().any(|suffix| name.ends_with(suffix));
                    assert!(!over, "{left:?}: {name} is left");
                }
            })
            .unwrap();
    }
}

#[test]
fn a_cut_at_any_step_of_it_loses_and_brings_back_nothing() {
    for left in [Left::HalfSwap, Left::Swap, Left::OneDeleted] {
        let (interrupted, expected) = interrupted(left);
        for step in 1.. {
            let world = interrupted.kill(step);
            world.cut_at_step(step);
            let whole = world.run(served(&world.io())).is_ok();
            let world = world.crash(step);
            world
                .run(async {
                    let offsets = served(&world.io()).await.unwrap();
                    assert_eq!(offsets, expected, "{left:?}, cut at {step}");
                })
                .unwrap();
            if whole {
                break;
            }
        }
    }
}

#[test]
fn the_parts_of_a_split_segment_take_its_place() {
    let world = world(&[(1, END)], Stop::Clean);
    world
        .run(async {
            let io = world.io();
            let (name, batches) = segments(&io).await.remove(0);
            for suffix in ["log", "index", "timeindex"] {
                let path = file(1, &name).with_extension(suffix);
                io.rename(&path, &path.with_extension(format!("{suffix}.deleted"))).await.unwrap();
            }
            for range in [0..5, 5..i64::MAX] {
                let part = file(1, &format!("{:020}.log.swap", range.start));
                let bytes = batches.range(range).flat_map(|(_, bytes)| bytes.clone()).collect();
                io.replace_file(&part, bytes).await.unwrap();
            }
            assert_eq!(served(&io).await.unwrap(), (0..END).collect::<Vec<_>>());
        })
        .unwrap();
}

#[test]
fn a_swap_that_is_not_whole_replaces_nothing() {
    let (world, expected) = interrupted(Left::OneDeleted);
    let path = file(1, &format!("{:020}.log.swap", 0));
    world.flip_bit(&path, 700).unwrap();
    world
        .run(async {
            let io = world.io();
            let before = io.list_files(&file(1, "")).await.unwrap();
            let [Err(problem)] = &lead(&io, &[(1, END)]).await[..] else { panic!("opened") };
            assert!(problem.contains(".log.swap"), "{problem}");
            assert_eq!(io.list_files(&file(1, "")).await.unwrap(), before);
            world.flip_bit(&path, 700).unwrap();
            assert_eq!(served(&io).await.unwrap(), expected);
        })
        .unwrap();
}
