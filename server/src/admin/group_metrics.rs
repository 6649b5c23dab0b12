//! The families of consumer groups: which there are and where they stand, what happens in them, and how much of their logs
//! and of their memory is used.

use std::sync::Arc;

use ringmain_storage::counters::Counter;

use super::metrics::{head, label, sample};
use crate::counters::{GroupCounters, ShardCounters};

/// A family: name, type, what it is, and each sample's labels beside the shard's with where the number is.
type Family = (&'static str, &'static str, &'static str, fn(&GroupCounters) -> Vec<(String, &Counter)>);

const FAMILIES: &[Family] = &[
    ("ringmain_groups", "gauge", "Groups by protocol and state.", |groups| {
        let classic = GroupCounters::CLASSIC_STATES.into_iter().zip(&groups.classic);
        let consumer = GroupCounters::CONSUMER_STATES.into_iter().zip(&groups.consumer);
        let of =
            |protocol| move |(state, count)| (format!(",protocol=\"{protocol}\",state=\"{state}\""), count);
        classic.map(of("classic")).chain(consumer.map(of("consumer"))).collect()
    }),
    ("ringmain_group_members", "gauge", "Members of groups by the group's protocol.", |groups| {
        by_protocol(&groups.classic_members, &groups.consumer_members)
    }),
    (
        "ringmain_group_rebalances_total",
        "counter",
        "Generations of classic groups that began, and times that partitions were shared out anew in groups of KIP-848.",
        |groups| by_protocol(&groups.classic_rebalances, &groups.consumer_rebalances),
    ),
    ("ringmain_group_offsets", "gauge", "Committed offsets that are kept.", |groups| one(&groups.offsets)),
    (
        "ringmain_group_offset_commits_total",
        "counter",
        "Offsets that were committed, each partition's one by one.",
        |groups| one(&groups.commits),
    ),
    (
        "ringmain_group_offsets_expired_total",
        "counter",
        "Offsets that nobody needed for so long that they went.",
        |groups| one(&groups.expired),
    ),
    ("ringmain_group_log_records", "gauge", "Records in the logs of groups, dead ones too.", |groups| {
        one(&groups.log_records)
    }),
    (
        "ringmain_group_live_records",
        "gauge",
        "Records that would do in their place; with four times as many dead ones a log is written anew.",
        |groups| one(&groups.live_records),
    ),
    (
        "ringmain_group_log_rewrites_total",
        "counter",
        "Times that a log of groups was written anew.",
        |groups| one(&groups.rewrites),
    ),
    (
        "ringmain_group_bytes",
        "gauge",
        "Memory of groups, their members and their offsets, about.",
        |groups| one(&groups.bytes),
    ),
];

fn one(counter: &Counter) -> Vec<(String, &Counter)> {
    vec![(String::new(), counter)]
}

fn by_protocol<'a>(classic: &'a Counter, consumer: &'a Counter) -> Vec<(String, &'a Counter)> {
    vec![(",protocol=\"classic\"".to_owned(), classic), (",protocol=\"consumer\"".to_owned(), consumer)]
}

/// All families of all shards.
pub(super) fn render(text: &mut String, shards: &[Arc<ShardCounters>]) {
    for (name, kind, help, samples) in FAMILIES {
        head(text, name, kind, help);
        for (index, shard) in shards.iter().enumerate() {
            for (labels, counter) in samples(&shard.groups) {
                sample(text, name, &format!("{}{labels}", label(index)), &counter.get());
            }
        }
    }
}
