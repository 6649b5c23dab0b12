//! `ringmain group reset-offsets`.

use std::collections::BTreeMap;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use ringmain_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ringmain_protocol::wire::Str;
use serde_json::json;

use super::super::client::{Client, check};
use super::super::clock::now_ms;
use super::super::error::{CliError, first_refusal};
use super::super::offsets::{self, EARLIEST, LATEST, TopicPartition};
use super::super::output::Output;
use super::super::sender::retrying;
use super::coordinator::{TOPIC_NAMES_UNTIL, committed, coordinator};
use super::members;

/// Arguments of `ringmain group reset-offsets`.
#[derive(Args, Debug, Clone)]
pub(super) struct ResetOffsetsArgs {
    /// The group. It must have no members; one that is not there is made.
    #[arg(value_name = "GROUP")]
    group: String,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    target: Target,
    /// Do it. Without it the command only shows what it would do.
    #[arg(long)]
    execute: bool,
}

/// Of which partitions.
#[derive(Args, Debug, Clone)]
#[group(required = true, multiple = false)]
struct Scope {
    /// A topic, or some of its partitions as TOPIC:0,1; may be given again.
    #[arg(short, long, value_name = "TOPIC[:N,N]")]
    topic: Vec<String>,
    /// All that the group has committed.
    #[arg(long)]
    all_topics: bool,
}

/// Where to.
#[derive(Args, Debug, Clone)]
#[group(required = true, multiple = false)]
struct Target {
    /// The oldest record.
    #[arg(long)]
    to_earliest: bool,
    /// The end.
    #[arg(long)]
    to_latest: bool,
    /// This offset.
    #[arg(long, value_name = "N")]
    to_offset: Option<i64>,
    /// The first record of that time or later: 2026-01-31T08:00:00Z, or milliseconds since 1970.
    #[arg(long, value_name = "TIME", visible_alias = "to-datetime", value_parser = timestamp_ms)]
    to_timestamp: Option<i64>,
    /// The first record that is not older: "36h", "2 days", PT90M.
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    by_duration: Option<i64>,
    /// So many records forward, or back with a minus.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    shift_by: Option<i64>,
}

fn timestamp_ms(text: &str) -> Result<i64, String> {
    text.parse().or_else(|_| {
        let time: Timestamp = text.parse().map_err(|error| format!("{error}"))?;
        Ok(time.as_millisecond())
    })
}

fn duration_ms(text: &str) -> Result<i64, String> {
    let days = |text: &str| -> Option<SignedDuration> {
        let count: i64 = text.strip_suffix("days").or_else(|| text.strip_suffix('d'))?.trim().parse().ok()?;
        SignedDuration::try_from_hours(count.checked_mul(24)?)
    };
    let duration = match days(text) {
        Some(duration) => duration,
        None => text.parse::<SignedDuration>().map_err(|error| format!("{error}"))?,
    };
    i64::try_from(duration.as_millis()).map_err(|error| error.to_string())
}

/// Runs the command.
pub(super) fn run(args: &ResetOffsetsArgs, client: &mut Client, output: &mut Output) -> Result<(), CliError> {
    let mut coordinator = coordinator(client, &args.group)?;
    let committed = committed(&mut coordinator, &args.group)?;
    let partitions = if args.scope.all_topics {
        committed.keys().cloned().collect()
    } else {
        partitions(client, &args.scope.topic)?
    };
    let targets = targets(client, &args.target, &partitions, &committed)?;
    let outcome = if args.execute {
        execute(&mut coordinator, &args.group, &targets)?
    } else {
        eprintln!("Nothing was changed; --execute does it.");
        Vec::new()
    };
    let from = |partition: &TopicPartition| committed.get(partition).copied();
    let row = |(partition, to): (&TopicPartition, &i64)| {
        let from = from(partition).map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        vec![args.group.clone(), partition.0.clone(), partition.1.to_string(), from, to.to_string()]
    };
    let rows: Vec<_> = targets.iter().map(row).collect();
    output.table(&["GROUP", "TOPIC", "PARTITION", "COMMITTED", "NEW"], &rows);
    for (partition, to) in &targets {
        output.value(json!({
            "topic": partition.0,
            "partition": partition.1,
            "committed": from(partition),
            "new": to,
            "executed": args.execute,
        }));
    }
    first_refusal("group", outcome)
}

/// Reads `TOPIC` and `TOPIC:0,1`; all of them have to be there.
fn partitions(client: &mut Client, wanted: &[String]) -> Result<Vec<TopicPartition>, CliError> {
    let mut chosen = Vec::new();
    for text in wanted {
        let (topic, indexes) =
            text.split_once(':').map_or((text.as_str(), None), |(topic, list)| (topic, Some(list)));
        let there = offsets::partitions_of(client, &[topic.to_owned()])?;
        if there.is_empty() {
            return Err(CliError::Usage(format!("there is no topic {topic}")));
        }
        let Some(indexes) = indexes else {
            chosen.extend(there);
            continue;
        };
        for index in indexes.split(',') {
            let found = index.trim().parse().ok().map(|index: i32| (topic.to_owned(), index));
            let found = found.filter(|partition| there.contains(partition));
            let none =
                || CliError::Usage(format!("{topic} has partitions 0 to {}, not {index}", there.len() - 1));
            chosen.push(found.ok_or_else(none)?);
        }
    }
    Ok(chosen)
}

/// The offset that each partition gets, never outside of what it holds. A partition that is gone is left out.
fn targets(
    client: &mut Client,
    target: &Target,
    partitions: &[TopicPartition],
    committed: &BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, i64>, CliError> {
    let earliest = offsets::all_at(client, partitions, EARLIEST)?;
    let ends = offsets::all_at(client, partitions, LATEST)?;
    let time = target.to_timestamp.or_else(|| Some(now_ms().0.saturating_sub(target.by_duration?)));
    let timed = match time {
        Some(time) => offsets::all_at(client, partitions, time.max(0))?,
        None => BTreeMap::new(),
    };
    let mut targets = BTreeMap::new();
    for partition in partitions {
        let (Some(first), Some(end)) = (earliest.get(partition), ends.get(partition)) else { continue };
        let wanted = if target.to_earliest {
            *first
        } else if target.to_latest {
            *end
        } else if let Some(offset) = target.to_offset {
            offset
        } else if let Some(by) = target.shift_by {
            let from = committed.get(partition).ok_or_else(|| {
                CliError::Usage(format!(
                    "nothing is committed for {}-{} that --shift-by could start from",
                    partition.0, partition.1
                ))
            })?;
            from.saturating_add(by)
        } else {
            // Nothing is as young: the end.
            timed.get(partition).copied().filter(|offset| *offset >= 0).unwrap_or(*end)
        };
        let held = wanted.clamp(*first, *end);
        if held != wanted {
            eprintln!(
                "{}-{} holds offsets {first} to {end} (exclusive): {wanted} becomes {held}",
                partition.0, partition.1
            );
        }
        targets.insert(partition.clone(), held);
    }
    Ok(targets)
}

/// Commits, and returns what was refused.
fn execute(
    coordinator: &mut Client,
    group: &str,
    targets: &BTreeMap<TopicPartition, i64>,
) -> Result<Vec<CliError>, CliError> {
    match members::describe(coordinator, group) {
        Ok(described) if !described.is_without_members() => {
            let (state, count) = (&described.state, described.members.len());
            return Err(CliError::Usage(format!(
                "group {group} is {state} with {count} members; stop them first: members commit offsets of their own"
            )));
        }
        // A group that is not there is made.
        Ok(_) | Err(CliError::Broker { .. }) => {}
        Err(error) => return Err(error),
    }
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for ((topic, index), offset) in targets {
        topics.entry(topic).or_default().push(OffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: *offset,
            committed_leader_epoch: -1,
            committed_metadata: Some(Str::from("")),
        });
    }
    let topic = |(name, partitions): (&str, _)| OffsetCommitRequestTopic {
        name: Str::from(name),
        partitions,
        ..OffsetCommitRequestTopic::default()
    };
    let request = OffsetCommitRequest {
        group_id: Str::from(group),
        generation_id_or_member_epoch: -1,
        retention_time_ms: -1,
        topics: topics.into_iter().map(topic).collect(),
        ..OffsetCommitRequest::default()
    };
    retrying(|| {
        let mut refusals = Vec::new();
        for topic in coordinator.call_up_to(&request, TOPIC_NAMES_UNTIL)?.topics {
            for partition in topic.partitions {
                let doing = || format!("commit {group} for {}-{}", topic.name, partition.partition_index);
                match check(partition.error_code, doing) {
                    // All of it is committed again: that changes nothing.
                    Err(error) if error.retriable() => return Err(error),
                    checked => refusals.extend(checked.err()),
                }
            }
        }
        Ok(refusals)
    })
}

#[cfg(test)]
mod tests {
    use super::{duration_ms, timestamp_ms};

    #[test]
    fn times_and_durations_are_read_as_people_write_them() {
        assert_eq!(timestamp_ms("1767225600000"), Ok(1_767_225_600_000));
        assert_eq!(timestamp_ms("2026-01-01T00:00:00Z"), Ok(1_767_225_600_000));
        assert_eq!(timestamp_ms("2026-01-01T01:00:00.250+01:00"), Ok(1_767_225_600_250));
        assert!(timestamp_ms("yesterday").is_err());
        for (text, hours) in [("36h", 36), ("PT36H", 36), ("2d", 48), ("2 days", 48), ("1h 60m", 2)] {
            assert_eq!(duration_ms(text), Ok(hours * 3_600_000), "{text}");
        }
        assert!(duration_ms("a while").is_err());
    }
}
