//! `ringmain group describe`.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use ringmain_protocol::error_code::ErrorCode;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::error::{CliError, first_refusal};
use super::super::offsets::{self, TopicPartition};
use super::super::output::Output;
use super::coordinator::{committed, coordinator_address};
use super::list::groups;
use super::members::{self, Described, Member};

/// Arguments of `ringmain group describe`.
#[derive(Args, Debug, Clone)]
pub(super) struct DescribeArgs {
    /// The groups; without any all of them.
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,
    /// Who is in the group, instead of what it has committed.
    #[arg(long)]
    members: bool,
    /// Only the line about the group.
    #[arg(long, conflicts_with = "members")]
    state: bool,
}

/// Runs the command.
pub(super) fn run(args: &DescribeArgs, client: &mut Client, output: &mut Output) -> Result<(), CliError> {
    let all = if args.groups.is_empty() { groups(client, &[], &[])? } else { Vec::new() };
    let named = args.groups.iter().cloned().chain(all.into_iter().map(|group| group.id));
    let mut refusals = Vec::new();
    for group in named {
        match describe(args, client, &group, output) {
            Err(error @ CliError::Broker { .. }) => refusals.push(error),
            done => done?,
        }
    }
    first_refusal("group", refusals)
}

/// What stands in one line about a partition.
struct Row<'a> {
    partition: TopicPartition,
    committed: Option<i64>,
    end: Option<i64>,
    owner: Option<&'a Member>,
}

impl Row<'_> {
    /// Records that were not committed, where both ends are known.
    fn lag(&self) -> Option<i64> {
        Some(self.end?.saturating_sub(self.committed?).max(0))
    }
}

fn describe(
    args: &DescribeArgs,
    client: &mut Client,
    group: &str,
    output: &mut Output,
) -> Result<(), CliError> {
    let address = coordinator_address(client, group)?;
    let mut coordinator = Client::connect(&address)?;
    let described = members::describe(&mut coordinator, group)?;
    let committed = committed(&mut coordinator, group)?;
    // Groups that were never there have neither, in versions that do not say so.
    if described.state == "Dead" && committed.is_empty() {
        let doing = format!("describe group {group}");
        return Err(CliError::Broker { doing, code: ErrorCode::GroupIdNotFound, message: None });
    }
    let rows = if args.members || args.state { Vec::new() } else { rows(client, &described, &committed)? };
    let assignor = if described.assignor.is_empty() { "none" } else { &described.assignor };
    let epochs =
        described.epochs.map(|(epoch, assigned)| format!(" epoch={epoch} assignment-epoch={assigned}"));
    output.line(&format!(
        "{group}  state={} type={} assignor={assignor}{} members={} coordinator={address}",
        described.state,
        described.kind,
        epochs.unwrap_or_default(),
        described.members.len(),
    ));
    if args.members {
        let row = |member: &Member| {
            let assigned = member.assigned.iter().map(|(topic, partitions)| {
                let partitions: Vec<_> = partitions.iter().map(ToString::to_string).collect();
                format!("{topic}:{}", partitions.join(","))
            });
            let assigned = assigned.collect::<Vec<_>>().join(" ");
            vec![
                group.to_owned(),
                member.id.clone(),
                member.instance.clone().unwrap_or_else(|| "-".to_owned()),
                member.client.clone(),
                member.host.clone(),
                member.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string()),
                if assigned.is_empty() { "-".to_owned() } else { assigned },
            ]
        };
        let rows: Vec<_> = described.members.iter().map(row).collect();
        output.table(&["GROUP", "MEMBER", "INSTANCE", "CLIENT", "HOST", "EPOCH", "PARTITIONS"], &rows);
    } else if !args.state {
        let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let row = |row: &Row<'_>| {
            let (topic, index) = &row.partition;
            vec![
                group.to_owned(),
                topic.clone(),
                index.to_string(),
                number(row.committed),
                number(row.end),
                number(row.lag()),
                row.owner.map_or_else(|| "-".to_owned(), |member| member.id.clone()),
                row.owner.map_or_else(|| "-".to_owned(), |member| member.host.clone()),
            ]
        };
        let heading = ["GROUP", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "HOST"];
        output.table(&heading, &rows.iter().map(row).collect::<Vec<_>>());
    }
    output.value(value(group, &address, &described, &rows));
    Ok(())
}

/// What was committed and what is assigned, by topic and partition.
fn rows<'a>(
    client: &mut Client,
    described: &'a Described,
    committed: &BTreeMap<TopicPartition, i64>,
) -> Result<Vec<Row<'a>>, CliError> {
    let assigned = described.members.iter().flat_map(|member| &member.assigned);
    let assigned = assigned.flat_map(|(topic, partitions)| partitions.iter().map(|at| (topic.clone(), *at)));
    let all: BTreeSet<TopicPartition> = committed.keys().cloned().chain(assigned).collect();
    let ends = offsets::all_at(client, &all.iter().cloned().collect::<Vec<_>>(), offsets::LATEST)?;
    let row = |partition: TopicPartition| Row {
        committed: committed.get(&partition).copied(),
        end: ends.get(&partition).copied(),
        owner: described.owner(&partition.0, partition.1),
        partition,
    };
    Ok(all.into_iter().map(row).collect())
}

fn value(group: &str, address: &str, described: &Described, rows: &[Row<'_>]) -> Value {
    let partition = |row: &Row<'_>| {
        json!({
            "topic": row.partition.0,
            "partition": row.partition.1,
            "committed": row.committed,
            "end": row.end,
            "lag": row.lag(),
            "member": row.owner.map(|member| &member.id),
        })
    };
    let member = |member: &Member| {
        let topic =
            |(topic, partitions): &(String, Vec<i32>)| json!({"topic": topic, "partitions": partitions});
        json!({
            "member": member.id,
            "instance": member.instance,
            "client": member.client,
            "host": member.host,
            "epoch": member.epoch,
            "assigned": member.assigned.iter().map(topic).collect::<Vec<_>>(),
        })
    };
    json!({
        "group": group,
        "state": described.state,
        "type": described.kind,
        "assignor": described.assignor,
        "epoch": described.epochs.map(|(epoch, _)| epoch),
        "assignment_epoch": described.epochs.map(|(_, assigned)| assigned),
        "coordinator": address,
        "members": described.members.iter().map(member).collect::<Vec<_>>(),
        "offsets": rows.iter().map(partition).collect::<Vec<_>>(),
    })
}
