//! Counters in Prometheus's text format (version 0.0.4), one label a shard. Names say their unit; times are seconds.

use std::fmt::Write as _;
use std::sync::Arc;

use ringmain_protocol::ApiKey;
use ringmain_storage::counters::{BUCKETS, Counter, Histogram};

use super::{Limits, group_metrics};
use crate::counters::ShardCounters;
use crate::runtime::router::WAITING_MAX;

/// Microseconds in a second.
const MICROS: f64 = 1e6;

/// A family of one number a shard.
struct Single {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    counter: fn(&ShardCounters) -> &Counter,
    /// Added to it.
    other: Option<fn(&ShardCounters) -> &Counter>,
}

const SINGLES: &[Single] = &[
    single(
        "ringmain_received_bytes_total",
        "counter",
        "Bytes received from clients; each is copied once.",
        |shard| &shard.received_bytes,
    ),
    single("ringmain_sent_bytes_total", "counter", "Bytes handed to clients' sockets.", |shard| {
        &shard.sent_bytes
    }),
    single(
        "ringmain_sent_file_bytes_total",
        "counter",
        "Those of them sent from files without a copy.",
        |shard| &shard.sent_file_bytes,
    ),
    single("ringmain_appended_bytes_total", "counter", "Bytes of record batches appended.", |shard| {
        &shard.store.appended_bytes
    }),
    single(
        "ringmain_journal_copied_bytes_total",
        "counter",
        "Bytes of batches copied into the journal.",
        |shard| &shard.store.journal_copied_bytes,
    ),
    single(
        "ringmain_segment_copied_bytes_total",
        "counter",
        "Bytes of batches copied into segments.",
        |shard| &shard.store.segment_copied_bytes,
    ),
    single("ringmain_connections_accepted_total", "counter", "Connections accepted.", |shard| {
        &shard.connections_accepted
    }),
    single(
        "ringmain_connections_refused_total",
        "counter",
        "Connections closed by the broker, for what they sent or for a limit.",
        |shard| &shard.connections_refused,
    ),
    single("ringmain_connections", "gauge", "Connections open.", |shard| &shard.connections),
    single("ringmain_mailbox_depth", "gauge", "Work of other shards that waits for this one.", |shard| {
        &shard.mailbox_depth
    }),
    single("ringmain_partitions", "gauge", "Partitions led.", |shard| &shard.partitions),
    single(
        "ringmain_partitions_offline",
        "gauge",
        "Partitions that cannot be used, or whose files failed so that they take no records: the broker's log says why.",
        |shard| &shard.partitions_offline,
    )
    .and(|shard| &shard.store.logs_failing),
    single(
        "ringmain_logs_taken_offline_total",
        "counter",
        "Logs that were taken offline, found damaged or failing.",
        |shard| &shard.store.logs_offline,
    ),
    single(
        "ringmain_damaged_batches_total",
        "counter",
        "Damaged places that reads met in segments, each counted once: the log of the broker names them.",
        |shard| &shard.store.damaged_batches,
    ),
    single("ringmain_read_errors_total", "counter", "Reads of segments that the disk refused.", |shard| {
        &shard.store.read_errors
    }),
    single("ringmain_unhandled_bytes", "gauge", "Bytes received and not yet handled.", |shard| {
        &shard.unhandled_bytes
    }),
    single("ringmain_unsent_bytes", "gauge", "Memory of answers that no client has taken yet.", |shard| {
        &shard.unsent_bytes
    }),
];

const fn single(
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    counter: fn(&ShardCounters) -> &Counter,
) -> Single {
    Single { name, kind, help, counter, other: None }
}

impl Single {
    const fn and(self, other: fn(&ShardCounters) -> &Counter) -> Self {
        Self { other: Some(other), ..self }
    }
}

/// All families of all shards.
pub(super) fn render(shards: &[Arc<ShardCounters>], limits: Limits) -> String {
    let mut text = String::new();
    for family in SINGLES {
        head(&mut text, family.name, family.kind, family.help);
        for (index, shard) in shards.iter().enumerate() {
            let value = (family.counter)(shard).get() + family.other.map_or(0, |other| other(shard).get());
            sample(&mut text, family.name, &label(index), &value);
        }
    }
    for (name, help, value) in [
        ("ringmain_mailbox_depth_max", "The limit of ringmain_mailbox_depth.", WAITING_MAX),
        (
            "ringmain_unhandled_bytes_max",
            "The limit of ringmain_unhandled_bytes.",
            limits.unhandled_bytes_max,
        ),
        ("ringmain_unsent_bytes_max", "The limit of ringmain_unsent_bytes.", limits.unsent_bytes_max),
        ("ringmain_group_bytes_max", "The limit of ringmain_group_bytes.", limits.group_bytes_max),
    ] {
        head(&mut text, name, "gauge", help);
        for index in 0..shards.len() {
            sample(&mut text, name, &label(index), &value);
        }
    }
    group_metrics::render(&mut text, shards);
    head(&mut text, "ringmain_requests_total", "counter", "Requests by API.");
    for (index, shard) in shards.iter().enumerate() {
        for (key, count) in shard.requests() {
            let Ok(api) = ApiKey::try_from(key) else { continue };
            let labels = format!("{},api=\"{}\"", label(index), api.name());
            sample(&mut text, "ringmain_requests_total", &labels, &count);
        }
    }
    let name = "ringmain_request_duration_seconds";
    head(
        &mut text,
        name,
        "histogram",
        "From a request's arrival until its answer can go, a fetch's waiting included.",
    );
    for (index, shard) in shards.iter().enumerate() {
        for (api, times) in [
            ("Produce", &shard.produce_micros),
            ("Fetch", &shard.fetch_micros),
            ("other", &shard.other_micros),
        ] {
            histogram(&mut text, name, &format!("{},api=\"{api}\"", label(index)), (times, MICROS));
        }
    }
    for (name, help, unit, of) in HISTOGRAMS {
        head(&mut text, name, "histogram", help);
        for (index, shard) in shards.iter().enumerate() {
            histogram(&mut text, name, &label(index), (of(shard), *unit));
        }
    }
    text
}

/// Name, help, what a unit of the family has of those counted, and where it is.
type HistogramFamily = (&'static str, &'static str, f64, fn(&ShardCounters) -> &Histogram);

const HISTOGRAMS: &[HistogramFamily] = &[
    ("ringmain_journal_sync_seconds", "Time of one durable write of the journal.", MICROS, |shard| {
        &shard.store.sync_micros
    }),
    ("ringmain_journal_group_batches", "Batches made durable by one write.", 1.0, |shard| {
        &shard.store.group_batches
    }),
    ("ringmain_journal_group_bytes", "Bytes of one durable write.", 1.0 / 1024.0, |shard| {
        &shard.store.group_kibibytes
    }),
];

/// The label of a shard.
pub(super) fn label(shard: usize) -> String {
    format!("shard=\"{shard}\"")
}

/// What stands before a family's samples.
pub(super) fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

/// A line.
pub(super) fn sample(text: &mut String, name: &str, labels: &str, value: &dyn std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{name}{{{labels}}} {value}");
}

/// The buckets add up, as the format wants it; `per_unit` of what is counted make one unit of the family.
#[expect(clippy::cast_precision_loss, reason = "a float is what the format has")]
fn histogram(text: &mut String, name: &str, labels: &str, (counts, per_unit): (&Histogram, f64)) {
    let mut below = 0_u64;
    for (exponent, count) in (0_i32..).zip(counts.buckets()) {
        below += count;
        let is_last = usize::try_from(exponent) == Ok(BUCKETS - 1);
        let end = if is_last { "+Inf".to_owned() } else { (2_f64.powi(exponent) / per_unit).to_string() };
        sample(text, &format!("{name}_bucket"), &format!("{labels},le=\"{end}\""), &below);
    }
    sample(text, &format!("{name}_sum"), labels, &(counts.sum() as f64 / per_unit));
    sample(text, &format!("{name}_count"), labels, &below);
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../docs/metrics.md");

    #[test]
    fn every_family_has_a_head_and_a_sample_a_shard() {
        let shards: Vec<Arc<ShardCounters>> = (0..2).map(|_| Arc::default()).collect();
        shards[1].requested(18);
        shards[1].answered(18, std::time::Duration::from_micros(3));
        shards[0].received_bytes.add(5);
        let text =
            render(&shards, Limits { unhandled_bytes_max: 10, unsent_bytes_max: 20, group_bytes_max: 30 });
        for line in [
            "# TYPE ringmain_received_bytes_total counter",
            "ringmain_received_bytes_total{shard=\"0\"} 5",
            "ringmain_received_bytes_total{shard=\"1\"} 0",
            "ringmain_unsent_bytes_max{shard=\"1\"} 20",
            "ringmain_group_bytes_max{shard=\"0\"} 30",
            "ringmain_groups{shard=\"0\",protocol=\"classic\",state=\"Stable\"} 0",
            "ringmain_groups{shard=\"1\",protocol=\"consumer\",state=\"Reconciling\"} 0",
            "ringmain_requests_total{shard=\"1\",api=\"ApiVersions\"} 1",
            "ringmain_request_duration_seconds_bucket{shard=\"1\",api=\"other\",le=\"0.000002\"} 0",
            "ringmain_request_duration_seconds_bucket{shard=\"1\",api=\"other\",le=\"0.000004\"} 1",
            "ringmain_request_duration_seconds_bucket{shard=\"1\",api=\"other\",le=\"+Inf\"} 1",
            "ringmain_request_duration_seconds_sum{shard=\"1\",api=\"other\"} 0.000003",
            "ringmain_journal_group_bytes_bucket{shard=\"0\",le=\"1024\"} 0",
            "ringmain_journal_sync_seconds_count{shard=\"0\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        let families: std::collections::BTreeSet<_> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        for family in &families {
            let name = family.split(' ').next().unwrap();
            assert!(DOCUMENT.contains(&format!("`{name}`")), "server/docs/metrics.md does not know {name}");
        }
        assert_eq!(families.len(), text.lines().filter(|line| line.starts_with("# TYPE")).count());
    }
}
