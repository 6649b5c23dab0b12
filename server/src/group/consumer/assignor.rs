//! How partitions are shared out on this side: `uniform` evenly and with as few moves as can be, `range` topic by topic
//! in runs, so that members have the same numbers of topics with equally many partitions. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringmain_storage::types::TopicId;

use super::member::Assignment;

/// One way of sharing partitions out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assignor {
    /// Evenly over all members, what members have stays with them.
    Uniform,
    /// In runs, topic by topic.
    Range,
}

impl Assignor {
    /// Those there are.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Shares the topics out, each with its number of partitions.
    pub(super) fn assign(self, members: &Members<'_>, topics: &BTreeMap<TopicId, i32>) -> Targets {
        match self {
            Self::Uniform => Uniform::new(members, topics).assign(),
            Self::Range => range(members, topics),
        }
    }
}

/// What each member is to have.
pub(super) type Targets = BTreeMap<Arc<str>, Assignment>;
/// Who shares.
pub(super) type Members<'a> = BTreeMap<Arc<str>, Candidate<'a>>;

/// Somebody who gets a part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    /// Its own name for itself, if it is static.
    pub(super) instance_id: Option<&'a Arc<str>>,
    /// The topics that it reads.
    pub(super) subscribed: &'a BTreeSet<TopicId>,
    /// What it was meant to have before.
    pub(super) before: Option<&'a Assignment>,
}

/// Static members first, by their own names, so that who comes back under another id gets what it had.
fn range(members: &Members<'_>, topics: &BTreeMap<TopicId, i32>) -> Targets {
    let mut targets: Targets = members.keys().map(|id| (Arc::clone(id), Assignment::new())).collect();
    let mut order: Vec<(&Arc<str>, &Candidate<'_>)> = members.iter().collect();
    order.sort_by_key(|(id, member)| (member.instance_id.is_none(), member.instance_id, *id));
    for (topic, count) in topics {
        let readers: Vec<&Arc<str>> =
            order.iter().filter(|(_, member)| member.subscribed.contains(topic)).map(|(id, _)| *id).collect();
        let Ok(reader_count) = i32::try_from(readers.len()) else { continue };
        if reader_count == 0 {
            continue;
        }
        let (share, mut extra, mut from) = (count / reader_count, count % reader_count, 0);
        for id in readers {
            let to = from + share + i32::from(extra > 0);
            extra = (extra - 1).max(0);
            if to > from
                && let Some(target) = targets.get_mut(id)
            {
                target.insert(*topic, (from..to).collect());
            }
            from = to;
        }
    }
    targets
}

/// An even sharing under way. Members are numbered in the order of their ids.
struct Uniform<'a> {
    members: &'a Members<'a>,
    topics: &'a BTreeMap<TopicId, i32>,
    /// Who reads each topic.
    readers: BTreeMap<TopicId, Vec<usize>>,
    targets: Vec<Assignment>,
    /// How many partitions each has.
    counts: Vec<usize>,
}

impl<'a> Uniform<'a> {
    /// Members keep what they had, as far as it is there and they read it.
    fn new(members: &'a Members<'a>, topics: &'a BTreeMap<TopicId, i32>) -> Self {
        let mut readers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
        let (mut targets, mut taken) = (Vec::with_capacity(members.len()), BTreeSet::new());
        for (at, member) in members.values().enumerate() {
            member.subscribed.iter().for_each(|topic| readers.entry(*topic).or_default().push(at));
            let mut target = Assignment::new();
            for (topic, partitions) in member.before.into_iter().flatten() {
                let count = topics.get(topic).filter(|_| member.subscribed.contains(topic)).copied();
                let kept = partitions.range(0..count.unwrap_or(0).max(0));
                let kept: BTreeSet<i32> =
                    kept.copied().filter(|kept| taken.insert((*topic, *kept))).collect();
                if !kept.is_empty() {
                    target.insert(*topic, kept);
                }
            }
            targets.push(target);
        }
        let counts = targets.iter().map(|target| target.values().map(BTreeSet::len).sum()).collect();
        Self { members, topics, readers, targets, counts }
    }

    fn assign(mut self) -> Targets {
        // Topics that few members read go first: the others can be shared out around them.
        let mut order: Vec<(usize, TopicId)> =
            self.readers.iter().map(|(topic, readers)| (readers.len(), *topic)).collect();
        order.sort_unstable();
        for (_, topic) in &order {
            self.give_out(*topic);
        }
        // Every move brings two members closer, so this ends; where all read the same, after two rounds.
        while order.iter().fold(false, |moved, (_, topic)| self.level(*topic) || moved) {}
        self.members.keys().cloned().zip(self.targets).collect()
    }

    /// Gives out what nobody has of a topic, each partition to a reader that has least.
    fn give_out(&mut self, topic: TopicId) {
        let readers = self.readers.get(&topic).map(Vec::as_slice).unwrap_or_default();
        let mut by_count: BTreeSet<(usize, usize)> =
            readers.iter().filter_map(|at| Some((*self.counts.get(*at)?, *at))).collect();
        let owned: BTreeSet<i32> =
            readers.iter().filter_map(|at| self.targets.get(*at)?.get(&topic)).flatten().copied().collect();
        for partition in 0..self.topics.get(&topic).copied().unwrap_or(0) {
            if owned.contains(&partition) {
                continue;
            }
            let Some((count, at)) = by_count.pop_first() else { return };
            if let (Some(target), Some(own)) = (self.targets.get_mut(at), self.counts.get_mut(at)) {
                target.entry(topic).or_default().insert(partition);
                *own = count + 1;
            }
            by_count.insert((count + 1, at));
        }
    }

    /// Moves partitions of a topic from readers that have more to such that have at least two less. True if any moved.
    fn level(&mut self, topic: TopicId) -> bool {
        let readers = self.readers.get(&topic).map(Vec::as_slice).unwrap_or_default();
        let counted = |at: &usize| Some((*self.counts.get(*at)?, *at));
        let mut takers: BTreeSet<(usize, usize)> = readers.iter().filter_map(counted).collect();
        let has = |at: usize| self.targets.get(at).is_some_and(|target| target.contains_key(&topic));
        let mut givers: BTreeSet<(usize, usize)> =
            takers.iter().copied().filter(|(_, at)| has(*at)).collect();
        let mut moved = false;
        while let (Some(&(most, giver)), Some(&(least, taker))) = (givers.last(), takers.first()) {
            if most < least + 2 {
                break;
            }
            let Some(partition) = self.take_last(giver, topic) else { break };
            if let Some(target) = self.targets.get_mut(taker) {
                target.entry(topic).or_default().insert(partition);
            }
            moved = true;
            for (at, before, after) in [(giver, most, most - 1), (taker, least, least + 1)] {
                takers.remove(&(before, at));
                takers.insert((after, at));
                givers.remove(&(before, at));
                if self.targets.get(at).is_some_and(|target| target.contains_key(&topic)) {
                    givers.insert((after, at));
                }
                if let Some(count) = self.counts.get_mut(at) {
                    *count = after;
                }
            }
        }
        moved
    }

    fn take_last(&mut self, at: usize, topic: TopicId) -> Option<i32> {
        let target = self.targets.get_mut(at)?;
        let partitions = target.get_mut(&topic)?;
        let last = partitions.pop_last();
        if partitions.is_empty() {
            target.remove(&topic);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(number: u8) -> TopicId {
        TopicId([number; 16])
    }

    /// Shares out; each member is its id, its own name and the topics it reads.
    fn share(
        assignor: Assignor,
        members: &[(&str, Option<&str>, &[u8])],
        before: &Targets,
        topics: &[(u8, i32)],
    ) -> Targets {
        let names: Vec<Option<Arc<str>>> = members.iter().map(|(_, name, _)| name.map(Arc::from)).collect();
        let subscribed: Vec<BTreeSet<TopicId>> = members
            .iter()
            .map(|(_, _, topics)| topics.iter().map(|number| topic(*number)).collect())
            .collect();
        let candidates =
            members.iter().zip(&names).zip(&subscribed).map(|(((id, _, _), name), subscribed)| {
                let candidate = Candidate { instance_id: name.as_ref(), subscribed, before: before.get(*id) };
                (Arc::from(*id), candidate)
            });
        let topics = topics.iter().map(|(number, count)| (topic(*number), *count)).collect();
        assignor.assign(&candidates.collect(), &topics)
    }

    /// What each member has, such as `a: 1/0 1/1 · b: 1/2`.
    fn text(targets: &Targets) -> String {
        let of = |(id, target): (&Arc<str>, &Assignment)| {
            let partitions: Vec<String> = target
                .iter()
                .flat_map(|(topic, all)| {
                    all.iter().map(move |partition| format!("{}/{partition}", topic.0[0]))
                })
                .collect();
            format!("{id}: {}", partitions.join(" "))
        };
        targets.iter().map(of).collect::<Vec<_>>().join(" · ")
    }

    #[test]
    fn uniform_moves_no_more_than_it_has_to() {
        let none = Targets::new();
        let one = share(Assignor::Uniform, &[("a", None, &[1])], &none, &[(1, 4)]);
        assert_eq!(text(&one), "a: 1/0 1/1 1/2 1/3");
        let both: [(&str, Option<&str>, &[u8]); 2] = [("a", None, &[1]), ("b", None, &[1])];
        let two = share(Assignor::Uniform, &both, &one, &[(1, 4)]);
        assert_eq!(text(&two), "a: 1/0 1/1 · b: 1/2 1/3");
        let grown = share(Assignor::Uniform, &both, &two, &[(1, 5)]);
        assert_eq!(text(&grown), "a: 1/0 1/1 1/4 · b: 1/2 1/3");
        let alone = share(Assignor::Uniform, &both[1..], &grown, &[(1, 5)]);
        assert_eq!(text(&alone), "b: 1/0 1/1 1/2 1/3 1/4");
    }

    #[test]
    fn uniform_shares_out_what_not_everyone_reads() {
        let members: [(&str, Option<&str>, &[u8]); 3] =
            [("a", None, &[1]), ("b", None, &[1, 2]), ("c", None, &[2, 3])];
        let shared = share(Assignor::Uniform, &members, &Targets::new(), &[(1, 3), (2, 2), (3, 1)]);
        assert_eq!(text(&shared), "a: 1/0 1/2 · b: 1/1 2/0 · c: 2/1 3/0");
        let gone = share(Assignor::Uniform, &members[..1], &shared, &[(1, 3)]);
        assert_eq!(text(&gone), "a: 1/0 1/1 1/2");
        assert_eq!(text(&share(Assignor::Uniform, &[("a", None, &[])], &shared, &[])), "a: ");
    }

    #[test]
    fn range_gives_equal_numbers_of_topics_to_the_same_member() {
        let members: [(&str, Option<&str>, &[u8]); 3] =
            [("a", None, &[1, 2]), ("b", Some("z"), &[1, 2]), ("c", Some("y"), &[1, 2])];
        let shared = share(Assignor::Range, &members, &Targets::new(), &[(1, 5), (2, 5)]);
        assert_eq!(text(&shared), "a: 1/4 2/4 · b: 1/2 1/3 2/2 2/3 · c: 1/0 1/1 2/0 2/1");
        let few = share(Assignor::Range, &members, &Targets::new(), &[(1, 1)]);
        assert_eq!(text(&few), "a:  · b:  · c: 1/0");
    }

    #[test]
    fn names_are_found_again() {
        for assignor in Assignor::ALL {
            assert_eq!(Assignor::by_name(assignor.name()), Some(assignor));
        }
        assert_eq!(Assignor::by_name("sticky"), None);
    }
}
