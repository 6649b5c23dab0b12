//! What the simulated world promises beyond the contract: power cuts that lose only what may be lost,
//! faults, and one trace for one seed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::{SimIo, SimWorld, Stopped};
use crate::io::{AlignedBuffer, BLOCK_BYTES, Io, IoFile, OpenHow, contract_tests};

fn block(fill: u8) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(BLOCK_BYTES);
    buffer.fill(fill);
    buffer
}

#[test]
fn the_simulated_disk_keeps_the_contract() {
    for seed in 0..20 {
        let world = SimWorld::new(seed);
        world.run(contract_tests::holds(|| Ok(world.io()), Path::new("/data"))).unwrap();
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_another() {
    let traces: Vec<_> = [7, 7, 8]
        .into_iter()
        .map(|seed| {
            let world = SimWorld::new(seed);
            world.run(contract_tests::holds(|| Ok(world.io()), Path::new("/data"))).unwrap();
            world.trace()
        })
        .collect();
    assert_eq!(traces[0], traces[1]);
    assert_ne!(traces[0], traces[2]);
}

/// Writes one block durably, one with a sync, one with nothing; each of the same file.
async fn three_blocks(io: SimIo) {
    io.create_directory(Path::new("/d")).await.unwrap();
    let file = io.open(Path::new("/d/f"), OpenHow::Create).await.unwrap();
    io.sync_directory(Path::new("/d")).await.unwrap();
    file.write_durable_at(block(1), 0).await.unwrap();
    file.write_at(block(2), 4096).await.unwrap();
    file.sync().await.unwrap();
    file.write_at(block(3), 8192).await.unwrap();
}

async fn content(io: SimIo) -> Vec<u8> {
    io.read_file(Path::new("/d/f"), 1 << 20).await.unwrap()
}

#[test]
fn what_is_synced_survives_and_what_is_not_may_be_torn() {
    let world = SimWorld::new(1);
    world.run(three_blocks(world.io())).unwrap();
    let mut endings = BTreeSet::new();
    for seed in 0..200 {
        let after = world.crash(seed);
        let bytes = after.run(content(after.io())).unwrap();
        assert!(bytes[..4096].iter().all(|byte| *byte == 1));
        assert!(bytes[4096..8192].iter().all(|byte| *byte == 2));
        let tail = &bytes[8192..];
        assert!(tail.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        assert!(tail.iter().all(|byte| *byte == 3 || *byte == 0));
        endings.insert(tail.to_vec());
    }
    assert!(endings.contains(&Vec::new()), "lost with its length");
    assert!(endings.contains(&vec![3; 4096]), "kept");
    assert!(endings.len() > 4, "torn in several ways");
}

#[test]
fn a_killed_process_leaves_what_it_wrote_visible_and_uncertain() {
    let world = SimWorld::new(1);
    world.run(three_blocks(world.io())).unwrap();
    let next = world.kill(1);
    assert_eq!(next.run(content(next.io())).unwrap().len(), 12288, "visible");
    let lost = (0..50).any(|seed| {
        let after = next.crash(seed);
        after.run(content(after.io())).unwrap().len() == 8192
    });
    assert!(lost, "uncertain");
}

#[test]
fn a_durable_write_over_an_uncertain_one_stays() {
    let world = SimWorld::new(1);
    world
        .run(async {
            three_blocks(world.io()).await;
            let file = world.io().open(Path::new("/d/f"), OpenHow::ReadWrite).await.unwrap();
            file.write_durable_at(block(4), 8192).await.unwrap();
        })
        .unwrap();
    for seed in 0..100 {
        let after = world.crash(seed);
        let bytes = after.run(content(after.io())).unwrap();
        assert!(bytes[8192..].iter().all(|byte| *byte == 4) && bytes.len() == 12288);
    }
}

#[test]
fn names_are_certain_only_after_a_directory_sync() {
    let world = SimWorld::new(3);
    world
        .run(async {
            let io = world.io();
            io.create_directory(Path::new("/d")).await.unwrap();
            for name in ["/d/synced", "/d/renamed"] {
                io.open(Path::new(name), OpenHow::Create).await.unwrap();
            }
            io.sync_directory(Path::new("/d")).await.unwrap();
            io.open(Path::new("/d/loose"), OpenHow::Create).await.unwrap();
            io.rename(Path::new("/d/renamed"), Path::new("/d/new")).await.unwrap();
        })
        .unwrap();
    let mut endings = BTreeSet::new();
    for seed in 0..100 {
        let after = world.crash(seed);
        let names = after.run(async { after.io().list_directory(Path::new("/d")).await.unwrap() }).unwrap();
        assert!(names.contains(&"synced".to_owned()));
        assert_ne!(names.contains(&"renamed".to_owned()), names.contains(&"new".to_owned()), "one of both");
        endings.insert(names);
    }
    assert_eq!(endings.len(), 4, "each of both changes lost or kept");
}

#[test]
fn a_replaced_file_is_old_or_new_after_a_cut_at_every_step() {
    let run = |cut: Option<u64>| {
        let world = SimWorld::new(5);
        let end = {
            let io = world.io();
            if let Some(cut) = cut {
                world.cut_at_step(cut);
            }
            world.run(async move {
                io.create_directory(Path::new("/d")).await.unwrap();
                io.replace_file(Path::new("/d/f"), vec![1; 1000]).await.unwrap();
                io.replace_file(Path::new("/d/f"), vec![2; 3000]).await.unwrap();
            })
        };
        (world, end)
    };
    let (world, end) = run(None);
    end.unwrap();
    for cut in 12..world.steps() {
        let (world, end) = run(Some(cut));
        assert_eq!(end, Err(Stopped::PowerCut));
        for seed in 0..20 {
            let after = world.crash(seed);
            let bytes = after.run(content(after.io())).unwrap();
            assert!(bytes == vec![1; 1000] || bytes == vec![2; 3000], "cut at {cut}, seed {seed}");
        }
    }
}

#[test]
fn a_failed_sync_leaves_its_writes_uncertain_for_ever() {
    let world = SimWorld::new(1);
    world
        .run(async {
            three_blocks(world.io()).await;
            let file = world.io().open(Path::new("/d/f"), OpenHow::ReadWrite).await.unwrap();
            world.fail_at_step(world.steps(), nix::libc::EIO);
            let error = file.sync().await.unwrap_err();
            assert_eq!(error.source.raw_os_error(), Some(nix::libc::EIO));
            file.sync().await.unwrap();
        })
        .unwrap();
    let lost = (0..50).any(|seed| {
        let after = world.crash(seed);
        after.run(content(after.io())).unwrap().len() == 8192
    });
    assert!(lost);
}

#[test]
fn waiting_for_nothing_is_a_deadlock_and_time_jumps() {
    let world = SimWorld::new(1);
    assert_eq!(world.run(std::future::pending::<()>()), Err(Stopped::Deadlock));
    world.run(world.io().sleep(Duration::from_hours(1))).unwrap();
    assert_eq!(world.io().now(), Duration::from_hours(1));
}
