//! The words of a log as types: offsets, epochs, positions and ids are never bare integers.

use std::fmt;

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

newtype!(/** Offset of a record in its partition, from 0. */ Offset(i64));
newtype!(/** Leader epoch of a partition; −1 is unknown. */ LeaderEpoch(i32));
newtype!(/** Byte position in a segment file. */ Position(u64));
newtype!(/** Index of a partition in its topic. */ PartitionIndex(i32));
newtype!(/** Producer id of an idempotent producer; −1 is none. */ ProducerId(i64));
newtype!(/** Producer epoch; −1 is none. */ ProducerEpoch(i16));
newtype!(/** Milliseconds since 1970-01-01 UTC, as record timestamps count; −1 is none. */ TimestampMs(i64));

/// A topic's id, the 16 bytes of its UUID in network order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub [u8; 16]);

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// What names a log for as long as it lives: a topic that is made anew under an old name has another id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartitionKey {
    /// The topic's id.
    pub topic_id: TopicId,
    /// Which of its partitions.
    pub partition: PartitionIndex,
}

/// Which of the shards that share a log directory a store is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ShardSlot {
    /// From 0.
    pub index: u32,
    /// How many shards there are, at least one.
    pub count: u32,
}

impl ShardSlot {
    /// The only shard.
    pub const ALONE: Self = Self { index: 0, count: 1 };

    /// Index of the shard that owns a partition's log, of `count`: a topic's partitions go round, and topics begin
    /// at different shards. Part of the journal's format.
    pub fn owner(key: PartitionKey, count: u32) -> u32 {
        let id = u128::from_be_bytes(key.topic_id.0);
        let start = id % u128::from(count.max(1));
        let partition = u128::from(key.partition.0.unsigned_abs());
        u32::try_from((start + partition) % u128::from(count.max(1))).unwrap_or(0)
    }

    /// Whether the partition's log is this shard's.
    pub fn owns(self, key: PartitionKey) -> bool {
        Self::owner(key, self.count) == self.index
    }
}
