//! What a start reads of a log's folder before it opens the log: together with other folders, so that thousands of small
//! logs do not each wait for a helper thread again and again.

use super::epoch_cache;
use super::known::Known;
use super::producer_snapshot;
use super::swaps::{SIZED_SUFFIXES, finish_swaps};
use crate::error::OpenError;
use crate::io::{Io, IoError, LookFor, Looked};
use crate::segment::offset_index;

/// Small files of a log are refused above this.
pub(super) const SMALL_FILE_BYTES_MAX: usize = 64 << 20;

/// Larger ones are not read together with those of other logs: that many would stand in memory at once.
const LOOKED_BYTES_MAX: usize = 1 << 20;

/// What is known of a log before anything is read of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// Kafka's own files: producers, epochs, and the last segment's index.
    Files,
    /// A journal's checkpoint, and nothing that the journal holds behind it.
    Checkpoint,
    /// What a journal holds.
    Journal,
}

impl Source {
    /// What to look for in the log's folder.
    pub(crate) fn look_for(self) -> LookFor {
        let (named, last_of): (&[&str], &[&str]) = match self {
            Self::Files => (&[epoch_cache::FILE_NAME], &[producer_snapshot::SUFFIX, offset_index::SUFFIX]),
            Self::Checkpoint | Self::Journal => (&[], &[]),
        };
        LookFor {
            sized: SIZED_SUFFIXES,
            named,
            last_of,
            ends_of: (self != Self::Journal).then_some(".log"),
            small_bytes_max: LOOKED_BYTES_MAX,
        }
    }
}

impl Known<'_> {
    /// What the folder has, with what Kafka left half done put in order.
    pub(super) async fn look<I: Io>(&mut self, io: &I) -> Result<Looked, OpenError> {
        let looked = match self.looked.take() {
            Some(looked) => looked,
            None => Looked {
                files: io.list_sizes_of(&self.directory, SIZED_SUFFIXES).await?,
                ..Looked::default()
            },
        };
        let changed = finish_swaps(io, &self.directory, &looked.files).await?;
        Ok(changed.map_or(looked, |files| Looked { files, ..Looked::default() }))
    }

    /// Small files of the folder, in the order of `names`: as they were read before, else now.
    pub(super) async fn small_files<I: Io>(
        &self,
        io: &I,
        names: &[&str],
        looked: &Looked,
    ) -> Vec<Result<Vec<u8>, IoError>> {
        let known = |name: &str| looked.read.iter().find(|(read, _)| read == name);
        let missing: Vec<&str> = names.iter().copied().filter(|name| known(name).is_none()).collect();
        let paths = missing.iter().map(|name| (self.directory.join(name), SMALL_FILE_BYTES_MAX));
        let mut read =
            if missing.is_empty() { Vec::new() } else { io.read_files(paths.collect()).await }.into_iter();
        let content = |name: &&str| match known(name) {
            Some((_, content)) => Some(Ok(content.clone())),
            None => read.next(),
        };
        names.iter().filter_map(content).collect()
    }
}
