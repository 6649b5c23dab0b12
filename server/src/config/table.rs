//! What a configuration key is: name, kind with its range, default, unit, scope, description. The
//! keys themselves stand in `broker_keys` and `topic_keys`; parsing, validation, `--help-config`,
//! `DescribeConfigs` and the reference document come from these entries and from nothing else.

use std::fmt;

use super::{broker_keys, topic_keys, without_effect};

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A 16-bit integer in a range, both ends included.
    Short(i64, i64),
    /// A 32-bit integer in a range, both ends included.
    Int(i64, i64),
    /// A 32-bit integer in a range, both ends included, but for one in between.
    IntExcept(i64, i64, i64),
    /// A 64-bit integer in a range, both ends included.
    Long(i64, i64),
    /// A fraction in a range, both ends included.
    Double(f64, f64),
    /// Any text.
    Text,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// Comma-separated text.
    List,
    /// Comma-separated, each one of some words.
    ListOf(&'static [&'static str]),
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A bare number, or no number.
    None,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Milliseconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// At the next start.
    ReadOnly,
    /// While the broker runs, through the admin API.
    Dynamic,
}

/// One configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Kafka's name for it, or `ringmain.…` where there is none.
    pub name: &'static str,
    /// The values it takes.
    pub kind: Kind,
    /// The default as text; `None` is Kafka's null (not set).
    pub default: Option<&'static str>,
    /// What a number counts.
    pub unit: Unit,
    /// When a change takes effect.
    pub scope: Scope,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
    /// For a topic's key: the broker's key that gives its default.
    pub synonym: Option<&'static str>,
}

impl Key {
    /// A read-only key without a unit.
    pub const fn new(
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        doc: &'static str,
    ) -> Self {
        Self { name, kind, default, unit: Unit::None, scope: Scope::ReadOnly, doc, synonym: None }
    }

    /// The same, counted in `unit`.
    #[must_use]
    pub const fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// The same, changeable while the broker runs.
    #[must_use]
    pub const fn dynamic(mut self) -> Self {
        self.scope = Scope::Dynamic;
        self
    }

    /// The same, with its default taken from a broker's key.
    #[must_use]
    pub const fn synonym(mut self, broker_key: &'static str) -> Self {
        self.synonym = Some(broker_key);
        self
    }

    /// Checks `text` and gives the value in its one spelling (trimmed, lower-case booleans).
    pub fn check(&self, text: &str) -> Result<String, WrongValue> {
        let text = text.trim();
        let wrong = |why: String| WrongValue {
            key: self.name,
            value: text.to_owned(),
            why,
            would_do: self.expects(),
        };
        match self.kind {
            Kind::Bool => match text.to_ascii_lowercase().as_str() {
                flag @ ("true" | "false") => Ok(flag.to_owned()),
                _ => Err(wrong("it is not a boolean".to_owned())),
            },
            Kind::Short(low, high) | Kind::Int(low, high) | Kind::Long(low, high) => {
                let number: i64 = text.parse().map_err(|_| wrong("it is not a whole number".to_owned()))?;
                if number < low || number > high {
                    return Err(wrong("it is out of range".to_owned()));
                }
                Ok(number.to_string())
            }
            Kind::IntExcept(low, high, except) => {
                let number: i64 = text.parse().map_err(|_| wrong("it is not a whole number".to_owned()))?;
                if number < low || number > high || number == except {
                    return Err(wrong("it is out of range".to_owned()));
                }
                Ok(number.to_string())
            }
            Kind::Double(low, high) => {
                let number: f64 = text.parse().map_err(|_| wrong("it is not a number".to_owned()))?;
                if !(low..=high).contains(&number) {
                    return Err(wrong("it is out of range".to_owned()));
                }
                Ok(text.to_owned())
            }
            Kind::Text | Kind::List => Ok(text.to_owned()),
            Kind::Choice(words) => {
                if words.contains(&text) {
                    Ok(text.to_owned())
                } else {
                    Err(wrong("it is none of the values this key knows".to_owned()))
                }
            }
            Kind::ListOf(words) => {
                let mut items: Vec<String> = Vec::new();
                for item in split_list(text) {
                    if !items.contains(&item) {
                        items.push(item);
                    }
                }
                match items.iter().find(|item| !words.contains(&item.as_str())) {
                    None => Ok(items.join(",")),
                    Some(item) => Err(wrong(format!("`{item}` is none of the values this key knows"))),
                }
            }
        }
    }

    /// The type as `DescribeConfigs` numbers it (Kafka's `ConfigEntry.ConfigType` on the wire).
    pub fn type_code(&self) -> i8 {
        match self.kind {
            Kind::Bool => 1,
            Kind::Text | Kind::Choice(_) => 2,
            Kind::Int(..) | Kind::IntExcept(..) => 3,
            Kind::Short(..) => 4,
            Kind::Long(..) => 5,
            Kind::Double(..) => 6,
            Kind::List | Kind::ListOf(_) => 7,
        }
    }

    fn default_in_words(&self) -> &'static str {
        self.default.unwrap_or("not set")
    }

    fn describe(&self, text: &mut String) {
        text.push_str(&format!(
            "{} = {}\n    {} Takes {}.\n",
            self.name,
            self.default_in_words(),
            self.doc,
            self.expects()
        ));
    }

    fn document_row(&self, text: &mut String) {
        let synonym = self.synonym.map(|key| format!(" (`{key}`)")).unwrap_or_default();
        let changes = match self.scope {
            Scope::ReadOnly => "at start",
            Scope::Dynamic => "any time",
        };
        text.push_str(&format!(
            "| `{}`{synonym} | `{}` | {} | {changes} | {} |\n",
            self.name,
            self.default_in_words(),
            self.expects(),
            self.doc
        ));
    }

    /// In words, what a value must be.
    pub fn expects(&self) -> String {
        let unit = match self.unit {
            Unit::None => "",
            Unit::Bytes => " (bytes)",
            Unit::Milliseconds => " (milliseconds)",
            Unit::Minutes => " (minutes)",
            Unit::Hours => " (hours)",
        };
        match self.kind {
            Kind::Bool => "true or false".to_owned(),
            Kind::Short(low, high) | Kind::Int(low, high) | Kind::Long(low, high) => match (low, high) {
                (_, i64::MAX) => format!("a whole number from {low}{unit}"),
                _ => format!("a whole number from {low} to {high}{unit}"),
            },
            Kind::IntExcept(low, high, except) => {
                format!("a whole number from {low} to {high}{unit}, not {except}")
            }
            Kind::Double(low, high) => format!("a number from {low} to {high}"),
            Kind::Text => "text".to_owned(),
            Kind::List => "a comma-separated list".to_owned(),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::ListOf(words) => format!("a comma-separated list of {}", words.join(", ")),
        }
    }
}

/// A value that a key does not take: which, why, and what would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongValue {
    /// The key.
    pub key: &'static str,
    /// The value as given.
    pub value: String,
    /// What is wrong with it.
    pub why: String,
    /// What would be accepted.
    pub would_do: String,
}

impl fmt::Display for WrongValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be `{}`: {}; it takes {}", self.key, self.value, self.why, self.would_do)
    }
}

impl std::error::Error for WrongValue {}

/// Every key of the broker and of topics for a terminal.
pub fn help() -> String {
    let mut text = String::from(
        "Keys of the broker: --set KEY=VALUE, a line of --config FILE, or RINGMAIN_KEY_WITH_UNDERSCORES\n\n",
    );
    broker_keys::all().for_each(|key| key.describe(&mut text));
    text.push_str("\nKeys of a topic, set when it is created or altered\n\n");
    topic_keys::KEYS.iter().for_each(|key| key.describe(&mut text));
    text.push_str("\nKeys of Kafka that are accepted and have nothing to act on\n\n");
    for (reason, names) in without_effect::REASONS {
        text.push_str(&format!("{}: {reason}\n", names.join(", ")));
    }
    text
}

/// The reference document: `server/docs/configuration.md` is this text.
pub fn document() -> String {
    let mut text = String::from(DOCUMENT_HEAD);
    text.push_str(
        "\n## Keys of the broker\n\n| key | default | takes | changes | |\n|---|---|---|---|---|\n",
    );
    broker_keys::all().for_each(|key| key.document_row(&mut text));
    text.push_str("\n## Keys of a topic\n\nThe broker's key in brackets gives the default.\n\n");
    text.push_str("| key | default | takes | changes | |\n|---|---|---|---|---|\n");
    topic_keys::KEYS.iter().for_each(|key| key.document_row(&mut text));
    text.push_str("\n## Kafka's keys without effect\n\nAccepted with a note, so that an ordinary `server.properties` starts the broker.\n\n");
    text.push_str("| why | keys |\n|---|---|\n");
    for (reason, names) in without_effect::REASONS {
        text.push_str(&format!("| {reason} | `{}` |\n", names.join("`, `")));
    }
    text
}

const DOCUMENT_HEAD: &str = "# Configuration

No configuration at all gives a working broker. Every key can be set in a file in the format of Kafka's
`server.properties` (`--config FILE`), on the command line (`--set key=value`, again and again), and in
the environment: `RINGMAIN_` and the key in capitals with `_` for `.`, where a key of ours leaves its own
`ringmain.` out (`RINGMAIN_NUM_PARTITIONS`, `RINGMAIN_LOG_FILTER`). The command line wins over the environment, the
environment over the file. A key that is not known is a warning that names the nearest one; a value that cannot be
is refused at the start, with the reason. An empty value is the default.

This document is made from the table in `server/src/config`; a test compares the two.
`ringmain --help-config` prints the same.
";

/// The items of a comma-separated list, trimmed, empty ones left out.
pub fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// The known name that differs least from `name`, if any is near enough to have been meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near_enough = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= near_enough)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, one row at a time.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, left_char) in left.chars().enumerate() {
        let mut diagonal = index;
        let mut previous = index + 1;
        row[0] = previous;
        for (cell, right_char) in row[1..].iter_mut().zip(&right) {
            let substituted = diagonal + usize::from(left_char != *right_char);
            diagonal = *cell;
            previous = substituted.min(diagonal + 1).min(previous + 1);
            *cell = previous;
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{broker_keys, group_keys, topic_keys};

    #[test]
    fn every_default_is_accepted_by_its_own_key() {
        for key in broker_keys::all().chain(topic_keys::KEYS) {
            if let Some(default) = key.default {
                assert_eq!(key.check(default).as_deref(), Ok(default), "{}", key.name);
            }
        }
    }

    #[test]
    fn no_key_stands_in_a_table_twice() {
        for table in [broker_keys::all().collect::<Vec<_>>(), topic_keys::KEYS.iter().collect()] {
            let mut names: Vec<_> = table.iter().map(|key| key.name).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }

    #[test]
    fn every_synonym_of_a_topics_or_groups_key_is_a_broker_key() {
        for key in topic_keys::KEYS.iter().chain(group_keys::OWN) {
            if let Some(synonym) = key.synonym {
                assert!(broker_keys::find(synonym).is_some(), "{synonym}");
            }
        }
    }

    #[test]
    fn a_wrong_value_says_which_why_and_what_would_do() {
        let key = Key::new("num.partitions", Kind::Int(1, 100), Some("1"), "");
        let text = key.check("0").unwrap_err().to_string();
        assert_eq!(
            text,
            "num.partitions cannot be `0`: it is out of range; it takes a whole number from 1 to 100"
        );
        assert!(key.check("many").unwrap_err().to_string().contains("not a whole number"));
    }

    #[test]
    fn a_list_of_words_names_the_word_it_does_not_know() {
        let key = Key::new("cleanup.policy", Kind::ListOf(&["compact", "delete"]), Some("delete"), "");
        assert_eq!(key.check("compact , delete,compact").as_deref(), Ok("compact,delete"));
        assert!(key.check("delete,burn").unwrap_err().why.contains("`burn`"));
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let names = ["log.dirs", "log.retention.hours", "listeners"];
        assert_eq!(nearest("log.retension.hours", names), Some("log.retention.hours"));
        assert_eq!(nearest("listners", names), Some("listeners"));
        assert_eq!(nearest("something.else.entirely", names), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test reads the document it compares")]
    fn the_reference_document_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        if std::env::var_os("WRITE_DOCUMENT").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), document(), "run this test with WRITE_DOCUMENT=1");
    }
}
