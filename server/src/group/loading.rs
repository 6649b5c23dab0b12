//! A coordinator as its log says: every record from the log's start, in order (`CoordinatorLoaderImpl`).
//!
//! Control batches end transactions. A record that nobody can read, and one of another kind of group, is passed over; the
//! log is then kept as it is, since what it says is not known here.

use std::rc::Rc;

use bytes::Bytes;
use ringmain_protocol::ErrorCode;
use ringmain_storage::error::ReadError;
use ringmain_storage::io::Io;
use ringmain_storage::io::executor::give_way;
use ringmain_storage::record::batch::{BatchHeader, batches};
use ringmain_storage::record::record::{BatchRecords, Record as StoredRecord};
use ringmain_storage::segment::{ReadLimits, Slice};
use ringmain_storage::types::Offset;

use super::coordinator::Coordinator;
use super::hosting::{Hosted, Surroundings};
use super::record::{Parsed, Record};
use crate::partition::Partition;

/// Bytes read at a time, after which the shard's other tasks get a turn.
const READ_BYTES: usize = 1 << 20;
/// What one batch may become when it is opened.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// The type of a control record that commits; 0 aborts.
const COMMIT: i16 = 1;

/// Reads the whole log. The error is what everyone is told who asks for the coordinator.
pub(super) async fn load<I: Io>(
    io: I,
    partition: Rc<Partition<I>>,
    surroundings: Surroundings,
) -> Result<Rc<Hosted<I>>, ErrorCode> {
    let began = io.now();
    let mut replay = Replay::default();
    let end = match read_log(&partition, &mut replay).await {
        Ok(end) => end,
        Err(error) => {
            tracing::error!(key = ?partition.key(), %error, "groups cannot be loaded, and are not served");
            return Err(ErrorCode::NotCoordinator);
        }
    };
    if partition.has_left() {
        return Err(ErrorCode::NotCoordinator);
    }
    let coordinator = &replay.coordinator;
    let (groups, took) =
        (coordinator.groups.len() + coordinator.consumers.len(), io.now().saturating_sub(began));
    if groups > 0 {
        tracing::info!(partition = %partition.key().partition, groups, end = end.0, ?took, "groups are loaded");
    }
    Ok(Hosted::start(io, partition, surroundings, (replay.coordinator, replay.has_foreign)))
}

/// What was read so far.
#[derive(Debug, Default)]
struct Replay {
    coordinator: Coordinator,
    has_foreign: bool,
}

async fn read_log<I: Io>(partition: &Partition<I>, replay: &mut Replay) -> Result<Offset, ReadError> {
    let log = partition.log();
    let offsets = partition.offsets();
    let (mut from, end) = (offsets.log_start_offset, offsets.high_watermark);
    while from < end {
        let limits = ReadLimits { end, bytes_max: READ_BYTES, at_least_one: true };
        let fetched = log.read_into_memory(from, limits).await?;
        let mut next = from;
        for slice in fetched.slices {
            let Slice::Memory(bytes) = slice else { continue };
            for (header, batch) in batches(&bytes) {
                replay.batch(header, batch, from);
                next = next.max(header.next_offset());
            }
        }
        if next == from {
            // Nothing is left but offsets that have no records.
            break;
        }
        from = next;
        give_way().await;
    }
    Ok(end)
}

impl Replay {
    /// Takes a batch over, from that offset on.
    fn batch(&mut self, header: &BatchHeader, batch: &[u8], from: Offset) {
        let records = match BatchRecords::open(batch, BATCH_BYTES_MAX) {
            Ok(records) => records,
            Err(error) => return self.pass_over(header.base_offset(), &error),
        };
        for record in &records {
            match record {
                Ok(record) if record.offset < from => {}
                Ok(record) if header.attributes().is_control() => self.control(header, &record),
                Ok(record) => self.record(header, &record),
                Err(error) => return self.pass_over(header.base_offset(), &error),
            }
        }
    }

    fn control(&mut self, header: &BatchHeader, record: &StoredRecord<'_>) {
        // Key: version i16, type i16.
        if let Some([_, _, high, low]) = record.key.and_then(|key| key.first_chunk::<4>()) {
            let kind = i16::from_be_bytes([*high, *low]);
            self.coordinator.end_transaction(header.producer_id(), kind == COMMIT);
        }
    }

    fn record(&mut self, header: &BatchHeader, record: &StoredRecord<'_>) {
        let Some(key) = record.key else { return self.pass_over(record.offset, &"it has no key") };
        let value = record.value.map(Bytes::copy_from_slice);
        let transaction = header.attributes().is_transactional().then(|| header.producer_id());
        match Record::parse(Bytes::copy_from_slice(key), value) {
            Ok(Parsed::Known(known)) => self.coordinator.replay(known, record.offset, transaction),
            Ok(Parsed::Foreign) => self.has_foreign = true,
            Err(error) => self.pass_over(record.offset, &error),
        }
    }

    fn pass_over(&mut self, offset: Offset, why: &dyn std::fmt::Display) {
        tracing::warn!("the record at {offset} of a log of groups cannot be read and is passed over: {why}");
        self.has_foreign = true;
    }
}
