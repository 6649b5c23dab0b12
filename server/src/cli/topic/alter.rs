//! `ringmain topic alter`.

use clap::Args;
use ringmain_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use ringmain_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ringmain_protocol::wire::Str;
use serde_json::json;

use super::super::client::{Client, refused};
use super::super::error::CliError;
use super::super::output::Output;
use super::describe::TOPIC;
use super::key_and_value;

/// How long the broker may take.
const TIMEOUT_MS: i32 = 30_000;
/// Kafka's numbers of what happens to a key.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Arguments of `ringmain topic alter`.
#[derive(Args, Debug, Clone)]
pub(super) struct AlterArgs {
    /// The topic.
    topic: String,
    /// How many partitions it shall have: more than now.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Brokers of each new partition by hand: `1:2,2:1`.
    #[arg(long, value_name = "LIST", requires = "partitions")]
    replica_assignment: Option<String>,
    /// Sets a key; may be given again, as the following.
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    config: Vec<(String, String)>,
    /// Puts a key back to its default.
    #[arg(long, value_name = "KEY")]
    delete_config: Vec<String>,
    /// Adds elements to a list.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    append_config: Vec<(String, String)>,
    /// Takes elements out of a list.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    subtract_config: Vec<(String, String)>,
    /// Only say whether it could be done.
    #[arg(long)]
    validate_only: bool,
}

/// Runs the command.
pub(super) fn run(args: &AlterArgs, client: &mut Client, output: &mut Output) -> Result<(), CliError> {
    let ops = ops(args);
    if ops.is_empty() && args.partitions.is_none() {
        return Err(CliError::Usage(
            "say what to change: --partitions, --config or another of --help".to_owned(),
        ));
    }
    if let Some(count) = args.partitions {
        add_partitions(args, count, client)?;
    }
    if !ops.is_empty() {
        change_configs(args, ops, client)?;
    }
    let done = if args.validate_only { "could be altered" } else { "altered" };
    output.line(&format!("{} {done}", args.topic));
    output.value(json!({"name": args.topic, "altered": !args.validate_only}));
    Ok(())
}

fn add_partitions(args: &AlterArgs, count: i32, client: &mut Client) -> Result<(), CliError> {
    let assignments = match &args.replica_assignment {
        Some(text) => Some(super::create::assignment(text)?),
        None => None,
    };
    let by_hand = |assignments: Vec<_>| {
        assignments.into_iter().map(|broker_ids| CreatePartitionsAssignment { broker_ids }).collect()
    };
    let topic = CreatePartitionsTopic {
        name: Str::from(args.topic.as_str()),
        count,
        assignments: assignments.map(by_hand),
    };
    let request = CreatePartitionsRequest {
        topics: vec![topic],
        timeout_ms: TIMEOUT_MS,
        validate_only: args.validate_only,
    };
    for result in client.call(&request)?.results {
        let doing = || format!("add partitions to {}", args.topic);
        if let Some(error) = refused(result.error_code, result.error_message.as_deref(), doing) {
            return Err(error);
        }
    }
    Ok(())
}

fn change_configs(
    args: &AlterArgs,
    configs: Vec<AlterableConfig>,
    client: &mut Client,
) -> Result<(), CliError> {
    let resource =
        AlterConfigsResource { resource_type: TOPIC, resource_name: Str::from(args.topic.as_str()), configs };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: args.validate_only };
    for response in client.call(&request)?.responses {
        let doing = || format!("configure {}", args.topic);
        if let Some(error) = refused(response.error_code, response.error_message.as_deref(), doing) {
            return Err(error);
        }
    }
    Ok(())
}

/// The changes of keys.
fn ops(args: &AlterArgs) -> Vec<AlterableConfig> {
    let op = |code: i8, key: &str, value: Option<&str>| AlterableConfig {
        name: Str::from(key),
        config_operation: code,
        value: value.map(Str::from),
    };
    let mut ops = Vec::new();
    for (code, pairs) in
        [(SET, &args.config), (APPEND, &args.append_config), (SUBTRACT, &args.subtract_config)]
    {
        ops.extend(pairs.iter().map(|(key, value)| op(code, key, Some(value))));
    }
    ops.extend(args.delete_config.iter().map(|key| op(DELETE, key, None)));
    ops
}
