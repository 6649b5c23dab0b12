//! Members of groups of KIP-848 for tests: they say what they have, and do what they are told at once.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use ringmain_protocol::ErrorCode;

use super::super::test_kit::{GROUP, World};
use super::asks::{Beat, Beaten};
use super::member::Assignment;

/// A member.
#[derive(Clone, Debug, Default)]
pub(in crate::group) struct Consumer {
    pub(in crate::group) id: Arc<str>,
    pub(in crate::group) name: Option<Arc<str>>,
    pub(in crate::group) epoch: i32,
    pub(in crate::group) topics: Vec<&'static str>,
    pub(in crate::group) regex: Option<&'static str>,
    pub(in crate::group) owned: Assignment,
}

impl Consumer {
    /// One that will join.
    pub(in crate::group) fn new(id: &str, topics: &[&'static str]) -> Self {
        Self { id: id.into(), topics: topics.to_vec(), ..Self::default() }
    }

    /// All it could say.
    pub(in crate::group) fn says(&self) -> Beat {
        Beat {
            group_id: GROUP.into(),
            member_id: Arc::clone(&self.id),
            member_epoch: self.epoch,
            instance_id: self.name.clone(),
            rack_id: None,
            rebalance_timeout_ms: Some(30_000),
            topics: Some(self.topics.iter().map(|topic| Arc::from(*topic)).collect()),
            regex: self.regex.map(Arc::from),
            assignor: None,
            owned: Some(self.owned.clone()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            makes_own_id: true,
        }
    }

    /// Is heard of, and does what it is told.
    pub(in crate::group) fn beat(&mut self, world: &mut World) -> Result<Beaten, ErrorCode> {
        let beat = self.says();
        let answer = world.step(|coordinator, turn| coordinator.beat(&beat, turn));
        match &answer {
            Ok(beaten) => {
                self.epoch = beaten.member_epoch;
                if let Some(assignment) = &beaten.assignment {
                    self.owned.clone_from(assignment);
                }
            }
            Err(ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId) => self.lose(),
            Err(_) => {}
        }
        answer
    }

    /// Goes.
    pub(in crate::group) fn leave(&mut self, world: &mut World, epoch: i32) -> Result<Beaten, ErrorCode> {
        let beat = Beat { member_epoch: epoch, ..self.says() };
        let answer = world.step(|coordinator, turn| coordinator.beat(&beat, turn));
        self.lose();
        answer
    }

    /// Has nothing any more, and is in no group.
    pub(in crate::group) fn lose(&mut self) {
        self.epoch = 0;
        self.owned.clear();
    }

    /// Is heard of, as text: `a@2 [1/0 1/1]`, or the error.
    pub(in crate::group) fn told(&mut self, world: &mut World) -> String {
        match self.beat(world) {
            Ok(beaten) => format!("{}@{} [{}]", beaten.member_id, beaten.member_epoch, text(&self.owned)),
            Err(code) => format!("{code:?}"),
        }
    }
}

/// Partitions as text, topics by their numbers.
pub(in crate::group) fn text(assignment: &Assignment) -> String {
    let topics = assignment.iter();
    let partitions: Vec<String> = topics
        .flat_map(|(topic, all)| all.iter().map(move |partition| format!("{}/{partition}", topic.0[0])))
        .collect();
    partitions.join(" ")
}
