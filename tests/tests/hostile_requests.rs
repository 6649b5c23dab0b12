//! Requests that are well formed and ask for very much: what they cost is bounded, and the neighbours are served while
//! they are worked on.

use std::io::Write;

use ringmain_tests::client::{Client, FETCH, PRODUCE};
use ringmain_tests::neighbourhood::Neighbourhood;
use ringmain_tests::wire::{Reader, Writer};

const DESCRIBE_CONFIGS: i16 = 32;
const MIB: u64 = 1 << 20;

#[test]
fn a_request_that_asks_for_the_same_again_and_again_is_not_given_it() {
    const TIMES: i32 = 200_000;
    let mut place = Neighbourhood::new();
    place.grow_at_most(128 * MIB);
    let mut body = Writer::default().i32(TIMES);
    for _ in 0..TIMES {
        // A topic, all its keys: 13 bytes that ask for two thousand.
        body = body.i8(2).string("target").i32(-1);
    }
    let mut client = place.connect();
    let answer = client.request(DESCRIBE_CONFIGS, 1, &body.i8(1).0).unwrap();
    let mut reader = Reader(&answer);
    reader.i32();
    assert_eq!((reader.i32(), reader.i16()), (TIMES, 0), "each is answered, the first with all there is");
    assert!(answer.len() < 40_000_000, "{} bytes", answer.len());
    place.end();
}

#[test]
fn a_request_without_records_may_not_be_as_large_as_one_with() {
    let mut place = Neighbourhood::with(&["ringmain.recordless.request.max.bytes=1048576"]);
    place.grow_at_most(56 * MIB);
    // A fetch of partitions that are not there.
    let fetch = |partitions: i32| {
        let body = Writer::default().i32(-1).i32(0).i32(1).i32(1 << 20).i8(0).i32(1).string("target");
        (0..partitions).fold(body.i32(partitions), |body, at| body.i32(100 + at).i64(0).i32(1 << 20)).0
    };
    let mut client = place.connect();
    let answer = client.request(FETCH, 4, &fetch(50_000)).unwrap();
    assert_eq!(Reader(&answer[16..]).i32(), 50_000, "so many partitions are answered");
    let large = Client::frame(FETCH, 4, 1, &fetch(100_000));
    place.refuses("a fetch of 1.6 MB", &large, "ringmain.recordless.request.max.bytes");
    // Produce is not held to it.
    let large = ringmain_tests::batch::build(&[vec![7; 900_000], vec![8; 100_000]]);
    let body = Client::produce_body("target", &[(0, &large), (1, &large)]);
    client.stream().write_all(&Client::frame(0, 3, 1, &body)).unwrap();
    let answer = client.receive().unwrap();
    assert!(Client::produce_answer(&answer[4..]).iter().all(|(_, produced)| produced.error_code == 0));
    place.end();
}

#[test]
fn a_produce_may_not_name_more_partitions_than_it_has_batches_for() {
    let mut place = Neighbourhood::new();
    place.grow_at_most(64 * MIB);
    // Partitions that are not there, with so many bytes each.
    let produce = |partitions: i32, bytes: usize| {
        let body = Writer::default().i16(-1).i16(-1).i32(1000).i32(1).string("target").i32(partitions);
        let records = vec![0; bytes];
        (0..partitions).fold(body, |body, at| body.i32(100 + at).bytes(&records)).0
    };
    for (partitions, bytes) in [(10_000, 0), (50_000, 100)] {
        let frame = Client::frame(PRODUCE, 3, 1, &produce(partitions, bytes));
        place.refuses(&format!("{partitions} partitions"), &frame, "too much memory");
    }
    for (partitions, bytes) in [(300, 0), (40_000, 20)] {
        let answer = place.connect().request(PRODUCE, 3, &produce(partitions, bytes)).unwrap();
        let answers = Client::produce_answer(&answer);
        assert_eq!(i32::try_from(answers.len()).unwrap(), partitions);
    }
    place.end();
}

#[test]
fn a_session_that_names_and_forgets_at_once_costs_no_more_than_its_bytes() {
    const PARTITIONS: i32 = 140_000;
    let mut place = Neighbourhood::new();
    place.grow_at_most(96 * MIB);
    let entries = |body: Writer, from: i32, count: i32| {
        let body = body.i32(1).string("target").i32(count);
        (from..from + count).fold(body, |body, at| body.i32(at).i64(0).i64(0).i32(1 << 20))
    };
    let head = |id, epoch| Writer::default().i32(-1).i32(0).i32(1).i32(1 << 20).i8(0).i32(id).i32(epoch);
    let mut client = place.connect();
    let answer = client.request(FETCH, 7, &entries(head(0, 0), 0, 1).i32(0).0).unwrap();
    let id = Reader(&answer[6..]).i32();
    assert!(id > 0, "a session");
    // Very many more, all of them forgotten: with a walk for each it would take hours.
    let body = entries(head(id, 1), 100, PARTITIONS).i32(1).string("target").i32(PARTITIONS);
    let body = (100..100 + PARTITIONS).fold(body, Writer::i32);
    let answer = client.request(FETCH, 7, &body.0).unwrap();
    assert_eq!(Reader(&answer[4..]).i16(), 0);
    assert_eq!(Reader(&answer[6..]).i32(), 0, "a session that has grown so much for nothing ends");
    place.end();
}
