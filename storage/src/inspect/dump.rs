//! What stands in a file of a log directory, row by row: names and values, which somebody else prints. Names are those
//! of Kafka's `kafka-dump-log` where it has them. What cannot be read is a row, too.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use futures::executor::block_on;

use super::batches::{Content, Piece, scan};
use super::files::{FileKind, SMALL_FILE_BYTES_MAX, kind_of};
use super::journal::{self, Standing};
use crate::checkpoint::{self, Checkpoint, LogCheckpoint};
use crate::io::IoError;
use crate::io::read_only::{ReadOnlyIo, list_directory, read_file};
use crate::journal::directories::read_settled;
use crate::journal::frame::{Descriptor, EntryKind};
use crate::log::checkpoint_file::read_partition_offsets;
use crate::log::epoch_cache::EpochCache;
use crate::log::producer_snapshot::read_snapshot;
use crate::log::producer_state::Producer;
use crate::partition_folder::{id_text, read_metadata};
use crate::record::batch::{BatchHeader, TimestampType};
use crate::record::record::BatchRecords;
use crate::segment::offset_index::OffsetIndex;
use crate::segment::time_index::TimeIndex;
use crate::segment::txn_index::{self, AbortedTransaction};
use crate::types::{Offset, ProducerId, TimestampMs};

/// Records of one batch are shown up to so many bytes when decompressed: more than any broker takes by default.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;
/// A log directory has its files at most this deep: `ringmain.journal/<shard>-of-<shards>/`.
const DEPTH_MAX: usize = 2;

/// A value of a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// There is none.
    Absent,
    /// A number that may be negative.
    Number(i64),
    /// A count, position or checksum.
    Count(u64),
    /// Yes or no.
    Flag(bool),
    /// Words.
    Text(String),
    /// Bytes of a record.
    Bytes(Vec<u8>),
    /// Headers of a record: names and values.
    Pairs(Vec<(String, Option<Vec<u8>>)>),
}

/// One thing in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// What it is: `batch`, `record`, `index`, `timeindex`, `producer`, `aborted`, `epoch`, `offset`, `partition`, `frame`,
    /// `entry`, `checkpoint`, `log`, `settled`, `damage`.
    pub kind: &'static str,
    /// Its values in order.
    pub fields: Vec<(&'static str, Value)>,
}

/// What is dumped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DumpOptions {
    /// The records of each batch as well.
    pub records: bool,
}

/// How a dump ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dumped {
    /// Files that were dumped.
    pub files: usize,
    /// Whether something could not be read as what it should be.
    pub damaged: bool,
}

/// Who takes the rows. Nothing more comes after a break.
pub type Sink<'a> = dyn FnMut(&Path, Row) -> ControlFlow<()> + 'a;

/// Dumps a file, or every file of a directory and its folders whose name says what it is.
pub fn dump(path: &Path, options: DumpOptions, sink: &mut Sink<'_>) -> Result<Dumped, IoError> {
    let mut dump = Dump { options, sink, dumped: Dumped::default(), ended: false };
    if path.is_dir() {
        dump.directory(path, 0)?;
    } else if let Some(kind) = kind_of(path) {
        dump.file(path, kind)?;
    } else {
        let source = std::io::Error::other("its name is not that of a file which a log directory has");
        return Err(IoError { operation: "dump", path: path.to_owned(), source });
    }
    Ok(dump.dumped)
}

struct Dump<'a, 'b> {
    options: DumpOptions,
    sink: &'a mut Sink<'b>,
    dumped: Dumped,
    ended: bool,
}

fn number(value: impl Into<i64>) -> Value {
    Value::Number(value.into())
}

fn count(value: usize) -> Value {
    Value::Count(u64::try_from(value).unwrap_or(u64::MAX))
}

fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

impl Dump<'_, '_> {
    fn directory(&mut self, path: &Path, depth: usize) -> Result<(), IoError> {
        for name in list_directory(path)? {
            let path = path.join(name);
            if self.ended {
                break;
            }
            if path.is_dir() && depth < DEPTH_MAX {
                self.directory(&path, depth + 1)?;
            } else if let Some(kind) = kind_of(&path).filter(|_| path.is_file()) {
                self.file(&path, kind)?;
            }
        }
        Ok(())
    }

    fn row(
        &mut self,
        path: &Path,
        kind: &'static str,
        fields: Vec<(&'static str, Value)>,
    ) -> ControlFlow<()> {
        if self.ended {
            return ControlFlow::Break(());
        }
        let flow = (self.sink)(path, Row { kind, fields });
        self.ended = flow.is_break();
        flow
    }

    fn damage(&mut self, path: &Path, position: Option<u64>, what: impl Into<String>) -> ControlFlow<()> {
        self.dumped.damaged = true;
        let position = position.map_or(Value::Absent, Value::Count);
        self.row(path, "damage", vec![("position", position), ("what", text(what))])
    }

    fn file(&mut self, path: &Path, kind: FileKind) -> Result<(), IoError> {
        self.dumped.files += 1;
        let _ended = match kind {
            FileKind::Batches(_) => return self.batches(path),
            FileKind::Journal(epoch) => self.journal(path, epoch, &read_file(path, journal::FILE_BYTES_MAX)?),
            FileKind::Settled => match block_on(read_settled(&ReadOnlyIo, path.to_owned())) {
                Ok(epoch) => self.row(path, "settled", vec![("epoch", Value::Count(epoch))]),
                Err(error) => self.damage(path, None, error.to_string()),
            },
            FileKind::Checkpoint => self.checkpoint(path, &read_file(path, checkpoint::BYTES_MAX)?),
            kind => self.small(path, kind, &read_file(path, SMALL_FILE_BYTES_MAX)?),
        };
        Ok(())
    }

    fn batches(&mut self, path: &Path) -> Result<(), IoError> {
        let content = Content::of_file(path)?;
        scan(&content, &[], &AtomicU64::new(0), |position, piece| match piece {
            Piece::Batch(header, bytes) => {
                self.batch(path, position, header, bytes.len())?;
                if self.options.records {
                    self.records(path, position, bytes)
                } else {
                    ControlFlow::Continue(())
                }
            }
            Piece::Bad(what) => self.damage(path, Some(position), what),
        })
    }

    fn batch(&mut self, path: &Path, position: u64, header: &BatchHeader, size: usize) -> ControlFlow<()> {
        let attributes = header.attributes();
        let sequence = header.base_sequence();
        let last_sequence = if sequence < 0 {
            sequence
        } else {
            sequence.wrapping_add(header.last_offset_delta()) & i32::MAX
        };
        let horizon = attributes.has_delete_horizon().then(|| header.base_timestamp().0);
        let fields = vec![
            ("baseOffset", number(header.base_offset().0)),
            ("lastOffset", number(header.last_offset().0)),
            ("count", number(header.record_count())),
            ("baseSequence", number(sequence)),
            ("lastSequence", number(last_sequence)),
            ("producerId", number(header.producer_id().0)),
            ("producerEpoch", number(header.producer_epoch().0)),
            ("partitionLeaderEpoch", number(header.partition_leader_epoch().0)),
            ("isTransactional", Value::Flag(attributes.is_transactional())),
            ("isControl", Value::Flag(attributes.is_control())),
            ("deleteHorizonMs", horizon.map_or(Value::Absent, Value::Number)),
            ("position", Value::Count(position)),
            ("timestampType", text(timestamp_type(header))),
            ("maxTimestamp", number(header.max_timestamp().0)),
            ("size", count(size)),
            ("magic", number(header.magic())),
            ("compresscodec", text(attributes.codec().map_or("unknown", |codec| codec.name()))),
            ("crc", Value::Count(header.crc().into())),
            ("isvalid", Value::Flag(true)),
        ];
        self.row(path, "batch", fields)
    }

    fn records(&mut self, path: &Path, position: u64, batch: &[u8]) -> ControlFlow<()> {
        let opened = match BatchRecords::open(batch, DECOMPRESSED_BYTES_MAX) {
            Ok(opened) => opened,
            Err(error) => return self.damage(path, Some(position), error.to_string()),
        };
        let sequence = opened.header().base_sequence();
        for record in &opened {
            let record = match record {
                Ok(record) => record,
                Err(error) => return self.damage(path, Some(position), error.to_string()),
            };
            let size = |bytes: Option<&[u8]>| bytes.map_or(Value::Number(-1), |bytes| count(bytes.len()));
            let content =
                |bytes: Option<&[u8]>| bytes.map_or(Value::Absent, |bytes| Value::Bytes(bytes.to_vec()));
            let headers =
                record.headers.map(|(name, value)| (name.into_owned(), value.map(<[u8]>::to_vec))).collect();
            let sequence =
                if sequence < 0 { sequence } else { sequence.wrapping_add(record.offset_delta) & i32::MAX };
            let fields = vec![
                ("offset", number(record.offset.0)),
                ("timestampType", text(timestamp_type(opened.header()))),
                ("timestamp", number(record.timestamp.0)),
                ("keySize", size(record.key)),
                ("valueSize", size(record.value)),
                ("sequence", number(sequence)),
                ("headers", Value::Pairs(headers)),
                ("key", content(record.key)),
                ("payload", content(record.value)),
            ];
            self.row(path, "record", fields)?;
        }
        ControlFlow::Continue(())
    }

    /// The small files: text, indexes, snapshots.
    fn small(&mut self, path: &Path, kind: FileKind, file: &[u8]) -> ControlFlow<()> {
        match kind {
            FileKind::OffsetIndex(base) => self.offset_index(path, base, file),
            FileKind::TimeIndex(base) => self.time_index(path, base, file),
            FileKind::TxnIndex(base) => match txn_index::read(base, file) {
                Ok(entries) => entries.iter().try_for_each(|one| self.row(path, "aborted", aborted(one))),
                Err(error) => self.damage(path, None, error.to_string()),
            },
            FileKind::Producers => match read_snapshot(file, TimestampMs(0)) {
                Ok(state) => {
                    state.iter().try_for_each(|(id, one)| self.row(path, "producer", producer(id, one)))
                }
                Err(error) => self.damage(path, Some(0), error.to_string()),
            },
            FileKind::Epochs => match EpochCache::read(file) {
                Ok(epochs) => self.epochs(path, &epochs),
                Err(error) => self.damage(path, None, error.to_string()),
            },
            FileKind::Offsets => match read_partition_offsets(file) {
                Ok(entries) => entries.into_iter().try_for_each(|entry| {
                    let fields = vec![
                        ("topic", text(entry.topic)),
                        ("partition", number(entry.partition.0)),
                        ("offset", number(entry.offset.0)),
                    ];
                    self.row(path, "offset", fields)
                }),
                Err(error) => self.damage(path, None, error.to_string()),
            },
            _ => match read_metadata(file) {
                Some(id) => self.row(path, "partition", vec![("topicId", text(id_text(id)))]),
                None => self.damage(path, None, "no topic id"),
            },
        }
    }

    fn offset_index(&mut self, path: &Path, base: Offset, file: &[u8]) -> ControlFlow<()> {
        match OffsetIndex::read(base, file, u64::MAX) {
            Ok(index) => index.iter().try_for_each(|(offset, position)| {
                let fields = vec![("offset", number(offset.0)), ("position", Value::Count(position.0))];
                self.row(path, "index", fields)
            }),
            Err(error) => self.damage(path, None, error.to_string()),
        }
    }

    fn time_index(&mut self, path: &Path, base: Offset, file: &[u8]) -> ControlFlow<()> {
        match TimeIndex::read(base, file) {
            Ok(index) => index.iter().try_for_each(|(timestamp, offset)| {
                let fields = vec![("timestamp", number(timestamp.0)), ("offset", number(offset.0))];
                self.row(path, "timeindex", fields)
            }),
            Err(error) => self.damage(path, None, error.to_string()),
        }
    }

    fn epochs(&mut self, path: &Path, epochs: &EpochCache) -> ControlFlow<()> {
        epochs.entries().iter().try_for_each(|entry| {
            let fields =
                vec![("epoch", number(entry.epoch.0)), ("startOffset", number(entry.start_offset.0))];
            self.row(path, "epoch", fields)
        })
    }

    fn journal(&mut self, path: &Path, epoch: u64, file: &[u8]) -> ControlFlow<()> {
        let mut flow = ControlFlow::Continue(());
        journal::walk(file, epoch, |position, standing| {
            if flow.is_break() {
                return;
            }
            flow = match standing {
                Standing::Frame(placed) => self.frame(path, &placed),
                Standing::Damaged => {
                    self.damage(path, Some(position), "the begin of a frame that is not valid")
                }
                Standing::UnknownVersion(version) => {
                    self.damage(path, Some(position), format!("a frame of the unknown version {version}"))
                }
            };
        });
        flow
    }

    fn frame(&mut self, path: &Path, placed: &journal::Placed) -> ControlFlow<()> {
        let (frame, header) = (&placed.frame, placed.frame.header);
        let fields = vec![
            ("position", Value::Count(placed.position)),
            ("epoch", Value::Count(header.epoch)),
            ("sequence", Value::Count(header.sequence)),
            ("durableSequence", Value::Count(header.durable_sequence)),
            ("predecessor", Value::Count(header.predecessor.into())),
            ("checksum", Value::Count(frame.checksum.into())),
            ("entries", count(frame.descriptors.len())),
            ("size", count(frame.bytes)),
            ("isvalid", Value::Flag(placed.bad_run.is_none())),
        ];
        self.dumped.damaged |= placed.bad_run.is_some();
        self.row(path, "frame", fields)?;
        frame.descriptors.iter().try_for_each(|descriptor| self.row(path, "entry", entry(descriptor)))
    }

    fn checkpoint(&mut self, path: &Path, file: &[u8]) -> ControlFlow<()> {
        let checkpoint = match Checkpoint::read(file) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return self.damage(path, None, format!("{error:?}")),
        };
        let fields = vec![
            ("epoch", Value::Count(checkpoint.from.epoch)),
            ("firstSequence", Value::Count(checkpoint.from.sequence)),
            ("logs", count(checkpoint.logs.len())),
        ];
        self.row(path, "checkpoint", fields)?;
        for log in &checkpoint.logs {
            self.row(path, "log", checkpointed(log))?;
            self.epochs(path, &log.epochs)?;
            log.producers.iter().try_for_each(|(id, one)| self.row(path, "producer", producer(id, one)))?;
            log.aborted.iter().flatten().try_for_each(|one| self.row(path, "aborted", aborted(one)))?;
        }
        ControlFlow::Continue(())
    }
}

fn timestamp_type(header: &BatchHeader) -> &'static str {
    match header.attributes().timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn producer(id: ProducerId, producer: &Producer) -> Vec<(&'static str, Value)> {
    let last = producer.batches().last().copied();
    let of_last = |value: i64| if last.is_some() { Value::Number(value) } else { Value::Number(-1) };
    let batch = last.unwrap_or_default();
    let transaction = producer.transaction_first_offset;
    vec![
        ("producerId", number(id.0)),
        ("producerEpoch", number(producer.epoch.0)),
        ("coordinatorEpoch", number(producer.coordinator_epoch)),
        ("currentTxnFirstOffset", transaction.map_or(Value::Absent, |offset| Value::Number(offset.0))),
        ("lastTimestamp", number(producer.last_timestamp.0)),
        ("firstSequence", of_last(batch.first_sequence().into())),
        ("lastSequence", of_last(batch.last_sequence.into())),
        ("lastOffset", of_last(batch.last_offset.0)),
        ("offsetDelta", number(batch.offset_delta)),
        ("timestamp", number(batch.timestamp.0)),
        ("batches", count(producer.batches().len())),
    ]
}

fn aborted(one: &AbortedTransaction) -> Vec<(&'static str, Value)> {
    vec![
        ("producerId", number(one.producer_id.0)),
        ("firstOffset", number(one.first_offset.0)),
        ("lastOffset", number(one.last_offset.0)),
        ("lastStableOffset", number(one.last_stable_offset.0)),
    ]
}

fn checkpointed(log: &LogCheckpoint) -> Vec<(&'static str, Value)> {
    vec![
        ("topicId", text(id_text(log.key.topic_id))),
        ("partition", number(log.key.partition.0)),
        ("incarnation", Value::Count(log.incarnation)),
        ("logStartOffset", number(log.log_start_offset.0)),
        ("highWatermark", number(log.high_watermark.0)),
        ("recoverySegment", number(log.recovery_point.segment_base.0)),
        ("recoveryPosition", Value::Count(log.recovery_point.position)),
        ("recoveryOffset", number(log.recovery_offset.0)),
        ("stateOffset", number(log.state_offset.0)),
    ]
}

fn entry(descriptor: &Descriptor) -> Vec<(&'static str, Value)> {
    let kind = match descriptor.kind {
        EntryKind::Batch => "batch",
        EntryKind::Carry => "carry",
        EntryKind::Create => "create",
        EntryKind::Delete => "delete",
        EntryKind::LogStart => "log start",
        EntryKind::Truncate => "truncate",
    };
    vec![
        ("kind", text(kind)),
        ("topicId", text(id_text(descriptor.key.topic_id))),
        ("partition", number(descriptor.key.partition.0)),
        ("incarnation", Value::Count(descriptor.incarnation)),
        ("segmentBase", number(descriptor.segment_base.0)),
        ("position", Value::Count(descriptor.position)),
        ("offset", number(descriptor.offset.0)),
        ("leaderEpoch", number(descriptor.leader_epoch.0)),
        ("size", Value::Count(descriptor.len.into())),
        ("crc", Value::Count(descriptor.crc.into())),
    ]
}
