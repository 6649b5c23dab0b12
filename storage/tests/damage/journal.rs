//! Acknowledged frames that cannot be read are no torn tail.

use std::path::{Path, PathBuf};

use ringmain_storage::io::{Io, IoFile, OpenHow};

use crate::kit::{Stop, lead, world};

const TOPICS: &[(u8, i64)] = &[(1, 4), (2, 3), (3, 3)];

/// Files of the journals, with the bytes that are not zero at their ends.
pub(crate) async fn journal_files(io: &impl Io) -> Vec<(PathBuf, usize)> {
    let root = Path::new("/data/ringmain.journal");
    let mut found = Vec::new();
    for folder in io.list_directory(root).await.unwrap() {
        let Ok(files) = io.list_files(&root.join(&folder)).await else { continue };
        for (name, size) in files.into_iter().filter(|(name, _)| name.ends_with(".journal")) {
            let path = root.join(&folder).join(name);
            let file = io.open(&path, OpenHow::Read).await.unwrap();
            let bytes = file.read_at(0, usize::try_from(size).unwrap()).await.unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            found.push((path, used));
        }
    }
    found
}

#[test]
fn no_flipped_bit_of_the_journal_loses_an_acknowledged_record() {
    let files = {
        let world = world(TOPICS, Stop::Killed);
        world.run(async { journal_files(&world.io()).await }).unwrap()
    };
    let (mut lost, mut whole) = (0, 0);
    for (path, used) in files {
        for at in (0..used).step_by(if used > 8192 { 61 } else { 1 }) {
            let world = world(TOPICS, Stop::Killed);
            world
                .run(async {
                    world.flip_bit(&path, at).unwrap();
                    for result in lead(&world.io(), TOPICS).await {
                        match result {
                            Ok(()) => whole += 1,
                            Err(problem) => {
                                lost += 1;
                                let told = problem.contains("offline") || problem.contains("not opened");
                                assert!(told, "flipped {at}: {problem}");
                            }
                        }
                    }
                })
                .unwrap();
        }
    }
    assert!(lost > 0 && whole > 0, "{lost} {whole}");
}
