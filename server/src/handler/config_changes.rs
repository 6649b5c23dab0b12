//! Changes of configuration as clients ask for them: checked here as far as keys and values go, then decided by the
//! controller, each resource as a whole. Shared by `AlterConfigs` and `IncrementalAlterConfigs`.
//!
//! Order of checks, as in `ConfigAdminManager.preprocess` and `ConfigurationControlManager`: the request is not larger than
//! what the metadata log takes at once (ours) → the resource is named once →
//! each key once → no null but to delete → kind of resource → broker: empty or this broker's id; loggers: see
//! [`loggers`], which are done with here; topic: a valid name; group: a name →
//! key and value → the rest is the controller's. What is wrong with a broker's value is `INVALID_REQUEST`, with a topic's or a group's
//! `INVALID_CONFIG` (KAFKA-13609).

use std::collections::{HashMap, HashSet};

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::{Broker, Settings, configs, errors, loggers, topics};
use crate::config::table::{Key, Kind, Scope};
use crate::config::{broker_keys, group_keys, topic_keys, without_effect};
use crate::group::ConsumerSettings;
use crate::metadata::image::ConfigResource;
use crate::metadata::request::{AlterConfigSpec, ConfigOp};

/// Bytes of names, keys and values that one request may change, as they become one batch of the metadata log.
const CHANGE_BYTES_MAX: usize = 1 << 20;

/// What shall happen to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    /// Set it.
    Set,
    /// Back to the default.
    Delete,
    /// Add elements to a list.
    Append,
    /// Take elements out of a list.
    Subtract,
    /// Something no Kafka knows.
    Unknown(i8),
}

/// What a client wants changed on one resource.
pub(super) struct Change {
    /// Kafka's number of the kind.
    pub(super) kind: i8,
    /// Name of the topic or id of the broker.
    pub(super) name: Str,
    /// Key, what happens to it, value.
    pub(super) ops: Vec<(Str, Op, Option<Str>)>,
    /// Whether keys that are not named go back to their defaults.
    pub(super) replace: bool,
}

impl Change {
    /// Bytes of what it names.
    fn bytes(&self) -> usize {
        let op = |(key, _, value): &(Str, Op, Option<Str>)| {
            key.len() + value.as_ref().map_or(0, |value| value.len())
        };
        self.name.len() + self.ops.iter().map(op).sum::<usize>()
    }
}

/// What became of one change.
pub(super) struct Changed {
    /// The resource's kind.
    pub(super) kind: i8,
    /// The resource's name.
    pub(super) name: Str,
    /// The error, if there is one.
    pub(super) code: ErrorCode,
    /// What is wrong.
    pub(super) message: Option<Str>,
}

/// A refusal.
type Refused = (ErrorCode, String);

/// Carries changes out, or only says what would happen. Answers are in the order of the changes.
pub(super) async fn apply<I: Io>(
    broker: &Broker<I>,
    changes: Vec<Change>,
    validate_only: bool,
) -> Vec<Changed> {
    let mut times: HashMap<(i8, Str), usize> = HashMap::new();
    for change in &changes {
        *times.entry((change.kind, change.name.clone())).or_default() += 1;
    }
    let (mut answers, mut specs, mut sent) = (Vec::with_capacity(changes.len()), Vec::new(), Vec::new());
    let is_small = changes.iter().map(Change::bytes).sum::<usize>() <= CHANGE_BYTES_MAX;
    for change in changes {
        let (kind, name) = (change.kind, change.name.clone());
        let is_named_once = times.get(&(kind, name.clone())) == Some(&1);
        let prepared = if !is_small {
            Err((ErrorCode::InvalidRequest, format!("one request changes at most {CHANGE_BYTES_MAX} bytes")))
        } else if is_named_once {
            prepare(broker.settings(), change, validate_only)
        } else {
            Err((ErrorCode::InvalidRequest, "Each resource must appear at most once.".to_owned()))
        };
        let (code, message) = match prepared {
            Ok(spec) => {
                if let Some(spec) = spec {
                    specs.push(spec);
                    sent.push(answers.len());
                }
                (ErrorCode::None, None)
            }
            Err((code, message)) => (code, Some(Str::from(message))),
        };
        answers.push(Changed { kind, name, code, message });
    }
    let decided = if specs.is_empty() {
        Vec::new()
    } else {
        broker.controller().alter_configs(specs, validate_only).await
    };
    for (at, decision) in sent.into_iter().zip(decided) {
        if let (Some(answer), Err(error)) = (answers.get_mut(at), decision) {
            answer.code = errors::controller(&error);
            answer.message = Some(Str::from(error.message));
        }
    }
    answers
}

/// Checks one change as far as the controller is not needed for it. Loggers do not need it at all: their levels are
/// changed then, unless they are only to be checked.
fn prepare(
    settings: &Settings,
    change: Change,
    validate_only: bool,
) -> Result<Option<AlterConfigSpec>, Refused> {
    let invalid = |message: String| Err((ErrorCode::InvalidRequest, message));
    let mut keys = HashSet::new();
    if !change.ops.iter().all(|(key, _, _)| keys.insert(&**key)) {
        return invalid("Error due to duplicate config keys".to_owned());
    }
    let nulls = change.ops.iter().filter(|(_, op, value)| *op != Op::Delete && value.is_none());
    let nulls: Vec<&str> = nulls.map(|(key, _, _)| &**key).collect();
    if !nulls.is_empty() {
        return invalid(format!("Null value not supported for : {}", nulls.join(", ")));
    }
    match change.kind {
        ConfigResource::BROKER => check_broker(&change.name, settings.node_id)?,
        // As in Kafka, the deprecated request knows no loggers.
        ConfigResource::BROKER_LOGGER if !change.replace => {
            return loggers::change(settings, &change.name, &change.ops, validate_only).map(|()| None);
        }
        ConfigResource::TOPIC if change.name.is_empty() => {
            return invalid("Default topic resources are not allowed.".to_owned());
        }
        ConfigResource::TOPIC if !topics::is_valid_name(&change.name) => {
            let message = format!("{:?} is not a valid topic name", &*change.name);
            return Err((ErrorCode::InvalidTopicException, message));
        }
        ConfigResource::GROUP if change.name.is_empty() => {
            return invalid("Default group resources are not allowed.".to_owned());
        }
        ConfigResource::TOPIC | ConfigResource::GROUP => {}
        kind => return invalid(format!("resources of kind {kind} have no configuration to change here")),
    }
    let (of_topic, of_group) = (change.kind == ConfigResource::TOPIC, change.kind == ConfigResource::GROUP);
    let op = |(key, op, value): (Str, Op, Option<Str>)| {
        let value = value.unwrap_or_default();
        let op = match change.kind {
            ConfigResource::TOPIC => topic_op(&key, op, &value)?,
            ConfigResource::GROUP => group_op(&key, op, &value, &settings.groups.consumer)?,
            _ => broker_op(&key, op, &value)?,
        };
        if let ConfigOp::Set(value) = &op {
            let wrong =
                if of_topic || of_group { ErrorCode::InvalidConfig } else { ErrorCode::InvalidRequest };
            configs::check_batch_bytes(&key, value, settings.batch_bytes_max).map_err(|why| (wrong, why))?;
        }
        Ok((key.to_string(), op))
    };
    Ok(Some(AlterConfigSpec {
        resource: ConfigResource { kind: change.kind, name: change.name.as_str().into() },
        ops: change.ops.into_iter().map(op).collect::<Result<_, Refused>>()?,
        replace: change.replace,
    }))
}

/// A broker changes its own configuration or that of all, never another's.
fn check_broker(name: &str, node_id: i32) -> Result<(), Refused> {
    match name.parse::<i32>() {
        _ if name.is_empty() => Ok(()),
        Ok(id) if id == node_id => Ok(()),
        Ok(id) => {
            let message = format!("Unexpected broker id, expected {node_id}, but received {id}");
            Err((ErrorCode::InvalidRequest, message))
        }
        Err(_) => Err((ErrorCode::InvalidRequest, format!("Node id must be an integer, but it is: {name}"))),
    }
}

fn topic_op(name: &str, op: Op, value: &str) -> Result<ConfigOp, Refused> {
    match op {
        Op::Delete => Ok(ConfigOp::Delete),
        Op::Set => {
            let checked = topic_keys::check(name, value);
            checked.map(ConfigOp::Set).map_err(|why| (ErrorCode::InvalidConfig, why))
        }
        Op::Append | Op::Subtract => {
            let key = topic_keys::find(name).filter(|key| is_list(key));
            let Some(key) = key else {
                let message = format!("{name} is not a list, so nothing is appended or subtracted");
                return Err((ErrorCode::InvalidConfig, message));
            };
            list_op(key, op, value).map_err(|why| (ErrorCode::InvalidConfig, why))
        }
        Op::Unknown(code) => unknown(code),
    }
}

fn group_op(name: &str, op: Op, value: &str, settings: &ConsumerSettings) -> Result<ConfigOp, Refused> {
    match op {
        Op::Delete => Ok(ConfigOp::Delete),
        Op::Set => {
            let checked = group_keys::check(name, value, settings);
            checked.map(ConfigOp::Set).map_err(|why| (ErrorCode::InvalidConfig, why))
        }
        Op::Append | Op::Subtract => {
            let message = format!("{name} is not a list, so nothing is appended or subtracted");
            Err((ErrorCode::InvalidConfig, message))
        }
        Op::Unknown(code) => unknown(code),
    }
}

/// As Kafka, takes keys that it does not know: they may be some plugin's.
fn broker_op(name: &str, op: Op, value: &str) -> Result<ConfigOp, Refused> {
    let invalid = |message: String| (ErrorCode::InvalidRequest, message);
    let key = broker_keys::find(name);
    let has_no_effect = without_effect::reason(name).is_some();
    let is_fixed = match key {
        Some(key) => key.scope == Scope::ReadOnly,
        None => has_no_effect && !without_effect::is_dynamic(name),
    };
    match (op, key) {
        (Op::Delete, _) => Ok(ConfigOp::Delete),
        (Op::Unknown(code), _) => unknown(code),
        _ if is_fixed => Err(invalid(format!("Cannot update these configs dynamically: [{name}]"))),
        (Op::Set, None) => Ok(ConfigOp::Set(value.to_owned())),
        (Op::Set, Some(key)) => {
            key.check(value).map(ConfigOp::Set).map_err(|wrong| invalid(wrong.to_string()))
        }
        (Op::Append | Op::Subtract, Some(key)) if is_list(key) => list_op(key, op, value).map_err(invalid),
        (Op::Append | Op::Subtract, _) => Err((
            ErrorCode::InvalidConfig,
            format!("{name} is not a list, so nothing is appended or subtracted"),
        )),
    }
}

fn unknown(code: i8) -> Result<ConfigOp, Refused> {
    Err((ErrorCode::InvalidRequest, format!("Unknown operations type {code}")))
}

fn is_list(key: &Key) -> bool {
    matches!(key.kind, Kind::List | Kind::ListOf(_))
}

/// Appends what the key may hold; subtracts anything.
fn list_op(key: &Key, op: Op, value: &str) -> Result<ConfigOp, String> {
    let base = key.default.unwrap_or_default().to_owned();
    if op == Op::Subtract {
        return Ok(ConfigOp::Subtract { value: value.to_owned(), base });
    }
    let value = key.check(value).map_err(|wrong| wrong.to_string())?;
    Ok(ConfigOp::Append { value, base })
}
