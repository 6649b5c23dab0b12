//! `ringmain group list`.

use clap::Args;
use ringmain_protocol::messages::list_groups_request::ListGroupsRequest;
use ringmain_protocol::messages::metadata_request::MetadataRequest;
use ringmain_protocol::wire::Str;
use serde_json::json;

use super::super::client::{Client, address, check};
use super::super::error::CliError;
use super::super::output::Output;
use super::super::sender::retrying;

/// First version of ListGroups that filters by state.
const STATES_SINCE: i16 = 4;
/// First version of ListGroups that filters by type.
const TYPES_SINCE: i16 = 5;

/// Arguments of `ringmain group list`.
#[derive(Args, Debug, Clone)]
pub(super) struct ListArgs {
    /// Only groups in this state (Stable, Empty, PreparingRebalance, CompletingRebalance, Assigning, Reconciling, Dead);
    /// may be given again.
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,
    /// Only groups of this type (classic, consumer, share, streams); may be given again.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
}

/// A group as its coordinator lists it.
pub(super) struct Listed {
    /// Its id.
    pub(super) id: String,
    state: String,
    kind: String,
    protocol_type: String,
}

/// Runs the command.
pub(super) fn run(args: &ListArgs, client: &mut Client, output: &mut Output) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for group in groups(client, &args.state, &args.types)? {
        output.value(json!({
            "group": group.id,
            "state": group.state,
            "type": group.kind,
            "protocol_type": group.protocol_type,
        }));
        rows.push(vec![group.id, group.state, group.kind, group.protocol_type]);
    }
    output.table(&["GROUP", "STATE", "TYPE", "PROTOCOL"], &rows);
    Ok(())
}

/// The groups of all brokers, by id.
pub(super) fn groups(
    client: &mut Client,
    states: &[String],
    types: &[String],
) -> Result<Vec<Listed>, CliError> {
    let strings = |texts: &[String]| texts.iter().map(|text| Str::from(text.as_str())).collect();
    let brokers = client.call(&MetadataRequest { topics: Some(Vec::new()), ..Default::default() })?.brokers;
    let mut found = Vec::new();
    for broker in brokers {
        let mut coordinator = Client::connect(&address(&broker.host, broker.port))?;
        let version = coordinator.version::<ListGroupsRequest>()?;
        if !types.is_empty() && version < TYPES_SINCE || !states.is_empty() && version < STATES_SINCE {
            return Err(CliError::Unsupported("ListGroups with that filter"));
        }
        let request = ListGroupsRequest { states_filter: strings(states), types_filter: strings(types) };
        let answer = retrying(|| {
            let answer = coordinator.call(&request)?;
            check(answer.error_code, || "list groups".to_owned()).map(|()| answer)
        })?;
        found.extend(answer.groups.into_iter().map(|group| Listed {
            id: group.group_id.to_string(),
            state: group.group_state.to_string(),
            kind: group.group_type.to_string(),
            protocol_type: group.protocol_type.to_string(),
        }));
    }
    found.sort_by(|left, right| left.id.cmp(&right.id));
    Ok(found)
}
