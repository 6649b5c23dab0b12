//! `ringmain group delete`.

use clap::Args;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ringmain_protocol::wire::Str;
use serde_json::json;

use super::super::client::{Client, check};
use super::super::error::{CliError, first_refusal};
use super::super::output::Output;
use super::super::sender::retrying;
use super::coordinator;
use super::members::unanswered;

/// Arguments of `ringmain group delete`.
#[derive(Args, Debug, Clone)]
pub(super) struct DeleteArgs {
    /// The groups.
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// A group that is not there is no error.
    #[arg(long)]
    if_exists: bool,
}

/// Runs the command.
pub(super) fn run(args: &DeleteArgs, client: &mut Client, output: &mut Output) -> Result<(), CliError> {
    let mut refusals = Vec::new();
    for group in &args.groups {
        let deleted = match delete(client, group) {
            Ok(()) => true,
            Err(CliError::Broker { code: ErrorCode::GroupIdNotFound, .. }) if args.if_exists => false,
            Err(error @ CliError::Broker { .. }) => {
                refusals.push(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        output.line(&format!("{group} {}", if deleted { "deleted" } else { "is not there" }));
        output.value(json!({"group": group, "deleted": deleted}));
    }
    first_refusal("group", refusals)
}

fn delete(client: &mut Client, group: &str) -> Result<(), CliError> {
    let mut coordinator = coordinator(client, group)?;
    let request = DeleteGroupsRequest { groups_names: vec![Str::from(group)] };
    retrying(|| {
        let answer = coordinator.call(&request)?;
        let result = answer.results.first().ok_or_else(|| unanswered(group))?;
        check(result.error_code, || format!("delete group {group}"))
    })
}
