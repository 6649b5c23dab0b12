//! Groups outlive the broker: kill -9, and members go on where they were; no acknowledged commit is lost.

use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use ringmain_tests::broker::{Broker, wait_for};
use ringmain_tests::client::Client;
use ringmain_tests::dice::{Dice, rounds};
use ringmain_tests::group::{Member, committed, find_coordinator};

/// An empty group waits for nobody; fewer partitions start sooner.
const SETTINGS: [&str; 2] = ["group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=8"];

#[test]
fn members_go_on_after_kill_9_and_a_clean_stop_and_offsets_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let broker = Broker::start(&data, &SETTINGS);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait("t", 2);
    // Many groups, so that both shards have some.
    let members: Vec<Member> =
        (0..10).map(|number| Member::join(&mut client, &format!("g{number}")).unwrap()).collect();
    for (offset, member) in (0..).zip(&members) {
        assert_eq!(member.commit(&mut client, ("t", 1), offset).unwrap(), 0);
    }
    broker.kill();
    let broker = Broker::start(&data, &SETTINGS);
    let mut client = Client::connect(&broker.address);
    for (offset, member) in (0..).zip(&members) {
        assert_eq!(member.heartbeat(&mut client).unwrap(), 0, "{} is still a member", member.id);
        assert_eq!(committed(&mut client, &member.group, ("t", 1)).unwrap(), offset);
        assert_eq!(committed(&mut client, &member.group, ("t", 0)).unwrap(), -1);
        assert_eq!(member.commit(&mut client, ("t", 0), offset + 100).unwrap(), 0);
    }
    drop(client);
    assert!(broker.stop().success());
    let broker = Broker::start(&data, &SETTINGS);
    let mut client = Client::connect(&broker.address);
    for (offset, member) in (0..).zip(&members) {
        assert_eq!(member.heartbeat(&mut client).unwrap(), 0, "{} is still a member", member.id);
        assert_eq!(committed(&mut client, &member.group, ("t", 0)).unwrap(), offset + 100);
    }
}

#[test]
fn no_acknowledged_commit_is_lost_when_the_broker_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut dice = Dice::of_this_run();
    let groups: Vec<String> = (0..4).map(|number| format!("g{number}")).collect();
    let acknowledged: Vec<AtomicI64> = groups.iter().map(|_| AtomicI64::new(-1)).collect();
    let broker = Broker::start(&data, &SETTINGS);
    Client::connect(&broker.address).create_topic_and_wait("t", 1);
    let mut running = Some(broker);
    for _ in 0..rounds(3) {
        let enough = acknowledged.iter().map(|it| it.load(Ordering::Relaxed)).max().unwrap()
            + 50
            + i64::try_from(dice.below(200)).unwrap();
        let broker = running.take().unwrap();
        thread::scope(|scope| {
            for (group, acknowledged) in groups.iter().zip(&acknowledged) {
                let address = broker.address.clone();
                scope.spawn(move || commit_until_killed(&address, group, acknowledged));
            }
            wait_for("commits to be acknowledged", || {
                acknowledged.iter().any(|it| it.load(Ordering::Relaxed) >= enough).then_some(())
            });
            broker.kill();
        });
        let broker = Broker::start(&data, &SETTINGS);
        let mut client = Client::connect(&broker.address);
        for (group, acknowledged) in groups.iter().zip(&acknowledged) {
            let offset = committed(&mut client, group, ("t", 0)).unwrap();
            let acknowledged = acknowledged.load(Ordering::Relaxed);
            assert!(
                offset == acknowledged || offset == acknowledged + 1,
                "{group}: {offset}, not {acknowledged}"
            );
        }
        running = Some(broker);
    }
}

/// Commits one offset after the other, until the broker is gone.
fn commit_until_killed(address: &str, group: &str, acknowledged: &AtomicI64) {
    let mut client = Client::connect(address);
    let nobody = Member::nobody(group);
    if find_coordinator(&mut client, group).is_err() {
        return;
    }
    loop {
        let offset = acknowledged.load(Ordering::Relaxed) + 1;
        match nobody.commit(&mut client, ("t", 0), offset) {
            Ok(code) => assert_eq!(code, 0),
            Err(_) => return,
        }
        acknowledged.store(offset, Ordering::Relaxed);
    }
}
