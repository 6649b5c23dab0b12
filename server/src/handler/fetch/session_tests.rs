//! Fetch sessions from the client's side: everyone gets a turn, nobody is told of what it forgot, and what does not
//! move is not looked at.

use std::collections::BTreeMap;
use std::future::ready;
use std::time::Duration;

use bytes::Buf;
use futures::future::join;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use ringmain_protocol::messages::fetch_response::FetchResponse;
use ringmain_protocol::wire::{Records, Str};
use ringmain_storage::io::Io;
use ringmain_storage::types::{Offset, PartitionIndex, PartitionKey};

use super::super::test_kit::{Kit, with_broker};
use crate::metadata::request::TopicRef;
use crate::partition::watch::{FetchLimits, Want, Watch, WatchChanges};

/// A client with one session over partition 0 of several topics.
struct Client<'a> {
    kit: &'a Kit,
    session: i32,
    epoch: i32,
    wait_max_ms: i32,
    bytes_min: i32,
}

impl<'a> Client<'a> {
    fn new(kit: &'a Kit) -> Self {
        Self { kit, session: 0, epoch: 0, wait_max_ms: 0, bytes_min: 1 }
    }

    async fn fetch(&mut self, bytes_max: i32, from: &[(&str, i64)], forgotten: &[&str]) -> FetchResponse {
        let partition = |offset| FetchPartition {
            partition: 0,
            current_leader_epoch: -1,
            fetch_offset: offset,
            last_fetched_epoch: -1,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        };
        let topic = |(name, offset): &(&str, i64)| FetchTopic {
            topic: Str::from(*name),
            partitions: vec![partition(*offset)],
            ..FetchTopic::default()
        };
        let forget = |name: &&str| ForgottenTopic {
            topic: Str::from(*name),
            partitions: vec![0],
            ..Default::default()
        };
        let request = FetchRequest {
            max_wait_ms: self.wait_max_ms,
            min_bytes: self.bytes_min,
            max_bytes: bytes_max,
            session_id: self.session,
            session_epoch: self.epoch,
            topics: from.iter().map(topic).collect(),
            forgotten_topics_data: forgotten.iter().map(forget).collect(),
            ..FetchRequest::default()
        };
        let answer = self.kit.ask(12, &request).await;
        assert_eq!(answer.error_code, 0);
        self.session = answer.session_id;
        self.epoch += 1;
        answer
    }
}

/// The offset after the last batch that each topic gave; topics that gave none are left out.
fn ends(answer: &FetchResponse) -> BTreeMap<String, i64> {
    let end = |records: &Records| {
        let Records::Bytes(bytes) = records else { return None };
        let (mut bytes, mut end) = (bytes.clone(), None);
        while bytes.has_remaining() {
            let (base_offset, length) = (bytes.get_i64(), bytes.get_i32());
            let last_offset_delta = bytes.slice(11..).get_i32();
            end = Some(base_offset + i64::from(last_offset_delta) + 1);
            bytes.advance(usize::try_from(length).unwrap());
        }
        end
    };
    let topics = answer.responses.iter();
    topics.filter_map(|topic| Some((topic.topic.to_string(), end(&topic.partitions[0].records)?))).collect()
}

#[test]
fn partitions_that_the_limit_left_out_come_first_in_the_next_fetch() {
    with_broker(async |kit| {
        let names = ["a", "b", "c"];
        for name in names {
            kit.create_topic(name, 1, &[]).await;
            for _ in 0..4 {
                assert_eq!(kit.produce(name, 1, None).await, 0);
            }
        }
        let mut client = Client::new(&kit);
        // Less than two batches: a fetch gives one, the first, whatever the limit.
        let mut got = ends(&client.fetch(80, &names.map(|name| (name, 0)), &[]).await);
        let mut turns = Vec::new();
        while let Some((name, end)) = got.pop_first() {
            assert!(got.is_empty(), "one batch at a time");
            turns.push(format!("{name}{end}"));
            got = ends(&client.fetch(80, &[(&name, end)], &[]).await);
        }
        assert_eq!(turns.join(" "), "a1 b1 c1 a2 b2 c2 a3 b3 c3 a4 b4 c4");
    });
}

#[test]
fn a_partition_that_was_forgotten_is_not_told_of() {
    with_broker(async |kit| {
        for name in ["a", "b", "c"] {
            kit.create_topic(name, 1, &[]).await;
        }
        let mut client = Client::new(&kit);
        client.fetch(1000, &[("a", 0), ("b", 0)], &[]).await;
        client.fetch(1000, &[("c", 0)], &["c", "a"]).await;
        for name in ["a", "b", "c"] {
            assert_eq!(kit.produce(name, 1, None).await, 0);
        }
        assert_eq!(ends(&client.fetch(1000, &[], &[]).await), BTreeMap::from([("b".to_owned(), 1)]));
        // What was forgotten and comes back has the place that became free.
        let got = ends(&client.fetch(1000, &[("c", 0), ("b", 1)], &[]).await);
        assert_eq!(got, BTreeMap::from([("c".to_owned(), 1)]));
    });
}

#[test]
fn a_topic_that_goes_and_comes_back_is_told_of_at_once() {
    with_broker(async |kit| {
        kit.create_topic("a", 1, &[]).await;
        let mut client = Client::new(&kit);
        client.fetch(1000, &[("a", 0)], &[]).await;
        let code = |answer: &FetchResponse| answer.responses[0].partitions[0].error_code;
        for _ in 0..2 {
            kit.broker.controller().delete_topics(vec![TopicRef::Name("a".to_owned())]).await;
            for _ in 0..2 {
                let unknown = ErrorCode::UnknownTopicOrPartition.code();
                assert_eq!(code(&client.fetch(1000, &[], &[]).await), unknown);
            }
            kit.create_topic("a", 1, &[]).await;
            assert_eq!(code(&client.fetch(1000, &[], &[]).await), 0);
            assert_eq!(kit.produce("a", 1, None).await, 0);
            assert_eq!(ends(&client.fetch(1000, &[], &[]).await), BTreeMap::from([("a".to_owned(), 1)]));
        }
    });
}

#[test]
fn a_fetch_that_waits_for_a_topic_ends_when_the_topic_is_deleted() {
    with_broker(async |kit| {
        kit.create_topic("a", 1, &[]).await;
        let mut client = Client::new(&kit);
        client.fetch(1000, &[("a", 0)], &[]).await;
        let deleted = kit.broker.controller().delete_topics(vec![TopicRef::Name("a".to_owned())]);
        let before = kit.broker.io().now();
        client.wait_max_ms = 1_000_000;
        let (answer, _) = join(client.fetch(1000, &[], &[]), deleted).await;
        // The shard acts before the metadata say so: until then it only knows that it does not lead it.
        assert_eq!(answer.responses[0].partitions[0].error_code, ErrorCode::NotLeaderOrFollower.code());
        // The simulated clock stands still but for sleeps.
        assert!(kit.broker.io().now() < before + Duration::from_secs(1000));
    });
}

#[test]
fn a_fetch_of_very_many_partitions_that_are_not_there_neither_waits_nor_makes_a_session() {
    with_broker(async |kit| {
        kit.create_topic("a", 1, &[]).await;
        let before = kit.broker.io().now();
        let names: Vec<String> = (0..1100).map(|number| format!("unknown-{number}")).collect();
        let named = |count: usize| {
            let unknown = names.iter().take(count).map(|name| (&name[..], 0));
            unknown.chain([("a", 0)]).collect::<Vec<_>>()
        };
        let mut client = Client::new(&kit);
        client.wait_max_ms = 1_000_000;
        let answer = client.fetch(1000, &named(1100), &[]).await;
        assert_eq!((answer.responses.len(), answer.session_id), (1101, 0));
        assert!(kit.broker.io().now() < before + Duration::from_secs(1000));
        // The same one after the other ends the session that there was.
        client = Client::new(&kit);
        assert!(client.fetch(1000, &named(900), &[]).await.session_id > 0);
        let more: Vec<_> = names.iter().skip(900).map(|name| (&name[..], 0)).collect();
        assert_eq!(client.fetch(1000, &more, &[]).await.session_id, 0);
        assert_eq!(kit.broker.sessions().kept().get(), 0);
    });
}

#[test]
fn a_session_of_many_partitions_needs_room_beside_the_others() {
    with_broker(async |kit| {
        let kept = kit.broker.sessions().kept();
        let names: Vec<String> = (0..1000).map(|number| format!("unknown-{number}")).collect();
        let names: Vec<_> = names.iter().map(|name| (&name[..], 0)).collect();
        kit.create_topic("a", 1, &[]).await;
        let mut client = Client::new(&kit);
        assert!(client.fetch(1000, &names, &[]).await.session_id > 0);
        assert_eq!(kept.get(), 1000);
        client.fetch(1000, &[("a", 0)], &["unknown-0", "unknown-1"]).await;
        assert_eq!(kept.get(), 999);
        // Others take all the room.
        kept.set(kept.get() + 1_000_000);
        assert!(client.fetch(1000, &[], &["unknown-2"]).await.session_id > 0, "it has few");
        let many = [("unknown-0", 0), ("unknown-1", 0), ("unknown-2", 0)];
        assert_eq!(client.fetch(1000, &many, &[]).await.session_id, 0);
        assert_eq!(kept.get(), 1_000_000);
    });
}

#[test]
fn a_fetch_that_waits_for_more_of_a_partition_ends_when_it_comes() {
    with_broker(async |kit| {
        kit.create_topic("a", 1, &[]).await;
        assert_eq!(kit.produce("a", 1, None).await, 0);
        let before = kit.broker.io().now();
        let mut client = Client::new(&kit);
        (client.wait_max_ms, client.bytes_min) = (1_000_000, 100);
        let (answer, produced) = join(client.fetch(1000, &[("a", 0)], &[]), kit.produce("a", 1, None)).await;
        assert_eq!((ends(&answer)["a"], produced), (2, 0), "two batches are more than 100 bytes, one is not");
        assert!(kit.broker.io().now() < before + Duration::from_secs(1000));
    });
}

#[test]
fn a_slot_that_changes_hands_is_looked_at_once() {
    with_broker(async |kit| {
        let mut watch = Watch::default();
        let limits = FetchLimits { bytes_max: 1, bytes_min: 0, committed_only: false };
        for name in ["a", "b", "c"] {
            kit.create_topic(name, 1, &[]).await;
            assert_eq!(kit.produce(name, 1, None).await, 0);
            let want = Want {
                key: kit.key(name, 0),
                from: Offset(0),
                current_leader_epoch: -1,
                last_fetched_epoch: -1,
                bytes_max: 1000,
            };
            let changes = WatchChanges { set: vec![(0, want)], forgotten: vec![0] };
            watch.change(changes, &kit.broker.partitions);
        }
        // The marks of those before it are still there: read twice within one limit it would seem to have nothing.
        for _ in 0..3 {
            let got = watch.fetch(limits, ready(())).await;
            assert!(got.len() == 1 && got[0].bytes() > 0, "{got:?}");
        }
    });
}

#[test]
fn of_five_thousand_partitions_only_the_one_that_moved_is_looked_at() {
    with_broker(async |kit| {
        const PARTITIONS: i32 = 5000;
        kit.create_topic("t", PARTITIONS, &[]).await;
        let topic_id = kit.key("t", 0).topic_id;
        let want = |index, from| Want {
            key: PartitionKey { topic_id, partition: PartitionIndex(index) },
            from: Offset(from),
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            bytes_max: 1000,
        };
        let set = (0_u32..).zip((0..PARTITIONS).map(|index| want(index, 0))).collect();
        let limits = FetchLimits { bytes_max: 1000, bytes_min: 0, committed_only: false };
        let mut watch = Watch::default();
        watch.change(WatchChanges { set, forgotten: Vec::new() }, &kit.broker.partitions);
        assert_eq!(watch.fetch(limits, ready(())).await.len(), 5000, "each of them once");
        assert_eq!(watch.fetch(limits, ready(())).await.len(), 0);
        assert_eq!(kit.produce("t", 1, None).await, 0);
        for _ in 0..2 {
            let looked_at = watch.fetch(limits, ready(())).await;
            assert_eq!(
                looked_at.iter().map(|got| (got.slot, got.bytes() > 0)).collect::<Vec<_>>(),
                [(0, true)]
            );
        }
        watch.change(WatchChanges { set: vec![(0, want(0, 1))], forgotten: vec![] }, &kit.broker.partitions);
        assert_eq!(watch.fetch(limits, ready(())).await.len(), 1, "it wants something else");
        assert_eq!(watch.fetch(limits, ready(())).await.len(), 0);
    });
}
