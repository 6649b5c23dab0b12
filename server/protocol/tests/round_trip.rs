//! What holds for every type and every version: values survive the wire, and no bytes panic or inflate.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use ringmain_protocol::{catalog, sample::Sampler};

/// The seed of this run: `SEED`, else a fixed one, so that a failure can be repeated.
fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(4_3_0);
    eprintln!("SEED={seed}");
    seed
}

#[test]
fn random_values_of_every_type_and_version_survive_the_wire() {
    let mut sampler = Sampler::new(seed());
    for entry in catalog::entries() {
        for version in entry.versions() {
            for _ in 0..20 {
                let name = entry.name;
                let written = entry.sample(&mut sampler, version);
                let written = written.unwrap_or_else(|error| panic!("{name} v{version}: {error}"));
                assert_eq!(written.len(), written.clone().into_bytes().len(), "{name} v{version}");
                let again = entry.round_trip(written.clone().into_bytes(), version);
                let again = again.unwrap_or_else(|error| panic!("{name} v{version}: {error}"));
                assert_eq!(again.into_bytes(), written.into_bytes(), "{name} v{version}");
            }
        }
    }
}

#[test]
fn a_value_cut_short_anywhere_is_an_error_and_never_a_panic() {
    let mut sampler = Sampler::new(seed());
    for entry in catalog::entries() {
        for version in entry.versions() {
            let bytes = entry.sample(&mut sampler, version).unwrap().into_bytes();
            let step = bytes.len() / 64 + 1;
            for end in (0..bytes.len()).step_by(step) {
                let cut = entry.round_trip(bytes.slice(..end), version);
                assert!(cut.is_err(), "{} v{version} cut at {end} of {}", entry.name, bytes.len());
            }
        }
    }
}

#[test]
fn mutated_values_never_panic() {
    let mut sampler = Sampler::new(seed());
    for entry in catalog::entries() {
        for version in entry.versions() {
            for _ in 0..30 {
                let mut bytes = entry.sample(&mut sampler, version).unwrap().into_bytes().to_vec();
                for _ in 0..=sampler.below(4) {
                    mutate(&mut bytes, &mut sampler);
                }
                // The answer may be a value or an error; what was read is writable, and then stays as it is.
                match entry.round_trip(Bytes::from(bytes), version) {
                    Ok(encoded) => {
                        let written = encoded.into_bytes();
                        let again = entry.round_trip(written.clone(), version).unwrap().into_bytes();
                        assert_eq!(again, written, "{} v{version}", entry.name);
                    }
                    Err(catalog::RoundTripError::Decode(_)) => {}
                    Err(error) => panic!("{} v{version} was read but cannot be written: {error}", entry.name),
                }
            }
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut sampler = Sampler::new(seed());
    for entry in catalog::entries() {
        for version in entry.versions() {
            for _ in 0..30 {
                let length = sampler.below(200);
                let bytes: Bytes = (0..length).map(|_| u8::try_from(sampler.below(256)).unwrap()).collect();
                let _ = entry.round_trip(bytes, version);
            }
        }
    }
}

/// Overwrites, inserts, removes or repeats something: lengths and counts are hit often, since small messages
/// are mostly those.
fn mutate(bytes: &mut Vec<u8>, sampler: &mut Sampler) {
    let place =
        |sampler: &mut Sampler, length: usize| usize::try_from(sampler.bits()).unwrap() % length.max(1);
    if bytes.is_empty() {
        bytes.push(0xff);
        return;
    }
    let at = place(sampler, bytes.len());
    match sampler.below(5) {
        0 => bytes[at] = u8::try_from(sampler.below(256)).unwrap(),
        1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][usize::from(sampler.below(5))],
        2 => bytes.insert(at, u8::try_from(sampler.below(256)).unwrap()),
        3 => {
            bytes.remove(at);
        }
        _ => {
            let end = (at + 4).min(bytes.len());
            bytes[at..end].fill(0x7f);
        }
    }
}
