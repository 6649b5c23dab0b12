//! Peers that make the broker hold memory: requests that never end, answers that nobody takes, connections that only
//! stand there. Each is bounded by a limit of the configuration, the log says who was closed and why, and a
//! neighbour is served throughout.

use std::io::Write;

use ringmain_tests::batch;
use ringmain_tests::broker::wait_for;
use ringmain_tests::client::{Client, FETCH, PRODUCE};
use ringmain_tests::neighbourhood::Neighbourhood;
use ringmain_tests::wire::Writer;

const MIB: u64 = 1 << 20;
/// For tests with a thousand clients: what they can make the broker hold depends on the machine otherwise.
const LIMITS: [&str; 2] = ["queued.max.request.bytes=67108864", "socket.request.max.bytes=67108864"];
/// Where a batch names its producer.
const PRODUCER_ID: usize = 43;

/// A fetch of everything in `target`-0.
fn greedy_fetch() -> Vec<u8> {
    let body = Writer::default().i32(-1).i32(0).i32(1).i32(50 << 20).i8(0);
    let body = body.i32(1).string("target").i32(1).i32(0).i64(0).i32(50 << 20);
    Client::frame(FETCH, 4, 1, &body.0)
}

/// Sends as much as the broker takes without waiting.
fn push(client: &mut Client, bytes: &[u8], times: usize) {
    client.stream().set_nonblocking(true).unwrap();
    for _ in 0..times {
        if client.stream().write_all(bytes).is_err() {
            break;
        }
    }
}

/// Each announces a large request and sends a little of it.
fn half_open(clients: &mut [Client]) {
    for client in clients {
        client.stream().write_all(&30_000_000_i32.to_be_bytes()).unwrap();
        client.stream().write_all(&[0; 10_000]).unwrap();
    }
}

/// Fills `target`-0 with so many batches of nearly a megabyte.
fn fill_target(place: &Neighbourhood, batches: usize) {
    let large = batch::build(&[vec![b'v'; 900_000]]);
    for _ in 0..batches {
        assert_eq!(place.connect().produce("target", 0, &large).unwrap().error_code, 0);
    }
}

#[test]
fn a_thousand_half_open_requests_cost_what_they_sent_and_not_what_they_announced() {
    let mut place = Neighbourhood::new();
    // Up to twice what has arrived, so that a request is not copied again and again while it grows. The allocator asks for
    // huge pages, in which what is not written to counts, too.
    place.grow_at_most(64 * MIB);
    let mut open = place.connect_many(1_000);
    half_open(&mut open);
    // They go on, a byte at a time.
    place.throughout(|_| open.iter_mut().for_each(|client| client.stream().write_all(&[0]).unwrap()));
    drop(open);
    place.end();
}

#[test]
fn unfinished_requests_that_fill_the_memory_for_requests_are_closed() {
    let limits = ["queued.max.request.bytes=12582912", "socket.request.max.bytes=4194304"];
    let mut place = Neighbourhood::with(&limits);
    // Four times the limit, the most that a request has while it grows, and some more.
    place.grow_at_most(64 * MIB);
    let mut open = place.connect_many(30);
    for client in &mut open {
        push(client, &4_000_000_i32.to_be_bytes(), 1);
        push(client, &[0; 100_000], 20);
    }
    // There is room for small requests still; a large one waits until those that do not arrive are closed.
    place.neighbour_is_served();
    fill_target(&place, 1);
    place.neighbour_is_served();
    place.log_says("its request does not arrive whole");
    drop(open);
    place.end();
}

#[test]
fn a_request_that_needs_all_the_memory_for_requests_is_finished() {
    let limits = ["queued.max.request.bytes=1048576", "socket.request.max.bytes=1048576"];
    let place = Neighbourhood::with(&limits);
    let large = batch::build(&[vec![b'v'; 900_000]]);
    let mut frames: Vec<_> = (0..8).map(|_| place.connect()).collect();
    let body = Client::produce_body("target", &[(0, &large)]);
    let frame = Client::frame(PRODUCE, 3, 1, &body);
    let (first, last) = frame.split_at(frame.len() / 2);
    for client in &mut frames {
        push(client, first, 1);
    }
    for client in &mut frames {
        client.stream().set_nonblocking(false).unwrap();
        client.stream().write_all(last).unwrap();
    }
    for client in &mut frames {
        client.receive().unwrap();
    }
    assert_eq!(place.connect().list_offset("target", 0, -1).unwrap(), 8);
    place.end();
}

#[test]
fn a_thousand_clients_that_never_read_are_not_buffered_for() {
    let mut place = Neighbourhood::with(&LIMITS);
    fill_target(&place, 20);
    let mut open = place.connect_many(1_000);
    // Each asks for 18 MB again and again.
    place.throughout(|_| open.iter_mut().for_each(|client| push(client, &greedy_fetch(), 100)));
    drop(open);
    let log_end = wait_for("the target to be served", || place.connect().list_offset("target", 0, -1).ok());
    assert_eq!(log_end, 20);
    place.end();
}

#[test]
fn a_thousand_half_open_requests_beside_a_thousand_clients_that_never_read_harm_nobody() {
    let mut place = Neighbourhood::with(&LIMITS);
    fill_target(&place, 20);
    let mut half = place.connect_many(1_000);
    let mut greedy = place.connect_many(1_000);
    half_open(&mut half);
    place.throughout(|_| {
        half.iter_mut().for_each(|client| push(client, &[0], 1));
        greedy.iter_mut().for_each(|client| push(client, &greedy_fetch(), 10));
    });
    drop((half, greedy));
    let log_end = wait_for("the target to be served", || place.connect().list_offset("target", 0, -1).ok());
    assert_eq!(log_end, 20);
    place.end();
}

#[test]
fn clients_that_take_no_answers_are_closed_when_the_memory_for_answers_is_short() {
    let limits = [
        "ringmain.unsent.response.max.bytes=4194304",
        "ringmain.tail.cache.bytes=83886080",
        "ringmain.shards=2",
    ];
    let mut place = Neighbourhood::with(&limits);
    place.grow_at_most(200 * MIB);
    fill_target(&place, 40);
    let mut open = place.connect_many(20);
    for client in &mut open {
        push(client, &greedy_fetch(), 1);
    }
    // What their answers hold leaves the cache.
    fill_target(&place, 60);
    place.log_says("it takes no answers");
    drop(open);
    place.end();
}

#[test]
fn a_million_producers_are_forgotten_before_memory_is_short() {
    // What they produce is 75 MB, of which memory keeps this much.
    let mut place = Neighbourhood::with(&["ringmain.tail.cache.bytes=16777216"]);
    place.grow_at_most(192 * MIB);
    let mut client = place.connect();
    client.create_topic_and_wait("producers", 10);
    let mut batch = batch::build(&[b"v".to_vec()]);
    let mut producers = 0_i64;
    place.throughout(|_| {
        while producers < 1_000_000 {
            for _ in 0..100 {
                let batches: Vec<_> = (0..10)
                    .map(|partition| {
                        producers += 1;
                        batch[PRODUCER_ID..PRODUCER_ID + 8].copy_from_slice(&producers.to_be_bytes());
                        // Its epoch and its first sequence number.
                        batch[PRODUCER_ID + 8..PRODUCER_ID + 14].fill(0);
                        batch::seal(&mut batch);
                        (partition, batch.clone())
                    })
                    .collect();
                let batches: Vec<_> =
                    batches.iter().map(|(partition, batch)| (*partition, &batch[..])).collect();
                let body = Client::produce_body("producers", &batches);
                client.stream().write_all(&Client::frame(PRODUCE, 3, 1, &body)).unwrap();
            }
            for _ in 0..100 {
                let answer = client.receive().unwrap();
                let answers = Client::produce_answer(&answer[4..]);
                assert!(answers.iter().all(|(_, answer)| answer.error_code == 0), "{answers:?}");
            }
        }
    });
    place.end();
}

#[test]
fn a_connection_that_never_asks_anything_is_closed() {
    let place = Neighbourhood::with(&["ringmain.first.request.timeout.ms=2000"]);
    let mut silent = place.connect();
    let mut half = place.connect();
    half.stream().write_all(&[0, 0, 0]).unwrap();
    assert!(silent.is_closed_by_broker() && half.is_closed_by_broker());
    place.log_says("ringmain.first.request.timeout.ms");
    place.end();
}

#[test]
fn an_idle_connection_costs_at_most_4_kib() {
    let mut place = Neighbourhood::new();
    let mut open = place.connect_many(4_000);
    for client in &mut open {
        // It has asked, it has been answered, and now it is idle.
        client.api_versions().unwrap();
    }
    place.grow_at_most(4_000 * 4096);
    place.neighbour_is_served();
    drop(open);
    place.end();
}
