//! A small store on a simulated disk, what it was told, and hands that tamper with its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::error::OpenError;
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{SimIo, SimWorld};
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::batch;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::segment::{ReadLimits, Slice};
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionIndex, PartitionKey, TimestampMs, TopicId};

/// The store of a simulated world.
pub(crate) type Store = Rc<LogManager<SimIo>>;

/// The key of the only partition of topic `t<number>`.
pub(crate) fn key(number: u8) -> PartitionKey {
    PartitionKey { topic_id: TopicId([number; 16]), partition: PartitionIndex(0) }
}

/// The topic's name.
pub(crate) fn topic(number: u8) -> String {
    format!("t{number}")
}

/// A file of the partition's folder.
pub(crate) fn file(number: u8, name: &str) -> PathBuf {
    Path::new("/data").join(format!("t{number}-0")).join(name)
}

/// Limits small enough that segments roll in a short run.
pub(crate) fn config() -> StoreConfig {
    StoreConfig {
        journal_file_bytes: 64 << 10,
        group_bytes_max: 16 << 10,
        tail_cache_bytes: 128 << 10,
        write_behind_bytes: 8 << 10,
        carry_bytes_max: 2 << 10,
        ..StoreConfig::new("/data")
    }
}

/// With it, what the metadata say of the topics.
pub(crate) fn config_of(topics: &[u8]) -> StoreConfig {
    let ids: BTreeMap<_, _> = topics.iter().map(|number| (topic(*number), key(*number).topic_id)).collect();
    StoreConfig { topic_ids: Some(Arc::new(ids)), ..config() }
}

/// Opens the store.
pub(crate) async fn open(io: &SimIo, config: StoreConfig) -> Result<Store, OpenError> {
    io.create_directory(Path::new("/data")).await?;
    Ok(LogManager::open(io.clone(), config).await?.0)
}

/// Makes the log as a broker does for a topic of its metadata.
pub(crate) async fn create(store: &Store, number: u8) -> Result<Rc<Log<SimIo>>, String> {
    let config = LogConfig { segment_bytes: 16 << 10, retention_ms: -1, ..LogConfig::default() };
    store.create_log(key(number), &topic(number), config).await.map_err(|error| error.to_string())
}

/// The batch at an offset: one record, of a size that goes with it.
fn batch_at(number: u8, offset: i64) -> BytesMut {
    let mut value = format!("{number}/{offset}/").into_bytes();
    value.resize(100 + usize::try_from(offset % 7).unwrap() * 300, b'x');
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(&value), ..NewRecord::default() }).unwrap();
    BytesMut::from(builder.build().unwrap().as_ref())
}

/// Appends until the log ends at `end`, all of it acknowledged.
pub(crate) async fn produce(log: &Rc<Log<SimIo>>, end: i64) {
    let number = log.key().topic_id.0[0];
    for offset in log.offsets().log_end_offset.0..end {
        log.room().await.unwrap();
        let appended = log.append(batch_at(number, offset), LeaderEpoch(0), TimestampMs(1)).unwrap();
        assert_eq!(appended.base_offset, Offset(offset));
        log.wait_durable(Offset(offset + 1)).await.unwrap();
    }
    log.set_high_watermark(Offset(end));
}

/// Says what is wrong if the log does not serve exactly the records below `end`.
pub(crate) async fn served(log: &Rc<Log<SimIo>>, end: i64) -> Result<(), String> {
    let number = log.key().topic_id.0[0];
    let offsets = log.offsets();
    if offsets.log_end_offset != Offset(end) || offsets.log_start_offset != Offset(0) {
        return Err(format!("t{number}: {offsets:?}, acknowledged up to {end}"));
    }
    let mut next = Offset(0);
    while next < offsets.log_end_offset {
        let limits = ReadLimits { end: offsets.log_end_offset, bytes_max: 64 << 10, at_least_one: true };
        let read = log.read(next, limits).await.map_err(|error| format!("t{number} at {next}: {error}"))?;
        let before = next;
        for slice in read.slices {
            let Slice::Memory(bytes) = slice else { return Err("a file".to_owned()) };
            for (header, bytes) in batch::batches(&bytes) {
                let mut expected = batch_at(number, next.0);
                batch::stamp(&mut expected, next, LeaderEpoch(0));
                if bytes != &expected[..] {
                    return Err(format!("t{number}: another batch at {next}"));
                }
                next = header.next_offset();
            }
        }
        if next == before {
            return Err(format!("t{number}: nothing at {next}"));
        }
    }
    Ok(())
}

/// A world in which these topics have so many records each, left by a kill or a clean stop.
pub(crate) fn world(topics: &[(u8, i64)], stop: Stop) -> SimWorld {
    let world = SimWorld::new(3);
    world
        .run(async {
            let store = open(&world.io(), config()).await.unwrap();
            for (number, end) in topics {
                produce(&create(&store, *number).await.unwrap(), *end).await;
            }
            if matches!(stop, Stop::Clean) {
                store.close().await.unwrap();
            } else {
                // The journal vouches for its last group.
                world.io().sleep(std::time::Duration::from_millis(150)).await;
            }
        })
        .unwrap();
    world.kill(1)
}

/// How a store ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// By the book.
    Clean,
    /// Without warning.
    Killed,
}

/// Opens the world's store as a broker would: with the metadata's topics, making the logs that are missing.
pub(crate) async fn lead(io: &SimIo, topics: &[(u8, i64)]) -> Vec<Result<(), String>> {
    let numbers: Vec<u8> = topics.iter().map(|(number, _)| *number).collect();
    let store = match open(io, config_of(&numbers)).await {
        Ok(store) => store,
        Err(error) => return topics.iter().map(|_| Err(format!("not opened: {error}"))).collect(),
    };
    let mut results = Vec::new();
    for (number, end) in topics {
        results.push(match create(&store, *number).await {
            Ok(log) => served(&log, *end).await,
            Err(problem) => Err(format!("offline: {problem}")),
        });
    }
    results
}
