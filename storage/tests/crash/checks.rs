//! Whether a log is what it should be: its records, where it starts and ends, what it knows of producers, leader epochs
//! and transactions.

use std::collections::BTreeMap;
use std::fmt::Write;

use ringmain_storage::error::ReadError;
use ringmain_storage::io::sim::SimIo;
use ringmain_storage::log::Log;
use ringmain_storage::log::producer_state::{BATCHES_MAX, BatchMetadata};
use ringmain_storage::record::batch;
use ringmain_storage::segment::{ReadLimits, Slice};
use ringmain_storage::types::{LeaderEpoch, Offset, ProducerId, TimestampMs};

use crate::model::{ExpectedLog, SentBatch};

/// Checks one log that was opened, and takes what was found as acknowledged.
pub(crate) async fn check_log(log: &Log<SimIo>, expected: &mut ExpectedLog) -> Result<(), String> {
    let offsets = log.offsets();
    let start = offsets.log_start_offset.0;
    let (answered, asked) = expected.start;
    if start < answered || start > asked {
        return Err(format!("starts at {start}, answered {answered}, asked for {asked}"));
    }
    let durable = offsets.durable_offset.0;
    let promised = [("acknowledged", expected.acknowledged_end), ("seen by a reader", expected.seen_end)];
    for (what, end) in promised {
        if durable < end {
            return Err(format!("{durable} durable, {end} {what}"));
        }
    }
    let found_end = offsets.log_end_offset.0;
    let Some(batches) = (if found_end == 0 {
        Some(0)
    } else {
        expected.sent.iter().position(|batch| batch.end == found_end).map(|index| index + 1)
    }) else {
        return Err(format!("ends at {found_end}, sent up to {}", expected.sent_end()));
    };
    let sent = &expected.sent[..batches];
    check_size(log, sent)?;
    check_bytes(log, sent, (start, durable)).await?;
    check_timestamps(log, sent, (start, durable)).await?;
    check_epochs(log, sent, (start, found_end))?;
    let forgotten_below = if expected.is_truncated { start } else { 0 };
    check_producers(log, sent, (expected.stopped_at, forgotten_below))?;
    check_stable(log, sent, forgotten_below)?;
    expected.sent.truncate(batches);
    expected.stopped_at = expected.stopped_at.min(batches);
    expected.acknowledged_end = durable.max(expected.acknowledged_end);
    expected.synced_end = durable;
    expected.start = (start, start);
    Ok(())
}

/// Its segments have its batches from one on, and nothing else.
fn check_size(log: &Log<SimIo>, sent: &[SentBatch]) -> Result<(), String> {
    let bytes = usize::try_from(log.size_bytes()).unwrap_or(usize::MAX);
    let sums = sent.iter().rev().scan(0, |sum, batch| {
        *sum += batch.stored.len();
        Some(*sum)
    });
    if bytes == 0 || sums.take_while(|sum| *sum <= bytes).last() == Some(bytes) {
        return Ok(());
    }
    Err(format!("{bytes} bytes long, which no run of its last batches is"))
}

async fn check_bytes(
    log: &Log<SimIo>,
    sent: &[SentBatch],
    (start, durable): (i64, i64),
) -> Result<(), String> {
    let bytes = read_all(log, Offset(start), Offset(durable)).await?;
    let served = sent.iter().filter(|batch| batch.end > start && batch.end <= durable);
    let wanted: Vec<u8> = served.flat_map(|sent| sent.stored.iter().copied()).collect();
    if bytes != wanted {
        return Err(difference(&bytes, &wanted));
    }
    let limits = ReadLimits { end: Offset(durable), bytes_max: 1, at_least_one: true };
    match log.read(Offset(start - 1), limits).await {
        Err(ReadError::OutOfRange { .. }) => Ok(()),
        read => Err(format!("read before the start gave {read:?}")),
    }
}

/// Reads in small steps, so that reads begin at many places; the first batch may begin before `from`.
pub(crate) async fn read_all(log: &Log<SimIo>, from: Offset, end: Offset) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    let mut next = from;
    while next < end {
        let limits = ReadLimits { end, bytes_max: 3000, at_least_one: true };
        let fetched = log.read(next, limits).await.map_err(|error| format!("read at {next}: {error}"))?;
        let mut run = Vec::new();
        for slice in &fetched.slices {
            match slice {
                Slice::Memory(bytes) => run.extend_from_slice(bytes),
                Slice::File { .. } => return Err("a simulated disk has no descriptors".to_owned()),
            }
        }
        let before = next;
        for (header, bytes) in batch::batches(&run) {
            let begins = header.base_offset();
            if begins != next && !(next == from && begins < next && header.next_offset() > next) {
                return Err(format!("read at {next} found a batch at {begins}"));
            }
            all.extend_from_slice(bytes);
            next = header.next_offset();
        }
        if next == before {
            return Err(format!("read at {next} of {end} gave no batch ({} bytes)", run.len()));
        }
    }
    Ok(all)
}

/// A record's timestamp in these tests is its batch's base offset: so the index must find that batch.
async fn check_timestamps(
    log: &Log<SimIo>,
    sent: &[SentBatch],
    (start, end): (i64, i64),
) -> Result<(), String> {
    let is_own = |batch: &SentBatch| batch.header().max_timestamp().0 == batch.base_offset;
    if !sent.iter().all(is_own) {
        // The log's own time.
        return Ok(());
    }
    let there = sent.iter().filter(|batch| batch.base_offset >= start && batch.end <= end);
    for batch in there.filter(|batch| !batch.header().attributes().is_control()).step_by(5) {
        let at = TimestampMs(batch.base_offset);
        let found = log.offset_for_timestamp(at, Offset(end)).await.map_err(|error| error.to_string())?;
        if found != Some((at, Offset(batch.base_offset))) {
            return Err(format!("timestamp {at} found at {found:?}"));
        }
    }
    Ok(())
}

/// Every epoch ends where the next one's first record is, those before the log's start with it.
fn check_epochs(log: &Log<SimIo>, sent: &[SentBatch], (start, end): (i64, i64)) -> Result<(), String> {
    if start == end {
        return Ok(());
    }
    // Epochs and where their first records are.
    let mut known: Vec<(LeaderEpoch, i64)> = Vec::new();
    for batch in sent {
        if known.last().is_none_or(|(epoch, _)| *epoch < batch.leader_epoch) {
            known.push((batch.leader_epoch, batch.base_offset));
        }
    }
    let newest = known.last().map(|(epoch, _)| *epoch);
    if log.latest_epoch() != newest {
        return Err(format!("latest epoch {:?}, wanted {newest:?}", log.latest_epoch()));
    }
    for (index, (epoch, _)) in known.iter().enumerate() {
        let next = known.get(index + 1).map_or(end, |(_, next)| *next);
        let wanted = Some((*epoch, Offset(next.max(start))));
        let found = log.epoch_end_offset(*epoch);
        if found != wanted {
            return Err(format!("epoch {epoch} ends at {found:?}, wanted {wanted:?}, log from {start}"));
        }
    }
    Ok(())
}

/// What has to be known of one producer.
struct Window {
    epoch: i16,
    /// Number of the batch among those sent, and what is known of it.
    batches: Vec<(usize, BatchMetadata)>,
}

/// Each producer's last five batches are known: all that came since the last clean stop, and the last one in any case.
fn check_producers(
    log: &Log<SimIo>,
    sent: &[SentBatch],
    (stopped_at, forgotten_below): (usize, i64),
) -> Result<(), String> {
    for (id, Window { epoch, batches }) in windows(sent) {
        if batches.is_empty() {
            continue;
        }
        let found = log
            .producers(|producers| producers.get(id).map(|known| (known.epoch.0, known.batches().to_vec())));
        let last = batches.last().map_or(0, |(_, batch)| batch.last_offset.0);
        let Some((found_epoch, found)) = found else {
            if last < forgotten_below {
                continue;
            }
            return Err(format!("producer {id} is forgotten"));
        };
        if found_epoch != epoch {
            return Err(format!("producer {id} has epoch {found_epoch}, wanted {epoch}"));
        }
        let is_needed = |(index, batch): &&(usize, BatchMetadata)| {
            *index >= stopped_at && batch.last_offset.0 >= forgotten_below
        };
        let since = batches.iter().filter(is_needed).count().max(1);
        let wanted: Vec<_> = batches.iter().map(|(_, batch)| *batch).collect();
        if found.len() < since || !wanted.ends_with(&found) {
            return Err(format!("producer {id}: {found:?} known, wanted at least {since} of {wanted:?}"));
        }
    }
    Ok(())
}

fn windows(sent: &[SentBatch]) -> BTreeMap<ProducerId, Window> {
    let mut windows: BTreeMap<ProducerId, Window> = BTreeMap::new();
    for (index, batch) in sent.iter().enumerate() {
        let header = batch.header();
        let (id, epoch) = (header.producer_id(), header.producer_epoch().0);
        if id.0 < 0 {
            continue;
        }
        let window = windows.entry(id).or_insert(Window { epoch, batches: Vec::new() });
        if window.epoch != epoch {
            *window = Window { epoch, batches: Vec::new() };
        }
        if header.attributes().is_control() {
            continue;
        }
        let known = BatchMetadata {
            last_sequence: header.base_sequence() + header.last_offset_delta(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta(),
            timestamp: header.max_timestamp(),
        };
        window.batches.push((index, known));
        if window.batches.len() > BATCHES_MAX {
            window.batches.remove(0);
        }
    }
    windows
}

/// An open transaction holds the last stable offset back. None is closed here: appending takes no markers of those.
fn check_stable(log: &Log<SimIo>, sent: &[SentBatch], forgotten_below: i64) -> Result<(), String> {
    let offsets = log.offsets();
    let open = |batch: &&SentBatch| {
        let attributes = batch.header().attributes();
        attributes.is_transactional() && !attributes.is_control()
    };
    let stable = |first: Option<&SentBatch>| {
        let first = first.map_or(offsets.high_watermark, |batch| Offset(batch.base_offset));
        first.min(offsets.high_watermark).max(offsets.log_start_offset)
    };
    let wanted = stable(sent.iter().find(open));
    let without_forgotten = stable(sent.iter().filter(|batch| batch.end > forgotten_below).find(open));
    if ![wanted, without_forgotten].contains(&offsets.last_stable_offset) {
        return Err(format!("{offsets:?}, wanted {wanted} to be stable"));
    }
    Ok(())
}

fn difference(found: &[u8], wanted: &[u8]) -> String {
    let mut text = format!("{} bytes found, {} wanted;", found.len(), wanted.len());
    let first = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    let _infallible = match first {
        Some(position) => write!(text, " they differ from byte {position} on"),
        None => write!(text, " one begins with the other"),
    };
    text
}
