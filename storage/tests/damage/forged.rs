//! Bytes of records that look like frames of the journal. The simulated disk tears the frame that they stand in.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use ringmain_storage::config::StoreConfig;
use ringmain_storage::io::sim::SimWorld;
use ringmain_storage::io::{AlignedBuffer, BLOCK_BYTES, Io, IoFile, OpenHow};
use ringmain_storage::journal::frame::{self, FrameHeader, Look};
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::types::{LeaderEpoch, Offset, TimestampMs};

use crate::journal::journal_files;
use crate::kit::{self, create, open, produce};

const ACKNOWLEDGED: i64 = 3;
const CRASHES: u64 = 16;
const VALUE_BYTES: usize = 256 << 10;

/// Files and groups that take a large batch whole.
fn config() -> StoreConfig {
    StoreConfig { journal_file_bytes: 1 << 20, group_bytes_max: 512 << 10, ..kit::config() }
}

/// The sequence of what poses as a frame: it says that all before it was durable.
const FORGED: u64 = 1001;

/// A batch of one record that is full of headers of empty frames, one wherever a frame may begin if the batch is alone in
/// its own.
fn forged(salt: u64) -> BytesMut {
    let header =
        FrameHeader { epoch: 1, salt, sequence: FORGED, durable_sequence: FORGED - 1, predecessor: 0 };
    let mut empty = vec![0; frame::frame_bytes(0, 0)];
    frame::encode(&mut empty, header, std::iter::empty());
    let header = &empty[..frame::HEADER_BYTES];
    let of = |filler: usize| {
        let value = [&vec![b'x'; filler], header.repeat(VALUE_BYTES / header.len()).as_slice()].concat();
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(&NewRecord { value: Some(&value), ..NewRecord::default() }).unwrap();
        BytesMut::from(builder.build().unwrap().as_ref())
    };
    let before = of(0).windows(header.len()).position(|bytes| bytes == header).unwrap();
    let place = frame::HEADER_BYTES + frame::DESCRIPTOR_BYTES + before;
    of(place.next_multiple_of(header.len()) - place)
}

/// Whether something that poses as a frame stands where one may begin.
async fn poses(io: &impl Io) -> bool {
    for (path, used) in journal_files(io).await {
        let file = io.open(&path, OpenHow::Read).await.unwrap();
        let bytes = file.read_at(0, used.next_multiple_of(BLOCK_BYTES)).await.unwrap();
        let is_forged = |block: &[u8]| matches!(frame::look(block), Look::Frame(frame) if frame.header.sequence == FORGED);
        if bytes.chunks(BLOCK_BYTES).any(is_forged) {
            return true;
        }
    }
    false
}

/// Some records, then the forged one; `begun` is the step before it.
async fn live(world: &SimWorld, salt: u64, begun: &Cell<u64>) {
    let store = open(&world.io(), config()).await.unwrap();
    let log = create(&store, 1).await.unwrap();
    log.set_config(ringmain_storage::config::LogConfig::default());
    produce(&log, ACKNOWLEDGED).await;
    world.io().sleep(Duration::from_millis(150)).await;
    begun.set(world.steps());
    log.append(forged(salt), LeaderEpoch(0), TimestampMs(1)).unwrap();
    log.wait_durable(Offset(ACKNOWLEDGED + 1)).await.unwrap();
}

#[test]
fn a_record_that_poses_as_a_frame_neither_counts_as_one_nor_stops_a_start() {
    // As version 1 had it, and as somebody may guess.
    for salt in [0, 1, u64::MAX] {
        let mut posed = 0;
        let begun = Cell::new(0);
        let whole = SimWorld::new(5);
        whole.run(live(&whole, salt, &begun)).unwrap();
        for step in begun.get()..whole.steps() {
            let world = SimWorld::new(5);
            world.cut_at_step(step);
            assert!(world.run(live(&world, salt, &begun)).is_err(), "cut at {step}");
            for crash in 0..CRASHES {
                let after = world.crash(crash);
                after
                    .run(async {
                        let poses = poses(&after.io()).await;
                        let store = open(&after.io(), config()).await.unwrap();
                        let log = create(&store, 1).await;
                        let log = log.unwrap_or_else(|why| panic!("cut at {step}, crash {crash}: {why}"));
                        let end = log.offsets().log_end_offset;
                        assert!(end >= Offset(ACKNOWLEDGED) && end <= Offset(ACKNOWLEDGED + 1), "{end}");
                        posed += u64::from(poses && end == Offset(ACKNOWLEDGED));
                    })
                    .unwrap();
            }
        }
        assert!(posed > 0, "nothing posed as a frame behind one that was torn");
    }
}

#[test]
fn a_journal_file_whose_begin_a_drive_zeroed_is_damaged_and_not_empty() {
    const LOST: usize = 4 << 20;
    let config = || StoreConfig { journal_file_bytes: 8 << 20, ..config() };
    let world = SimWorld::new(7);
    world
        .run(async {
            let store = open(&world.io(), config()).await.unwrap();
            let log = create(&store, 1).await.unwrap();
            log.set_config(ringmain_storage::config::LogConfig::default());
            // More than is lost, so that frames stand behind it.
            for end in 1..25 {
                log.room().await.unwrap();
                log.append(forged(0), LeaderEpoch(0), TimestampMs(1)).unwrap();
                log.wait_durable(Offset(end)).await.unwrap();
            }
            world.io().sleep(Duration::from_millis(150)).await;
        })
        .unwrap();
    let world = world.kill(1);
    world
        .run(async {
            let io = world.io();
            let files = journal_files(&io).await;
            let (path, _) = files.iter().find(|(_, used)| *used > LOST).expect("a file with frames behind");
            let file = io.open(Path::new(path), OpenHow::ReadWrite).await.unwrap();
            file.write_at(AlignedBuffer::zeroed(LOST), 0).await.unwrap();
            let store = open(&io, config()).await.unwrap();
            assert!(create(&store, 1).await.is_err(), "records that were acknowledged are gone");
        })
        .unwrap();
}
