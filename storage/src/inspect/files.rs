//! What a file of a log directory is, by its name, as everything under `storage/` names them.

use std::path::Path;

use crate::checkpoint;
use crate::journal::directories::SETTLED_FILE;
use crate::journal::replay::epoch_of;
use crate::log::{epoch_cache, producer_snapshot};
use crate::manager::{HIGH_WATERMARK_FILE, LOG_START_FILE, RECOVERY_POINT_FILE};
use crate::partition_folder::METADATA_FILE;
use crate::segment::{offset_index, time_index, txn_index};
use crate::types::Offset;

/// Small files are refused above this: as much as a start takes of the largest kind.
pub(super) const SMALL_FILE_BYTES_MAX: usize = 512 << 20;

/// What stands in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FileKind {
    /// Batches: a segment, or a snapshot of the metadata log (KIP-630).
    Batches(Offset),
    /// `.index`.
    OffsetIndex(Offset),
    /// `.timeindex`.
    TimeIndex(Offset),
    /// `.txnindex`.
    TxnIndex(Offset),
    /// Kafka's producer snapshot.
    Producers,
    /// `leader-epoch-checkpoint`.
    Epochs,
    /// One of a log directory's offset checkpoints.
    Offsets,
    /// `partition.metadata`.
    PartitionMetadata,
    /// A journal file of this epoch.
    Journal(u64),
    /// A journal's checkpoint.
    Checkpoint,
    /// `settled`.
    Settled,
}

/// What a file is; `None` if its name says nothing.
pub(super) fn kind_of(path: &Path) -> Option<FileKind> {
    let name = path.file_name()?.to_str()?;
    Some(match name {
        checkpoint::FILE_NAME => FileKind::Checkpoint,
        SETTLED_FILE => FileKind::Settled,
        epoch_cache::FILE_NAME => FileKind::Epochs,
        METADATA_FILE => FileKind::PartitionMetadata,
        RECOVERY_POINT_FILE | LOG_START_FILE | HIGH_WATERMARK_FILE => FileKind::Offsets,
        _ => {
            if let Some(epoch) = epoch_of(name) {
                return Some(FileKind::Journal(epoch));
            }
            let (digits, suffix) = name.split_at_checked(20)?;
            let offset = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
            return kind_of_suffix(suffix, Offset(offset));
        }
    })
}

fn kind_of_suffix(suffix: &str, offset: Offset) -> Option<FileKind> {
    match suffix {
        ".log" => Some(FileKind::Batches(offset)),
        offset_index::SUFFIX => Some(FileKind::OffsetIndex(offset)),
        time_index::SUFFIX => Some(FileKind::TimeIndex(offset)),
        txn_index::SUFFIX => Some(FileKind::TxnIndex(offset)),
        producer_snapshot::SUFFIX => Some(FileKind::Producers),
        // `<offset>-<epoch>.checkpoint`.
        _ => {
            (suffix.starts_with('-') && suffix.ends_with(".checkpoint")).then_some(FileKind::Batches(offset))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{FileKind, kind_of};
    use crate::types::Offset;

    #[test]
    fn names_say_what_files_are() {
        let seven = Offset(7);
        for (name, kind) in [
            ("00000000000000000007.log", Some(FileKind::Batches(seven))),
            ("00000000000000000007-0000000001.checkpoint", Some(FileKind::Batches(seven))),
            ("00000000000000000007.index", Some(FileKind::OffsetIndex(seven))),
            ("00000000000000000007.timeindex", Some(FileKind::TimeIndex(seven))),
            ("00000000000000000007.txnindex", Some(FileKind::TxnIndex(seven))),
            ("00000000000000000007.snapshot", Some(FileKind::Producers)),
            ("00000000000000000003-0001.journal", Some(FileKind::Journal(3))),
            ("checkpoint", Some(FileKind::Checkpoint)),
            ("replication-offset-checkpoint", Some(FileKind::Offsets)),
            ("00000000000000000007.log.deleted", None),
            ("7.log", None),
            ("meta.properties", None),
            ("", None),
        ] {
            assert_eq!(kind_of(&Path::new("/data").join(name)), kind, "{name}");
        }
    }
}
