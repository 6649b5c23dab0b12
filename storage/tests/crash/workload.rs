//! What the store is made to do: several producers at once, rolls, logs made and removed, a clean stop.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::join_all;
use ringmain_storage::config::{LogConfig, StoreConfig, TimestampType};
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{Random, SimIo};
use ringmain_storage::log::Log;
use ringmain_storage::manager::RecoveryReport;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::validate::ProducerBatch;
use ringmain_storage::types::{
    LeaderEpoch, Offset, PartitionIndex, PartitionKey, ProducerEpoch, ProducerId, TimestampMs, TopicId,
};

use crate::index_files::check_index_files;
use crate::model::{Existence, Expected, ExpectedLog, SentBatch};
use crate::shards::{Shards, log_dir};

/// What a run shares with the outside, which outlives a power cut.
pub(crate) type Shared = Rc<RefCell<Expected>>;

/// How one life of the store goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// Draws sizes and waits.
    pub(crate) seed: u64,
    /// 0 for the first life; the leader epoch.
    pub(crate) number: i32,
    /// Batches each producer sends.
    pub(crate) batches: usize,
    /// Whether it ends with a clean stop.
    pub(crate) close: bool,
}

/// Producers, and logs that stay.
const PARTITIONS: i32 = 3;

/// A store so small that a short run wraps its journal and rolls its segments several times.
pub(crate) fn small_store() -> StoreConfig {
    StoreConfig {
        journal_file_bytes: 64 << 10,
        journal_files: 2,
        journal_files_max: 4,
        group_bytes_max: 16 << 10,
        tail_cache_bytes: 128 << 10,
        write_behind_bytes: 8 << 10,
        carry_bytes_max: 2 << 10,
        ..StoreConfig::new("/data")
    }
}

/// A log whose segments roll in a short run.
pub(crate) fn small_log() -> LogConfig {
    LogConfig {
        segment_bytes: 16 << 10,
        index_interval_bytes: 1 << 10,
        retention_ms: -1,
        segment_ms: i64::MAX,
        ..LogConfig::default()
    }
}

/// Opens the store and checks it.
pub(crate) async fn open(io: SimIo, expected: &Shared) -> Result<(Rc<Shards>, RecoveryReport), String> {
    let mut model = expected.borrow().clone();
    for number in 0..model.directories {
        check_index_files(&io, &log_dir(number)).await?;
    }
    let counts = (model.directories, model.next_shard_count());
    let config = StoreConfig { durability: model.durability, ..small_store() };
    let (manager, report) = Shards::open(io, config, counts).await?;
    model.check(&manager).await?;
    *expected.borrow_mut() = model;
    Ok((manager, report))
}

/// Opens a store whose files are damaged and checks what of it can be used.
pub(crate) async fn open_damaged(io: SimIo, expected: &Shared) -> Result<(), String> {
    let mut model = expected.borrow().clone();
    let counts = (model.directories, model.next_shard_count());
    let (manager, _) = Shards::open(io, small_store(), counts).await?;
    model.check_what_is_there(&manager).await
}

/// One life: opens, checks, works; every answer is written down when it comes.
pub(crate) async fn live(io: SimIo, expected: Shared, life: Life) -> Result<(), String> {
    io.create_directory(Path::new("/data")).await.map_err(|error| error.to_string())?;
    let (manager, _) = open(io.clone(), &expected).await?;
    for partition in 0..PARTITIONS {
        create(&manager, &expected, key(1, partition), "steady").await?;
    }
    let producers = (0..PARTITIONS).map(|partition| {
        let producer =
            Producer { io: io.clone(), manager: Rc::clone(&manager), expected: Rc::clone(&expected), life };
        async move { producer.produce(key(1, partition)).await }
    });
    let (produced, passing) =
        futures::future::join(join_all(producers), passing_logs(&manager, &io, &expected, life)).await;
    produced.into_iter().collect::<Result<Vec<()>, String>>()?;
    passing?;
    let model = expected.borrow().clone();
    model.check_running(&manager).await?;
    if life.close {
        expected.borrow_mut().stopping();
        manager.close().await.map_err(|error| format!("close: {error}"))?;
    } else {
        // Long enough for the journal to vouch for its last group.
        io.sleep(Duration::from_millis(150)).await;
    }
    Ok(())
}

/// Logs that are made, written to and removed, one after another under one name; the last one stays.
async fn passing_logs(manager: &Rc<Shards>, io: &SimIo, expected: &Shared, life: Life) -> Result<(), String> {
    // What a cut left of the life before.
    for key in manager.keys() {
        if key.topic_id.0[0] >= 10 && key.topic_id.0[0] % 3 != 0 {
            delete(manager, expected, key).await?;
        }
    }
    for round in 1..=3_u8 {
        let topic = 9 + u8::try_from(life.number).unwrap_or(0) * 3 + round;
        let key = key(topic, 0);
        let stays = topic.is_multiple_of(3);
        let name = if stays { format!("staying-{topic}") } else { "passing".to_owned() };
        create(manager, expected, key, &name).await?;
        let producer = Producer {
            io: io.clone(),
            manager: Rc::clone(manager),
            expected: Rc::clone(expected),
            life: Life { batches: 2, ..life },
        };
        producer.produce(key).await?;
        if !stays {
            delete(manager, expected, key).await?;
        }
    }
    Ok(())
}

/// Deletes a log.
pub(crate) async fn delete(manager: &Shards, expected: &Shared, key: PartitionKey) -> Result<(), String> {
    set_existence(expected, key, Existence::Deleting);
    manager.delete_log(key).await.map_err(|error| format!("delete: {error}"))?;
    set_existence(expected, key, Existence::Gone);
    Ok(())
}

/// Makes a log.
pub(crate) async fn create(
    manager: &Shards,
    expected: &Shared,
    key: PartitionKey,
    topic: &str,
) -> Result<(), String> {
    create_with(manager, expected, key, topic, small_log()).await
}

/// Makes a log with settings of its own.
pub(crate) async fn create_with(
    manager: &Shards,
    expected: &Shared,
    key: PartitionKey,
    topic: &str,
    config: LogConfig,
) -> Result<(), String> {
    let known = expected.borrow().logs.get(&key).is_some_and(|log| log.existence == Existence::There);
    if !known {
        expected.borrow_mut().logs.insert(key, ExpectedLog::new());
    }
    manager.create_log(key, topic, config).await.map_err(|error| format!("create: {error}"))?;
    set_existence(expected, key, Existence::There);
    Ok(())
}

fn set_existence(expected: &Shared, key: PartitionKey, existence: Existence) {
    if let Some(log) = expected.borrow_mut().logs.get_mut(&key) {
        log.existence = existence;
    }
}

/// The key of a test topic.
pub(crate) fn key(topic: u8, partition: i32) -> PartitionKey {
    PartitionKey { topic_id: TopicId([topic; 16]), partition: PartitionIndex(partition) }
}

/// Appends to logs and notes what it is told.
pub(crate) struct Producer {
    /// See [`live`].
    pub(crate) io: SimIo,
    /// See [`live`].
    pub(crate) manager: Rc<Shards>,
    /// See [`live`].
    pub(crate) expected: Shared,
    /// See [`live`].
    pub(crate) life: Life,
}

impl Producer {
    /// Appends batches, several in flight, and notes what is acknowledged.
    pub(crate) async fn produce(&self, key: PartitionKey) -> Result<(), String> {
        let log = self.manager.log(key).ok_or("a log that was made is not there")?;
        let mut random = Random::new(self.life.seed ^ u64::from(key.topic_id.0[0]) << 8 ^ log_number(key));
        self.resend_last(&log, key).await?;
        for index in 0..self.life.batches {
            log.room().await.map_err(|error| error.to_string())?;
            self.append(&log, key, &mut random)?;
            if index % 3 == 2 || random.one_in(3) {
                self.acknowledge(&log, key).await?;
            }
            if random.one_in(4) {
                self.io.sleep(Duration::from_micros(random.below(3000))).await;
            }
        }
        self.acknowledge(&log, key).await
    }

    /// Appends one batch and does not wait.
    pub(crate) fn append(
        &self,
        log: &Log<SimIo>,
        key: PartitionKey,
        random: &mut Random,
    ) -> Result<(), String> {
        let base_offset = self.expected.borrow().logs[&key].sent_end();
        let produced = some_batch(key, base_offset, random);
        let leader_epoch = LeaderEpoch(self.life.number);
        let now = self.io.wall_clock();
        let appended = log
            .append(BytesMut::from(&produced[..]), leader_epoch, now)
            .map_err(|error| format!("append at {base_offset}: {error}"))?;
        if appended.base_offset != Offset(base_offset) || appended.duplicate {
            return Err(format!("appended at {appended:?}, expected {base_offset}"));
        }
        let sent = SentBatch::new(produced, base_offset, leader_epoch, (TimestampType::CreateTime, now));
        if let Some(log) = self.expected.borrow_mut().logs.get_mut(&key) {
            log.sent.push(sent);
        }
        Ok(())
    }

    /// Waits until all that was appended is durable.
    pub(crate) async fn acknowledge(&self, log: &Log<SimIo>, key: PartitionKey) -> Result<(), String> {
        let end = self.expected.borrow().logs[&key].sent_end();
        log.wait_durable(Offset(end)).await.map_err(|error| error.to_string())?;
        if let Some(log) = self.expected.borrow_mut().logs.get_mut(&key) {
            log.acknowledged_end = log.acknowledged_end.max(end);
        }
        log.set_high_watermark(Offset(end));
        Ok(())
    }

    /// The last batch of the life before is sent again, as a client does that heard no answer.
    async fn resend_last(&self, log: &Log<SimIo>, key: PartitionKey) -> Result<(), String> {
        let last = self.expected.borrow().logs[&key].sent.last().cloned();
        let Some(last) = last else { return Ok(()) };
        let now = self.io.wall_clock();
        let appended = log
            .append(BytesMut::from(&last.produced[..]), LeaderEpoch(self.life.number), now)
            .map_err(|error| format!("sent again: {error}"))?;
        if !appended.duplicate || appended.base_offset.0 != last.base_offset {
            return Err(format!("sent again: {appended:?}, first at {}", last.base_offset));
        }
        log.wait_durable(appended.answered_at()).await.map_err(|error| error.to_string())
    }
}

fn log_number(key: PartitionKey) -> u64 {
    u64::from(key.partition.0.unsigned_abs())
}

/// One to four records, mostly small, sometimes larger than a segment write; sequence = offset.
fn some_batch(key: PartitionKey, base_offset: i64, random: &mut Random) -> Bytes {
    let size = match random.below(12) {
        0 => 9000 + random.index(3000),
        1..4 => 1000 + random.index(3000),
        _ => random.index(400),
    };
    let mut builder = BatchBuilder::new(Codec::None).with_producer(ProducerBatch {
        producer_id: ProducerId(i64::from(key.partition.0) + i64::from(key.topic_id.0[0]) * 100),
        producer_epoch: ProducerEpoch(0),
        base_sequence: i32::try_from(base_offset).unwrap(),
    });
    let records = 1 + random.index(4);
    for _ in 0..records {
        let value: Vec<u8> = (0..size / records).map(|_| random.number().to_le_bytes()[0]).collect();
        let record =
            NewRecord { timestamp: TimestampMs(base_offset), key: None, value: Some(&value), headers: &[] };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}
