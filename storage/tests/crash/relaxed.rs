//! Relaxed durability: what a power cut may take back, and what it may not. Whole lives under it stand in
//! [`crate::many_lives`].

use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use ringmain_storage::config::{Durability, LogConfig, StoreConfig};
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{SimIo, SimWorld};
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::types::{LeaderEpoch, TimestampMs};

use crate::shards::log_dir;
use crate::workload::{key, small_store};

/// Possible pasts of a power cut that are looked at.
const CRASHES: u64 = 40;

async fn open(io: &SimIo, config: LogConfig) -> Rc<Log<SimIo>> {
    io.create_directory(&log_dir(0)).await.unwrap();
    let store = StoreConfig { durability: Durability::Relaxed, ..small_store() };
    let (manager, _) = LogManager::open(io.clone(), store).await.unwrap();
    manager.create_log(key(1, 0), "topic", config).await.unwrap()
}

/// Appends records one by one, each acknowledged, waits, and says where the log ends over all that a power cut at once may
/// leave: the least and the most.
fn ends_after_a_cut(config: &LogConfig, records: i64, wait: Duration) -> (i64, i64) {
    let world = SimWorld::new(1);
    let appended = world.run(async {
        let io = world.io();
        let log = open(&io, config.clone()).await;
        for _ in 0..records {
            let mut builder = BatchBuilder::new(Codec::None);
            builder.push(&NewRecord { timestamp: TimestampMs(1), ..NewRecord::default() }).unwrap();
            let batch = BytesMut::from(builder.build().unwrap().as_ref());
            let appended = log.append(batch, LeaderEpoch(0), TimestampMs(1)).unwrap();
            log.wait_durable(appended.answered_at()).await.unwrap();
        }
        io.sleep(wait).await;
        world.cut();
        std::future::pending::<()>().await;
    });
    assert!(appended.is_err());
    let end = |world: SimWorld| {
        let opened = world.run(async { open(&world.io(), config.clone()).await.offsets().log_end_offset });
        opened.unwrap().0
    };
    assert_eq!(end(world.kill(1)), records, "the end of the process takes nothing back");
    let ends: Vec<i64> = (0..CRASHES).map(|seed| end(world.crash(seed))).collect();
    (*ends.iter().min().unwrap(), *ends.iter().max().unwrap())
}

#[test]
fn a_power_cut_takes_back_what_no_sync_came_after_and_a_kill_takes_back_nothing() {
    let usual = LogConfig::default();
    assert_eq!(ends_after_a_cut(&usual, 5, Duration::ZERO), (0, 5), "acknowledged, not synced");
    assert_eq!(ends_after_a_cut(&usual, 5, Duration::from_secs(1)), (5, 5), "synced meanwhile");
    let flushed = LogConfig { flush_ms: 5, ..LogConfig::default() };
    assert_eq!(ends_after_a_cut(&flushed, 5, Duration::from_millis(50)), (5, 5), "flush.ms");
    let strict = LogConfig { flush_messages: 1, ..LogConfig::default() };
    assert_eq!(ends_after_a_cut(&strict, 5, Duration::ZERO), (5, 5), "flush.messages=1");
    let counted = LogConfig { flush_messages: 3, ..LogConfig::default() };
    assert_eq!(ends_after_a_cut(&counted, 5, Duration::ZERO), (3, 5), "flush.messages=3");
}
