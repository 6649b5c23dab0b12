//! What one shard counts of its connections and requests, for the metrics. Single writer, many readers: see
//! [`ringmain_storage::counters`]. Nothing here is read by the data path.

use std::time::Duration;

use ringmain_storage::counters::{Counter, Histogram, SharedCounters};

/// Keys of Kafka's APIs that are counted one by one; the protocol has 93.
const API_KEYS: usize = 96;
/// Produce.
const PRODUCE: i16 = 0;
/// Fetch.
const FETCH: i16 = 1;

/// What one shard counts of its groups.
#[derive(Debug, Default)]
pub struct GroupCounters {
    /// Groups of the classic protocol by state.
    pub classic: [Counter; 4],
    /// Groups of KIP-848 by state.
    pub consumer: [Counter; 4],
    /// Members of groups of the classic protocol.
    pub classic_members: Counter,
    /// Members of groups of KIP-848.
    pub consumer_members: Counter,
    /// Generations of classic groups that began.
    pub classic_rebalances: Counter,
    /// Times that partitions were shared out anew in groups of KIP-848.
    pub consumer_rebalances: Counter,
    /// Committed offsets that are kept.
    pub offsets: Counter,
    /// Offsets that were committed.
    pub commits: Counter,
    /// Offsets that nobody needed for so long that they went.
    pub expired: Counter,
    /// Records in the logs of groups.
    pub log_records: Counter,
    /// Records that would do in their place.
    pub live_records: Counter,
    /// Times that a log of groups was written anew.
    pub rewrites: Counter,
    /// Memory of groups and offsets, about.
    pub bytes: Counter,
}

impl GroupCounters {
    /// Names of the states of a classic group.
    pub const CLASSIC_STATES: [&str; 4] = ["Empty", "PreparingRebalance", "CompletingRebalance", "Stable"];
    /// Names of the states of a group of KIP-848.
    pub const CONSUMER_STATES: [&str; 4] = ["Empty", "Assigning", "Reconciling", "Stable"];
}

/// The counters of one shard.
#[derive(Debug)]
pub struct ShardCounters {
    /// Requests by API key.
    requests: [Counter; API_KEYS],
    /// Microseconds from the arrival of a Produce to its answer's first byte.
    pub produce_micros: Histogram,
    /// The same of a Fetch, its waiting included.
    pub fetch_micros: Histogram,
    /// The same of all other requests.
    pub other_micros: Histogram,
    /// Bytes received. Each is copied once, from the receive buffer into its request.
    pub received_bytes: Counter,
    /// Bytes handed to sockets.
    pub sent_bytes: Counter,
    /// Those of them that went from a file without touching memory of ours.
    pub sent_file_bytes: Counter,
    /// Connections accepted.
    pub connections_accepted: Counter,
    /// Connections that the broker closed, for what they sent or for a limit.
    pub connections_refused: Counter,
    /// Connections open.
    pub connections: Counter,
    /// Partitions that the shard leads.
    pub partitions: Counter,
    /// Partitions that the shard ought to lead and that cannot be used.
    pub partitions_offline: Counter,
    /// Work of other shards that waits for this one.
    pub mailbox_depth: Counter,
    /// Bytes received and not yet handled.
    pub unhandled_bytes: Counter,
    /// Memory of answers that no client has taken yet.
    pub unsent_bytes: Counter,
    /// What its groups come to.
    pub groups: GroupCounters,
    /// What the shard's stores count.
    pub store: SharedCounters,
}

impl Default for ShardCounters {
    fn default() -> Self {
        Self {
            requests: std::array::from_fn(|_| Counter::default()),
            produce_micros: Histogram::default(),
            fetch_micros: Histogram::default(),
            other_micros: Histogram::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            sent_file_bytes: Counter::default(),
            connections_accepted: Counter::default(),
            connections_refused: Counter::default(),
            connections: Counter::default(),
            partitions: Counter::default(),
            partitions_offline: Counter::default(),
            mailbox_depth: Counter::default(),
            unhandled_bytes: Counter::default(),
            unsent_bytes: Counter::default(),
            groups: GroupCounters::default(),
            store: SharedCounters::default(),
        }
    }
}

impl ShardCounters {
    /// A request with this API key has come. Keys nobody has are not counted.
    pub fn requested(&self, api_key: i16) {
        if let Some(counter) = usize::try_from(api_key).ok().and_then(|key| self.requests.get(key)) {
            counter.add(1);
        }
    }

    /// A request with this API key is answered after so long.
    pub fn answered(&self, api_key: i16, after: Duration) {
        let histogram = match api_key {
            PRODUCE => &self.produce_micros,
            FETCH => &self.fetch_micros,
            _ => &self.other_micros,
        };
        histogram.record_micros(after);
    }

    /// Requests so far by API key, those that have come.
    pub fn requests(&self) -> impl Iterator<Item = (i16, u64)> {
        (0_i16..)
            .zip(&self.requests)
            .map(|(key, counter)| (key, counter.get()))
            .filter(|(_, count)| *count > 0)
    }
}
