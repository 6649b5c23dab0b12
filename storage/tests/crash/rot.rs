//! Rot in a journal: whatever bit of a frame's header or descriptors flips, what is served is right, and what cannot be
//! told is offline.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use ringmain_storage::io::sim::{Random, SimIo, SimWorld};
use ringmain_storage::io::{BLOCK_BYTES, Io};
use ringmain_storage::journal::frame::{Look, look};
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::types::{LeaderEpoch, TimestampMs};

use crate::cuts;
use crate::model::Expected;
use crate::shards::log_dir;
use crate::wide::live;
use crate::workload::{Life, Shared, key, open_damaged, small_log, small_store};

/// Worlds whose journals rot, and bits of each.
const WORLDS: u64 = 12;
const BITS: u64 = 24;
/// Newest frames of a journal: nothing else has yet what they say.
const NEWEST: usize = 8;
const FILE_BYTES_MAX: usize = 1 << 20;

/// A frame of a journal.
#[derive(Debug)]
struct Found {
    sequence: u64,
    path: PathBuf,
    at: usize,
    /// What no payload's checksum covers.
    bytes: usize,
}

/// All frames with entries, the newest first.
async fn frames(io: &SimIo) -> Vec<Found> {
    let root = log_dir(0).join("ringmain.journal");
    let mut found = Vec::new();
    for folder in io.list_directory(&root).await.unwrap() {
        let folder = root.join(folder);
        for name in io.list_directory(&folder).await.unwrap_or_default() {
            let path = folder.join(name);
            found.extend(frames_of(io, &path).await);
        }
    }
    found.sort_by_key(|frame| std::cmp::Reverse(frame.sequence));
    found
}

async fn frames_of(io: &SimIo, path: &Path) -> Vec<Found> {
    let bytes = io.read_file(path, FILE_BYTES_MAX).await.unwrap_or_default();
    let blocks = (0..bytes.len()).step_by(BLOCK_BYTES);
    let frames = blocks.filter_map(|at| match look(&bytes[at..]) {
        Look::Frame(frame) if !frame.descriptors.is_empty() => {
            let (sequence, bytes) = (frame.header.sequence, frame.payload_at);
            Some(Found { sequence, path: path.to_path_buf(), at, bytes })
        }
        _ => None,
    });
    frames.collect()
}

#[test]
fn no_flipped_bit_of_a_frame_is_taken_for_what_was_written() {
    let _told = cuts::Told;
    for seed in 0..WORLDS {
        let world = SimWorld::new(seed);
        let shared: Shared = Rc::new(RefCell::new(Expected::default()));
        let life = Life { seed, number: 0, batches: 12, close: false };
        let io = world.io();
        world
            .run(async {
                live(io.clone(), Rc::clone(&shared), life).await.unwrap();
                // Long enough for the journals to vouch for their last groups.
                io.sleep(Duration::from_secs(1)).await;
            })
            .unwrap();
        let mut random = Random::new(seed);
        for bit in 0..BITS {
            let after = world.crash(bit);
            let expected: Shared = Rc::new(RefCell::new(shared.borrow().clone()));
            let opened = after.run(async {
                let frames = frames(&after.io()).await;
                let newest = if bit % 4 == 0 { frames.len() } else { NEWEST.min(frames.len()) };
                let Found { path, at, bytes, .. } = &frames[random.index(newest)];
                let at = at + random.index(*bytes);
                after.flip_bit(path, at).unwrap();
                let opened = open_damaged(after.io(), &expected).await;
                opened.map_err(|what| format!("byte {at} of {}: {what}", path.display()))
            });
            opened.unwrap().unwrap_or_else(|what| panic!("{life:?}, crash {bit}: {what}"));
            cuts::count();
        }
    }
}

/// A log that was made, deleted, made anew and written to, each in a frame of its own.
async fn make_anew(io: &SimIo) {
    io.create_directory(&log_dir(0)).await.unwrap();
    let (manager, _) = LogManager::open(io.clone(), small_store()).await.unwrap();
    manager.create_log(key(1, 0), "t", small_log()).await.unwrap();
    manager.delete_log(key(1, 0)).await.unwrap();
    let log = manager.create_log(key(1, 0), "t", small_log()).await.unwrap();
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(&[7; 100]), ..NewRecord::default() }).unwrap();
    let batch = BytesMut::from(builder.build().unwrap().as_ref());
    let appended = log.append(batch, LeaderEpoch(0), TimestampMs(1)).unwrap();
    log.wait_durable(appended.answered_at()).await.unwrap();
    io.sleep(Duration::from_secs(1)).await;
}

#[test]
fn a_frame_that_cannot_be_read_may_say_that_a_deleted_log_was_made_anew() {
    let world = SimWorld::new(1);
    let frames = world
        .run(async {
            make_anew(&world.io()).await;
            frames(&world.io()).await
        })
        .unwrap();
    for Found { path, at, .. } in &frames {
        let world = world.crash(1);
        let found = world.run(async {
            world.flip_bit(path, at + 9).unwrap();
            let (manager, _) = LogManager::open(world.io(), small_store()).await.unwrap();
            manager.log(key(1, 0)).map_or(manager.has(key(1, 0)), |log| log.offsets().log_end_offset.0 == 1)
        });
        assert!(found.unwrap(), "the frame at {at} of {}", path.display());
    }
    assert!(frames.len() >= 4, "{frames:?}");
}
