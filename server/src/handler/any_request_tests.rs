//! Whatever a client sends, it is answered or its connection is closed: random requests of every served API and
//! version, and the same with bits flipped, over a whole broker on the simulated disk.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use bytes::Bytes;
use ringmain_protocol::catalog;
use ringmain_protocol::sample::Sampler;

use super::api_versions::SERVED;
use super::test_kit::{peer, with_settings};
use super::{Request, Response};

/// Requests of each API and version.
const REQUESTS: usize = 25;

#[test]
fn whatever_is_sent_is_answered_or_closes_the_connection() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20);
    eprintln!("SEED={seed}");
    with_settings(
        |settings| settings.auto_create_topics = false,
        async |kit| {
            kit.create_topic("t", 2, &[]).await;
            let mut sampler = Sampler::new(seed);
            let (mut answered, mut closed) = (0, 0);
            for (key, versions) in SERVED {
                let name = format!("{}Request", key.name());
                let entry = catalog::by_name(&name).unwrap();
                for version in versions {
                    for number in 0..REQUESTS {
                        let mut body = entry.sample(&mut sampler, version).unwrap().into_bytes().to_vec();
                        let is_flexible = key.request_header_version(version) >= 2;
                        if is_flexible {
                            body.insert(0, 0);
                        }
                        let is_damaged = number % 3 == 2 && !body.is_empty();
                        if is_damaged {
                            let at = usize::from(sampler.below(u16::MAX)) % body.len();
                            body[at] ^= 1 << sampler.below(8);
                        }
                        let request = Request {
                            api_key: key.code(),
                            version,
                            correlation_id: 1,
                            client_id: None,
                            frame_bytes: 0,
                            rest: Bytes::from(body),
                            peer: peer(),
                            traffic: crate::runtime::traffic::Traffic::default(),
                            right: None,
                        };
                        match kit.broker.handle(request).await {
                            Response::Frame(_) | Response::None => answered += 1,
                            Response::Close(why) => {
                                let is_ours = why.contains("the response cannot be written");
                                assert!(!is_ours, "{name} version {version}: {why}");
                                closed += 1;
                            }
                        }
                    }
                }
            }
            assert!(answered > closed && closed > 0, "{answered} answered, {closed} closed");
        },
    );
}
