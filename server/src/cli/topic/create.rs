//! `ringmain topic create`.

use clap::Args;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ringmain_protocol::messages::create_topics_response::CreatableTopicResult;
use ringmain_protocol::wire::Str;
use serde_json::json;

use super::super::client::{Client, refused};
use super::super::error::{CliError, first_refusal};
use super::super::output::Output;
use super::key_and_value;

/// How long the broker may take.
const TIMEOUT_MS: i32 = 30_000;
/// First version that takes −1 for the broker's own numbers.
const DEFAULTS_SINCE: i16 = 4;

/// Arguments of `ringmain topic create`.
#[derive(Args, Debug, Clone)]
pub(super) struct CreateArgs {
    /// The topics.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// How many partitions; without it the broker's num.partitions.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many replicas of each; without it the broker's default.replication.factor.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// Brokers of each partition by hand: `1:2,2:1` puts the first on 1 and 2, the second on 2 and 1.
    #[arg(long, value_name = "LIST", conflicts_with_all = ["partitions", "replication_factor"])]
    replica_assignment: Option<String>,
    /// A setting of the topics; may be given again.
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    config: Vec<(String, String)>,
    /// A topic that is there already is no error.
    #[arg(long)]
    if_not_exists: bool,
    /// Only say whether it could be done.
    #[arg(long)]
    validate_only: bool,
}

/// Runs the command.
pub(super) fn run(args: &CreateArgs, client: &mut Client, output: &mut Output) -> Result<(), CliError> {
    let assignments = match &args.replica_assignment {
        Some(text) => assignment(text)?,
        None => Vec::new(),
    };
    let assignments: Vec<_> = (0..)
        .zip(assignments)
        .map(|(partition_index, broker_ids)| CreatableReplicaAssignment { partition_index, broker_ids })
        .collect();
    let by_hand = !assignments.is_empty();
    // Older brokers take no −1 and have no say in it.
    let default = if by_hand || client.version::<CreateTopicsRequest>()? >= DEFAULTS_SINCE { -1 } else { 1 };
    let topic = |name: &String| CreatableTopic {
        name: Str::from(name.as_str()),
        num_partitions: args.partitions.unwrap_or(default.into()),
        replication_factor: args.replication_factor.unwrap_or(default),
        assignments: assignments.clone(),
        configs: args
            .config
            .iter()
            .map(|(key, value)| CreatableTopicConfig {
                name: Str::from(key.as_str()),
                value: Some(Str::from(value.as_str())),
            })
            .collect(),
    };
    let request = CreateTopicsRequest {
        topics: args.topics.iter().map(topic).collect(),
        timeout_ms: TIMEOUT_MS,
        validate_only: args.validate_only,
    };
    let mut refusals = Vec::new();
    for result in client.call(&request)?.topics {
        let exists = result.error_code == ErrorCode::TopicAlreadyExists.code();
        if exists && args.if_not_exists {
            output.line(&format!("{} exists", &*result.name));
            output.value(json!({"name": &*result.name, "created": false}));
        } else if let Some(error) = refused(result.error_code, result.error_message.as_deref(), || {
            format!("create {}", &*result.name)
        }) {
            refusals.push(error);
        } else {
            tell(args, &result, output);
        }
    }
    first_refusal("topic", refusals)
}

fn tell(args: &CreateArgs, result: &CreatableTopicResult, output: &mut Output) {
    let name = &*result.name;
    let done = if args.validate_only { "could be created" } else { "created" };
    let counts = (result.num_partitions > 0).then(|| {
        format!(
            ": {} × {}",
            plural(result.num_partitions, "partition"),
            plural(result.replication_factor.into(), "replica")
        )
    });
    output.line(&format!("{name} {done}{}", counts.unwrap_or_default()));
    output.value(json!({
        "name": name,
        "created": !args.validate_only,
        "topic_id": result.topic_id.to_string(),
        "partitions": result.num_partitions,
        "replication_factor": result.replication_factor,
    }));
}

fn plural(count: i32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Reads `1:2,2:1`: the brokers of each partition.
pub(super) fn assignment(text: &str) -> Result<Vec<Vec<i32>>, CliError> {
    let wrong = || CliError::Usage(format!("{text:?} is not of the form 1:2,2:1"));
    let brokers = |part: &str| {
        let ids = part.split(':').map(|id| id.trim().parse::<i32>().map_err(|_| wrong()));
        ids.collect::<Result<Vec<i32>, CliError>>()
    };
    text.split(',').map(brokers).collect()
}

#[cfg(test)]
mod tests {
    use super::assignment;

    #[test]
    fn an_assignment_names_the_brokers_of_each_partition() {
        assert_eq!(assignment("1:2, 2:1").unwrap(), [[1, 2], [2, 1]]);
        for wrong in ["", "a", "1:", "1,,2"] {
            assert!(assignment(wrong).is_err(), "{wrong}");
        }
    }
}
