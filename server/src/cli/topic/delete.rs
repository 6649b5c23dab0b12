//! `ringmain topic delete`.

use clap::Args;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ringmain_protocol::wire::{Str, Uuid};
use serde_json::json;

use super::super::client::{Client, refused};
use super::super::error::{CliError, first_refusal};
use super::super::output::Output;

/// How long the broker may take.
const TIMEOUT_MS: i32 = 30_000;
/// First version that names topics by name or by id.
const TOPIC_STATES_SINCE: i16 = 6;

/// Arguments of `ringmain topic delete`.
#[derive(Args, Debug, Clone)]
pub(super) struct DeleteArgs {
    /// The topics.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// A topic that is not there is no error.
    #[arg(long)]
    if_exists: bool,
}

/// Runs the command.
pub(super) fn run(args: &DeleteArgs, client: &mut Client, output: &mut Output) -> Result<(), CliError> {
    let names = args.topics.iter().map(|name| Str::from(name.as_str()));
    let mut request = DeleteTopicsRequest { timeout_ms: TIMEOUT_MS, ..DeleteTopicsRequest::default() };
    if client.version::<DeleteTopicsRequest>()? >= TOPIC_STATES_SINCE {
        let by_name = |name| DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO };
        request.topics = names.map(by_name).collect();
    } else {
        request.topic_names = names.collect();
    }
    let mut refusals = Vec::new();
    for result in client.call(&request)?.responses {
        let name = result.name.as_deref().unwrap_or_default();
        let is_missing = result.error_code == ErrorCode::UnknownTopicOrPartition.code();
        let deleted = if is_missing && args.if_exists {
            false
        } else if let Some(error) =
            refused(result.error_code, result.error_message.as_deref(), || format!("delete {name}"))
        {
            refusals.push(error);
            continue;
        } else {
            true
        };
        output.line(&format!("{name} {}", if deleted { "deleted" } else { "is not there" }));
        output.value(json!({"name": name, "deleted": deleted}));
    }
    first_refusal("topic", refusals)
}
