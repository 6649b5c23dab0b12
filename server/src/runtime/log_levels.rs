//! The text of a log filter (as in `RUST_LOG`) taken for what Kafka calls loggers and their levels (KIP-412): told,
//! set and taken back one by one. Pure. What the text says beside a module and its level is kept as it is.
//!
//! A logger is a module; what `ringmain.log.filter` calls `ringmain::net` is `ringmain.net` here, since Kafka's tools take
//! no colons. As in the filter, its level is that of the longest name that it begins with, and `root` is what holds for all
//! others. Nothing is logged above ERROR, so that Kafka's FATAL is what the filter calls `off`.

use std::collections::BTreeMap;

use tracing::level_filters::LevelFilter;

/// The name of what holds for all that nothing else is said of.
pub const ROOT: &str = "root";

/// The modules that there are.
const MODULES: &[&str] = &[
    "ringmain",
    "ringmain::admin",
    "ringmain::control",
    "ringmain::group",
    "ringmain::handler",
    "ringmain::listening",
    "ringmain::metadata",
    "ringmain::net",
    "ringmain::partition",
    "ringmain::runtime",
    "ringmain::shard",
    "ringmain::shards",
    "ringmain::start",
    "ringmain_storage",
    "ringmain_storage::background",
    "ringmain_storage::cache",
    "ringmain_storage::checkpoint",
    "ringmain_storage::io",
    "ringmain_storage::journal",
    "ringmain_storage::log",
    "ringmain_storage::manager",
    "ringmain_storage::partition_folder",
    "ringmain_storage::record",
    "ringmain_storage::segment",
    "ringmain_storage::shared",
    "ringmain_storage::space",
];

/// Kafka's levels (`LogLevelConfig`), as they are told to a client that sends another one.
pub const LEVELS: [&str; 6] = ["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"];

/// A level by Kafka's name; like there, only in capitals.
pub fn level(name: &str) -> Option<LevelFilter> {
    Some(match name {
        "FATAL" => LevelFilter::OFF,
        "ERROR" => LevelFilter::ERROR,
        "WARN" => LevelFilter::WARN,
        "INFO" => LevelFilter::INFO,
        "DEBUG" => LevelFilter::DEBUG,
        "TRACE" => LevelFilter::TRACE,
        _ => return None,
    })
}

/// Kafka's name of a level.
fn name(level: LevelFilter) -> String {
    if level == LevelFilter::OFF { "FATAL".to_owned() } else { level.to_string().to_uppercase() }
}

/// What one part of the text says, if it is no more than a level for a module.
fn read(part: &str) -> Option<(&str, LevelFilter)> {
    if part.contains('[') {
        return None;
    }
    match part.split_once('=') {
        Some((module, level)) => Some((module, level.parse().ok()?)),
        None => Some(part.parse().map_or((part, LevelFilter::TRACE), |level| (ROOT, level))),
    }
}

fn parts(filter: &str) -> impl Iterator<Item = &str> {
    filter.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Every logger with Kafka's name of its level.
pub fn all(filter: &str) -> BTreeMap<String, String> {
    let said: Vec<_> = parts(filter).filter_map(read).collect();
    let names =
        [ROOT].into_iter().chain(MODULES.iter().copied()).chain(said.iter().map(|(module, _)| *module));
    // A filter that says nothing lets errors through, one that leaves the root out nothing.
    let unsaid = if parts(filter).next().is_none() { LevelFilter::ERROR } else { LevelFilter::OFF };
    let root = said.iter().rev().find(|(module, _)| *module == ROOT).map_or(unsaid, |(_, level)| *level);
    let level_of = |name: &str| {
        let above = said.iter().filter(|(module, _)| *module != ROOT && name.starts_with(module));
        above.max_by_key(|(module, _)| module.len()).map_or(root, |(_, level)| *level)
    };
    names.map(|module| (module.replace("::", "."), name(level_of(module)))).collect()
}

/// The text with another level for a logger, or with none of its own.
pub fn with(filter: &str, logger: &str, level: Option<LevelFilter>) -> String {
    let changed = logger.replace('.', "::");
    let others = parts(filter).filter(|part| read(part).is_none_or(|(module, _)| module != changed));
    let own =
        level.map(|level| if logger == ROOT { level.to_string() } else { format!("{changed}={level}") });
    let mut all: Vec<String> = others.map(ToOwned::to_owned).collect();
    match own {
        Some(own) if logger == ROOT => all.insert(0, own),
        own => all.extend(own),
    }
    all.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The levels of some loggers under a filter.
    fn levels(filter: &str, loggers: &[&str]) -> String {
        let all = all(filter);
        loggers
            .iter()
            .map(|logger| all.get(*logger).map_or("none", String::as_str))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn a_logger_has_the_level_of_the_longest_name_it_begins_with() {
        let some = [ROOT, "ringmain", "ringmain.net", "ringmain_storage.journal"];
        assert_eq!(levels("info", &some), "INFO INFO INFO INFO");
        assert_eq!(levels("info,ringmain::net=debug,ringmain_storage=OFF", &some), "INFO INFO DEBUG FATAL");
        assert_eq!(levels("warn,ringmain=debug", &some), "WARN DEBUG DEBUG DEBUG", "as the filter takes it");
        assert_eq!(levels("ringmain::net", &some), "FATAL FATAL TRACE FATAL");
        assert_eq!(levels("", &some), "ERROR ERROR ERROR ERROR");
        assert_eq!(levels("info,hyper=2,[span{x=1}]=trace", &["hyper", "hyper.proto"]), "WARN none");
    }

    #[test]
    fn one_logger_changes_and_the_rest_of_the_text_stays() {
        let filter = "info, ringmain::net=debug,[span]=trace";
        assert_eq!(with(filter, ROOT, level("WARN")), "warn,ringmain::net=debug,[span]=trace");
        assert_eq!(with(filter, "ringmain.net", level("FATAL")), "info,[span]=trace,ringmain::net=off");
        assert_eq!(with(filter, "ringmain.net", None), "info,[span]=trace");
        assert_eq!(with("ringmain=warn", ROOT, level("ERROR")), "error,ringmain=warn");
        assert_eq!(level("debug"), None);
        assert!(LEVELS.iter().all(|name| super::name(level(name).unwrap()) == *name));
    }

    #[test]
    fn every_module_of_the_broker_is_a_logger() {
        let of = |text: &'static str, crate_name: &'static str| {
            let modules =
                text.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
            modules.map(move |module| format!("{crate_name}::{}", module.trim_end_matches(';')))
        };
        let server = of(include_str!("../lib.rs"), "ringmain");
        let storage = of(include_str!("../../../storage/src/lib.rs"), "ringmain_storage");
        // The commands and what they read with are processes of their own; plain data and errors say nothing.
        let silent = ["ringmain::cli", "config", "counters", "error", "inspect", "types"];
        for module in server.chain(storage) {
            let is_silent = silent.iter().any(|silent| module.ends_with(silent));
            assert!(is_silent || MODULES.contains(&module.as_str()), "{module}");
        }
    }
}
