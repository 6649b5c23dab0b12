//! The metrics of groups say what members and committers do.

use ringmain_tests::admin::metric;
use ringmain_tests::broker::{Broker, free_port, wait_for};
use ringmain_tests::client::Client;
use ringmain_tests::group::{Member, OFFSET_COMMIT, committed, find_coordinator};
use ringmain_tests::wire::{Reader, Writer};

/// ConsumerGroupHeartbeat.
const CONSUMER_HEARTBEAT: i16 = 68;
/// Partitions of the topic.
const PARTITIONS: i32 = 100;

/// Nobody commits one offset for all partitions, to be kept for so many milliseconds (−1: the default).
fn commit_all(client: &mut Client, group: &str, offset: i64, retention_ms: i64) {
    let body = Writer::default().string(group).i32(-1).string("").i64(retention_ms);
    let mut body = body.i32(1).string("t").i32(PARTITIONS);
    for partition in 0..PARTITIONS {
        body = body.i32(partition).i64(offset).string("");
    }
    let answer = client.request(OFFSET_COMMIT, 2, &body.0).unwrap();
    let mut reader = Reader(&answer);
    assert_eq!((reader.count(), reader.string(), reader.i32()), (1, "t".to_owned(), PARTITIONS));
    for partition in 0..PARTITIONS {
        assert_eq!((reader.i32(), reader.i16()), (partition, 0));
    }
}

/// A member of KIP-848 joins (epoch 0) or leaves (epoch −1).
fn consumer_heartbeat(client: &mut Client, group: &str, member: &str, epoch: i32) -> String {
    let short =
        |text: &str| Writer::default().i8(i8::try_from(text.len() + 1).unwrap()).raw(text.as_bytes()).0;
    // The end of the header; group, member, epoch; no instance, no rack; a topic; no assignor, nothing owned.
    let body = Writer::default().i8(0).raw(&short(group)).raw(&short(member)).i32(epoch).i8(0).i8(0);
    let body = body.i32(60_000).i8(2).raw(&short("t")).i8(0).i8(1).i8(0);
    let answer = client.request(CONSUMER_HEARTBEAT, 0, &body.0).unwrap();
    let mut reader = Reader(&answer);
    assert_eq!((reader.i8(), reader.i32(), reader.i16(), reader.i8()), (0, 0, 0, 0));
    let length = usize::try_from(reader.i8() - 1).unwrap();
    String::from_utf8(reader.raw(length).to_vec()).unwrap()
}

#[test]
fn metrics_of_groups_follow_members_commits_expiry_and_rewrites() {
    let directory = tempfile::tempdir().unwrap();
    let admin = format!("127.0.0.1:{}", free_port());
    let listener = format!("ringmain.admin.listener={admin}");
    let settings = [
        &*listener,
        "group.initial.rebalance.delay.ms=0",
        "offsets.topic.num.partitions=8",
        "offsets.retention.check.interval.ms=100",
    ];
    let data = directory.path().join("data");
    let broker = Broker::start(&data, &settings);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait("t", PARTITIONS);
    let shown = |name: &str, label: &str, value: f64| {
        let what = format!("{name} {label} to be {value}");
        wait_for(&what, || (metric(&admin, name, label) == value).then_some(()));
    };

    let member = Member::join(&mut client, "classic").unwrap();
    assert_eq!(member.commit(&mut client, ("t", 0), 7).unwrap(), 0);
    shown("ringmain_groups", "protocol=\"classic\",state=\"Stable\"", 1.0);
    shown("ringmain_group_members", "protocol=\"classic\"", 1.0);
    shown("ringmain_group_rebalances_total", "protocol=\"classic\"", 1.0);
    shown("ringmain_group_offset_commits_total", "", 1.0);
    let bytes = metric(&admin, "ringmain_group_bytes", "");
    assert!(bytes > 0.0 && bytes < metric(&admin, "ringmain_group_bytes_max", ""), "{bytes}");

    let id = consumer_heartbeat(&mut client, "consumers", "", 0);
    shown("ringmain_groups", "protocol=\"consumer\",state=\"Stable\"", 1.0);
    shown("ringmain_group_members", "protocol=\"consumer\"", 1.0);
    assert!(metric(&admin, "ringmain_group_rebalances_total", "protocol=\"consumer\"") >= 1.0);
    consumer_heartbeat(&mut client, "consumers", &id, -1);
    shown("ringmain_groups", "protocol=\"consumer\",state=\"Stable\"", 0.0);
    shown("ringmain_groups", "protocol=\"consumer\",state=\"Empty\"", 1.0);
    shown("ringmain_group_members", "protocol=\"consumer\"", 0.0);

    // The same positions again and again: most of what the log says is dead, and it is written anew.
    find_coordinator(&mut client, "again").unwrap();
    for offset in 0..30 {
        commit_all(&mut client, "again", offset, -1);
    }
    shown("ringmain_group_offsets", "", 101.0);
    shown("ringmain_group_offset_commits_total", "", 3001.0);
    wait_for("a log to be written anew", || {
        (metric(&admin, "ringmain_group_log_rewrites_total", "") >= 1.0).then_some(())
    });
    wait_for("its dead records to be gone", || {
        (metric(&admin, "ringmain_group_log_records", "") < 2000.0).then_some(())
    });
    let live = metric(&admin, "ringmain_group_live_records", "");
    assert!((102.0..150.0).contains(&live), "two groups and 101 offsets: {live}");
    assert_eq!(committed(&mut client, "again", ("t", 99)).unwrap(), 29);

    commit_all(&mut client, "short", 1, 1);
    shown("ringmain_group_offsets_expired_total", "", 100.0);
    shown("ringmain_group_offsets", "", 101.0);

    // What the log says is counted again at a start; what happened before is not.
    drop(client);
    assert!(broker.stop().success());
    let _broker = Broker::start(&data, &settings);
    shown("ringmain_group_offsets", "", 101.0);
    shown("ringmain_groups", "protocol=\"classic\",state=\"Stable\"", 1.0);
    shown("ringmain_group_offset_commits_total", "", 0.0);
}
