//! Open transactions hold the last stable offset back, after a start too: ringmain takes none itself yet, but a
//! directory of Apache Kafka may have some.

use std::path::Path;
use std::rc::Rc;

use bytes::BytesMut;
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{SimIo, SimWorld};
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::validate::ProducerBatch;
use ringmain_storage::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::key;

/// How the store ended before it is opened again.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// By the book.
    Clean,
    /// Without warning.
    Killed,
    /// As by Apache Kafka: its own files are all there is.
    KilledApache,
}

async fn open(io: &SimIo) -> (Rc<LogManager<SimIo>>, Rc<Log<SimIo>>) {
    io.create_directory(Path::new("/data")).await.unwrap();
    let (store, _) = LogManager::open(io.clone(), StoreConfig::new("/data")).await.unwrap();
    let config = LogConfig { segment_bytes: 4 << 10, ..LogConfig::default() };
    let log = store.create_log(key(0), "t", config).await.unwrap();
    (store, log)
}

async fn append(log: &Rc<Log<SimIo>>, transactional: Option<i32>) {
    let mut builder = BatchBuilder::new(Codec::None);
    if let Some(base_sequence) = transactional {
        let (producer_id, producer_epoch) = (ProducerId(9), ProducerEpoch(0));
        let producer = ProducerBatch { producer_id, producer_epoch, base_sequence };
        builder = builder.transactional().with_producer(producer);
    }
    builder.push(&NewRecord { value: Some(&[7; 900]), ..NewRecord::default() }).unwrap();
    let batch = BytesMut::from(builder.build().unwrap().as_ref());
    let end = Offset(log.append(batch, LeaderEpoch(0), TimestampMs(1)).unwrap().last_offset.0 + 1);
    log.wait_durable(end).await.unwrap();
    log.set_high_watermark(end);
}

#[test]
fn an_open_transaction_holds_the_last_stable_offset_back_after_a_start_too() {
    for stop in [Stop::Clean, Stop::Killed, Stop::KilledApache] {
        // In the active segment, and some segments before it.
        for behind in [0, 12] {
            let world = SimWorld::new(5);
            world
                .run(async {
                    let (store, log) = open(&world.io()).await;
                    for _ in 0..3 {
                        append(&log, None).await;
                    }
                    append(&log, Some(0)).await;
                    for _ in 0..behind {
                        append(&log, None).await;
                    }
                    assert_eq!(log.offsets().last_stable_offset, Offset(3));
                    if !matches!(stop, Stop::Killed) {
                        store.close().await.unwrap();
                    }
                    if matches!(stop, Stop::KilledApache) {
                        world.io().remove_file(Path::new("/data/.kafka_cleanshutdown")).await.unwrap();
                    }
                })
                .unwrap();
            let world = world.kill(6);
            world
                .run(async {
                    let (_store, log) = open(&world.io()).await;
                    let end = log.offsets().log_end_offset;
                    assert_eq!(end, Offset(4 + behind), "{stop:?}");
                    assert_eq!(log.offsets().last_stable_offset, Offset(3), "{stop:?}, {behind} behind");
                    log.set_high_watermark(end);
                    append(&log, None).await;
                    append(&log, Some(1)).await;
                    assert_eq!(log.offsets().last_stable_offset, Offset(3), "{stop:?}, {behind} behind");
                })
                .unwrap();
        }
    }
}
