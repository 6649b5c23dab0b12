//! Metadata directories made of arbitrary bytes: opening one never panics, and never takes more memory than a multiple of
//! what is there. Inputs are the files of a cluster with bits turned round, pieces cut out, doubled and exchanged, half
//! of them with the checksums of their batches put right, so that lies reach the records.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use futures::executor::block_on;
use ringmain::control::{ControlConfig, start};
use ringmain::metadata::directory::{METADATA_FOLDER, read_meta, read_quorum_epoch};
use ringmain::metadata::image::Endpoint;
use ringmain::metadata::loader::Loader;
use ringmain::metadata::log::LocalLog;
use ringmain::metadata::request::CreateTopicSpec;
use ringmain_storage::io::sim::Random;

/// Counts what is allocated, and the most there was.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it passes every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Directories tried; ten times as many when `TESTS_LONG` is 1.
const DIRECTORIES: u64 = 150;
/// What opening takes however little there is: blocks ahead for the log, and the messages of errors.
const ROOM: usize = 4 << 20;
/// The most for a byte: a record of a few bytes is a whole image of a partition.
const BYTES_PER_BYTE: usize = 64;

fn config(directory: &Path) -> ControlConfig {
    ControlConfig {
        log_dirs: vec![directory.to_path_buf()],
        node_id: 1,
        rack: None,
        listeners: vec![Endpoint {
            name: "PLAINTEXT".into(),
            host: "127.0.0.1".into(),
            port: 9092,
            security_protocol: 0,
        }],
        cluster_id: None,
        num_partitions: 1,
        default_replication_factor: 1,
        snapshot_log_bytes: 16 << 10,
    }
}

/// A cluster with topics and a snapshot.
fn make(directory: &Path) {
    let mut handle = start(config(directory)).unwrap();
    let mut updates = handle.take_updates();
    let shard = std::thread::spawn(move || {
        while let Some(update) = block_on(updates.next()) {
            update.ack.send(()).unwrap();
        }
    });
    for round in 0..12 {
        let topics = (0..10).map(|number| CreateTopicSpec {
            name: format!("topic-{round}-{number}"),
            partition_count: 3,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: vec![("retention.ms".to_owned(), "1000".to_owned())],
        });
        let made = block_on(handle.controller.create_topics(topics.collect(), false));
        assert!(made.iter().all(Result::is_ok));
    }
    handle.stop();
    shard.join().unwrap();
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn below(random: &mut Random, end: usize) -> usize {
    usize::try_from(random.below(u64::try_from(end).unwrap().max(1))).unwrap()
}

/// Other bytes, made of these.
fn damaged(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..=random.below(3) {
        let (one, two) = (below(random, bytes.len() + 1), below(random, bytes.len() + 1));
        let range = one.min(two)..one.max(two);
        match random.below(6) {
            0 => bytes.truncate(one),
            1 => bytes[range].fill(0xff),
            2 => drop(bytes.drain(range)),
            3 => {
                let piece = bytes[range].to_vec();
                bytes.splice(one..one, piece);
            }
            _ => {
                for _ in 0..=random.below(8) {
                    let at = one + below(random, 80);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << random.below(8);
                    }
                }
            }
        }
    }
    bytes
}

/// Gives every batch, as far as their lengths lead, the checksum that it asks for.
fn with_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while let Some(len) = bytes.get(at + 8..at + 12) {
        let end = at + 12 + u32::from_be_bytes(len.try_into().unwrap()) as usize;
        let Some(content) = bytes.get(at + 21..end) else { break };
        let sum = crc32c::crc32c(content).to_be_bytes();
        bytes[at + 17..at + 21].copy_from_slice(&sum);
        at = end;
    }
    bytes
}

#[test]
fn arbitrary_metadata_neither_panics_nor_takes_more_memory_than_a_multiple_of_its_bytes() {
    let made = tempfile::tempdir().unwrap();
    make(made.path());
    let recorded: Vec<_> =
        files(made.path()).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    assert!(recorded.iter().any(|(_, path)| path.ends_with("bootstrap.checkpoint")));
    let is_snapshot = |path: &Path| path.to_string_lossy().contains("-0000000001.checkpoint");
    let names: Vec<_> = recorded.iter().map(|(_, path)| path).collect();
    assert!(names.iter().any(|path| is_snapshot(path)), "{names:?}");
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let (first, times) = (number("SEED"), if number("TESTS_LONG") == 1 { 10 } else { 1 });
    let mut opened = 0;
    for seed in first..first + DIRECTORIES * times {
        let mut random = Random::new(seed);
        let directory = tempfile::tempdir().unwrap();
        let mut total = 0;
        for (bytes, path) in &recorded {
            let mut bytes = bytes.clone();
            if random.below(3) == 0 {
                bytes = damaged(&mut random, bytes);
                if random.below(2) == 0 {
                    bytes = with_checksums(bytes);
                }
            }
            let path = directory.path().join(path.strip_prefix(made.path()).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            total += bytes.len();
            fs::write(path, bytes).unwrap();
        }
        let folder = directory.path().join(METADATA_FOLDER);
        let before = NOW.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        drop(read_meta(directory.path()));
        drop(read_quorum_epoch(&folder));
        let mut loader = Loader::new("cluster");
        opened += u64::from(LocalLog::open(&folder, &mut loader, 16 << 10).is_ok());
        let most = MOST.load(Ordering::Relaxed).saturating_sub(before);
        let allowed = ROOM + BYTES_PER_BYTE * total;
        assert!(most <= allowed, "seed {seed}: {most} bytes for {total}");
    }
    assert!(opened > 0, "not one could be opened");
}
