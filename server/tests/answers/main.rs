//! Every API the broker says it serves is asked in every version it says, about a topic that is there, about
//! one that is not, and about nothing at all. Each answer must come, and be of that version to its last byte:
//! a handler that sets a field its version lacks cannot be written and closes the connection.
//!
//! A new API needs a case in `cases`; this test fails until it has one.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod admin;
mod asker;
mod broker;
mod cases;
mod cluster;
mod groups;
mod records;
mod topics;

use ringmain_protocol::{ApiKey, Uuid};

use asker::{Asker, Topic};
use broker::Broker;

/// Produce is advertised from 0 for the sake of old librdkafka, and served from here.
const PRODUCE_SINCE: i16 = 3;

#[test]
fn every_served_api_answers_in_every_version_it_is_served_in() {
    let broker = Broker::start(&["auto.create.topics.enable=false", "group.initial.rebalance.delay.ms=0"]);
    let mut connection = broker.connect();
    let served = connection.ask(&cluster::asked(), 3).unwrap().api_keys;
    assert!(served.len() > 10, "{} APIs are served", served.len());
    for api in served {
        let key = ApiKey::try_from(api.api_key).unwrap();
        let first = if key == ApiKey::Produce { PRODUCE_SINCE } else { api.min_version };
        for version in first..=api.max_version {
            // A topic for each case, since some requests take it away.
            let existing = topics::make(&mut connection, &format!("{}-{version}", key.name()));
            records::put_record(&mut connection, &existing);
            let unknown = Topic { name: "nobody-made-this".into(), id: Uuid::from_u128(0xdead_beef) };
            cases::ask(&mut Asker { connection: &mut connection, key, version, existing, unknown });
        }
    }
}
