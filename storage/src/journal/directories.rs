//! The journals of one log directory. Each shard has one of each start, `ringmain.journal/<shard>-of-<shards>-<epoch>/`, so
//! that a start with another number of shards finds what every earlier one left, and never writes into it.
//!
//! A start goes in three steps: [`survey`] finds the journals and the epoch that comes next, once for all shards;
//! each shard opens its logs from them and makes what it took durable in its own new journal; then, when all
//! shards have, [`settle`] says so in `ringmain.journal/settled` and removes the old ones. What is older than
//! the settled epoch is dead, whatever a crash leaves of it.
//!
//! While a log cannot be used nothing is settled: what older journals hold of it is there when it is mended. One whose
//! files fail while the store runs gets a journal of its own ([`super::kept`]), in the folder
//! `<shard>-of-<shards>-<epoch>-<topic id in hexadecimal>-<partition>`.
//!
//! Layout of `settled`, little-endian: `RMST`, version u32, epoch u64, CRC32C of all before it u32; and all of it again,
//! since nothing else says what is dead.
//! Which shard owns a log (`ShardSlot::owns`) is part of the format: a journal of as many shards as now is
//! read by its own shard only.
#![deny(clippy::indexing_slicing, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};

use super::replay::epoch_of;
use crate::checkpoint;
use crate::error::OpenError;
use crate::io::{Io, IoError};
use crate::space::is_no_space;
use crate::types::{PartitionIndex, PartitionKey, ShardSlot, TopicId};

/// The journals' folder in the log directory.
pub const JOURNAL_FOLDER: &str = "ringmain.journal";
/// Name of the file that says which epochs are dead.
pub(crate) const SETTLED_FILE: &str = "settled";
const SETTLED_MAGIC: &[u8; 4] = b"RMST";
const SETTLED_VERSION: u32 = 1;
const SETTLED_BYTES: usize = 40;

/// A folder with a journal in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalPlace {
    /// The folder.
    pub path: PathBuf,
    /// The start that wrote it; the newest one, where there may be several.
    pub epoch: u64,
    /// Whose it is; `None` for files that stand in `ringmain.journal` itself, as the first builds wrote them.
    pub slot: Option<ShardSlot>,
    /// The only log it has, if it is one of those that are kept for a log that failed.
    pub key: Option<PartitionKey>,
}

/// What a start found, the same for all shards of a log directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Survey {
    /// The epoch of this start, above all that were.
    pub epoch: u64,
    /// Epochs below it are dead.
    pub settled: u64,
    /// Folders that hold something.
    pub places: Vec<JournalPlace>,
    /// Whether a shard found a log that cannot be used: then what was found stays.
    pub keeps_journals: bool,
}

/// The folder of all journals of a log directory.
pub fn root(log_dir: &Path) -> PathBuf {
    log_dir.join(JOURNAL_FOLDER)
}

/// The folder of one shard's journal of one start.
pub fn place(log_dir: &Path, slot: ShardSlot, epoch: u64) -> PathBuf {
    root(log_dir).join(format!("{}-of-{}-{epoch}", slot.index, slot.count))
}

/// The folder of the journal that is kept for one log that failed.
pub(crate) fn kept_place(log_dir: &Path, slot: ShardSlot, epoch: u64, key: PartitionKey) -> PathBuf {
    let mut name = place(log_dir, slot, epoch).into_os_string();
    name.push(format!("-{:032x}-{}", u128::from_be_bytes(key.topic_id.0), key.partition));
    name.into()
}

fn parse_place(name: &str) -> Option<(ShardSlot, Option<PartitionKey>)> {
    let (index, rest) = name.split_once("-of-")?;
    // Builds before had one folder for all starts.
    let mut parts = rest.splitn(4, '-');
    let slot = ShardSlot { index: index.parse().ok()?, count: parts.next()?.parse().ok()? };
    let key = match (parts.nth(1), parts.next()) {
        (Some(id), Some(partition)) => Some(PartitionKey {
            topic_id: TopicId(u128::from_str_radix(id, 16).ok()?.to_be_bytes()),
            partition: PartitionIndex(partition.parse().ok()?),
        }),
        _ => None,
    };
    (slot.index < slot.count).then_some((slot, key))
}

/// Looks what journals there are. Changes nothing but that the folder is made.
pub async fn survey<I: Io>(io: &I, log_dir: &Path) -> Result<Survey, OpenError> {
    let root = root(log_dir);
    match io.create_directory(&root).await {
        // There is none, and nothing that it could have.
        Err(error) if is_no_space(&error) => return Ok(Survey { epoch: 1, ..Survey::default() }),
        made => made?,
    }
    let settled = read_settled(io, root.join(SETTLED_FILE)).await?;
    let mut found = Survey { epoch: settled, settled, places: Vec::new(), keeps_journals: false };
    let names = io.list_directory(&root).await?;
    let folders = names.iter().filter_map(|name| {
        let (slot, key) = parse_place(name)?;
        Some((root.join(name), Some(slot), key))
    });
    for (path, slot, key) in folders.chain([(root.clone(), None, None)]) {
        let files = io.list_directory(&path).await?;
        let epoch = files.iter().filter_map(|name| epoch_of(name)).max().unwrap_or(0);
        found.epoch = found.epoch.max(epoch);
        if files.iter().any(|name| name == checkpoint::FILE_NAME || epoch_of(name).is_some()) {
            found.places.push(JournalPlace { path, epoch, slot, key });
        }
    }
    found.epoch += 1;
    Ok(found)
}

/// Declares every epoch below this start's dead and removes what is left of them. Call it when all shards have
/// opened, before the first acknowledgement.
pub async fn settle<I: Io>(io: &I, log_dir: &Path, survey: &Survey) -> Result<(), IoError> {
    let root = root(log_dir);
    io.replace_file(&root.join(SETTLED_FILE), write_settled(survey.epoch)).await?;
    for place in &survey.places {
        if place.slot.is_some() {
            io.remove_directory(&place.path).await?;
            continue;
        }
        for name in io.list_directory(&place.path).await? {
            if epoch_of(&name).is_some() || name == checkpoint::FILE_NAME {
                io.remove_file(&place.path.join(name)).await?;
            }
        }
    }
    io.sync_directory(&root).await
}

/// After a clean stop of all shards: no journal is needed any more. `epoch` is the one that ends.
pub async fn remove_all<I: Io>(io: &I, log_dir: &Path, epoch: u64) -> Result<(), IoError> {
    let root = root(log_dir);
    // A power cut may keep any of the files: this one says that none of them counts, and goes last.
    io.replace_file(&root.join(SETTLED_FILE), write_settled(epoch + 1)).await?;
    for name in io.list_directory(&root).await? {
        if parse_place(&name).is_some() {
            io.remove_directory(&root.join(name)).await?;
        }
    }
    io.sync_directory(&root).await?;
    io.remove_directory(&root).await
}

fn write_settled(epoch: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(SETTLED_BYTES);
    out.put_slice(SETTLED_MAGIC);
    out.put_u32_le(SETTLED_VERSION);
    out.put_u64_le(epoch);
    out.put_u32_le(crc32c::crc32c(&out));
    out.extend_from_within(..);
    out
}

/// Whether the two copies in `settled` are the same; builds before wrote one.
pub(crate) fn copies_agree(file: &[u8]) -> bool {
    let (first, second) = file.split_at(file.len().min(SETTLED_BYTES / 2));
    second.is_empty() || first == second
}

/// The settled epoch; 0 if nothing ever was.
pub(crate) async fn read_settled<I: Io>(io: &I, path: PathBuf) -> Result<u64, OpenError> {
    let file = match io.read_file(&path, SETTLED_BYTES).await {
        Ok(file) => file,
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    // Builds before wrote it once.
    let whole = file.chunks(SETTLED_BYTES / 2).find_map(|chunk| {
        let (content, checksum) = chunk.split_last_chunk::<4>()?;
        (crc32c::crc32c(content) == u32::from_le_bytes(*checksum)).then_some(content)
    });
    let damaged = |what: &str| OpenError::Damaged { path: path.clone(), what: what.to_owned() };
    let content = whole.ok_or_else(|| damaged("checksum"))?;
    let mut content = content.strip_prefix(SETTLED_MAGIC).ok_or_else(|| damaged("not a settled epoch"))?;
    let version = content.try_get_u32_le().map_err(|_| damaged("too short"))?;
    if version != SETTLED_VERSION {
        return Err(OpenError::UnknownVersion { path, version });
    }
    content.try_get_u64_le().map_err(|_| damaged("too short"))
}

#[cfg(test)]
mod tests {
    use super::{kept_place, parse_place, write_settled};
    use crate::types::{PartitionIndex, PartitionKey, ShardSlot, TopicId};

    #[test]
    fn folders_are_named_after_shards() {
        let slot = ShardSlot { index: 1, count: 3 };
        assert_eq!(parse_place("1-of-3"), Some((slot, None)));
        assert_eq!(parse_place("1-of-3-17"), Some((slot, None)));
        let key = PartitionKey { topic_id: TopicId([0xf7; 16]), partition: PartitionIndex(12) };
        let kept = kept_place("/data".as_ref(), slot, 17, key);
        let name = kept.file_name().unwrap().to_str().unwrap();
        assert_eq!(parse_place(name), Some((slot, Some(key))), "{name}");
        for wrong in ["3-of-3", "1-of-", "-of-2", "settled", "checkpoint", "0001-0001.journal"] {
            assert_eq!(parse_place(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_settled_file_has_the_size_that_is_read() {
        assert_eq!(write_settled(7).len(), super::SETTLED_BYTES);
    }
}
