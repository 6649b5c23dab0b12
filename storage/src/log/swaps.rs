//! What Kafka leaves of a log when it ends amid a compaction or a split of segments, put in order before the log's
//! segments are looked for, as Kafka's `LogLoader` does.
//!
//! Kafka writes what takes the place of segments into `.cleaned` files, syncs them and renames them to `.swap`, the
//! highest base offset first; then the segments they replace get `.deleted` behind their names, and each `.swap` loses
//! its suffix. Until all have become `.swap`, the old segments are all there: nothing is needed of a `.cleaned`, nor of
//! a `.swap` at or above one. Any other `.swap` stands for the segments from its base offset to the end of its records.
//! `.deleted` is never needed; retention removes it. Producers' snapshots stay: they are true of what was there.

use std::path::Path;

use super::expected::damaged;
use super::retention::SUFFIXES;
use crate::error::OpenError;
use crate::io::{Io, IoFile, OpenHow};
use crate::log::producer_snapshot;
use crate::record::batch;
use crate::segment::segment::{base_offset_of, base_offset_of_stem, to_u64};
use crate::types::Offset;

const CLEANED_SUFFIX: &str = ".cleaned";
const SWAP_SUFFIX: &str = ".swap";
/// Files whose lengths matter.
pub(crate) const SIZED_SUFFIXES: &[&str] = &[".log", SWAP_SUFFIX];
const WINDOW_BYTES: usize = 1 << 20;

/// Completes or takes back what was interrupted, durable on return; what the folder has then, if that is not what is
/// `listed`. Of a `.swap` that is not whole nothing is believed, and nothing is changed.
pub(super) async fn finish_swaps<I: Io>(
    io: &I,
    directory: &Path,
    listed: &[(String, u64)],
) -> Result<Option<Vec<(String, u64)>>, OpenError> {
    let cleaned = names_of(listed, CLEANED_SUFFIX);
    let (void, valid): (Vec<_>, Vec<_>) = {
        let first_cleaned = cleaned.iter().filter_map(|name| base_of(name)).min();
        let void = |name: &&str| first_cleaned.is_some_and(|first| base_of(name) >= Some(first));
        names_of(listed, SWAP_SUFFIX).into_iter().partition(void)
    };
    if cleaned.is_empty() && void.is_empty() && valid.is_empty() {
        return Ok(None);
    }
    let mut replaced = Vec::new();
    for (name, size) in listed {
        let Some(base) = name.strip_suffix(SWAP_SUFFIX).and_then(base_offset_of) else { continue };
        if valid.contains(&name.as_str()) {
            let end = end_of(io, &directory.join(name), *size, base).await?;
            replaced.push(base..end.max(Offset(base.0.saturating_add(1))));
        }
    }
    let is_replaced = |name: &&str| {
        let stem = SUFFIXES.iter().filter(|suffix| **suffix != producer_snapshot::SUFFIX);
        let base = stem.filter_map(|suffix| name.strip_suffix(suffix)).find_map(base_offset_of_stem);
        base.is_some_and(|base| replaced.iter().any(|range| range.contains(&base)))
    };
    // The `.swap` files first: without a `.cleaned` beside them they would count.
    for name in void.iter().chain(&cleaned) {
        tracing::info!("{} was not completed", directory.join(name).display());
        io.remove_file(&directory.join(name)).await?;
        io.sync_directory(directory).await?;
    }
    for name in listed.iter().map(|(name, _)| name.as_str()).filter(is_replaced) {
        tracing::info!("{} was compacted or split", directory.join(name).display());
        io.remove_file(&directory.join(name)).await?;
    }
    // Once a `.swap` has its name, nobody knows any more what it replaces.
    io.sync_directory(directory).await?;
    for name in valid {
        let path = directory.join(name);
        tracing::info!("{} takes its place", path.display());
        io.rename(&path, &path.with_extension("")).await?;
    }
    io.sync_directory(directory).await?;
    Ok(Some(io.list_sizes_of(directory, SIZED_SUFFIXES).await?))
}

fn names_of<'a>(listed: &'a [(String, u64)], suffix: &str) -> Vec<&'a str> {
    let names = listed.iter().map(|(name, _)| name.as_str());
    names.filter(|name| name.ends_with(suffix) && base_of(name).is_some()).collect()
}

/// The base offset in front of a name's first dot.
fn base_of(name: &str) -> Option<Offset> {
    base_offset_of_stem(name.split('.').next()?)
}

/// The offset after a file's last batch, all of which are checked.
async fn end_of<I: Io>(io: &I, path: &Path, size: u64, base: Offset) -> Result<Offset, OpenError> {
    let file = io.open(path, OpenHow::Read).await?;
    let (mut at, mut next) = (0, base);
    let mut rest = Vec::new();
    while at < size {
        let window = file.read_at(at, WINDOW_BYTES).await?;
        if window.is_empty() {
            break;
        }
        at += to_u64(window.len());
        rest.extend_from_slice(&window);
        let mut batches = batch::batches(&rest);
        for (header, bytes) in batches.by_ref() {
            let in_order = header.base_offset() >= next && header.last_offset_delta() >= 0;
            if header.magic() != batch::MAGIC || !in_order || batch::compute_crc(bytes) != Some(header.crc())
            {
                return Err(damaged(path, format!("no whole batch from offset {next} on")));
            }
            next = header.next_offset();
        }
        let done = rest.len() - batches.rest().len();
        rest.drain(..done);
    }
    if at < size || !rest.is_empty() {
        return Err(damaged(path, format!("no whole batch from offset {next} on")));
    }
    Ok(next)
}
