//! What the engine lets its caller choose, for the whole store and for one log.
//! Names and defaults of [`LogConfig`] are Kafka's; parsing of configuration files lives elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::counters::SharedCounters;
use crate::journal::frame;
pub use crate::record::batch::TimestampType;
use crate::types::{ShardSlot, TopicId};

/// When a record is acknowledged, and may be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// Once it is on stable media, with everything before it.
    #[default]
    Strict,
    /// Once it is written to the journal, as Kafka does: the process may be killed, and a power cut takes back what no sync
    /// has made durable. One follows after [`StoreConfig::vouch_after`] at the latest, after
    /// [`StoreConfig::unsynced_bytes_max`], and as [`LogConfig::flush_messages`] and [`LogConfig::flush_ms`] demand.
    Relaxed,
}

/// Limits and places of one store: one shard on one log directory.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Where the partitions' folders and `ringmain.journal/` stand.
    pub log_dir: PathBuf,
    /// Whose part of the directory this store is.
    pub slot: ShardSlot,
    /// Length of one journal file. A frame never crosses files, so the largest batch must fit into one.
    pub journal_file_bytes: u64,
    /// Files the ring starts with, at least two: one is written, one emptied, one kept for a full device.
    pub journal_files: usize,
    /// Files the ring may grow to while segments are slower than appends; past it appends wait.
    pub journal_files_max: usize,
    /// Payload gathered into one frame, unless a single batch is larger. 1 MiB: larger single writes cost
    /// latency and gain nothing.
    pub group_bytes_max: usize,
    /// Recent batches kept in memory, over all logs. Half of it may be bytes that no segment holds yet.
    pub tail_cache_bytes: usize,
    /// A log's unwritten bytes from which they go to its segment without waiting for the journal's need. 2 MiB:
    /// decision record 0014.
    pub write_behind_bytes: u64,
    /// Pending bytes below which a log is journalled again instead of written, at most `carry_laps_max` times.
    pub carry_bytes_max: u64,
    /// How often small pending bytes are carried before they are written after all.
    pub carry_laps_max: u32,
    /// Segments that have an open file (two descriptors while they are read) or a sealed segment's index. Past it the one
    /// unused for longest lets go. The default leaves half of the usual 1,024 descriptors to connections.
    pub open_segments_max: usize,
    /// Memory of sealed segments' indexes. One of a 1 GiB segment of small batches takes 6 MiB.
    pub index_bytes_max: usize,
    /// How often every log is looked at for segments that retention allows to remove.
    pub retention_check_interval: Duration,
    /// The topics there are, by name, if somebody knows: whose a folder is that does not say it itself, and whether one
    /// is what it says.
    pub topic_ids: Option<Arc<BTreeMap<String, TopicId>>>,
    /// The other log directories of the process: a folder that does not say whose it is counts only if none of them has one
    /// of its name.
    pub other_log_dirs: Vec<PathBuf>,
    /// Where the store counts. The stores of one shard share them, those of another shard must not.
    pub counters: SharedCounters,
    /// How long the journal is idle before an empty frame vouches for the last group.
    pub vouch_after: Duration,
    /// When records are acknowledged.
    pub durability: Durability,
    /// Bytes of the journal that a power cut may take back under relaxed durability: past it they are synced. 8 MiB: a
    /// sync then costs next to nothing a byte.
    pub unsynced_bytes_max: u64,
}

impl StoreConfig {
    /// The defaults for a store in `log_dir`.
    pub fn new(log_dir: impl Into<PathBuf>) -> Self {
        Self {
            log_dir: log_dir.into(),
            slot: ShardSlot::ALONE,
            journal_file_bytes: 32 << 20,
            journal_files: 3,
            journal_files_max: 16,
            group_bytes_max: 1 << 20,
            tail_cache_bytes: 256 << 20,
            write_behind_bytes: 2 << 20,
            carry_bytes_max: 16 << 10,
            carry_laps_max: 4,
            open_segments_max: 256,
            index_bytes_max: 64 << 20,
            retention_check_interval: Duration::from_mins(5),
            topic_ids: None,
            other_log_dirs: Vec::new(),
            counters: SharedCounters::default(),
            vouch_after: Duration::from_millis(100),
            durability: Durability::Strict,
            unsynced_bytes_max: 8 << 20,
        }
    }

    /// The largest batch that a file of the journal takes.
    pub fn batch_bytes_max(&self) -> usize {
        let file_bytes = usize::try_from(self.journal_file_bytes).unwrap_or(usize::MAX);
        file_bytes.saturating_sub(frame::frame_bytes(1, 0))
    }

    /// Bytes that may wait for their segment: appends past it wait for room.
    pub fn dirty_bytes_max(&self) -> usize {
        (self.tail_cache_bytes / 2).min(512 << 20)
    }
}

/// Settings of one log; the names are Kafka's topic configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// `segment.bytes`: a segment that would grow past it is sealed first.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment whose first record is older is sealed at the next append.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: the most that is taken off that, another part for each segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment one of whose indexes has this size is sealed first.
    pub index_bytes_max: usize,
    /// `index.interval.bytes`: distance between entries of the sparse indexes.
    pub index_interval_bytes: u64,
    /// `retention.ms`; negative: without limit.
    pub retention_ms: i64,
    /// `retention.bytes`; negative: without limit.
    pub retention_bytes: i64,
    /// `file.delete.delay.ms`: how long the files of a removed segment stay.
    pub file_delete_delay_ms: i64,
    /// `max.message.bytes`: the largest batch.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// Whether `cleanup.policy` contains `delete`; only then retention removes segments.
    pub cleanup_delete: bool,
    /// `flush.messages`: under relaxed durability, records that a power cut may take back; whoever appends one more waits
    /// until all are on stable media.
    pub flush_messages: i64,
    /// `flush.ms`: under relaxed durability, after how long a record is on stable media at the latest.
    pub flush_ms: i64,
    /// How long an idle producer's state is kept (`producer.id.expiration.ms`).
    pub producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 604_800_000,
            segment_jitter_ms: 0,
            index_bytes_max: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 604_800_000,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            cleanup_delete: true,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            producer_id_expiration_ms: 86_400_000,
        }
    }
}
