//! What Apache Kafka's own table says of its broker keys: which there are, their types and defaults. Needed for those that
//! have nothing to act on here and that somebody set all the same: they are told as Apache tells them.

/// A broker key of Apache Kafka.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KafkaKey {
    /// Its type's number, as `DescribeConfigs` tells it (`ConfigType`).
    pub type_code: i8,
    /// Its default; `None` is null.
    pub default: Option<&'static str>,
}

impl KafkaKey {
    /// Whether its value is a secret.
    pub fn is_secret(self) -> bool {
        self.type_code == PASSWORD
    }
}

/// The types in the order of their numbers.
const TYPES: [&str; 10] =
    ["unknown", "boolean", "string", "int", "short", "long", "double", "list", "class", "password"];
const PASSWORD: i8 = 9;

/// Every key with its name.
pub fn all() -> impl Iterator<Item = (&'static str, KafkaKey)> {
    let lines = include_str!("kafka_keys.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut words = line.split(' ');
        let (name, kind) = (words.next()?, words.next()?);
        let type_code = (0_i8..).zip(TYPES).find(|(_, word)| *word == kind)?.0;
        Some((name, KafkaKey { type_code, default: words.next() }))
    })
}

/// The key of this name.
pub fn find(name: &str) -> Option<KafkaKey> {
    all().find(|(known, _)| *known == name).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_key() {
        let lines = include_str!("kafka_keys.txt").lines().filter(|line| !line.starts_with('#'));
        assert_eq!(all().count(), lines.count());
        assert_eq!(find("num.io.threads"), Some(KafkaKey { type_code: 3, default: Some("8") }));
        assert!(find("ssl.key.password").is_some_and(KafkaKey::is_secret));
        assert_eq!(find("no.such"), None);
    }
}
