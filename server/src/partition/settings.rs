//! A topic's settings as the broker acts on them: parsed once when a partition is made or its configuration
//! changes, never per request. What is set on the topic wins over the broker's default.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmain_storage::config::{LogConfig, TimestampType};
use ringmain_storage::record::compression::{Codec, Compression};

use crate::config::layers::Layers;
use crate::config::topic_keys;

/// What a partition's topic is set to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicSettings {
    /// What its log needs to know.
    pub log: LogConfig,
    /// Whether `cleanup.policy` has `compact`: then every record needs a key.
    pub compacted: bool,
    /// `compression.type`: the codec batches are stored in; `None` is the producer's.
    pub codec: Option<Codec>,
    /// `compression.gzip.level`; `None` is gzip's default.
    pub gzip_level: Option<i32>,
    /// `compression.zstd.level`.
    pub zstd_level: i32,
    /// `message.timestamp.before.max.ms`: how far behind the broker's clock a producer's may be.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far ahead.
    pub timestamp_after_max_ms: i64,
}

impl Default for TopicSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            log: LogConfig::default(),
            compacted: false,
            codec: None,
            gzip_level: None,
            zstd_level: 3,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
        }
    }
}

impl TopicSettings {
    /// What topics of this broker have if nothing is set on them.
    pub fn of_broker(layers: &Layers<'_>) -> Self {
        let mut settings = Self::default();
        for key in topic_keys::KEYS {
            if let Some(value) = key.synonym.and_then(|name| layers.combined(name))
                && settings.set(key.name, &value).is_none()
            {
                tracing::warn!(name = key.name, %value, "the broker's default cannot be read; Kafka's holds");
            }
        }
        if let Some(expiration) = layers.integer("producer.id.expiration.ms") {
            settings.log.producer_id_expiration_ms = expiration;
        }
        settings
    }

    /// What batches are stored in; `None` is whatever the producer chose.
    pub fn compression(&self) -> Option<Compression> {
        let level = match self.codec? {
            Codec::Gzip => self.gzip_level,
            Codec::Zstd => Some(self.zstd_level),
            Codec::None | Codec::Snappy | Codec::Lz4 => None,
        };
        self.codec.map(|codec| Compression { codec, level })
    }

    /// These settings with what is set on a topic laid over them. Values were checked when they were set; one
    /// that cannot be read all the same leaves the default and says so in the log.
    #[must_use]
    pub fn with(&self, set: &BTreeMap<Arc<str>, Arc<str>>) -> Self {
        let mut settings = self.clone();
        for (name, value) in set {
            if settings.set(name, value).is_none() {
                tracing::warn!(%name, %value, "topic configuration cannot be read; the default holds");
            }
        }
        settings
    }

    /// Takes one setting over; `None` if its value cannot be read. Names that nothing here acts on pass.
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let value = value.trim();
        match name {
            "segment.bytes" => self.log.segment_bytes = value.parse().ok()?,
            "segment.jitter.ms" => self.log.segment_jitter_ms = value.parse().ok()?,
            "segment.ms" => self.log.segment_ms = value.parse().ok()?,
            "segment.index.bytes" => self.log.index_bytes_max = value.parse().ok()?,
            "file.delete.delay.ms" => self.log.file_delete_delay_ms = value.parse().ok()?,
            "index.interval.bytes" => self.log.index_interval_bytes = value.parse().ok()?,
            "flush.messages" => self.log.flush_messages = value.parse().ok()?,
            "flush.ms" => self.log.flush_ms = value.parse().ok()?,
            "retention.ms" => self.log.retention_ms = value.parse().ok()?,
            "retention.bytes" => self.log.retention_bytes = value.parse().ok()?,
            "max.message.bytes" => self.log.max_message_bytes = value.parse().ok()?,
            "message.timestamp.type" => {
                self.log.timestamp_type = match value {
                    "CreateTime" => TimestampType::CreateTime,
                    "LogAppendTime" => TimestampType::LogAppendTime,
                    _ => return None,
                }
            }
            "message.timestamp.before.max.ms" => self.timestamp_before_max_ms = value.parse().ok()?,
            "message.timestamp.after.max.ms" => self.timestamp_after_max_ms = value.parse().ok()?,
            "compression.type" => {
                self.codec = match value {
                    "producer" => None,
                    "uncompressed" => Some(Codec::None),
                    name => Some(Codec::from_name(name)?),
                };
            }
            "compression.gzip.level" => {
                self.gzip_level = Some(value.parse().ok()?).filter(|level| *level > 0);
            }
            "compression.zstd.level" => self.zstd_level = value.parse().ok()?,
            "cleanup.policy" => {
                let has = |policy| value.split(',').any(|part| part.trim() == policy);
                self.compacted = has("compact");
                self.log.cleanup_delete = has("delete");
            }
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> TopicSettings {
        let set = pairs.iter().map(|(name, value)| (Arc::from(*name), Arc::from(*value))).collect();
        TopicSettings::default().with(&set)
    }

    #[test]
    fn what_is_set_wins_and_the_rest_stays() {
        let settings = set(&[
            ("cleanup.policy", "compact, delete"),
            ("max.message.bytes", "77"),
            ("message.timestamp.type", "LogAppendTime"),
            ("compression.type", "zstd"),
            ("min.insync.replicas", "1"),
        ]);
        assert!(settings.compacted && settings.log.cleanup_delete);
        assert_eq!(settings.compression(), Some(Compression { codec: Codec::Zstd, level: Some(3) }));
        let gzip =
            |level| set(&[("compression.type", "gzip"), ("compression.gzip.level", level)]).compression();
        assert_eq!(gzip("9"), Some(Compression { codec: Codec::Gzip, level: Some(9) }));
        assert_eq!(gzip("-1"), Some(Codec::Gzip.into()));
        assert_eq!(set(&[("compression.type", "uncompressed")]).codec, Some(Codec::None));
        assert_eq!(set(&[("compression.type", "producer")]).codec, None);
        assert_eq!(settings.log.max_message_bytes, 77);
        assert_eq!(settings.log.timestamp_type, TimestampType::LogAppendTime);
        assert_eq!(settings.log.segment_bytes, LogConfig::default().segment_bytes);
    }

    #[test]
    fn an_unreadable_value_leaves_the_default() {
        assert_eq!(set(&[("segment.bytes", "many")]), TopicSettings::default());
    }

    #[test]
    fn compact_alone_switches_retention_off() {
        let settings = set(&[("cleanup.policy", "compact")]);
        assert!(settings.compacted && !settings.log.cleanup_delete);
    }
}
