//! The Rust half of the interoperability proof: exchanges messages with Apache's own serializers in files.
//!
//! `interop check FILE` reads every message in the file and writes it again; the bytes must be the same, and
//! every type and version Apache has must occur. `interop write FILE SEED COUNT` writes random messages of
//! every type and version. A file is a sequence of frames: name length (2 bytes, big-endian), name, version
//! (2), content length (4), content.
#![expect(clippy::disallowed_methods, reason = "a test tool that reads and writes whole files")]

use std::{collections::BTreeMap, error::Error};

use bytes::Bytes;
use ringmain_protocol::{Reader, catalog, sample::Sampler};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["check", file] => check(file),
        ["write", file, seed, count] => write(file, seed.parse()?, count.parse()?),
        _ => Err("usage: interop check FILE | interop write FILE SEED COUNT".into()),
    }
}

fn check(file: &str) -> Result<(), Box<dyn Error>> {
    let mut reader = Reader::new(Bytes::from(std::fs::read(file)?));
    let mut seen: BTreeMap<(&str, i16), u32> = BTreeMap::new();
    let mut failures: Vec<String> = Vec::new();
    while reader.remaining() > 0 {
        let name_bytes = usize::from(reader.u16("name length")?);
        let name = String::from_utf8(reader.take(name_bytes, "name")?.to_vec())?;
        let version = reader.i16("version")?;
        let content_bytes = usize::try_from(reader.i32("content length")?)?;
        let content = reader.take(content_bytes, "content")?;
        let entry = catalog::by_name(&name).ok_or_else(|| format!("Apache has {name}, we have not"))?;
        *seen.entry((entry.name, version)).or_default() += 1;
        match entry.round_trip(content.clone(), version) {
            Ok(encoded) if encoded.clone().into_bytes() == content => {}
            Ok(encoded) => {
                failures.push(format!("{name} v{version}: {content:?} became {:?}", encoded.into_bytes()));
            }
            Err(error) => failures.push(format!("{name} v{version}: {error}: {content:?}")),
        }
    }
    for failure in failures.iter().take(10) {
        eprintln!("{failure}");
    }
    let messages: u32 = seen.values().sum();
    let types = seen.keys().map(|key| key.0).collect::<std::collections::BTreeSet<_>>().len();
    eprintln!(
        "read what Apache wrote: {types} types in {} versions, {messages} messages, {} differ",
        seen.len(),
        failures.len()
    );
    if types != catalog::entries().len() {
        return Err(format!("{} types were not exchanged", catalog::entries().len() - types).into());
    }
    if failures.is_empty() { Ok(()) } else { Err("messages differ".into()) }
}

fn write(file: &str, seed: u64, count: u32) -> Result<(), Box<dyn Error>> {
    let mut sampler = Sampler::new(seed);
    let mut out: Vec<u8> = Vec::new();
    for entry in catalog::entries() {
        for version in entry.versions() {
            for _ in 0..count {
                let content = entry.sample(&mut sampler, version)?.into_bytes();
                out.extend_from_slice(&u16::try_from(entry.name.len())?.to_be_bytes());
                out.extend_from_slice(entry.name.as_bytes());
                out.extend_from_slice(&version.to_be_bytes());
                out.extend_from_slice(&u32::try_from(content.len())?.to_be_bytes());
                out.extend_from_slice(&content);
            }
        }
    }
    std::fs::write(file, out)?;
    Ok(())
}
