//! Groups of KIP-848: members say what they read and have, and this side says what each is to have. Nobody waits for
//! anybody: a member gives up what it has to, is told its new epoch, and gets what others gave up as soon as they have.
//!
//! The model is Apache Kafka's `ConsumerGroup` and the part of `GroupMetadataManager` that is about it, of 4.3. Every change
//! is a batch of records, and the group does what they say and nothing else; so what is replayed is what was lived through.
//! Otherwise than there, partitions are shared out as soon as the group's epoch rises (Apache batches that for up to a
//! second), and expressions are held against topics at once.

mod asks;
mod assignor;
mod classic_members;
mod convert;
#[cfg(test)]
mod convert_tests;
mod describe;
mod group;
mod heartbeat;
mod leave;
mod member;
mod offsets;
mod pattern;
mod plan;
#[cfg(test)]
mod random_tests;
mod re2;
mod reconcile;
mod record;
mod settings;
#[cfg(test)]
mod test_members;
#[cfg(test)]
mod tests;

pub use asks::{Beat, Beaten};
pub use assignor::Assignor;
pub use describe::{DescribedConsumer, DescribedConsumers};
pub(super) use group::{ConsumerGroup, State};
pub use member::Assignment;
#[cfg(test)]
pub(super) use member::Member;
pub use offsets::Asker;
pub use record::ConsumerRecord;
pub use settings::{Bounded, ConsumerSettings, HEARTBEAT_INTERVAL, SESSION_TIMEOUT};
