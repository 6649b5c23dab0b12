//! Groups as administrators see them.

use std::sync::Arc;

use bytes::Bytes;

use super::classic::{ClassicGroup, State};
use super::consumer::ConsumerGroup;
use super::coordinator::Coordinator;

/// The types of groups (`Group.GroupType`).
const CLASSIC: &str = "classic";
const CONSUMER: &str = "consumer";

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub group_id: Arc<str>,
    /// What kind of group its members take it for; empty if it never had any.
    pub protocol_type: Arc<str>,
    /// Where it stands.
    pub state: &'static str,
    /// Its type.
    pub group_type: &'static str,
}

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Where it stands.
    pub state: &'static str,
    /// What kind of group its members take it for; empty if it never had any.
    pub protocol_type: Arc<str>,
    /// How partitions are shared out, if everyone has been told.
    pub protocol_name: Arc<str>,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its own name for itself.
    pub instance_id: Option<Arc<str>>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// Where it is.
    pub client_host: Arc<str>,
    /// What it said for the protocol, if everyone has been told.
    pub metadata: Bytes,
    /// What it was given last.
    pub assignment: Bytes,
}

/// Which groups are listed; an empty list of either kind is all of them.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// States, whatever their case.
    pub states: Vec<String>,
    /// Types, whatever their case.
    pub types: Vec<String>,
}

impl ListFilter {
    fn takes(&self, group: &Listed) -> bool {
        let any = |wanted: &[String], name: &str| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(name))
        };
        any(&self.states, group.state) && any(&self.types, group.group_type)
    }
}

impl Coordinator {
    /// The groups there are.
    pub fn list(&self, filter: &ListFilter) -> Vec<Listed> {
        let classic = |group: &ClassicGroup| Listed {
            group_id: Arc::clone(group.id()),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state().name(),
            group_type: CLASSIC,
        };
        let consumer = |group: &ConsumerGroup| Listed {
            group_id: Arc::clone(group.id()),
            protocol_type: Arc::from(CONSUMER),
            state: group.state().name(),
            group_type: CONSUMER,
        };
        let classic = self.groups.values().map(|group| classic(group));
        let all = classic.chain(self.consumers.values().map(consumer));
        all.filter(|group| filter.takes(group)).collect()
    }

    /// A group, if it is there.
    pub fn describe(&self, group_id: &str) -> Option<Described> {
        let group = self.groups.get(group_id)?;
        let settled = group.protocol_name().filter(|_| group.state() == State::Stable);
        let members = group.members().map(|member| DescribedMember {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            metadata: settled.and_then(|name| member.metadata(name)).cloned().unwrap_or_default(),
            assignment: member.assignment.clone(),
        });
        Some(Described {
            state: group.state().name(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            protocol_name: settled.cloned().unwrap_or_default(),
            members: members.collect(),
        })
    }
}
