//! Groups of KIP-848 as administrators see them.

use std::sync::Arc;

use super::super::coordinator::Coordinator;
use super::super::settings::GroupSettings;
use super::group::ConsumerGroup;
use super::member::Assignment;

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumers {
    /// Where it stands.
    pub state: &'static str,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch that partitions were last shared out for.
    pub target_epoch: i32,
    /// How they are.
    pub assignor: Arc<str>,
    /// Its members.
    pub members: Vec<DescribedConsumer>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumer {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its own name for itself.
    pub instance_id: Option<Arc<str>>,
    /// Where it stands in the data centre.
    pub rack_id: Option<Arc<str>>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// Where it is.
    pub client_host: Arc<str>,
    /// The epoch it is in.
    pub epoch: i32,
    /// Topics that it reads, by name.
    pub topics: Vec<Arc<str>>,
    /// Topics that it reads, by expression; empty for none.
    pub regex: Arc<str>,
    /// What it has, with what it has yet to give up.
    pub assignment: Assignment,
    /// What it is meant to have.
    pub target: Assignment,
    /// Whether it speaks the classic protocol.
    pub is_classic: bool,
}

impl Coordinator {
    /// A group of KIP-848, if it is there.
    pub fn describe_consumers(&self, group_id: &str, settings: &GroupSettings) -> Option<DescribedConsumers> {
        let group = self.consumers.get(group_id)?;
        let default = || Arc::from(settings.consumer.default_assignor().name());
        let preferred = ConsumerGroup::preferred_assignor(group.members().values());
        let members = group.members().values().map(|member| DescribedConsumer {
            member_id: Arc::clone(&member.id),
            instance_id: member.facts.instance_id.clone(),
            rack_id: member.facts.rack_id.clone(),
            client_id: Arc::clone(&member.facts.client_id),
            client_host: Arc::clone(&member.facts.client_host),
            epoch: member.current.epoch,
            topics: member.facts.topics.iter().cloned().collect(),
            regex: Arc::clone(&member.facts.regex),
            assignment: member.current.held_assignment(),
            target: group.target(&member.id, None),
            is_classic: member.facts.classic.is_some(),
        });
        Some(DescribedConsumers {
            state: group.state().name(),
            epoch: group.epoch(),
            target_epoch: group.target_epoch(),
            assignor: preferred.unwrap_or_else(default),
            members: members.collect(),
        })
    }
}
