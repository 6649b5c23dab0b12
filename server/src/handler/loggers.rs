//! The broker's loggers as resources of configuration (KIP-412, `RuntimeLoggerManager`): their levels are told and
//! changed here and nowhere kept, so that the next start has those of its configuration again.
//!
//! Order of checks: this broker's id → for each key: the operation is set or delete, the logger is there, the level is one
//! of Kafka's; the root's cannot be deleted.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::wire::Str;

use super::Settings;
use super::config_changes::Op;
use super::configs::{Entry, Source};
use crate::runtime::log_levels::{LEVELS, ROOT, level};

/// A refusal.
type Refused = (ErrorCode, String);

/// All loggers with their levels.
pub(super) fn describe(settings: &Settings) -> Vec<Entry> {
    let told = |(name, level): (String, String)| Entry {
        name: Str::from(name),
        type_code: 0,
        doc: None,
        value: Some(level),
        source: Source::DynamicBrokerLogger,
        synonyms: Vec::new(),
        read_only: false,
        is_secret: false,
    };
    settings.log.loggers().into_iter().map(told).collect()
}

/// Changes levels of the loggers of the broker called `name`, or only checks whether they could be.
pub(super) fn change(
    settings: &Settings,
    name: &str,
    ops: &[(Str, Op, Option<Str>)],
    validate_only: bool,
) -> Result<(), Refused> {
    let node_id = settings.node_id;
    match name.parse::<i32>() {
        Ok(id) if id == node_id => {}
        Ok(id) => {
            let message = format!("Unexpected node id. Expected {node_id}, but received {id}");
            return Err((ErrorCode::InvalidRequest, message));
        }
        Err(_) => {
            let message = format!("Node id must be an integer, but it is: {name}");
            return Err((ErrorCode::InvalidRequest, message));
        }
    }
    let loggers = settings.log.loggers();
    for (logger, op, value) in ops {
        let is_known = || {
            let missing = || (ErrorCode::InvalidConfig, format!("Logger {logger} does not exist!"));
            loggers.get(&**logger).map(drop).ok_or_else(missing)
        };
        match op {
            Op::Set => {
                is_known()?;
                check_level(logger, value.as_deref().unwrap_or_default())?;
            }
            Op::Delete => {
                is_known()?;
                if **logger == *ROOT {
                    let message = format!("Removing the log level of the {ROOT} logger is not allowed");
                    return Err((ErrorCode::InvalidRequest, message));
                }
            }
            other => {
                let message = format!("{other:?} is not allowed for the BROKER_LOGGER resource");
                return Err((ErrorCode::InvalidRequest, message));
            }
        }
    }
    if validate_only {
        return Ok(());
    }
    for (logger, op, value) in ops {
        let wanted = value.as_deref().filter(|_| *op == Op::Set);
        let changed = settings.log.set_level(logger, wanted.and_then(level));
        changed.map_err(|why| (ErrorCode::InvalidConfig, why))?;
        tracing::warn!("the level of the logger {logger} is {} now", wanted.unwrap_or("that of its parent"));
    }
    Ok(())
}

fn check_level(logger: &str, wanted: &str) -> Result<(), Refused> {
    let wrong = || {
        let all = LEVELS.join(", ");
        let message = format!("{wanted:?} is no level for {logger}. Valid log levels are {all}");
        (ErrorCode::InvalidConfig, message)
    };
    level(wanted).map(drop).ok_or_else(wrong)
}
