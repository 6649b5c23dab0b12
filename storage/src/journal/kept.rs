//! A journal of one log whose segments cannot be written, beside its shard's journal: what is acknowledged and stands in
//! no synced segment, written once. It is of the epoch after the start that writes it, so that a start takes the log from
//! it and from nothing older; its checkpoint comes last, and before that it says nothing that the shard's journal does
//! not say as well.

use std::path::PathBuf;

use super::frame::{self, Descriptor, FrameHeader};
use super::journal::file_name;
use super::replay::ReplayFrom;
use crate::checkpoint::{self, Checkpoint};
use crate::io::{AlignedBuffer, Io, IoError, IoFile, OpenHow};

/// One that is being written.
pub(crate) struct KeptJournal<I: Io> {
    io: I,
    directory: PathBuf,
    file: I::File,
    epoch: u64,
    salt: u64,
    /// Frames written.
    sequence: u64,
    position: u64,
    predecessor: u32,
}

impl<I: Io> KeptJournal<I> {
    /// Begins one in a folder that is not there yet.
    pub(crate) async fn create(io: I, directory: PathBuf, epoch: u64) -> Result<Self, IoError> {
        io.create_directory(&directory).await?;
        let file = io.open(&directory.join(file_name(epoch, 1)), OpenHow::Create).await?;
        let salt = io.random();
        let mut kept = Self { io, directory, file, epoch, salt, sequence: 0, position: 0, predecessor: 0 };
        // From it the salt is known, whatever becomes of those behind it.
        kept.write_frame(0, &[]).await?;
        kept.file.sync().await?;
        Ok(kept)
    }

    /// Where a replay of it begins.
    pub(crate) fn begin(&self) -> ReplayFrom {
        ReplayFrom { epoch: self.epoch, sequence: 1 }
    }

    /// Writes one entry; not durable yet.
    pub(crate) async fn write(&mut self, descriptor: Descriptor, payload: &[u8]) -> Result<(), IoError> {
        self.write_frame(0, &[(descriptor, payload)]).await
    }

    /// Makes it durable: the entries, then a frame that says so, then the checkpoint.
    pub(crate) async fn finish(mut self, checkpoint: &Checkpoint) -> Result<(), IoError> {
        self.file.sync().await?;
        self.write_frame(self.sequence, &[]).await?;
        self.file.sync().await?;
        self.io.sync_directory(&self.directory).await?;
        self.io.replace_file(&self.directory.join(checkpoint::FILE_NAME), checkpoint.write()).await
    }

    async fn write_frame(
        &mut self,
        durable_sequence: u64,
        entries: &[(Descriptor, &[u8])],
    ) -> Result<(), IoError> {
        let payload = entries.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut buffer = AlignedBuffer::zeroed(frame::frame_bytes(entries.len(), payload));
        self.sequence += 1;
        let header = FrameHeader {
            epoch: self.epoch,
            salt: self.salt,
            sequence: self.sequence,
            durable_sequence,
            predecessor: self.predecessor,
        };
        self.predecessor = frame::encode(&mut buffer, header, entries.iter().copied());
        let bytes = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        self.file.write_at(buffer, self.position).await?;
        self.position += bytes;
        Ok(())
    }
}
