//! Where values come from, and which one holds: `--set` over `RINGMAIN_…` over `--config` over the default.
//! Unknown keys are warnings that name the nearest known one; wrong values refuse the start.

use std::collections::BTreeMap;

use super::{broker_keys, properties, table, without_effect};

/// What was given, unchecked.
#[derive(Debug, Default)]
pub struct Sources {
    /// Name and text of the file of `--config`.
    pub file: Option<(String, String)>,
    /// The process's environment.
    pub environment: Vec<(String, String)>,
    /// `--set key=value`, in order.
    pub set: Vec<String>,
}

/// Why a configuration is refused: which key, from where, why, and what would do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value that cannot be.
    #[error("{key}={value:?} (from {source_name}): {problem}. The default is {default:?}: {doc}")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// Where it stood.
        source_name: String,
        /// What is wrong.
        problem: String,
        /// What would hold without it.
        default: String,
        /// What it does.
        doc: String,
    },
    /// `--set` without an equals sign.
    #[error("--set {0:?} is not of the form key=value")]
    Form(String),
}

/// Values that passed: each may be what its key's kind says.
#[derive(Debug, Default)]
pub struct Resolved {
    values: BTreeMap<&'static str, (String, String)>,
    /// Keys that nothing here knows or acts on, with their values.
    others: BTreeMap<String, String>,
    /// What a person should hear: unknown keys.
    pub warnings: Vec<String>,
    /// Keys that were set and have no effect, by the reason.
    without_effect: BTreeMap<&'static str, Vec<String>>,
}

impl Resolved {
    /// Settles which values hold.
    pub fn new(sources: &Sources) -> Result<Self, ConfigError> {
        let mut resolved = Self::default();
        if let Some((name, text)) = &sources.file {
            for (key, value) in properties::parse(text) {
                resolved.take(&key, value.trim(), name)?;
            }
        }
        for (variable, value) in &sources.environment {
            let Some(name) = variable.strip_prefix("RINGMAIN_") else { continue };
            let dotted = name.to_ascii_lowercase().replace('_', ".");
            let ours = format!("ringmain.{dotted}");
            let key = if broker_keys::find(&dotted).is_none() && broker_keys::find(&ours).is_some() {
                ours
            } else {
                dotted
            };
            if broker_keys::find(&key).is_some() {
                resolved.take(&key, value, variable)?;
            } else if !matches!(name, "BIN") {
                resolved.warnings.push(format!("{variable} names no configuration key"));
            }
        }
        for entry in &sources.set {
            let (key, value) = entry.split_once('=').ok_or_else(|| ConfigError::Form(entry.clone()))?;
            resolved.take(key.trim(), value.trim(), "--set")?;
        }
        Ok(resolved)
    }

    fn take(&mut self, name: &str, value: &str, source_name: &str) -> Result<(), ConfigError> {
        let alias = broker_keys::ALIASES.iter().find(|(other, _)| *other == name);
        let Some(key) = broker_keys::find(alias.map_or(name, |(_, known)| known)) else {
            self.others.insert(name.to_owned(), value.to_owned());
            if let Some(reason) = without_effect::reason(name) {
                self.without_effect.entry(reason).or_default().push(name.to_owned());
                return Ok(());
            }
            let known = broker_keys::all().map(|key| key.name).chain(without_effect::names());
            let hint =
                table::nearest(name, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            self.warnings.push(format!("{name} (from {source_name}) is not known and is ignored{hint}"));
            return Ok(());
        };
        if value.is_empty() {
            self.values.remove(key.name);
            return Ok(());
        }
        let value = key.check(value).map_err(|wrong| ConfigError::Value {
            key: key.name.to_owned(),
            value: value.to_owned(),
            source_name: source_name.to_owned(),
            problem: format!("{}; it takes {}", wrong.why, wrong.would_do),
            default: key.default.unwrap_or_default().to_owned(),
            doc: key.doc.to_owned(),
        })?;
        self.values.insert(key.name, (value, source_name.to_owned()));
        Ok(())
    }

    /// The value that holds, `None` if nothing is set and the key has no default.
    pub fn text(&self, name: &'static str) -> Option<&str> {
        let set = self.values.get(name).map(|(value, _)| value.as_str());
        set.or_else(|| broker_keys::find(name).and_then(|key| key.default))
    }

    /// What was set and has no effect: one line a reason.
    pub fn notes(&self) -> Vec<String> {
        let note =
            |(reason, keys): (&&str, &Vec<String>)| format!("without effect: {} ({reason})", keys.join(", "));
        self.without_effect.iter().map(note).collect()
    }

    /// Whether somebody set it.
    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Every key that was set, with its value; those without effect too.
    pub fn set_at_start(&self) -> BTreeMap<String, String> {
        let mut all = self.others.clone();
        all.extend(self.values.iter().map(|(name, (value, _))| ((*name).to_owned(), value.clone())));
        all
    }

    /// A number that passed its bounds; `None` if unset without default.
    pub fn integer(&self, name: &'static str) -> Option<i64> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// A boolean.
    pub fn bool(&self, name: &'static str) -> bool {
        self.text(name) == Some("true")
    }

    /// The entries of a list, without blanks.
    pub fn list(&self, name: &'static str) -> Vec<&str> {
        self.text(name)
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .collect()
    }

    /// An error about a value that is well formed but cannot be used.
    pub fn refuse(&self, name: &'static str, problem: impl Into<String>) -> ConfigError {
        let key = broker_keys::find(name);
        let (value, source_name) = self.values.get(name).cloned().unwrap_or_default();
        ConfigError::Value {
            key: name.to_owned(),
            value,
            source_name,
            problem: problem.into(),
            default: key.and_then(|key| key.default).unwrap_or_default().to_owned(),
            doc: key.map(|key| key.doc).unwrap_or_default().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_beats_the_environment_beats_the_file() {
        let mut sources = Sources {
            file: Some(("f".to_owned(), "num.partitions=2\nnode.id=5\nlog.dir=/x".to_owned())),
            environment: vec![("RINGMAIN_NUM_PARTITIONS".to_owned(), "3".to_owned())],
            set: vec![],
        };
        let resolved = Resolved::new(&sources).unwrap();
        assert_eq!((resolved.integer("num.partitions"), resolved.integer("node.id")), (Some(3), Some(5)));
        assert_eq!(resolved.list("log.dirs"), ["/x"]);
        sources.set.push("num.partitions=4".to_owned());
        assert_eq!(Resolved::new(&sources).unwrap().integer("num.partitions"), Some(4));
    }

    #[test]
    fn a_wrong_value_refuses_the_start_and_says_all_there_is_to_know() {
        let sources = Sources { set: vec!["num.partitions=none".to_owned()], ..Sources::default() };
        let text = Resolved::new(&sources).unwrap_err().to_string();
        for part in ["num.partitions", "none", "--set", "from 1 to 100000", "default is \"1\""] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_a_warning_with_a_hint() {
        let sources = Sources { set: vec!["num.partition=4".to_owned()], ..Sources::default() };
        let warnings = Resolved::new(&sources).unwrap().warnings;
        assert!(warnings[0].contains("num.partitions"), "{warnings:?}");
    }

    #[test]
    fn keys_of_an_ordinary_file_without_effect_are_no_warning() {
        let file = Some(("f".to_owned(), "process.roles=broker,controller\nnum.io.threads=8\n".to_owned()));
        let resolved = Resolved::new(&Sources { file, ..Sources::default() }).unwrap();
        assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
        assert_eq!(resolved.notes().len(), 1, "{:?}", resolved.notes());
    }

    #[test]
    fn an_empty_value_is_the_default() {
        let set = vec!["num.partitions=4".to_owned(), "num.partitions=".to_owned()];
        let resolved = Resolved::new(&Sources { set, ..Sources::default() }).unwrap();
        assert_eq!(resolved.integer("num.partitions"), Some(1));
    }

    #[test]
    fn a_key_of_ours_is_set_by_the_environment_without_its_prefix() {
        let environment = vec![("RINGMAIN_LOG_FILTER".to_owned(), "debug".to_owned())];
        let resolved = Resolved::new(&Sources { environment, ..Sources::default() }).unwrap();
        assert_eq!(resolved.text("ringmain.log.filter"), Some("debug"));
        assert_eq!(resolved.set_at_start().len(), 1);
    }
}
