//! Frames and fields that lie. Each ends its connection with a line of the log that says why; a neighbour on another
//! connection is served throughout, and memory stays bounded.

use std::io::Write;
use std::net::Shutdown;

use ringmain_tests::client::{API_VERSIONS, Client, FETCH, METADATA, PRODUCE};
use ringmain_tests::dice::{Dice, rounds};
use ringmain_tests::neighbour::TOPIC;
use ringmain_tests::neighbourhood::Neighbourhood;
use ringmain_tests::wire::{Reader, Writer};

/// The highest number that the variable-length encoding of a count or a length may have.
const VARINT_MAX: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x0f];

#[test]
fn frames_that_no_broker_can_read_close_the_connection_and_say_why() {
    let mut place = Neighbourhood::new();
    place.refuses("a negative length", &(-1_i32).to_be_bytes(), "a frame of -1 bytes was announced");
    place.refuses("the lowest length", &i32::MIN.to_be_bytes(), "a frame of -2147483648 bytes");
    place.refuses("the highest length", &i32::MAX.to_be_bytes(), "a frame of 2147483647 bytes");
    let above = 104_857_601_i32.to_be_bytes();
    place.refuses("a byte too many", &above, "socket.request.max.bytes allows 104857600");
    place.refuses("TLS", &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3], "the client speaks TLS");
    place.refuses("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "the client speaks HTTP");
    let short = Writer::default().bytes(&[0, 3]).0;
    place.refuses("too short for a header", &short, "ends inside the request header");
    let long_id = Writer::default().i16(METADATA).i16(1).i32(1).i16(30_000).raw(b"short").0;
    let long_id = Writer::default().bytes(&long_id).0;
    place.refuses("a client id beyond the frame", &long_id, "ends inside the request header");
    let negative_id = Writer::default().i16(METADATA).i16(1).i32(1).i16(-2).raw(&[0; 4]).0;
    let negative_id = Writer::default().bytes(&negative_id).0;
    place.refuses("a negative client id", &negative_id, "the client id's length is -2");
    place.refuses("an unknown key", &Client::frame(32_000, 0, 1, &[]), "unknown API key 32000");
    place.refuses("a negative key", &Client::frame(-1, 0, 1, &[]), "unknown API key -1");
    place.refuses("a version of the future", &Client::frame(METADATA, 99, 1, &[]), "Metadata version 99");
    place.refuses("a negative version", &Client::frame(PRODUCE, -1, 1, &[]), "Produce version -1");
    let frame = Client::frame(METADATA, 1, 1, &[0, 0, 0, 0]);
    place.refuses_the_end("a truncated frame", &frame[..9], "ended inside a request");
    place.refuses_the_end("a truncated length", &frame[..2], "ended inside a request");
    place.end();
}

#[test]
fn fields_that_lie_close_the_connection_and_say_which() {
    let mut place = Neighbourhood::new();
    let produce = || Writer::default().i16(-1).i16(-1).i32(1000);
    let metadata = |body: Writer| Client::frame(METADATA, 1, 1, &body.0);
    // Flexible versions: the header's tagged fields, none, come first.
    let flexible = |body: Writer| Client::frame(METADATA, 12, 1, &[&[0][..], &body.0].concat());
    let cases = [
        ("a negative count", Client::frame(PRODUCE, 3, 1, &produce().i32(-2).0), "length -2"),
        ("a name of negative length", metadata(Writer::default().i32(1).i16(-2)), "length -2"),
        ("a name beyond the frame", metadata(Writer::default().i32(1).i16(3000).raw(b"x")), "3000 bytes"),
        ("a name that is no UTF-8", metadata(Writer::default().i32(1).i16(2).raw(&[0xff, 0xfe])), "UTF-8"),
        ("no name", metadata(Writer::default().i32(1).i16(-1)), "null is not allowed"),
        ("a varint without end", flexible(Writer::default().raw(&[0xff; 9])), "integer is malformed"),
        (
            "a varint of 33 bits",
            flexible(Writer::default().raw(&[0x80, 0x80, 0x80, 0x80, 0x10])),
            "malformed",
        ),
        ("a cut varint", flexible(Writer::default().raw(&[0x80])), "1 bytes needed, 0 remain"),
        ("a huge count", flexible(Writer::default().raw(&VARINT_MAX)), "4294967294 elements"),
        (
            "a huge name",
            flexible(Writer::default().raw(&[2]).raw(&[0; 16]).raw(&VARINT_MAX).raw(&[0; 9])),
            "length 4294967294",
        ),
        (
            "tagged fields without number",
            flexible(Writer::default().raw(&[1, 1, 0]).raw(&VARINT_MAX)),
            "remain",
        ),
        (
            "a tagged field beyond the frame",
            flexible(Writer::default().raw(&[1, 1, 0, 1, 9]).raw(&VARINT_MAX)),
            "4294967295 bytes needed",
        ),
    ];
    for (what, frame, why) in cases {
        place.refuses(what, &frame, why);
    }
    place.end();
}

#[test]
fn counts_and_lengths_that_lie_cost_no_memory() {
    let mut place = Neighbourhood::new();
    place.grow_at_most(32 << 20);
    let produce = || Writer::default().i16(-1).i16(-1).i32(1000);
    for count in [i32::MAX, 1_000_000_000, 50_000_000, i32::MIN] {
        let topics = Client::frame(METADATA, 1, 1, &Writer::default().i32(count).0);
        let produce_topics = Client::frame(PRODUCE, 3, 1, &produce().i32(count).0);
        let partitions = produce().i32(1).string(TOPIC).i32(count);
        let partitions = Client::frame(PRODUCE, 3, 1, &partitions.0);
        let records = produce().i32(1).string(TOPIC).i32(1).i32(0).i32(count);
        let records = Client::frame(PRODUCE, 3, 1, &records.0);
        let fetch = Writer::default().i32(-1).i32(0).i32(1).i32(1).i8(0).i32(count);
        let fetch = Client::frame(FETCH, 4, 1, &fetch.0);
        place.throughout(|place| {
            place.closes_on("the topics of Metadata", &topics);
            place.closes_on("the topics of Produce", &produce_topics);
            place.closes_on("the partitions of Produce", &partitions);
            place.closes_on("the records of Produce", &records);
            place.closes_on("the topics of Fetch", &fetch);
        });
    }
    place.end();
}

#[test]
fn a_flood_of_lies_is_told_in_few_lines() {
    let mut place = Neighbourhood::new();
    let lies = [
        352_518_912_i32.to_be_bytes().to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        Client::frame(32_000, 0, 1, &[]),
        Client::frame(PRODUCE, 3, 1, &[0xff; 40]),
    ];
    let mut closed = 0;
    place.throughout(|place| {
        for _ in 0..500 {
            for lie in &lies {
                place.closes_on("a lie", lie);
                closed += 1;
            }
        }
    });
    let told = place.broker.log().lines().filter(|line| line.contains("connection closed")).count();
    assert!(told > 0 && told < closed / 4, "{told} lines about {closed} connections");
    place.end();
}

#[test]
fn no_body_of_any_request_hangs() {
    let mut place = Neighbourhood::new();
    let versions = place.connect().api_versions().unwrap();
    place.throughout(|place| {
        for (key, low, high) in &versions {
            for version in *low..=*high {
                for byte in [0, 0x01, 0x7f, 0x80, 0xff] {
                    let frame = Client::frame(*key, version, 1, &[byte; 64]);
                    ends(place, &frame, &format!("key {key} version {version}, {byte} again and again"));
                }
            }
        }
    });
    place.end();
}

#[test]
fn random_requests_are_answered_or_their_connection_is_closed() {
    let mut dice = Dice::of_this_run();
    let mut place = Neighbourhood::new();
    let versions = place.connect().api_versions().unwrap();
    place.throughout(|place| {
        for round in 0..rounds(500) {
            let (key, low, high) = versions[usize::try_from(dice.below(versions.len() as u64)).unwrap()];
            let span = u64::try_from(high - low).unwrap() + 1;
            let version = low + i16::try_from(dice.below(span)).unwrap();
            let length = usize::try_from(dice.below(120)).unwrap();
            let frame = Client::frame(key, version, 1, &dice.bytes(length));
            ends(place, &frame, &format!("round {round}: key {key} version {version}"));
        }
    });
    place.end();
}

/// Sends a frame and no more, and expects the connection to end, whatever is answered before.
fn ends(place: &Neighbourhood, frame: &[u8], what: &str) {
    let mut client = place.connect();
    client.stream().write_all(frame).unwrap();
    client.stream().shutdown(Shutdown::Write).ok();
    assert!(client.is_closed_by_broker(), "{what} hangs");
}

#[test]
fn an_api_versions_request_of_the_future_is_answered_in_version_0() {
    let place = Neighbourhood::new();
    let mut client = place.connect();
    let answer = client.request(API_VERSIONS, 99, &[0, 2, b't', 2, b'1', 0]).unwrap();
    let mut reader = Reader(&answer);
    assert_eq!(reader.i16(), 35, "UNSUPPORTED_VERSION");
    let keys: Vec<i16> = (0..reader.count()).map(|_| (reader.i16(), reader.i16(), reader.i16()).0).collect();
    assert!(keys.contains(&API_VERSIONS), "key 18 is listed");
    let versions = client.api_versions().unwrap();
    assert!(versions.contains(&(API_VERSIONS, 0, 4)), "the connection goes on: {versions:?}");
    place.end();
}

#[test]
fn requests_that_arrive_byte_by_byte_are_answered() {
    let mut place = Neighbourhood::new();
    let mut clients: Vec<_> = place.connect_many(100);
    place.throughout(|_| {
        for byte in Client::frame(METADATA, 1, 7, &Writer::default().i32(0).0) {
            for client in &mut clients {
                client.stream().write_all(&[byte]).unwrap();
            }
        }
        for client in &mut clients {
            assert_eq!(Reader(&client.receive().unwrap()).i32(), 7);
        }
    });
    place.end();
}
