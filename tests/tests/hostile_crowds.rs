//! Many clients at once, each with a request as large as it may be: a shard works on few of them at a time, so that
//! their cost in memory is that of a few, and the neighbours are served.

use std::io::Write;
use std::thread;

use ringmain_tests::client::{Client, FETCH};
use ringmain_tests::neighbourhood::Neighbourhood;
use ringmain_tests::wire::Writer;

const METADATA: i16 = 3;
const DESCRIBE_CONFIGS: i16 = 32;
const MIB: u64 = 1 << 20;
/// The smallest limit for requests without records, and two shards whatever the machine has.
const LIMITS: [&str; 2] = ["ringmain.recordless.request.max.bytes=1048576", "ringmain.shards=2"];

/// A fetch in so many bytes of partitions from `first` on that waits a quarter of an hour for data.
fn fetch(bytes: usize, partition: impl Fn(i32) -> i32) -> Vec<u8> {
    let count = i32::try_from(bytes / 16).unwrap() - 10;
    let body = Writer::default().i32(-1).i32(900_000).i32(1).i32(1 << 20).i8(0).i32(1).string("target");
    (0..count).fold(body.i32(count), |body, at| body.i32(partition(at)).i64(0).i32(1 << 20)).0
}

/// Metadata of so many bytes of topics that are not there.
fn metadata(bytes: usize) -> Vec<u8> {
    let count = i32::try_from(bytes / 7).unwrap() - 10;
    (0..count).fold(Writer::default().i32(count), |body, at| body.string(&format!("{at:05x}"))).i8(0).0
}

/// Configurations of so many bytes of topics that are not there.
fn describe_configs(bytes: usize) -> Vec<u8> {
    let count = i32::try_from(bytes / 12).unwrap() - 10;
    let entry = |body: Writer, at| body.i8(2).string(&format!("{at:05x}")).i32(-1);
    (0..count).fold(Writer::default().i32(count), entry).i8(0).0
}

/// Each of so many connections asks all of these at the same time as the others, and is answered.
fn ask_at_once(place: &Neighbourhood, connections: usize, asked: &[(i16, i16, Vec<u8>)]) {
    let clients = place.connect_many(connections);
    thread::scope(|scope| {
        for (number, mut client) in clients.into_iter().enumerate() {
            let (key, version, body) = &asked[number % asked.len()];
            scope.spawn(move || client.request(*key, *version, body).unwrap());
        }
    });
}

#[test]
fn a_crowd_of_large_requests_costs_what_a_few_cost() {
    const BYTES: usize = 1 << 20;
    let mut place = Neighbourhood::with(&LIMITS);
    place.grow_at_most(208 * MIB);
    let not_there = fetch(BYTES, |at| 100 + at);
    let asked = [
        (FETCH, 4, not_there),
        (METADATA, 4, metadata(BYTES)),
        (DESCRIBE_CONFIGS, 1, describe_configs(BYTES)),
    ];
    place.throughout(|place| ask_at_once(place, 24, &asked));
    place.end();
}

#[test]
fn a_crowd_of_middling_requests_costs_what_a_few_cost() {
    const BYTES: usize = 100 << 10;
    let mut place = Neighbourhood::with(&LIMITS);
    place.grow_at_most(208 * MIB);
    let not_there = fetch(BYTES, |at| 100 + at);
    let asked = [
        (FETCH, 4, not_there),
        (METADATA, 4, metadata(BYTES)),
        (DESCRIBE_CONFIGS, 1, describe_configs(BYTES)),
    ];
    place.throughout(|place| ask_at_once(place, 240, &asked));
    place.end();
}

#[test]
fn a_large_fetch_that_waits_for_data_keeps_no_other_from_being_worked_on() {
    let place = Neighbourhood::with(&["ringmain.shards=1"]);
    let bytes = 500 << 10;
    // One partition that is there, again and again.
    let waiting = Client::frame(FETCH, 4, 1, &fetch(bytes, |_| 0));
    let mut open = place.connect_many(5);
    for client in &mut open {
        client.stream().write_all(&waiting).unwrap();
    }
    for _ in 0..3 {
        place.connect().request(FETCH, 4, &fetch(bytes, |at| 100 + at)).unwrap();
    }
    let batch = ringmain_tests::batch::build(&[vec![b'v'; 10]]);
    assert_eq!(place.connect().produce("target", 0, &batch).unwrap().error_code, 0);
    for client in &mut open {
        client.receive().unwrap();
    }
    place.end();
}
