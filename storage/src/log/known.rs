//! What is known of a log before it is opened, and what opening it found.

use std::path::PathBuf;

use bytes::Bytes;

use crate::checkpoint::LogCheckpoint;
use crate::io::Looked;
use crate::journal::frame::Descriptor;
use crate::types::{Offset, PartitionKey};

/// What is known of a log before its folder is looked into.
pub(crate) struct Known<'a> {
    pub(crate) key: PartitionKey,
    pub(crate) topic: String,
    pub(crate) directory: PathBuf,
    pub(crate) incarnation: u64,
    /// From the journal's checkpoint, if there is one.
    pub(crate) checkpoint: Option<&'a LogCheckpoint>,
    /// What the journal holds, in the order of its frames.
    pub(crate) entries: Vec<(Descriptor, Bytes)>,
    /// Whether the last stop was clean: Kafka's own files say the rest.
    pub(crate) clean: bool,
    /// Log start offset from Kafka's checkpoint file.
    pub(crate) log_start_offset: Offset,
    /// Whether that file says it.
    pub(crate) is_start_told: bool,
    /// Where Kafka's checkpoint file says that the log ended.
    pub(crate) clean_end: Option<Offset>,
    /// Where another of them says that its high watermark was: at the end, if this broker stopped it.
    pub(crate) clean_high_watermark: Option<Offset>,
    /// Whether the journals have all of it, from its creation on.
    pub(crate) is_journalled_whole: bool,
    /// What was read of its folder already, by [`Io::look_into`].
    pub(crate) looked: Option<Looked>,
    /// The last segment's offset index, once it is read.
    pub(crate) last_index: Option<Vec<u8>>,
    /// Pieces of the last file, by its name, that were read already.
    pub(crate) ends: Option<(String, Vec<(u64, Bytes)>)>,
}

/// Counts for the report.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) replayed_bytes: u64,
    pub(crate) cut_bytes: u64,
}

impl Counts {
    /// Adds another log's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.replayed_bytes += other.replayed_bytes;
        self.cut_bytes += other.cut_bytes;
    }
}
