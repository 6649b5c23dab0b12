//! One bit of one file is flipped, whichever it is: what was acknowledged is served, or just the partition that it concerns
//! is offline; and once the bit is mended all is there again, whatever was started and stopped in between.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringmain_storage::io::sim::SimWorld;
use ringmain_storage::io::{Io, IoFile, OpenHow};

use crate::kit::{Stop, config_of, lead, open, world};

const TOPICS: &[(u8, i64)] = &[(1, 14), (2, 4), (3, 22)];

/// All files below the log directory.
async fn files(io: &impl Io) -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("/data")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let files: Vec<String> =
            io.list_files(&folder).await.unwrap().into_iter().map(|(name, _)| name).collect();
        for name in io.list_directory(&folder).await.unwrap() {
            let path = folder.join(&name);
            if files.contains(&name) { found.push(path) } else { folders.push(path) }
        }
    }
    found.sort();
    found
}

/// The bytes of a file that are there and not zeros at its end; `None` if it is gone.
async fn bytes_of(io: &impl Io, path: &Path) -> Option<Vec<u8>> {
    let file = io.open(path, OpenHow::Read).await.ok()?;
    let size = usize::try_from(file.size().await.unwrap()).unwrap();
    let bytes = file.read_at(0, size.next_multiple_of(4096)).await.unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Some(bytes[..used.min(size)].to_vec())
}

/// Which of the topics a file is of; the journals are of all.
fn concerns(path: &Path, topic: u8) -> bool {
    let folder = format!("/t{topic}-0/");
    let path = path.to_str().unwrap();
    path.contains(&folder) || !path.contains("-0/")
}

/// How many are offline; a problem that is none of an offline partition is a failure.
fn look(results: Vec<Result<(), String>>, path: &Path, context: &str) -> usize {
    let mut offline = 0;
    for (result, (topic, _)) in results.into_iter().zip(TOPICS) {
        let Err(problem) = result else { continue };
        assert!(concerns(path, *topic), "{context}: t{topic}: {problem}");
        // What is rotten in a sealed segment is found when it is read.
        let is_segment = path.extension().is_some_and(|extension| extension == "log");
        assert!(is_segment || problem.starts_with("offline"), "{context}: t{topic}: {problem}");
        offline += 1;
    }
    offline
}

/// Ends the world's store as it may end, and has the machine go on.
fn end(world: &SimWorld, at: usize) -> SimWorld {
    if at.is_multiple_of(2) {
        world
            .run(async {
                let numbers: Vec<u8> = TOPICS.iter().map(|(number, _)| *number).collect();
                let store = open(&world.io(), config_of(&numbers)).await.unwrap();
                store.close().await.unwrap();
            })
            .unwrap();
    }
    world.run(async { world.io().sleep(Duration::from_millis(150)).await }).unwrap();
    world.kill(7)
}

fn flip_each(stop: Stop) {
    let start = world(TOPICS, stop);
    let all = start.run(async { files(&start.io()).await }).unwrap();
    let mut offline = 0;
    for path in all {
        let told = path.display().to_string();
        // Kafka's text has no checksum, and a log start or high watermark that is another number is one.
        let is_unguarded = ["log-start-offset", "replication-offset"].iter().any(|name| told.contains(name));
        let before = start.run(async { bytes_of(&start.io(), &path).await }).unwrap().unwrap();
        let step = match before.len() {
            0..=100 => 3,
            101..=2000 => 41,
            _ => 397,
        };
        for at in (0..before.len()).step_by(step) {
            let context = format!("{stop:?}, byte {at} of {told} flipped");
            let mut machine = world(TOPICS, stop);
            machine.flip_bit(&path, at).unwrap();
            for _ in 0..2 {
                let results = machine.run(async { lead(&machine.io(), TOPICS).await }).unwrap();
                if !is_unguarded {
                    offline += look(results, &path, &context);
                }
                machine = end(&machine, at / step);
            }
            let now = machine.run(async { bytes_of(&machine.io(), &path).await }).unwrap();
            // Unless it was written anew, or is not needed any more.
            if now.and_then(|now| now.get(at).copied()).is_some_and(|byte| byte == before[at] ^ 1) {
                machine.flip_bit(&path, at).unwrap();
            }
            if !is_unguarded {
                let results = machine.run(async { lead(&machine.io(), TOPICS).await }).unwrap();
                assert_eq!(results, [Ok(()), Ok(()), Ok(())], "{context}, mended");
            }
        }
    }
    assert!(offline > 0, "nothing was ever noticed");
}

#[test]
fn a_flipped_bit_after_a_kill_costs_nothing_that_mending_does_not_bring_back() {
    flip_each(Stop::Killed);
}

#[test]
fn a_flipped_bit_after_a_clean_stop_costs_nothing_that_mending_does_not_bring_back() {
    flip_each(Stop::Clean);
}
