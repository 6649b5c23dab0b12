//! The partitions that a fetch or a session names, each in a slot with a number. A request of a few megabytes names a
//! million of them and a session keeps them: an entry has what is needed of it and no more, and a topic's name is
//! there once.

use std::collections::HashMap;

use ringmain_protocol::wire::{Str, Uuid};

use super::reading::{Named, Wish};

/// How a topic is named, which the version says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum TopicName {
    /// By name.
    Name(Str),
    /// By id.
    Id(Uuid),
}

impl TopicName {
    /// The name and the id as an answer has them: the one that is not known is empty.
    pub(super) fn on_the_wire(&self) -> (Str, Uuid) {
        match self {
            Self::Name(name) => (name.clone(), Uuid::default()),
            Self::Id(id) => (Str::default(), *id),
        }
    }

    /// Whether an answer's topic with this name and this id is it.
    pub(super) fn is(&self, name_there: &Str, id_there: Uuid) -> bool {
        match self {
            Self::Name(name) => name == name_there,
            Self::Id(id) => *id == id_there,
        }
    }

    /// The same without the frame it came in, which may be large and would stay as long as the name.
    fn detached(&self) -> Self {
        match self {
            Self::Name(name) => Self::Name(name.detached()),
            Self::Id(id) => Self::Id(*id),
        }
    }
}

/// A topic's place in its table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct TopicAt(u32);

/// What the client was told last if it has to be told again.
const UNTOLD: (i64, i64) = (i64::MIN, i64::MIN);

/// A partition.
#[derive(Debug)]
pub(super) struct Entry {
    /// What is wanted of it.
    pub(super) wish: Wish,
    /// Its topic.
    pub(super) topic: TopicAt,
    /// The shard that has it; `None` while it cannot be read.
    owner: Option<u16>,
    told: (i64, i64),
}

impl Entry {
    /// Whether the client was last told of this high watermark and this log start.
    pub(super) fn was_told(&self, told: (i64, i64)) -> bool {
        self.told == told
    }

    /// The client is told of a high watermark and a log start; with `None` it has to be told again.
    pub(super) fn tell(&mut self, told: Option<(i64, i64)>) {
        self.told = told.unwrap_or(UNTOLD);
    }

    /// Moves it to a shard, or to none; gives where it was.
    pub(super) fn move_to(&mut self, owner: Option<usize>) -> Option<usize> {
        let owner = owner.and_then(|owner| u16::try_from(owner).ok());
        std::mem::replace(&mut self.owner, owner).map(usize::from)
    }
}

/// A topic, and how many slots are its.
#[derive(Debug)]
struct Topic {
    name: TopicName,
    slots: u32,
}

/// Things in places with numbers; those that became free are used again.
#[derive(Debug)]
struct Places<T> {
    all: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { all: Vec::new(), free: Vec::new() }
    }
}

impl<T> Places<T> {
    fn put(&mut self, thing: T) -> u32 {
        if let Some(at) = self.free.pop() {
            if let Some(place) = self.place(at) {
                *place = Some(thing);
            }
            return at;
        }
        self.all.push(Some(thing));
        // A request has fewer bytes than that.
        u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
    }

    fn place(&mut self, at: u32) -> Option<&mut Option<T>> {
        self.all.get_mut(usize::try_from(at).ok()?)
    }

    fn get(&self, at: u32) -> Option<&T> {
        self.all.get(usize::try_from(at).ok()?)?.as_ref()
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.place(at)?.as_mut()
    }

    fn take(&mut self, at: u32) -> Option<T> {
        let taken = self.place(at)?.take();
        self.free.extend(taken.is_some().then_some(at));
        taken
    }
}

/// The slots of a fetch or of a session.
#[derive(Debug, Default)]
pub(super) struct Slots {
    entries: Places<Entry>,
    by_partition: HashMap<(TopicAt, i32), u32>,
    topics: Places<Topic>,
    by_name: HashMap<TopicName, TopicAt>,
}

impl Slots {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_partition.is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_partition.len()
    }

    /// Places that became free.
    pub(super) fn vacant(&self) -> usize {
        self.entries.free.len()
    }

    /// Makes room for so many.
    pub(super) fn reserve(&mut self, count: usize) {
        self.entries.all.reserve_exact(count);
        self.by_partition.reserve(count);
    }

    /// A topic's place, which it has from now on; it goes with the last of its slots.
    pub(super) fn topic(&mut self, name: &TopicName) -> TopicAt {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let name = name.detached();
        let at = TopicAt(self.topics.put(Topic { name: name.clone(), slots: 0 }));
        self.by_name.insert(name, at);
        at
    }

    /// Sets what is wanted of a partition, whose slot this gives.
    pub(super) fn set(&mut self, topic: TopicAt, wish: Wish) -> u32 {
        if let Some(slot) = self.by_partition.get(&(topic, wish.partition)).copied() {
            if let Some(entry) = self.entries.get_mut(slot) {
                entry.wish = wish;
            }
            return slot;
        }
        let slot = self.entries.put(Entry { wish, topic, owner: None, told: UNTOLD });
        self.by_partition.insert((topic, wish.partition), slot);
        if let Some(topic) = self.topics.get_mut(topic.0) {
            topic.slots += 1;
        }
        slot
    }

    /// A topic's place, if one of its partitions has a slot.
    pub(super) fn find_topic(&self, name: &TopicName) -> Option<TopicAt> {
        self.by_name.get(name).copied()
    }

    /// The slot of a partition.
    pub(super) fn find(&self, topic: TopicAt, partition: i32) -> Option<u32> {
        self.by_partition.get(&(topic, partition)).copied()
    }

    /// Frees a slot.
    pub(super) fn free(&mut self, slot: u32) {
        let Some(entry) = self.entries.take(slot) else { return };
        self.by_partition.remove(&(entry.topic, entry.wish.partition));
        let Some(topic) = self.topics.get_mut(entry.topic.0) else { return };
        topic.slots -= 1;
        if topic.slots == 0
            && let Some(topic) = self.topics.take(entry.topic.0)
        {
            self.by_name.remove(&topic.name);
        }
    }

    /// What is in a slot.
    pub(super) fn entry(&mut self, slot: u32) -> Option<&mut Entry> {
        self.entries.get_mut(slot)
    }

    /// The partition in a slot as the request named it.
    pub(super) fn named(&self, slot: u32) -> Option<Named<'_>> {
        let entry = self.entries.get(slot)?;
        Some(Named { topic: self.topic_name(entry.topic)?, wish: entry.wish })
    }

    /// The topic of a slot.
    pub(super) fn topic_of(&self, slot: u32) -> Option<TopicAt> {
        self.entries.get(slot).map(|entry| entry.topic)
    }

    /// How a topic is named.
    pub(super) fn topic_name(&self, at: TopicAt) -> Option<&TopicName> {
        self.topics.get(at.0).map(|topic| &topic.name)
    }
}

#[cfg(test)]
mod tests {
    use ringmain_protocol::messages::fetch_request::FetchPartition;

    use super::*;

    fn wish(partition: i32) -> Wish {
        FetchPartition { partition, ..FetchPartition::default() }.into()
    }

    #[test]
    fn a_partition_is_kept_in_few_bytes() {
        // Beside it there are 13 bytes times 8/7 to 16/7 of the map. The topic is there once, or once for each entry.
        assert_eq!(size_of::<Option<Entry>>(), 48);
        assert_eq!(size_of::<((TopicAt, i32), u32)>(), 12);
        assert_eq!(size_of::<Option<Topic>>(), 48);
    }

    #[test]
    fn a_topic_is_there_once_and_goes_with_its_last_partition() {
        let mut slots = Slots::default();
        let names = ["a", "b"].map(|name| TopicName::Name(Str::from(name)));
        for (name, first) in names.iter().zip([0, 2]) {
            for partition in [0, 1, 0] {
                let topic = slots.topic(name);
                assert_eq!(slots.set(topic, wish(partition)), first + u32::try_from(partition).unwrap());
            }
        }
        assert_eq!((slots.topics.all.len(), slots.entries.all.len()), (2, 4));
        slots.free(1);
        slots.free(1);
        let [first, second] = names.map(|name| slots.find_topic(&name));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(slots.named(1).is_none() && slots.find(first, 1).is_none());
        assert_eq!((slots.find(first, 0), slots.find(second, 1)), (Some(0), Some(3)));
        slots.free(0);
        assert_eq!(slots.by_name.len(), 1, "of the first topic nothing is left");
        let id = TopicName::Id(Uuid::from_bytes([1; 16]));
        let topic = slots.topic(&id);
        assert_eq!((topic, slots.set(topic, wish(7))), (TopicAt(0), 0), "places are used again");
        assert_eq!(slots.named(0).map(|named| named.topic), Some(&id));
    }
}
