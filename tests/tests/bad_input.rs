//! What must not hurt: frames and batches that lie. Each gets the protocol's error or a closed
//! connection; a neighbour on another connection is served on, and memory stays bounded. The
//! error codes are those of Apache Kafka 4.3, to which the same bytes were sent.

use std::io::Write;
use std::net::Shutdown;

use ringmain_tests::batch::{self, position};
use ringmain_tests::client::{API_VERSIONS, Client, FETCH, METADATA, PRODUCE};
use ringmain_tests::dice::{Dice, rounds};
use ringmain_tests::neighbourhood::{Neighbourhood, TOPIC};
use ringmain_tests::wire::{Reader, Writer};

#[test]
fn frames_that_no_broker_can_read_close_the_connection_and_say_why() {
    let mut place = Neighbourhood::new();
    let before = place.broker.log().lines().count();
    place.refuses("a negative length", &(-1_i32).to_be_bytes());
    place.refuses("the lowest length", &i32::MIN.to_be_bytes());
    place.refuses("the highest length", &i32::MAX.to_be_bytes());
    place.refuses("a byte above socket.request.max.bytes", &104_857_601_i32.to_be_bytes());
    place.refuses("TLS", &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]);
    place.refuses("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    place.refuses("too short for a header", &Writer::default().bytes(&[0, 3]).0);
    place.refuses("an unknown key", &Client::frame(32_000, 0, 1, &[]));
    place.refuses("a negative key", &Client::frame(-1, 0, 1, &[]));
    place.refuses("a version above the range", &Client::frame(METADATA, 99, 1, &[]));
    place.refuses("a negative version", &Client::frame(PRODUCE, -1, 1, &[]));
    let lying_client_id = Writer::default().i16(METADATA).i16(1).i32(1).i16(30_000).raw(b"short");
    place.refuses("a client id longer than the frame", &Writer::default().bytes(&lying_client_id.0).0);
    let invalid_text = Writer::default().i32(1).i16(2).raw(&[0xff, 0xfe]);
    place.closes_on("a name that is no UTF-8", &Client::frame(METADATA, 1, 1, &invalid_text.0));
    place.closes_on("a truncated frame", &Client::frame(METADATA, 1, 1, &[0, 0, 0, 0])[..9]);
    place.closes_on("a truncated length", &[0, 0]);
    assert!(place.broker.log().lines().count() > before, "the log says why connections were closed");
    place.end();
}

#[test]
fn counts_and_lengths_that_lie_cost_no_memory() {
    let mut place = Neighbourhood::new();
    for count in [i32::MAX, 1_000_000_000, 50_000_000] {
        let topics = Writer::default().i32(count);
        place.refuses("the topics of Metadata", &Client::frame(METADATA, 1, 1, &topics.0));
        let produce = Writer::default().i16(-1).i16(-1).i32(1000).i32(count);
        place.refuses("the topics of Produce", &Client::frame(PRODUCE, 3, 1, &produce.0));
        let produce = Writer::default().i16(-1).i16(-1).i32(1000).i32(1).string(TOPIC).i32(count);
        place.refuses("the partitions of Produce", &Client::frame(PRODUCE, 3, 1, &produce.0));
        let produce =
            Writer::default().i16(-1).i16(-1).i32(1000).i32(1).string(TOPIC).i32(1).i32(0).i32(count);
        place.refuses("the records of Produce", &Client::frame(PRODUCE, 3, 1, &produce.0));
        let fetch = Writer::default().i32(-1).i32(0).i32(1).i32(1).i8(0).i32(count);
        place.refuses("the topics of Fetch", &Client::frame(FETCH, 4, 1, &fetch.0));
    }
    place.end();
}

#[test]
fn an_api_versions_request_of_the_future_is_answered_in_version_0() {
    let mut place = Neighbourhood::new();
    let mut client = place.connect();
    let answer = client.request(API_VERSIONS, 99, &[0, 2, b't', 2, b'1', 0]).unwrap();
    let mut reader = Reader(&answer);
    assert_eq!(reader.i16(), 35, "UNSUPPORTED_VERSION");
    let keys: Vec<i16> = (0..reader.count()).map(|_| (reader.i16(), reader.i16(), reader.i16()).0).collect();
    assert!(keys.contains(&API_VERSIONS), "key 18 is listed");
    let versions = client.api_versions().unwrap();
    assert!(versions.contains(&(API_VERSIONS, 0, 4)), "the connection goes on: {versions:?}");
    place.neighbour_is_served();
    place.end();
}

#[test]
fn a_request_that_arrives_byte_by_byte_is_answered() {
    let place = Neighbourhood::new();
    let mut client = place.connect();
    for byte in Client::frame(METADATA, 1, 7, &Writer::default().i32(0).0) {
        client.stream().write_all(&[byte]).unwrap();
    }
    assert_eq!(Reader(&client.receive().unwrap()).i32(), 7);
    place.end();
}

/// A batch of three records with some of its bytes replaced; `sealed` makes the CRC right again.
fn lying(at: usize, bytes: &[u8], sealed: bool) -> Vec<u8> {
    let mut batch = batch::build(&[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    if sealed {
        batch::seal(&mut batch);
    }
    batch
}

#[test]
fn batches_that_lie_are_refused_and_their_neighbours_in_the_request_are_not() {
    let mut place = Neighbourhood::new();
    let good = batch::build(&[b"good".to_vec()]);
    let length = i32::try_from(good.len() - 12).unwrap();
    let twice = [&good[..], &good[..]].concat();
    let large = batch::build(&[vec![b'x'; 1_100_000]]);
    let cases: Vec<(&str, Vec<u8>, i16)> = vec![
        ("a CRC that does not match", lying(position::CRC, &[1, 2, 3, 4], false), 2),
        ("a flipped bit in a value", lying(batch::HEADER_BYTES + 6, &[0xff], false), 2),
        (
            "more records counted than there are",
            lying(position::RECORD_COUNT, &30_i32.to_be_bytes(), true),
            87,
        ),
        (
            "fewer records counted than there are",
            lying(position::RECORD_COUNT, &1_i32.to_be_bytes(), true),
            87,
        ),
        ("a negative count", lying(position::RECORD_COUNT, &(-3_i32).to_be_bytes(), true), 87),
        (
            "a last offset delta above the count",
            lying(position::LAST_OFFSET_DELTA, &9_i32.to_be_bytes(), true),
            87,
        ),
        (
            "a negative last offset delta",
            lying(position::LAST_OFFSET_DELTA, &(-1_i32).to_be_bytes(), true),
            87,
        ),
        ("a control batch", lying(position::ATTRIBUTES, &0x20_i16.to_be_bytes(), true), 87),
        ("two batches", twice, 87),
        ("a record too large", large, 10),
        ("a record length that lies", lying(batch::HEADER_BYTES, &[0x7e], true), 87),
    ];
    for (good_offset, (what, bytes, error_code)) in (0..).zip(cases) {
        let mut client = place.connect();
        let body = Client::produce_body("target", &[(0, &bytes), (1, &good)]);
        let answer = client.request(PRODUCE, 3, &body).unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut answers = Client::produce_answer(&answer);
        answers.sort_by_key(|(partition, _)| *partition);
        assert_eq!(answers[0].1.error_code, error_code, "{what}");
        assert_eq!(answers[0].1.base_offset, -1, "{what}: no offset is given");
        assert_eq!(
            (answers[1].1.error_code, answers[1].1.base_offset),
            (0, good_offset),
            "{what}: its neighbour"
        );
        place.neighbour_is_served();
    }
    // Bytes that are no batch: an error or a closed connection.
    let no_batches: Vec<(&str, Vec<u8>)> = vec![
        ("an old magic", lying(position::MAGIC, &[1], false)),
        ("a magic of the future", lying(position::MAGIC, &[3], false)),
        ("a length above the bytes", lying(position::BATCH_LENGTH, &(length + 500).to_be_bytes(), false)),
        ("a length below a header", lying(position::BATCH_LENGTH, &7_i32.to_be_bytes(), false)),
        ("a negative length", lying(position::BATCH_LENGTH, &(-7_i32).to_be_bytes(), false)),
        ("a truncated header", good[..40].to_vec()),
        ("no bytes", Vec::new()),
        ("a codec of the future", lying(position::ATTRIBUTES, &7_i16.to_be_bytes(), true)),
    ];
    for (what, bytes) in no_batches {
        let mut client = place.connect();
        if let Ok(answer) = client.request(PRODUCE, 3, &Client::produce_body("target", &[(0, &bytes)])) {
            let answer = Client::produce_answer(&answer)[0].1;
            assert!(answer.error_code != 0, "{what} is taken: {answer:?}");
        }
        place.neighbour_is_served();
    }
    let mut client = place.connect();
    assert_eq!(client.list_offset("target", 0, -1).unwrap(), 0, "nothing of the lies was kept");
    assert_eq!(client.produce("target", 7, &good).unwrap().error_code, 3, "UNKNOWN_TOPIC_OR_PARTITION");
    assert_eq!(client.create_topic("no such/name", 1).unwrap(), 17, "INVALID_TOPIC_EXCEPTION");
    assert_eq!(client.create_topic("none", 0).unwrap(), 37, "INVALID_PARTITIONS");
    assert_eq!(client.create_topic("target", 1).unwrap(), 36, "TOPIC_ALREADY_EXISTS");
    assert_eq!(client.fetch("target", 0, 5).unwrap().error_code, 1, "OFFSET_OUT_OF_RANGE");
    assert_eq!(client.fetch("target", 9, 0).unwrap().error_code, 3, "UNKNOWN_TOPIC_OR_PARTITION");
    place.end();
}

#[test]
fn random_requests_are_answered_or_their_connection_is_closed() {
    let mut dice = Dice::of_this_run();
    let mut place = Neighbourhood::new();
    let versions = place.connect().api_versions().unwrap();
    for round in 0..rounds(500) {
        let (key, low, high) = versions[usize::try_from(dice.below(versions.len() as u64)).unwrap()];
        let span = u64::try_from(high - low).unwrap() + 1;
        let version = low + i16::try_from(dice.below(span)).unwrap();
        let length = usize::try_from(dice.below(120)).unwrap();
        let mut client = place.connect();
        client.stream().write_all(&Client::frame(key, version, 1, &dice.bytes(length))).unwrap();
        client.stream().shutdown(Shutdown::Write).ok();
        assert!(client.is_closed_by_broker(), "round {round}: key {key} version {version} hangs");
    }
    place.neighbour_is_served();
    place.end();
}
