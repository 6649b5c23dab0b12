//! `ringmain topic list`.

use clap::Args;
use serde_json::json;

use super::super::client::Client;
use super::super::error::CliError;
use super::super::output::Output;
use super::describe::metadata;

/// Arguments of `ringmain topic list`.
#[derive(Args, Debug, Clone)]
pub(super) struct ListArgs {
    /// Leave the brokers' own topics out.
    #[arg(long)]
    exclude_internal: bool,
}

/// Runs the command.
pub(super) fn run(args: &ListArgs, client: &mut Client, output: &mut Output) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for topic in metadata(client, None)?.topics {
        if args.exclude_internal && topic.is_internal {
            continue;
        }
        let name = topic.name.as_deref().unwrap_or_default();
        let replicas = topic.partitions.iter().map(|partition| partition.replica_nodes.len()).max();
        let (partitions, replicas) = (topic.partitions.len(), replicas.unwrap_or(0));
        rows.push(vec![name.to_owned(), partitions.to_string(), replicas.to_string()]);
        output.value(json!({
            "name": name,
            "topic_id": topic.topic_id.to_string(),
            "partitions": partitions,
            "replication_factor": replicas,
            "internal": topic.is_internal,
        }));
    }
    rows.sort();
    output.table(&["TOPIC", "PARTITIONS", "REPLICAS"], &rows);
    Ok(())
}
