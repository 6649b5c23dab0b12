//! A stopped store looked at from outside, read only: what stands in a file ([`dump`]), and whether a whole
//! directory holds what it should ([`verify`]). It uses the decoders that a start uses, through
//! [`ReadOnlyIo`](crate::io::read_only::ReadOnlyIo), and changes nothing. It knows nothing of terminals and formats.

mod batches;
pub mod dump;
mod files;
mod journal;
mod partition;
mod segment;
pub mod verify;
pub mod versions;

use std::path::{Path, PathBuf};

/// How much something that was found matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Bytes are not those that were written, or contradict others.
    Damage,
    /// The next start deals with it and loses nothing: a torn tail, a block the journal writes again.
    Note,
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// The file or folder.
    pub path: PathBuf,
    /// The first byte concerned, where one can be named.
    pub position: Option<u64>,
    /// Whether it is damage.
    pub severity: Severity,
    /// `topic-partition`, where one is concerned.
    pub partition: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl Finding {
    /// Damage of a file.
    pub(crate) fn damage(path: &Path, position: impl Into<Option<u64>>, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            position: position.into(),
            severity: Severity::Damage,
            partition: None,
            what: what.into(),
        }
    }

    /// What is worth a line and no more.
    pub(crate) fn note(path: &Path, position: impl Into<Option<u64>>, what: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::damage(path, position, what) }
    }

    /// The same, of this partition.
    #[must_use]
    pub(crate) fn of(self, partition: &str) -> Self {
        Self { partition: Some(partition.to_owned()), ..self }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.severity == Severity::Damage { "damaged: " } else { "note: " })?;
        write!(f, "{}", self.path.display())?;
        if let Some(position) = self.position {
            write!(f, " at {position}")?;
        }
        if let Some(partition) = &self.partition {
            write!(f, " ({partition})")?;
        }
        write!(f, ": {}", self.what)
    }
}
