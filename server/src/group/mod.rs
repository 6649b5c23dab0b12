//! The group coordinator: who is in a consumer group, what it owns, and up to where it has read.
//!
//! The middle of it is a state machine that does no I/O ([`Coordinator`]): time, randomness and the log it writes to are
//! given to it with every step ([`Turn`]). Every change that outlives the process is a record in `__consumer_offsets`, in
//! Apache Kafka's own format ([`record`]); at a start the state is made from those records and from nothing else. Around
//! it stands [`Coordinators`], which has one of them for each partition of that topic, on the shard that owns the partition:
//! it reads the log at the start, appends to it, runs the timers, and lets every answer out only when all that was
//! appended before it is durable.
//!
//! Built: the classic protocol (KIP-62, 345, 394, 429 as far as a broker has part in it), that of KIP-848
//! ([`consumer`]), offsets with their expiry, and the replay of offsets that were committed in transactions. Not built:
//! share groups and streams groups (a log that has records of such groups keeps them, and is never written anew);
//! commits in transactions. What memory groups take is estimated, from above as far as offsets go
//! (`server/tests/group_memory.rs`). Where a vote between protocols is even, the name that sorts first wins, and of
//! members that are left the one whose id does leads: Apache's choice is that of a hash table.
//!
//! Must not know: requests, responses, API versions.

mod classic;
mod cluster;
mod consumer;
mod coordinator;
mod describe;
mod embedded;
mod expiry;
mod hosting;
mod loading;
mod offsets;
mod partitioning;
pub mod record;
mod rewriting;
mod settings;
mod sink;
mod tally;
mod timers;
mod turn;

#[cfg(test)]
mod classic_tests;
#[cfg(test)]
mod offset_tests;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod test_kit;

pub use classic::{
    Assignment, JoinAnswer, JoinRequest, Joined, JoinedMember, LeaveRequest, Left, MemberRef, Protocol,
    SyncAnswer, SyncRequest, Synced,
};
pub use cluster::{Cluster, TopicFacts};
pub use consumer::{
    Asker, Assignment as ConsumerAssignment, Assignor, Beat, Beaten, Bounded, ConsumerRecord,
    ConsumerSettings, DescribedConsumer, DescribedConsumers, HEARTBEAT_INTERVAL, SESSION_TIMEOUT,
};
pub use coordinator::Coordinator;
pub use describe::{Described, DescribedMember, ListFilter, Listed};
pub use hosting::{Coordinators, Hosted};
pub use offsets::{CommitRequest, Committed, Deletion, PartitionCommit, TopicCommit};
pub use partitioning::{OFFSETS_TOPIC, partition_of};
pub use settings::GroupSettings;
pub use tally::Tally;
pub use turn::{RecordSink, Turn};
