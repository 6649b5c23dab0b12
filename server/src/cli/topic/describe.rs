//! `ringmain topic describe`.

use clap::Args;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ringmain_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use ringmain_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ringmain_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};
use ringmain_protocol::wire::Str;
use serde_json::{Map, Value, json};

use super::super::client::{Client, refused};
use super::super::error::{CliError, first_refusal};
use super::super::output::Output;

/// Kafka's number of a topic among the resources that have a configuration.
pub(super) const TOPIC: i8 = 2;
/// A value that was set on the topic.
const SET_ON_TOPIC: i8 = 1;
/// First version of DescribeConfigs that says where a value comes from.
const SOURCES_SINCE: i16 = 1;

/// Arguments of `ringmain topic describe`.
#[derive(Args, Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct DescribeArgs {
    /// The topics; without any all of them.
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// Leave the brokers' own topics out.
    #[arg(long)]
    exclude_internal: bool,
    /// Show every setting, not only what is set on the topic.
    #[arg(long)]
    all_configs: bool,
    /// Only partitions that lack replicas.
    #[arg(long)]
    under_replicated_partitions: bool,
    /// Only partitions without a leader.
    #[arg(long)]
    unavailable_partitions: bool,
}

/// Runs the command.
pub(super) fn run(args: &DescribeArgs, client: &mut Client, output: &mut Output) -> Result<(), CliError> {
    let named = (!args.topics.is_empty()).then_some(&args.topics[..]);
    let mut topics = metadata(client, named)?.topics;
    topics.sort_by(|left, right| left.name.as_deref().cmp(&right.name.as_deref()));
    topics.retain(|topic| !(args.exclude_internal && topic.is_internal));
    let mut refusals = Vec::new();
    let is_there = |topic: &MetadataResponseTopic| {
        // A topic whose partitions have no leader yet is there all the same.
        [ErrorCode::None, ErrorCode::LeaderNotAvailable].map(ErrorCode::code).contains(&topic.error_code)
    };
    for topic in topics.iter().filter(|topic| !is_there(topic)) {
        let name = topic.name.as_deref().unwrap_or_default();
        refusals.extend(refused(topic.error_code, None, || format!("describe {name}")));
    }
    topics.retain(is_there);
    let configs = configs(client, &topics, args.all_configs)?;
    for (topic, configs) in topics.iter().zip(configs) {
        let mut partitions: Vec<_> =
            topic.partitions.iter().filter(|partition| is_wanted(args, partition)).collect();
        partitions.sort_by_key(|partition| partition.partition_index);
        if partitions.is_empty() && (args.under_replicated_partitions || args.unavailable_partitions) {
            continue;
        }
        tell(topic, &partitions, &configs, output);
    }
    first_refusal("topic", refusals)
}

fn is_wanted(args: &DescribeArgs, partition: &MetadataResponsePartition) -> bool {
    let lacks_replicas = partition.isr_nodes.len() < partition.replica_nodes.len();
    let lacks_leader = partition.leader_id < 0;
    (!args.under_replicated_partitions || lacks_replicas) && (!args.unavailable_partitions || lacks_leader)
}

/// Looks topics up, without making those that are missing.
pub(super) fn metadata(client: &mut Client, named: Option<&[String]>) -> Result<MetadataResponse, CliError> {
    let topic =
        |name: &String| MetadataRequestTopic { name: Some(Str::from(name.as_str())), ..Default::default() };
    let request = MetadataRequest {
        topics: named.map(|named| named.iter().map(topic).collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    client.call(&request)
}

/// What is set on each topic, or all there is; nothing from a broker that does not say where values come from.
fn configs(
    client: &mut Client,
    topics: &[MetadataResponseTopic],
    all: bool,
) -> Result<Vec<Vec<DescribeConfigsResourceResult>>, CliError> {
    if topics.is_empty()
        || client.version::<DescribeConfigsRequest>().is_ok_and(|version| version < SOURCES_SINCE)
    {
        return Ok(vec![Vec::new(); topics.len()]);
    }
    let resource = |topic: &MetadataResponseTopic| DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.name.clone().unwrap_or_default(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: topics.iter().map(resource).collect(),
        ..DescribeConfigsRequest::default()
    };
    let mut answer = client.call(&request)?.results;
    let of = |topic: &MetadataResponseTopic| {
        let found = answer.iter_mut().find(|result| Some(&result.resource_name) == topic.name.as_ref());
        let configs = found.map(|result| std::mem::take(&mut result.configs)).unwrap_or_default();
        configs.into_iter().filter(|config| all || config.config_source == SET_ON_TOPIC).collect()
    };
    Ok(topics.iter().map(of).collect())
}

fn tell(
    topic: &MetadataResponseTopic,
    partitions: &[&MetadataResponsePartition],
    configs: &[DescribeConfigsResourceResult],
    output: &mut Output,
) {
    let name = topic.name.as_deref().unwrap_or_default();
    let value =
        |config: &DescribeConfigsResourceResult| config.value.as_deref().unwrap_or_default().to_owned();
    let set: Vec<String> =
        configs.iter().map(|config| format!("{}={}", &*config.name, value(config))).collect();
    let id = topic.topic_id.to_string();
    let set = if set.is_empty() { String::new() } else { format!("  {}", set.join(" ")) };
    output.line(&format!("{name}  id={id}{set}"));
    let ids = |ids: &[i32]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let row = |partition: &&MetadataResponsePartition| {
        let leader = match partition.leader_id {
            -1 => "none".to_owned(),
            id => id.to_string(),
        };
        vec![
            name.to_owned(),
            partition.partition_index.to_string(),
            leader,
            partition.leader_epoch.to_string(),
            ids(&partition.replica_nodes),
            ids(&partition.isr_nodes),
        ]
    };
    let rows: Vec<_> = partitions.iter().map(row).collect();
    output.table(&["TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR"], &rows);
    let partitions: Vec<Value> = partitions
        .iter()
        .map(|partition| {
            json!({
                "partition": partition.partition_index,
                "leader": partition.leader_id,
                "leader_epoch": partition.leader_epoch,
                "replicas": partition.replica_nodes,
                "isr": partition.isr_nodes,
                "offline_replicas": partition.offline_replicas,
            })
        })
        .collect();
    let configs: Map<String, Value> =
        configs.iter().map(|config| (config.name.to_string(), json!(config.value.as_deref()))).collect();
    output.value(json!({
        "name": name,
        "topic_id": id,
        "internal": topic.is_internal,
        "configs": configs,
        "partitions": partitions,
    }));
}
