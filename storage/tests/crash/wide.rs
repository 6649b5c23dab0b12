//! Lives with everything in them: several producers a log, with and without sequences, that send again what is in flight;
//! compressed, transactional and control batches from one record to more than a group; readers; leader epochs;
//! DeleteRecords and retention; rolls by size and by time; logs that go and come back under their name.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{join, join_all};
use ringmain_storage::config::{LogConfig, TimestampType};
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{Random, SimIo};
use ringmain_storage::log::Log;
use ringmain_storage::log::producer_state::BATCHES_MAX;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::validate::ProducerBatch;
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionKey, ProducerEpoch, ProducerId, TimestampMs};

use crate::checks::read_all;
use crate::model::{Existence, ExpectedLog, SentBatch};
use crate::shards::{Shards, log_dir};
use crate::workload::{Life, Shared, create_with, delete, key, open, small_log};

/// Logs that come and go.
const PASSING: u64 = 4;
/// Leader epochs that one life may see.
const EPOCHS_A_LIFE: i32 = 16;

/// One life: opens, checks, works; every answer is written down when it comes.
pub(crate) async fn live(io: SimIo, expected: Shared, life: Life) -> Result<(), String> {
    let directories = expected.borrow().directories;
    for number in 0..directories {
        io.create_directory(&log_dir(number)).await.map_err(|error| error.to_string())?;
    }
    let (manager, _) = open(io.clone(), &expected).await?;
    let partitions = 2 + i32::try_from(life.seed % 4).unwrap();
    let mut clients = Vec::new();
    for partition in 0..partitions {
        let key = key(1 + u8::try_from(partition % 2).unwrap(), partition);
        create_with(&manager, &expected, key, "steady", config_of(key)).await?;
        clients.push(Client::new(&io, &manager, &expected, (key, life))?);
    }
    let working = join_all(clients.into_iter().map(async |mut client| client.work(life.batches).await));
    let (worked, passed) = join(working, passing_logs(&manager, &io, &expected, life)).await;
    worked.into_iter().collect::<Result<Vec<()>, String>>()?;
    passed?;
    let model = expected.borrow().clone();
    model.check_running(&manager).await?;
    if life.close {
        expected.borrow_mut().stopping();
        manager.close().await.map_err(|error| format!("close: {error}"))?;
        expected.borrow_mut().stopped();
    }
    Ok(())
}

/// `flush.messages`, which counts under relaxed durability alone.
pub(crate) fn flush_messages(key: PartitionKey) -> i64 {
    [i64::MAX, 1][usize::from(key.partition.0 % 2 == 1)]
}

/// Segments of several sizes, rolls by time, the log's own time: by the partition, so that it is the same in each life.
fn config_of(key: PartitionKey) -> LogConfig {
    let partition = usize::try_from(key.partition.0).unwrap_or(0);
    let timestamps = [TimestampType::CreateTime, TimestampType::LogAppendTime];
    LogConfig {
        segment_bytes: [16 << 10, 48 << 10, 8 << 10][partition % 3],
        segment_ms: if partition % 3 == 1 { 25 } else { i64::MAX },
        timestamp_type: timestamps[usize::from(partition == 4)],
        file_delete_delay_ms: [0, 20][partition % 2],
        flush_messages: flush_messages(key),
        flush_ms: [i64::MAX, 3][partition / 2 % 2],
        ..small_log()
    }
}

/// Logs that are made, written to and removed; some come back under the same name and id.
async fn passing_logs(manager: &Rc<Shards>, io: &SimIo, expected: &Shared, life: Life) -> Result<(), String> {
    let mut random = Random::new(life.seed ^ 0xface);
    for _ in 0..3 {
        let number = u8::try_from(random.below(PASSING)).unwrap();
        let key = key(10 + number, 0);
        let is_there = expected.borrow().logs.get(&key).is_some_and(|log| log.existence == Existence::There);
        if is_there {
            delete(manager, expected, key).await?;
        }
        if !is_there || random.one_in(2) {
            create_with(manager, expected, key, &format!("passing-{number}"), config_of(key)).await?;
            Client::new(io, manager, expected, (key, life))?.work(3).await?;
        }
    }
    Ok(())
}

/// Somebody who works with one log, and notes what it is told.
struct Client {
    io: SimIo,
    log: Rc<Log<SimIo>>,
    key: PartitionKey,
    expected: Shared,
    random: Random,
    leader_epoch: i32,
    /// Whether its log is a follower's now and then.
    truncates: bool,
}

impl Client {
    fn new(
        io: &SimIo,
        manager: &Shards,
        expected: &Shared,
        (key, life): (PartitionKey, Life),
    ) -> Result<Self, String> {
        let log = manager.log(key).ok_or("a log that was made is not there")?;
        let which = u64::from(key.topic_id.0[0]) << 8 | u64::from(key.partition.0.unsigned_abs());
        let random = Random::new(life.seed << 20 ^ which << 4 ^ u64::from(life.number.unsigned_abs()));
        let (io, expected) = (io.clone(), Rc::clone(expected));
        let leader_epoch = life.number * EPOCHS_A_LIFE;
        let truncates = expected.borrow().truncates;
        Ok(Self { io, log, key, expected, random, leader_epoch, truncates })
    }

    async fn work(&mut self, actions: usize) -> Result<(), String> {
        for _ in 0..actions {
            self.act().await?;
        }
        self.wait().await
    }

    async fn act(&mut self) -> Result<(), String> {
        if self.truncates && self.random.one_in(16) {
            return self.truncate().await;
        }
        match self.random.below(40) {
            0..14 => self.append().await,
            14..17 => {
                for _ in 0..self.random.below(8) {
                    self.append().await?;
                }
                Ok(())
            }
            17 => self.newcomers().await,
            18..22 => self.wait().await,
            22..27 => self.send_again().await,
            27..31 => self.read().await,
            31..34 => self.delete_records().await,
            34..36 => self.retain().await,
            36 => {
                self.leader_epoch += i32::from(self.leader_epoch % EPOCHS_A_LIFE < EPOCHS_A_LIFE - 1);
                Ok(())
            }
            // Sometimes long enough for the journal to vouch for its last group.
            choice => {
                let micros = if choice == 37 { 130_000 } else { 3000 };
                self.io.sleep(Duration::from_micros(self.random.below(micros))).await;
                Ok(())
            }
        }
    }

    /// What the model has of the log.
    fn model<R>(&self, look: impl FnOnce(&mut ExpectedLog) -> R) -> R {
        look(self.expected.borrow_mut().logs.get_mut(&self.key).unwrap())
    }

    /// A batch of one of the log's producers.
    async fn append(&mut self) -> Result<(), String> {
        let producer = match self.random.below(60) {
            0 => 3,
            1..40 => 1 + i64::try_from(self.random.below(2)).unwrap(),
            _ => 0,
        };
        self.append_of(producer).await
    }

    /// Many producers that nobody knew, each with one batch; or a marker of a transaction that had nothing here.
    async fn newcomers(&mut self) -> Result<(), String> {
        let first = 100 + self.model(|log| log.sent_end());
        for number in 0..self.random.below(30).cast_signed() {
            self.append_of(first + number).await?;
        }
        Ok(())
    }

    async fn append_of(&mut self, producer: i64) -> Result<(), String> {
        self.log.room().await.map_err(|error| error.to_string())?;
        let (base_offset, next) = self.model(|log| (log.sent_end(), next_of(&log.sent, producer)));
        let produced = self.some_batch((producer, next), base_offset);
        let (leader_epoch, now) = (LeaderEpoch(self.leader_epoch), self.io.wall_clock());
        let batch = BytesMut::from(&produced[..]);
        let appended = self
            .log
            .append(batch, leader_epoch, now)
            .map_err(|error| format!("append at {base_offset}: {error}"))?;
        if appended.base_offset != Offset(base_offset) || appended.duplicate {
            return Err(format!("appended at {appended:?}, expected {base_offset}"));
        }
        let stamped = (self.log.config().timestamp_type, now);
        let sent = SentBatch::new(produced, base_offset, leader_epoch, stamped);
        self.model(|log| log.sent.push(sent));
        Ok(())
    }

    /// Mostly small, sometimes larger than a segment write, rarely larger than a group of the journal.
    fn some_batch(&mut self, (producer, next): (i64, (i16, i32)), base_offset: i64) -> Bytes {
        let largest = usize::try_from(self.log.config().segment_bytes).unwrap().min(30 << 10) - 600;
        let random = &mut self.random;
        let size = match random.below(24) {
            _ if producer >= 100 => 10,
            0 => largest,
            1..3 => largest.min(9000 + random.index(3000)),
            3..9 => 1000 + random.index(3000),
            _ => random.index(400),
        };
        let codecs = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        let codec = if random.one_in(4) { codecs[random.index(4)] } else { Codec::None };
        let is_marker = producer >= 100 && producer % 16 == 0;
        let mut builder = BatchBuilder::new(codec);
        if producer > 0 {
            builder = builder.with_producer(ProducerBatch {
                producer_id: ProducerId(producer),
                producer_epoch: ProducerEpoch(next.0),
                base_sequence: if is_marker { -1 } else { next.1 },
            });
        }
        if producer == 3 {
            builder = builder.transactional();
        } else if is_marker {
            builder = builder.transactional().control();
        }
        let records = [1, 1, 2, 3, 20][random.index(5)];
        for _ in 0..records {
            let value: Vec<u8> = (0..size / records).map(|_| random.number().to_le_bytes()[0]).collect();
            let record = NewRecord {
                timestamp: TimestampMs(base_offset),
                value: Some(&value),
                ..NewRecord::default()
            };
            builder.push(&record).unwrap();
        }
        builder.build().unwrap()
    }

    /// Waits until all that was appended is durable.
    async fn wait(&mut self) -> Result<(), String> {
        let end = self.model(|log| log.sent_end());
        self.wait_for(Offset(end)).await
    }

    async fn wait_for(&self, end: Offset) -> Result<(), String> {
        self.log.wait_durable(end).await.map_err(|error| error.to_string())?;
        self.model(|log| log.acknowledged_end = log.acknowledged_end.max(end.0));
        self.log.set_high_watermark(end);
        Ok(())
    }

    /// A client that heard no answer sends one of its last batches again, and is answered as the broker does.
    async fn send_again(&mut self) -> Result<(), String> {
        let producer = 1 + i64::try_from(self.random.below(2)).unwrap();
        let back = if self.random.one_in(2) { 0 } else { self.random.index(BATCHES_MAX) };
        let Some(batch) = self.model(|log| nth_last(log, producer, back)) else { return Ok(()) };
        let (again, now) = (BytesMut::from(&batch.produced[..]), self.io.wall_clock());
        let appended = self
            .log
            .append(again, LeaderEpoch(self.leader_epoch), now)
            .map_err(|error| format!("sent again: {error}"))?;
        if !appended.duplicate || appended.base_offset.0 != batch.base_offset {
            return Err(format!("sent again: {appended:?}, first at {}", batch.base_offset));
        }
        self.log.wait_durable(appended.answered_at()).await.map_err(|error| error.to_string())?;
        self.model(|log| log.acknowledged_end = log.acknowledged_end.max(batch.end));
        Ok(())
    }

    /// A consumer sees what is below the high watermark.
    async fn read(&mut self) -> Result<(), String> {
        let offsets = self.log.offsets();
        self.log.set_high_watermark(offsets.durable_offset);
        let end = self.log.offsets().high_watermark;
        self.model(|log| log.seen_end = log.seen_end.max(end.0));
        let start = offsets.log_start_offset.0;
        let from = start + self.random.below((end.0 - start).max(1).unsigned_abs()).cast_signed();
        let bytes = read_all(&self.log, Offset(from), end).await?;
        let wanted = self.model(|log| {
            let seen = log.sent.iter().filter(|batch| batch.end > from && batch.end <= end.0);
            seen.flat_map(|batch| batch.stored.iter().copied()).collect::<Vec<_>>()
        });
        if bytes == wanted { Ok(()) } else { Err(format!("a reader at {from} sees something else")) }
    }

    /// DeleteRecords.
    async fn delete_records(&mut self) -> Result<(), String> {
        let offsets = self.log.offsets();
        let (start, end) = (offsets.log_start_offset.0, offsets.high_watermark.0);
        let to = start + self.random.below((end - start + 1).unsigned_abs()).cast_signed();
        self.model(|log| log.start.1 = log.start.1.max(to));
        let moved = self.log.advance_log_start(Offset(to)).await;
        moved.map_err(|error| format!("log start: {error}"))?;
        self.model(|log| log.start.0 = log.start.0.max(to));
        Ok(())
    }

    /// The end goes, as a follower's does whose leader has another one. The batch that holds the offset goes whole, unless
    /// the log starts in it.
    async fn truncate(&mut self) -> Result<(), String> {
        let offsets = self.log.offsets();
        let start = offsets.log_start_offset.0;
        let span = (offsets.log_end_offset.0 - start + 1).unsigned_abs();
        let near = if self.random.one_in(2) { span } else { span.min(4) };
        let to = offsets.log_end_offset.0 - self.random.below(near).cast_signed();
        let (kept, end) = self.model(|log| {
            let stays = |batch: &&SentBatch| batch.end <= to || batch.base_offset < start;
            let kept = log.sent.iter().take_while(stays).count();
            let end = kept.checked_sub(1).map_or(0, |last| log.sent[last].end);
            // From now on it may be there or not; what is known of producers comes from what is left.
            log.acknowledged_end = log.acknowledged_end.min(end);
            log.seen_end = log.seen_end.min(end);
            log.synced_end = log.synced_end.min(end);
            log.stopped_at = log.sent.len();
            log.is_truncated = true;
            (kept, end)
        });
        let ends = self.log.truncate(Offset(to)).await.map_err(|error| format!("truncate: {error}"))?;
        if ends.0 != end.max(start) {
            return Err(format!("truncated to {to}: ends at {ends}, wanted {end}"));
        }
        self.model(|log| {
            log.sent.truncate(kept);
            log.stopped_at = kept;
            log.acknowledged_end = end;
        });
        Ok(())
    }

    /// Retention by time or size.
    async fn retain(&mut self) -> Result<(), String> {
        let config = self.log.config();
        let offsets = self.log.offsets();
        let span = (offsets.log_end_offset.0 - offsets.log_start_offset.0 + 2).unsigned_abs();
        let mut now = offsets.log_start_offset.0 + self.random.below(span).cast_signed();
        let limited = if self.random.one_in(2) {
            if config.timestamp_type == TimestampType::LogAppendTime {
                now = self.io.wall_clock().0 - self.random.below(20).cast_signed();
            }
            LogConfig { retention_ms: 0, ..config.clone() }
        } else {
            let retention_bytes = self.random.below(64 << 10).cast_signed();
            LogConfig { retention_bytes, ..config.clone() }
        };
        self.model(|log| log.start.1 = log.start.1.max(offsets.high_watermark.0));
        self.log.set_config(limited);
        let removed = self.log.enforce_retention(TimestampMs(now)).await;
        removed.map_err(|error| format!("retention: {error}"))?;
        self.log.set_config(config);
        let start = self.log.offsets().log_start_offset.0;
        self.model(|log| log.start = (start, start));
        Ok(())
    }
}

/// Epoch and sequence that a producer's next batch has.
fn next_of(sent: &[SentBatch], producer: i64) -> (i16, i32) {
    let last = sent.iter().rev().map(SentBatch::header).find(|header| header.producer_id().0 == producer);
    let Some(last) = last else { return (0, 0) };
    let next = last.base_sequence() + last.last_offset_delta() + 1;
    // Now and then a producer begins anew.
    if next % 11 == 10 && producer < 3 {
        (last.producer_epoch().0 + 1, 0)
    } else {
        (last.producer_epoch().0, next)
    }
}

/// The batch of a producer that so many of its epoch came after, if it has to be known still.
fn nth_last(log: &ExpectedLog, producer: i64, back: usize) -> Option<SentBatch> {
    let own =
        log.sent.iter().enumerate().rev().filter(|(_, batch)| batch.header().producer_id().0 == producer);
    let mut own = own.peekable();
    let epoch = own.peek()?.1.header().producer_epoch();
    let (index, batch) = own.nth(back)?;
    let is_known = (back == 0 || index >= log.stopped_at) && (!log.is_truncated || batch.end > log.start.1);
    (is_known && batch.header().producer_epoch() == epoch).then(|| batch.clone())
}
