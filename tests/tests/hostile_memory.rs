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

#[test]
fn a_thousand_half_open_requests_cost_what_they_sent_and_not_what_they_announced() {
    let mut place = Neighbourhood::new();
    place.grow_at_most(64 * MIB);
    let mut open = place.connect_many(1_000);
    for client in &mut open {
        client.stream().write_all(&100_000_000_i32.to_be_bytes()).unwrap();
        client.stream().write_all(&[0; 10_000]).unwrap();
    }
    for _ in 0..20 {
        place.neighbour_is_served();
    }
    place.memory_is_bounded();
    drop(open);
    place.end();
}

#[test]
fn unfinished_requests_that_fill_the_memory_for_requests_are_closed() {
    let limits = ["queued.max.request.bytes=16777216", "socket.request.max.bytes=4194304"];
    let mut place = Neighbourhood::with(&limits);
    place.grow_at_most(64 * MIB);
    let mut open = place.connect_many(30);
    for client in &mut open {
        push(client, &4_000_000_i32.to_be_bytes(), 1);
        push(client, &[0; 100_000], 20);
    }
    // There is room for small requests still; a large one waits until those that do not arrive are closed.
    for _ in 0..10 {
        place.neighbour_is_served();
    }
    let large = batch::build(&[vec![b'v'; 900_000]]);
    assert_eq!(place.connect().produce("target", 0, &large).unwrap().error_code, 0);
    place.neighbour_is_served();
    place.log_says("its request does not arrive whole");
    place.memory_is_bounded();
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
    let limits = ["queued.max.request.bytes=67108864", "socket.request.max.bytes=4194304"];
    let mut place = Neighbourhood::with(&limits);
    let large = batch::build(&[vec![b'v'; 900_000]]);
    for _ in 0..20 {
        assert_eq!(place.connect().produce("target", 0, &large).unwrap().error_code, 0);
    }
    let mut open = place.connect_many(1_000);
    // Each asks for 18 MB a hundred times.
    for client in &mut open {
        push(client, &greedy_fetch(), 100);
    }
    for _ in 0..20 {
        place.neighbour_is_served();
    }
    place.memory_is_bounded();
    drop(open);
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
    let large = batch::build(&[vec![b'v'; 900_000]]);
    for _ in 0..40 {
        assert_eq!(place.connect().produce("target", 0, &large).unwrap().error_code, 0);
    }
    let mut open = place.connect_many(20);
    for client in &mut open {
        push(client, &greedy_fetch(), 1);
    }
    // What their answers hold leaves the cache.
    for _ in 0..60 {
        assert_eq!(place.connect().produce("target", 0, &large).unwrap().error_code, 0);
    }
    place.log_says("it takes no answers");
    place.neighbour_is_served();
    place.memory_is_bounded();
    drop(open);
    place.end();
}

#[test]
fn a_connection_that_never_asks_anything_is_closed() {
    let mut place = Neighbourhood::with(&["ringmain.first.request.timeout.ms=2000"]);
    let mut silent = place.connect();
    let mut half = place.connect();
    half.stream().write_all(&[0, 0, 0]).unwrap();
    assert!(silent.is_closed_by_broker() && half.is_closed_by_broker());
    place.log_says("ringmain.first.request.timeout.ms");
    place.neighbour_is_served();
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
    place.memory_is_bounded();
    place.neighbour_is_served();
    drop(open);
    place.end();
}
