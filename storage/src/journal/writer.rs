//! Group commit: whatever waits goes into one frame, one durable write makes it durable, and everyone in it is
//! told. Two groups are in flight at most, so that the device need not wait for the next frame to be built; they are
//! acknowledged strictly in order. A second one begins only when enough waits: small groups cost more than
//! they gain. A frame says up to where all was durable when it was built, so an unfinished one is never
//! mistaken for damage; a file is left only when everything in it is durable.

use std::path::Path;
use std::sync::Arc;

use futures::future::{Either, LocalBoxFuture, select};
use futures::stream::{FuturesOrdered, StreamExt};

use super::frame::{self, Descriptor, EntryKind, FrameHeader};
use super::journal::{Done, Journal, LapEnds, LogPoint, Queued, RingFile, file_name};
use crate::config::Durability;
use crate::io::{AlignedBuffer, BLOCK_BYTES, Io, IoError, IoFile, OpenHow};
use crate::segment::segment::to_u64;
use crate::space::{RETRY_INTERVAL, is_no_space};

/// Zeroes are written to a new file in steps of this size, so that it hinders others little.
const PREWRITE_BYTES: usize = 1 << 20;
/// Groups in flight: the second gains a sixth of the throughput, more gain next to nothing.
const GROUPS_MAX: usize = 2;
/// Free files that are kept for entries that free room when the device has none.
const RESERVED_FILES: usize = 1;
/// A second group begins when this part of a full one waits.
const SECOND_GROUP_PART: usize = 8;

/// A group whose frame is on stable media.
struct Written {
    buffer: AlignedBuffer,
    group: Vec<Queued>,
    sequence: u64,
}

/// Groups in flight, in the order of their frames.
type InFlight = FuturesOrdered<LocalBoxFuture<'static, Result<Written, IoError>>>;

impl<I: Io> Journal<I> {
    /// Writes what is queued until the journal stops. An error ends it: nothing is acknowledged any more.
    pub(super) async fn run(&self) -> Result<(), IoError> {
        let mut in_flight = InFlight::new();
        let mut buffers = Vec::new();
        loop {
            if self.failure.get().is_some() {
                self.fail(&"a write failed");
                return Ok(());
            }
            let work = self.work.listen();
            if self.sync_is_due() {
                self.sync_written().await?;
            } else if self.begins() {
                self.begin(&mut in_flight, &mut buffers).await?;
            } else if !in_flight.is_empty() {
                if let Either::Left((Some(written), _)) = select(in_flight.next(), work).await {
                    buffers.push(self.finish(written?));
                }
            } else if self.stopping.get() {
                return Ok(());
            } else if let Some(left) = self.until_sync() {
                select(work, std::pin::pin!(self.io.sleep(left))).await;
            } else if self.vouched.get() {
                work.await;
            } else {
                let idle = std::pin::pin!(self.io.sleep(self.config.vouch_after));
                if let Either::Right(_) = select(work, idle).await {
                    self.begin(&mut in_flight, &mut buffers).await?;
                }
            }
        }
    }

    /// Whether a group begins with what waits now.
    pub(super) fn begins(&self) -> bool {
        match self.in_flight.get() {
            0 => self.queued_bytes.get() > 0,
            GROUPS_MAX.. => false,
            // The first frame is durable before there is a second.
            _ if self.durable_sequence.get() == 0 => false,
            _ => self.queued_bytes.get() >= self.config.group_bytes_max / SECOND_GROUP_PART,
        }
    }

    /// Gives the next group to the device; one without entries vouches for those before it, and the first one has none, so
    /// that an epoch's salt is known whatever becomes of the frames behind. Goes on to the next file if this one is full,
    /// once all in it is durable.
    async fn begin(&self, in_flight: &mut InFlight, buffers: &mut Vec<AlignedBuffer>) -> Result<(), IoError> {
        let is_first = self.ring.borrow().sequence == 1;
        let group = if is_first { Vec::new() } else { self.gather() };
        self.in_hand.set(true);
        let payload: usize = group.iter().map(|queued| queued.payload.len()).sum();
        let count = group.iter().filter(|queued| queued.descriptor.is_some()).count();
        let size = frame::frame_bytes(count, payload);
        let frame_bytes = u64::try_from(size).unwrap_or(u64::MAX);
        if self.ring.borrow().position + frame_bytes > self.config.journal_file_bytes {
            while let Some(written) = in_flight.next().await {
                buffers.push(self.finish(written?));
            }
            self.sync_written().await?;
            self.rotate(&group).await?;
        }
        let usual = self.config.group_bytes_max + BLOCK_BYTES;
        // One that a large batch needed is not kept.
        let spare =
            buffers.pop().filter(|buffer| buffer.capacity() >= size && buffer.capacity() <= 2 * usual);
        let mut buffer = spare.unwrap_or_else(|| AlignedBuffer::zeroed(size.max(usual)));
        buffer.set_len(size);
        in_flight.push_back(self.write_group(buffer, group));
        self.in_hand.set(false);
        self.in_flight.set(in_flight.len());
        Ok(())
    }

    /// Moves what waits into a group, up to the group's limit; carried entries first.
    fn gather(&self) -> Vec<Queued> {
        let mut group = Vec::new();
        let mut bytes = 0;
        'full: for queue in [&self.carried, &self.queue] {
            let mut queue = queue.borrow_mut();
            while let Some(next) = queue.front() {
                if !group.is_empty() && bytes + next.bytes() > self.config.group_bytes_max {
                    break 'full;
                }
                bytes += next.bytes();
                group.extend(queue.pop_front());
            }
        }
        self.queued_bytes.set(self.queued_bytes.get() - bytes);
        group
    }

    /// Builds the group's frame, which gets the next place and sequence at once, and writes it.
    fn write_group(
        &self,
        mut buffer: AlignedBuffer,
        group: Vec<Queued>,
    ) -> LocalBoxFuture<'static, Result<Written, IoError>> {
        let mut ring = self.ring.borrow_mut();
        let (sequence, position) = (ring.sequence, ring.position);
        let header = FrameHeader {
            epoch: self.epoch,
            salt: self.salt,
            sequence,
            durable_sequence: self.durable_sequence.get(),
            predecessor: ring.predecessor,
        };
        let entries: Vec<_> =
            group.iter().filter_map(|queued| Some((queued.descriptor?, queued.payload.as_ref()))).collect();
        ring.predecessor = frame::encode(&mut buffer, header, entries.into_iter());
        ring.sequence += 1;
        ring.position += u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        let Some(current) = ring.current.as_mut() else {
            unreachable!("a file is current while the writer runs")
        };
        for descriptor in group.iter().filter_map(|queued| queued.descriptor) {
            let log = (descriptor.key, descriptor.incarnation);
            if matches!(descriptor.kind, EntryKind::Batch | EntryKind::Carry) {
                let point = point_after(&descriptor);
                let end = current.ends.entry(log).or_insert(point);
                *end = point.max(*end);
            } else if descriptor.kind == EntryKind::Truncate {
                // What is before it is no longer needed, and may have ended in a segment that is gone.
                let Descriptor { segment_base, position, .. } = descriptor;
                current.ends.insert(log, LogPoint { segment_base, position });
            }
        }
        let file = current.file.clone();
        let (io, counters, durability) =
            (self.io.clone(), Arc::clone(&self.config.counters), self.config.durability);
        counters.count_group(group.iter().map(|queued| queued.payload.len()), buffer.len());
        Box::pin(async move {
            let began = io.now();
            let buffer = match durability {
                Durability::Strict => file.write_durable_at(buffer, position).await?,
                Durability::Relaxed => file.write_at(buffer, position).await?,
            };
            counters.sync_micros.record_micros(io.now().saturating_sub(began));
            Ok(Written { buffer, group, sequence })
        })
    }

    /// Tells everyone in a group whose frame, with all before it, is durable, or under relaxed durability will be.
    fn finish(&self, written: Written) -> AlignedBuffer {
        let Written { buffer, group, sequence } = written;
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        // An empty frame needs no voucher of its own.
        self.vouched.set(group.is_empty());
        if self.config.durability == Durability::Relaxed {
            self.note_written(group, sequence, to_u64(buffer.len()));
        } else {
            self.durable_sequence.set(sequence);
            Self::tell(group);
        }
        buffer
    }

    /// Tells everyone in a group that is durable.
    pub(super) fn tell(group: Vec<Queued>) {
        for queued in group {
            match queued.done {
                Done::Log(log, end) => {
                    if let Some(descriptor) = queued.descriptor {
                        log.journaled(point_after(&descriptor), end);
                    }
                }
                Done::Sender(sender) => drop(sender.send(())),
                Done::Nobody => {}
            }
        }
    }

    /// Goes on to the next file, for a group: a free one, or a new one if the ring may grow. Carried entries, queued or
    /// in the group already, and those that somebody waits for may always grow it, and on a full device take the
    /// last free one: it is they that free room. So may everything while the journal stops: nobody frees files then.
    async fn rotate(&self, group: &[Queued]) -> Result<(), IoError> {
        let is_carry =
            |queued: &Queued| queued.descriptor.is_some_and(|entry| entry.kind == EntryKind::Carry);
        let carries = group.iter().any(is_carry);
        {
            let mut ring = self.ring.borrow_mut();
            if let Some(current) = ring.current.take() {
                ring.full.push_back(current);
            }
        }
        self.ring_moved.notify(usize::MAX);
        let file = loop {
            let moved = self.ring_moved.listen();
            let urgent =
                carries || self.stopping.get() || self.waiters.get() > 0 || !self.carried.borrow().is_empty();
            let (free, files) = {
                let mut ring = self.ring.borrow_mut();
                let kept = if urgent && self.lacks_space.get() { 0 } else { RESERVED_FILES };
                let free = if ring.free.len() > kept { ring.free.pop_front() } else { None };
                (free, ring.files)
            };
            if let Some(file) = free {
                self.space_found();
                break file;
            }
            let max = u64::try_from(self.config.journal_files_max).unwrap_or(u64::MAX);
            if files < max || urgent || self.failure.get().is_some() {
                match self.make_file().await {
                    Err(error) if is_no_space(&error) && !self.stopping.get() => {
                        if self.space_lost() && urgent {
                            continue;
                        }
                        let retry = std::pin::pin!(self.io.sleep(RETRY_INTERVAL));
                        select(moved, retry).await;
                        continue;
                    }
                    made => {
                        self.lacks_space.set(false);
                        break made?;
                    }
                }
            }
            if self.device_is_short.get() {
                // Segments find no blocks, so that no file comes back either.
                self.space_lost();
            }
            select(moved, std::pin::pin!(self.io.sleep(RETRY_INTERVAL))).await;
        };
        let mut ring = self.ring.borrow_mut();
        let first_sequence = ring.sequence;
        ring.current = Some(RingFile { file, first_sequence, ends: LapEnds::new() });
        ring.position = 0;
        Ok(())
    }

    /// Makes a file whose blocks are all written, so that later writes change no metadata.
    pub(super) async fn make_file(&self) -> Result<I::File, IoError> {
        let number = {
            let mut ring = self.ring.borrow_mut();
            ring.files += 1;
            ring.next_number += 1;
            ring.next_number
        };
        let path = self.directory.join(file_name(self.epoch, number));
        let made = match self.io.create_directory(&self.directory).await {
            Ok(()) => self.fill_file(&path).await,
            Err(error) => Err(error),
        };
        if made.is_err() {
            self.ring.borrow_mut().files -= 1;
            // What there is of it would only take room; a start removes it, too.
            drop(self.io.remove_file(&path).await);
        }
        made
    }

    async fn fill_file(&self, path: &Path) -> Result<I::File, IoError> {
        let file = self.io.open(path, OpenHow::Create).await?;
        file.allocate(0, self.config.journal_file_bytes).await?;
        let left = |position| {
            let left = usize::try_from(self.config.journal_file_bytes - position).unwrap_or(PREWRITE_BYTES);
            left.min(PREWRITE_BYTES)
        };
        let mut buffer = AlignedBuffer::zeroed(left(0));
        let mut position = 0;
        while position < self.config.journal_file_bytes {
            buffer.set_len(left(position));
            buffer = file.write_at(buffer, position).await?;
            position += u64::try_from(PREWRITE_BYTES).unwrap_or(u64::MAX);
        }
        file.sync().await?;
        self.io.sync_directory(&self.directory).await?;
        Ok(file)
    }
}

fn point_after(descriptor: &Descriptor) -> LogPoint {
    LogPoint {
        segment_base: descriptor.segment_base,
        position: descriptor.position + u64::from(descriptor.len),
    }
}
