//! Limits on connections: in all, from one address, and what each may ask at one time. Whoever is over a limit is
//! closed and the log says why; who was there before is served on.

use std::io::Write;

use ringmain_tests::broker::wait_for;
use ringmain_tests::client::{Client, METADATA};
use ringmain_tests::neighbourhood::Neighbourhood;
use ringmain_tests::wire::{Reader, Writer};

#[test]
fn connections_above_the_limit_are_closed_and_the_others_served() {
    let place = Neighbourhood::with(&["max.connections=10"]);
    let mut open = place.connect_many(9);
    for client in &mut open {
        client.api_versions().unwrap();
    }
    assert!(place.connect().is_closed_by_broker());
    place.log_says("max.connections is reached");
    drop(open.pop());
    wait_for("room for one more", || place.connect().api_versions().ok());
    place.end();
}

#[test]
fn connections_from_one_address_are_limited_and_may_have_a_limit_of_their_own() {
    let mut place = Neighbourhood::with(&["max.connections.per.ip=3"]);
    let open = place.connect_many(2);
    assert!(place.connect().is_closed_by_broker());
    place.log_says("max.connections.per.ip is reached");
    place.neighbour_is_served();
    drop(open);
    place.end();
    let place =
        Neighbourhood::with(&["max.connections.per.ip=1", "max.connections.per.ip.overrides=127.0.0.1:30"]);
    for client in &mut place.connect_many(20) {
        client.api_versions().unwrap();
    }
    place.end();
}

#[test]
fn a_thousand_requests_at_once_are_answered_in_order() {
    let mut place = Neighbourhood::with(&["ringmain.requests.in.flight.max=2"]);
    let mut client = place.connect();
    let body = Writer::default().i32(0).0;
    let frames: Vec<u8> = (0..1_000).flat_map(|id| Client::frame(METADATA, 1, id, &body)).collect();
    place.throughout(|_| {
        client.stream().write_all(&frames).unwrap();
        for id in 0..1_000 {
            assert_eq!(Reader(&client.receive().unwrap()).i32(), id);
        }
    });
    place.end();
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let mut place = Neighbourhood::new();
    place.grow_at_most(16 << 20);
    place.throughout(|place| {
        let silent = place.connect_many(500);
        let mut cut = place.connect_many(500);
        // Half of them go in the middle of a request.
        cut.iter_mut().for_each(|client| client.stream().write_all(&[0, 0, 1, 0, 7]).unwrap());
        drop((silent, cut));
    });
    place.end();
}

#[test]
fn a_neighbour_of_nobody_is_served() {
    // What the others' figures are compared with.
    let mut place = Neighbourhood::new();
    place.neighbour_is_served();
    place.end();
}
