//! What a start has to know of a folder, got together: where there are thousands of folders, asking for one thing after the
//! other takes most of the time. Nothing here is an answer of its own: what cannot be read is left out, and whoever needs it
//! asks again and meets the error.

use std::path::PathBuf;

use bytes::Bytes;

use super::{BLOCK_BYTES, Io, IoFile, OpenHow};

/// Of the file whose end is read, so much at least: the last entry of a segment's index is rarely further from its end.
pub(super) const TAIL_BYTES: usize = 24 << 10;

/// What to look for in a folder.
#[derive(Clone, Copy, Debug)]
pub struct LookFor {
    /// Lengths are told of names that end in one of these, else 0.
    pub sized: &'static [&'static str],
    /// Small files that are read whole, by name.
    pub named: &'static [&'static str],
    /// The same of the last of those whose names end in one of these.
    pub last_of: &'static [&'static str],
    /// First block and end are read of the last one of those whose names end in this, past the page cache, unless it
    /// cannot be opened for writing.
    pub ends_of: Option<&'static str>,
    /// A larger small file is left out.
    pub small_bytes_max: usize,
}

/// A folder that was looked into.
#[derive(Debug, Default)]
pub struct Looked {
    /// Names of its files, sorted, and lengths.
    pub files: Vec<(String, u64)>,
    /// Small files that were read.
    pub read: Vec<(String, Vec<u8>)>,
    /// Name of a file, and pieces of it with their positions.
    pub ends: Option<(String, Vec<(u64, Bytes)>)>,
}

impl LookFor {
    /// Which of a folder's files are read whole.
    pub(super) fn small<'a>(&self, files: &'a [(String, u64)]) -> Vec<&'a str> {
        let named = files.iter().filter(|(name, _)| self.named.contains(&name.as_str()));
        let last = self.last_of.iter().filter_map(|suffix| last_with(files, suffix));
        named.chain(last).map(|(name, _)| name.as_str()).collect()
    }

    /// Of which file which ranges are read, aligned to blocks.
    pub(super) fn ranges<'a>(&self, files: &'a [(String, u64)]) -> Option<(&'a str, Vec<(u64, usize)>)> {
        let (name, size) = last_with(files, self.ends_of?)?;
        let from = size.saturating_sub(widen(TAIL_BYTES)) / widen(BLOCK_BYTES) * widen(BLOCK_BYTES);
        let tail = usize::try_from(size - from).ok()?.next_multiple_of(BLOCK_BYTES);
        let mut ranges = vec![(from, tail)];
        if from > 0 {
            ranges.push((0, BLOCK_BYTES));
        }
        (*size > 0).then_some((name.as_str(), ranges))
    }
}

/// The last file, by name, whose name ends so.
fn last_with<'a>(files: &'a [(String, u64)], suffix: &str) -> Option<&'a (String, u64)> {
    files.iter().rfind(|(name, _)| name.ends_with(suffix))
}

fn widen(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Looks into folders one call after the other: [`Io::look_into`] where a call costs nothing.
pub(super) async fn step_by_step<I: Io>(io: &I, folders: Vec<(PathBuf, LookFor)>) -> Vec<Option<Looked>> {
    let mut all = Vec::with_capacity(folders.len());
    for (folder, look_for) in folders {
        let Ok(files) = io.list_sizes_of(&folder, look_for.sized).await else {
            all.push(None);
            continue;
        };
        let mut looked = Looked::default();
        for name in look_for.small(&files) {
            if let Ok(content) = io.read_file(&folder.join(name), look_for.small_bytes_max).await {
                looked.read.push((name.to_owned(), content));
            }
        }
        if let Some((name, ranges)) = look_for.ranges(&files)
            && let Ok(file) = io.open(&folder.join(name), OpenHow::ReadWrite).await
        {
            let mut pieces = Vec::new();
            for (from, size) in ranges {
                if let Ok(bytes) = file.read_at(from, size).await {
                    pieces.push((from, Bytes::from_owner(bytes)));
                }
            }
            looked.ends = Some((name.to_owned(), pieces));
        }
        looked.files = files;
        all.push(Some(looked));
    }
    all
}
