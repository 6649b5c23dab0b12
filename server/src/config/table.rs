//! The one table of configuration keys. Parsing, validation, `--help-config` and the reference document
//! come from it. Names, types and defaults are Kafka's where the meaning is the same; `ringmain.*` is ours.

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds, both included.
    Integer {
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
    },
    /// Any text.
    Text,
    /// Texts separated by commas.
    List,
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As it stands in `server.properties`.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// What holds if nobody sets it; empty is unset.
    pub default: &'static str,
    /// Unit of a number, empty if it has none.
    pub unit: &'static str,
    /// The topic configuration this is the default of, empty if there is none.
    pub topic_key: &'static str,
    /// What it does, for a person.
    pub doc: &'static str,
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    unit: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, kind, default, unit, topic_key: "", doc }
}

const fn topic(key: Key, topic_key: &'static str) -> Key {
    Key { topic_key, ..key }
}

const fn int(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

const I32_MAX: i64 = 2_147_483_647;

/// Every key, grouped as a reader looks for them.
pub const KEYS: &[Key] = &[
    // Who and where.
    key(
        "node.id",
        int(0, I32_MAX),
        "1",
        "",
        "Id of this broker in its cluster. A directory that was formatted for another id is refused.",
    ),
    key(
        "ringmain.cluster.id",
        Kind::Text,
        "",
        "",
        "Cluster id for a directory that has none yet; unset makes one up.",
    ),
    key(
        "listeners",
        Kind::List,
        "PLAINTEXT://127.0.0.1:9092,PLAINTEXT://[::1]:9092",
        "",
        "Where to listen, as PLAINTEXT://HOST:PORT. An empty host or 0.0.0.0 is every address.",
    ),
    key(
        "advertised.listeners",
        Kind::List,
        "",
        "",
        "What clients are told to connect to; unset is the first listener, with the host's name in place of 0.0.0.0.",
    ),
    key(
        "log.dirs",
        Kind::List,
        "./data",
        "",
        "Where the data live. One directory for now. ext4 or XFS, since direct I/O is needed.",
    ),
    // Topics.
    key(
        "auto.create.topics.enable",
        Kind::Bool,
        "true",
        "",
        "Whether a topic is made when a client first asks for it.",
    ),
    key("num.partitions", int(1, 100_000), "1", "", "Partitions of a topic whose creator does not say."),
    key(
        "default.replication.factor",
        int(1, 32_767),
        "1",
        "",
        "Replicas of a topic whose creator does not say.",
    ),
    topic(
        key(
            "min.insync.replicas",
            int(1, I32_MAX),
            "1",
            "",
            "Replicas that must have a record before acks=all is answered.",
        ),
        "min.insync.replicas",
    ),
    topic(
        key(
            "message.max.bytes",
            int(0, I32_MAX),
            "1048588",
            "bytes",
            "Largest record batch, after compression.",
        ),
        "max.message.bytes",
    ),
    topic(
        key(
            "compression.type",
            Kind::OneOf(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
            "producer",
            "",
            "How batches are kept. Only `producer`, as they came, is acted on for now.",
        ),
        "compression.type",
    ),
    topic(
        key(
            "log.message.timestamp.type",
            Kind::OneOf(&["CreateTime", "LogAppendTime"]),
            "CreateTime",
            "",
            "Whose clock a record's timestamp is.",
        ),
        "message.timestamp.type",
    ),
    topic(
        key(
            "log.message.timestamp.before.max.ms",
            int(0, i64::MAX),
            "9223372036854775807",
            "ms",
            "How far behind the broker's clock a producer's timestamp may be.",
        ),
        "message.timestamp.before.max.ms",
    ),
    topic(
        key(
            "log.message.timestamp.after.max.ms",
            int(0, i64::MAX),
            "3600000",
            "ms",
            "How far ahead of the broker's clock a producer's timestamp may be.",
        ),
        "message.timestamp.after.max.ms",
    ),
    // Logs.
    topic(
        key(
            "log.cleanup.policy",
            Kind::List,
            "delete",
            "",
            "delete, compact, or both; compaction itself is not built yet.",
        ),
        "cleanup.policy",
    ),
    topic(
        key(
            "log.segment.bytes",
            int(1_048_576, I32_MAX),
            "1073741824",
            "bytes",
            "A segment that would grow past this is sealed.",
        ),
        "segment.bytes",
    ),
    topic(
        key(
            "log.roll.ms",
            int(1, i64::MAX),
            "",
            "ms",
            "A segment older than this is sealed; unset is log.roll.hours.",
        ),
        "segment.ms",
    ),
    key("log.roll.hours", int(1, 2_562_047), "168", "h", "See log.roll.ms."),
    topic(
        key(
            "log.index.interval.bytes",
            int(0, I32_MAX),
            "4096",
            "bytes",
            "Distance between entries of the sparse indexes.",
        ),
        "index.interval.bytes",
    ),
    topic(
        key(
            "log.retention.bytes",
            int(-1, i64::MAX),
            "-1",
            "bytes",
            "A partition keeps at most about this much; -1 is no limit.",
        ),
        "retention.bytes",
    ),
    topic(
        key(
            "log.retention.ms",
            int(-1, i64::MAX),
            "",
            "ms",
            "Segments older than this are deleted, -1 keeps them; unset is log.retention.minutes.",
        ),
        "retention.ms",
    ),
    key(
        "log.retention.minutes",
        int(-1, 153_722_867_280),
        "",
        "min",
        "See log.retention.ms; unset is log.retention.hours.",
    ),
    key("log.retention.hours", int(-1, 2_562_047_788), "168", "h", "See log.retention.ms."),
    key(
        "log.retention.check.interval.ms",
        int(1, i64::MAX),
        "300000",
        "ms",
        "How often retention looks for segments to delete.",
    ),
    key(
        "producer.id.expiration.ms",
        int(1, i64::MAX),
        "86400000",
        "ms",
        "An idempotent producer that was silent for this long is forgotten.",
    ),
    // Connections.
    key(
        "socket.request.max.bytes",
        int(1, I32_MAX),
        "104857600",
        "bytes",
        "Largest request; a larger one closes its connection.",
    ),
    key(
        "max.connections",
        int(0, I32_MAX),
        "10000",
        "",
        "Connections at once; bounded by descriptors too, see `ulimit -n`.",
    ),
    key(
        "connections.max.idle.ms",
        int(1, i64::MAX),
        "600000",
        "ms",
        "A connection on which no byte moved for this long is closed.",
    ),
    key(
        "fetch.max.bytes",
        int(1024, I32_MAX),
        "57671680",
        "bytes",
        "Most bytes one fetch may return, unless its first batch alone is larger.",
    ),
    key(
        "ringmain.requests.in.flight.max",
        int(1, 10_000),
        "64",
        "",
        "Requests of one connection that may wait for answers; past it the socket is not read.",
    ),
    // The engine.
    key(
        "ringmain.journal.file.bytes",
        int(8_388_608, 1_073_741_824),
        "33554432",
        "bytes",
        "Length of one journal file. The largest batch must fit into one.",
    ),
    key(
        "ringmain.tail.cache.bytes",
        int(16_777_216, 1_099_511_627_776),
        "",
        "bytes",
        "Memory for recent records, which consumers that keep up read; unset is a quarter of the machine's, at most 1 GiB.",
    ),
    key(
        "ringmain.log.filter",
        Kind::Text,
        "info",
        "",
        "What is logged, as in RUST_LOG: a level, or module=level with commas.",
    ),
];

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The known key that looks most like this one, if any does.
pub fn nearest(name: &str) -> Option<&'static str> {
    let (distance, key) = KEYS.iter().map(|key| (edit_distance(name, key.name), key.name)).min()?;
    (distance <= name.len().max(4) / 3).then_some(key)
}

/// Levenshtein's distance; both are short.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let substituted = diagonal + usize::from(x != y);
            diagonal = *cell;
            *cell = substituted.min(left + 1).min(*cell + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

impl Key {
    /// What is wrong with a value, in words; `None` if it may be set.
    pub fn problem(&self, value: &str) -> Option<String> {
        match self.kind {
            Kind::Bool if value != "true" && value != "false" => Some("it must be true or false".to_owned()),
            Kind::Integer { min, max } => match value.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => None,
                Ok(_) => Some(format!("it must be between {min} and {max}")),
                Err(_) => Some(format!("it must be a whole number between {min} and {max}")),
            },
            Kind::OneOf(allowed) if !allowed.contains(&value) => {
                Some(format!("it must be one of {}", allowed.join(", ")))
            }
            Kind::Bool | Kind::Text | Kind::List | Kind::OneOf(_) => None,
        }
    }

    /// Its type in words.
    pub fn type_name(&self) -> String {
        match self.kind {
            Kind::Bool => "boolean".to_owned(),
            Kind::Integer { min, max } => {
                format!("integer {min}..{}", if max == i64::MAX { String::new() } else { max.to_string() })
            }
            Kind::Text => "text".to_owned(),
            Kind::List => "list".to_owned(),
            Kind::OneOf(allowed) => allowed.join(" | "),
        }
    }
}

/// The table for a terminal.
pub fn help() -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for key in KEYS {
        let default = if key.default.is_empty() { "unset" } else { key.default };
        let unit = if key.unit.is_empty() { String::new() } else { format!(" {}", key.unit) };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{} = {default}{unit}\n    {} ({})", key.name, key.doc, key.type_name());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_may_be_set_and_no_name_stands_twice() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(key.default.is_empty() || key.problem(key.default).is_none(), "{}", key.name);
            assert!(KEYS.iter().skip(index + 1).all(|other| other.name != key.name), "{}", key.name);
        }
    }

    #[test]
    fn a_misspelt_key_finds_its_neighbour() {
        assert_eq!(nearest("log.dir"), Some("log.dirs"));
        assert_eq!(nearest("auto.create.topic.enable"), Some("auto.create.topics.enable"));
        assert_eq!(nearest("zookeeper.connect"), None);
    }

    #[test]
    fn values_outside_their_range_are_refused_with_the_range() {
        assert_eq!(find("num.partitions").unwrap().problem("0").unwrap(), "it must be between 1 and 100000");
        assert!(find("num.partitions").unwrap().problem("many").is_some());
        assert!(find("compression.type").unwrap().problem("brotli").is_some());
    }
}
