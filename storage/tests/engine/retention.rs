//! Which segments retention removes, and what becomes of their files.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test looks at files from outside"
)]

use std::fs::File;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use ringmain_storage::config::LogConfig;
use ringmain_storage::io::executor;
use ringmain_storage::io::real::RealIo;
use ringmain_storage::log::Log;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::segment::{ReadLimits, Slice};
use ringmain_storage::types::{LeaderEpoch, Offset, TimestampMs};

use crate::{bytes_of, key, open, run};

/// Each batch has as much, so that four are a segment.
const BATCH_BYTES: usize = 3000;
const SEGMENT_BYTES: u64 = 4 * (BATCH_BYTES as u64 + 100);

/// Timestamps.
const RISING: &[i64] = &[10, 20, 30, 40, 50, 60, 70, 80, 90, 100];

/// Timestamps.
const TEN: &[i64] = &[1; 10];

/// Timestamps.
const MANY: &[i64] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

/// Timestamps.
const HOURS: &[i64] = &[0, 900, 1800, 2700];

/// One record of this age.
async fn append(log: &Rc<Log<RealIo>>, timestamp: i64) {
    append_bytes(log, timestamp, BATCH_BYTES).await;
}

async fn append_bytes(log: &Rc<Log<RealIo>>, timestamp: i64, bytes: usize) {
    let mut builder = BatchBuilder::new(Codec::None);
    let value = vec![7; bytes];
    let timestamp = TimestampMs(timestamp);
    builder.push(&NewRecord { timestamp, value: Some(&value), ..NewRecord::default() }).unwrap();
    let batch = BytesMut::from(builder.build().unwrap().as_ref());
    let end = Offset(log.append(batch, LeaderEpoch(0), TimestampMs(1)).unwrap().last_offset.0 + 1);
    log.wait_durable(end).await.unwrap();
    log.set_high_watermark(end);
}

fn settings() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT_BYTES,
        retention_ms: -1,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

fn names(dir: &Path, ending: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("topic-0")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(ending)).collect();
    names.sort();
    names
}

/// What is left of these timestamps as of `now`: the log start. Segments have four records each.
fn start_after(timestamps: &'static [i64], config: LogConfig, now: i64) -> i64 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move || {
        let (store, _) = open(&path).await;
        let log = store.create_log(key(0), "topic", config).await.unwrap();
        for timestamp in timestamps {
            append(&log, *timestamp).await;
        }
        log.enforce_retention(TimestampMs(now)).await.unwrap();
        let start = log.offsets().log_start_offset.0;
        // It goes on behind what is left, whatever that is.
        append(&log, now).await;
        let end = log.offsets().log_end_offset;
        assert_eq!(end.0, i64::try_from(timestamps.len()).unwrap() + 1);
        let read = log.read(Offset(end.0 - 1), ReadLimits { end, bytes_max: 1, at_least_one: true }).await;
        assert!(read.unwrap().bytes > BATCH_BYTES);
        start
    })
}

#[test]
fn segments_go_by_their_largest_timestamp_the_active_one_too() {
    let of = |retention_ms| LogConfig { retention_ms, ..settings() };
    for (now, start) in [(80, 0), (140, 0), (141, 4), (180, 4), (181, 8), (200, 8), (201, 10)] {
        assert_eq!(start_after(RISING, of(100), now), start, "as of {now}");
    }
    assert_eq!(start_after(RISING, of(-1), i64::MAX), 0, "without limit");
    // One young record keeps its segment and all behind it.
    assert_eq!(start_after(&[10, 20, 30, 40, 50, 900, 70, 80, 90], of(100), 500), 4);
    // A clock that was set back makes nothing old.
    assert_eq!(start_after(RISING, of(0), 5), 0);
}

#[test]
fn segments_go_by_size_while_more_than_the_limit_is_left() {
    let segment = i64::try_from(SEGMENT_BYTES).unwrap();
    let of = |retention_bytes| LogConfig { retention_bytes, ..settings() };
    assert_eq!(start_after(TEN, of(-1), 9), 0);
    assert_eq!(start_after(TEN, of(3 * segment), 9), 0);
    assert_eq!(start_after(TEN, of(segment), 9), 4);
    assert_eq!(start_after(TEN, of(segment / 4), 9), 8);
    // As in Kafka, nothing at all is a limit like another.
    assert_eq!(start_after(TEN, of(0), 9), 10);
    let kept = LogConfig { cleanup_delete: false, ..of(0) };
    assert_eq!(start_after(TEN, kept, 9), 0, "compacted topics are not cut");
}

#[test]
fn records_without_a_timestamp_age_from_when_their_file_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let config = LogConfig { retention_ms: 3_600_000, ..settings() };
    let settings = config.clone();
    run(async move || {
        let (store, _) = open(&path).await;
        let log = store.create_log(key(0), "topic", config).await.unwrap();
        for _ in 0..10 {
            append(&log, -1).await;
        }
        store.close().await.unwrap();
    });
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let path = dir.path().to_path_buf();
    run(async move || {
        let (store, _) = open(&path).await;
        let log = store.create_log(key(0), "topic", settings).await.unwrap();
        log.enforce_retention(TimestampMs(now)).await.unwrap();
        assert_eq!(log.offsets().log_start_offset, Offset(0), "written just now");
        let first = File::options().write(true).open(path.join("topic-0/00000000000000000000.log")).unwrap();
        first.set_modified(SystemTime::now() - Duration::from_hours(2)).unwrap();
        log.enforce_retention(TimestampMs(now)).await.unwrap();
        assert_eq!(log.offsets().log_start_offset, Offset(4), "the first two hours ago");
    });
}

#[test]
fn files_stay_under_another_name_for_a_while_and_who_reads_them_reads_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move || {
        let (store, _) = open(&path).await;
        let config =
            LogConfig { segment_bytes: 40_500, retention_ms: 100, file_delete_delay_ms: 200, ..settings() };
        let log = store.create_log(key(0), "topic", config.clone()).await.unwrap();
        for timestamp in 0..10 {
            // So much that it is sent from the file when it is read again.
            append_bytes(&log, timestamp, 10_000).await;
        }
        store.close().await.unwrap();
        let (store, _) = open(&path).await;
        let log = store.create_log(key(0), "topic", config).await.unwrap();
        let limits = ReadLimits { end: Offset(10), bytes_max: 1 << 20, at_least_one: true };
        log.read(Offset(0), limits).await.unwrap();
        let second = log.read(Offset(0), limits).await.unwrap();
        assert!(matches!(second.slices[0], Slice::File { .. }), "what is read again is sent from the file");
        assert_eq!(log.enforce_retention(TimestampMs(1000)).await.unwrap(), 3);
        assert_eq!(names(&path, ".log"), ["00000000000000000010.log"], "an empty one is left");
        assert_eq!(names(&path, ".log.deleted").len(), 3);
        assert!(names(&path, ".index.deleted").len() >= 2);
        while !names(&path, ".deleted").is_empty() {
            executor::give_way().await;
        }
        let sent: Vec<u8> = second.slices.iter().flat_map(bytes_of).collect();
        assert_eq!(sent.len(), second.bytes, "readers in flight finish");
        store.close().await.unwrap();
        let (store, _) = open(&path).await;
        let log = store.create_log(key(0), "topic", settings()).await.unwrap();
        let offsets = log.offsets();
        assert_eq!((offsets.log_start_offset, offsets.log_end_offset), (Offset(10), Offset(10)));
    });
}

#[test]
fn what_a_stop_or_a_crash_left_of_removed_segments_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move || {
        let (store, _) = open(&path).await;
        let late = LogConfig { retention_ms: 100, file_delete_delay_ms: 3_600_000, ..settings() };
        let log = store.create_log(key(0), "topic", late.clone()).await.unwrap();
        for timestamp in [1, 2, 3, 4, 900, 900] {
            append(&log, timestamp).await;
        }
        assert_eq!(log.enforce_retention(TimestampMs(950)).await.unwrap(), 1);
        store.close().await.unwrap();
        assert!(!names(&path, ".deleted").is_empty(), "their time has not come");
        // As if the power had failed before the renames were durable.
        std::fs::write(path.join("topic-0/00000000000000000000.log"), b"old").unwrap();
        std::fs::write(path.join("topic-0/00000000000000000000.index"), b"old").unwrap();
        let (store, _) = open(&path).await;
        let log = store.create_log(key(0), "topic", late).await.unwrap();
        assert_eq!(log.enforce_retention(TimestampMs(950)).await.unwrap(), 0);
        assert_eq!(names(&path, ".deleted"), [""; 0]);
        assert_eq!(names(&path, ".log"), ["00000000000000000004.log"]);
        assert_eq!(names(&path, ".index"), ["00000000000000000004.index"]);
        let offsets = log.offsets();
        assert_eq!((offsets.log_start_offset, offsets.log_end_offset), (Offset(4), Offset(6)));
    });
}

#[test]
fn a_segment_ends_when_an_index_is_full_or_its_time_is_over() {
    let bases = |config: LogConfig, timestamps: &'static [i64]| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_path_buf();
        run(async move || {
            let (store, _) = open(&path).await;
            let log = store.create_log(key(0), "topic", config).await.unwrap();
            for timestamp in timestamps {
                append(&log, *timestamp).await;
            }
            store.close().await.unwrap();
            names(&path, ".log").len()
        })
    };
    // Every second batch makes an entry, and three fit: 24 bytes of offsets, 36 of times, whose last stays free.
    let large = LogConfig { segment_bytes: 1 << 30, ..settings() };
    let indexed = |index_bytes_max| LogConfig { index_bytes_max, ..large.clone() };
    assert_eq!(bases(indexed(10 << 20), MANY), 1);
    assert_eq!(bases(indexed(24), MANY), 7, "one entry of times");
    assert_eq!(bases(indexed(48), MANY), 3, "three entries");
    assert_eq!(bases(LogConfig { segment_ms: 3000, ..large.clone() }, HOURS), 1);
    assert_eq!(bases(LogConfig { segment_ms: 1000, ..large }, HOURS), 2);
}
