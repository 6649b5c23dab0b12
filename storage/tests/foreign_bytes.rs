//! Directories made of arbitrary bytes: replaying, checking and showing them never panics, and never takes more memory
//! than a multiple of what is there. Inputs are recorded files with bits turned round, pieces cut out, doubled and
//! exchanged, half of them with the checksum that they ask for, so that lies reach the deeper checks.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::executor::block_on;
use ringmain_storage::inspect::dump::{DumpOptions, dump};
use ringmain_storage::inspect::verify::{Progress, verify};
use ringmain_storage::io::read_only::ReadOnlyIo;
use ringmain_storage::io::sim::Random;
use ringmain_storage::journal::replay::{ReplayFrom, replay};

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
const DIRECTORIES: u64 = 400;
/// What reading takes however little there is: one window of each reader, and what tests print.
const ROOM: usize = 4 << 20;
/// The most for a byte: a line of a text checkpoint is a list of words.
const BYTES_PER_BYTE: usize = 64;

/// Runs `work` and returns the most memory it took beyond what was there.
fn measured(work: impl FnOnce()) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    work();
    MOST.load(Ordering::Relaxed).saturating_sub(before)
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

/// A place in so many bytes, sometimes at a block's begin.
fn place(random: &mut Random, len: usize) -> usize {
    let at = usize::try_from(random.below(u64::try_from(len).unwrap() + 1)).unwrap();
    if random.below(3) == 0 { at / 4096 * 4096 } else { at }
}

/// Other bytes, made of these.
fn damaged(random: &mut Random, mut bytes: Vec<u8>, others: &[Vec<u8>]) -> Vec<u8> {
    for _ in 0..=random.below(3) {
        let (one, two) = (place(random, bytes.len()), place(random, bytes.len()));
        let range = one.min(two)..one.max(two);
        match random.below(7) {
            0 => bytes.truncate(one),
            1 => bytes[range].fill(0),
            2 => bytes[range].fill(0xff),
            3 => drop(bytes.drain(range)),
            4 => {
                let piece = bytes[range].to_vec();
                bytes.splice(one..one, piece);
            }
            5 => {
                let other = &others[usize::try_from(random.below(others.len() as u64)).unwrap()];
                bytes.splice(one..one, other.iter().copied().take(8192));
            }
            _ => {
                for _ in 0..=random.below(8) {
                    if let Some(byte) = bytes.get_mut(one + usize::try_from(random.below(80)).unwrap()) {
                        *byte ^= 1 << random.below(8);
                    }
                }
            }
        }
    }
    bytes
}

/// Gives frames and checkpoints the checksum they ask for.
fn with_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.starts_with(b"RMCP") || bytes.starts_with(b"RMST") {
        let content = bytes.len().saturating_sub(4).max(4);
        let sum = crc32c::crc32c(&bytes[..content]).to_le_bytes();
        bytes.truncate(content);
        bytes.extend(sum);
    }
    for block in (0..bytes.len()).step_by(4096) {
        let rest = &mut bytes[block..];
        let Some(count) = rest.get(36..40) else { continue };
        let head = 64 + 72 * u32::from_le_bytes(count.try_into().unwrap()) as usize;
        if !rest.starts_with(b"RMJF") || rest.len() < head {
            continue;
        }
        rest[44..48].fill(0);
        let sum = crc32c::crc32c(&rest[..head]).to_le_bytes();
        rest[44..48].copy_from_slice(&sum);
    }
    bytes
}

#[test]
fn arbitrary_directories_neither_panic_nor_take_more_memory_than_a_multiple_of_their_bytes() {
    let golden = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/store-4/killed"));
    let recorded: Vec<_> = files(&golden).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    let contents: Vec<Vec<u8>> = recorded.iter().map(|(bytes, _)| bytes.clone()).collect();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let (first, times) = (number("SEED"), if number("TESTS_LONG") == 1 { 10 } else { 1 });
    for seed in first..first + DIRECTORIES * times {
        let mut random = Random::new(seed);
        let directory = tempfile::tempdir().unwrap();
        let mut total = 0;
        for (bytes, path) in &recorded {
            let mut bytes = bytes.clone();
            if random.below(4) == 0 {
                bytes = damaged(&mut random, bytes, &contents);
                if random.below(2) == 0 {
                    bytes = with_checksums(bytes);
                }
            }
            let path = directory.path().join(path.strip_prefix(&golden).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            total += bytes.len();
            fs::write(path, bytes).unwrap();
        }
        let allowed = ROOM + BYTES_PER_BYTE * total;
        let journal = directory.path().join("ringmain.journal/0-of-1");
        let from = ReplayFrom { epoch: random.below(3), sequence: random.below(200) };
        let most = [
            measured(|| drop(block_on(replay(&ReadOnlyIo, &journal, from)))),
            measured(|| drop(verify(directory.path(), 2, &Progress::default()))),
            measured(|| {
                let mut sink = |_: &Path, _| ControlFlow::Continue(());
                drop(dump(directory.path(), DumpOptions { records: false }, &mut sink));
            }),
        ];
        assert!(most.iter().all(|most| *most <= allowed), "seed {seed}: {most:?} of {total} bytes");
    }
}
