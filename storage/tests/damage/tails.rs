//! Where no torn tail is possible nothing is cut: what does not check there is damage.

use ringmain_storage::io::{Io, IoFile, OpenHow};

use crate::kit::{Stop, config_of, create, file, lead, open, served, world};

const TOPICS: &[(u8, i64)] = &[(1, 40), (2, 6)];

/// The files of a folder that end so, with their lengths.
async fn files(io: &impl Io, number: u8, suffix: &str) -> Vec<(String, u64)> {
    let mut files = io.list_files(&file(number, "")).await.unwrap();
    files.retain(|(name, _)| name.ends_with(suffix));
    files
}

#[test]
fn after_a_clean_stop_no_flipped_bit_of_the_last_segment_cuts_a_record() {
    for without_index in [false, true] {
        for step in 0..40 {
            let world = world(TOPICS, Stop::Clean);
            world
                .run(async {
                    let io = world.io();
                    let (last, size) = files(&io, 1, ".log").await.pop().unwrap();
                    let path = file(1, &last);
                    if without_index {
                        io.remove_file(&path.with_extension("index")).await.unwrap();
                    }
                    let at = usize::try_from(size * step / 40).unwrap();
                    world.flip_bit(&path, at).unwrap();
                    let before = io.read_file(&path, 1 << 20).await.unwrap();
                    let result = lead(&io, TOPICS).await.remove(0);
                    assert!(io.read_file(&path, 1 << 20).await.unwrap() == before, "changed: {result:?}");
                    assert!(result.is_err(), "t1 with a bit flipped at {at} of {size}");
                    world.flip_bit(&path, at).unwrap();
                    for result in lead(&io, TOPICS).await {
                        assert_eq!(result, Ok(()), "mended, flipped at {at}");
                    }
                })
                .unwrap();
        }
    }
}

#[test]
fn a_clean_stop_a_start_and_a_kill_leave_nothing_to_cut_either() {
    for step in 0..20 {
        let first = world(TOPICS, Stop::Clean);
        first.run(async { assert_eq!(lead(&first.io(), TOPICS).await, [Ok(()), Ok(())]) }).unwrap();
        let world = first.kill(5);
        world
            .run(async {
                let io = world.io();
                let (last, size) = files(&io, 1, ".log").await.pop().unwrap();
                let path = file(1, &last);
                // The recovery point is at the last indexed batch at least.
                let at = usize::try_from(size - 1 - step * 4).unwrap();
                world.flip_bit(&path, at).unwrap();
                let before = io.read_file(&path, 1 << 20).await.unwrap();
                let result = lead(&io, TOPICS).await.remove(0);
                assert!(io.read_file(&path, 1 << 20).await.unwrap() == before, "changed: {result:?}");
                assert!(result.is_err(), "t1 with a bit flipped at {at} of {size}");
                world.flip_bit(&path, at).unwrap();
                for result in lead(&io, TOPICS).await {
                    assert_eq!(result, Ok(()), "mended, flipped at {at}");
                }
            })
            .unwrap();
    }
}

#[test]
fn a_segment_that_is_short_or_missing_is_noticed() {
    for stop in [Stop::Clean, Stop::Killed] {
        for restarted in [false, true] {
            for which in 0..3 {
                for cut in [0, 1, 4096, u64::MAX] {
                    let mut world = world(TOPICS, stop);
                    if restarted {
                        world.run(async { assert_eq!(lead(&world.io(), TOPICS).await[0], Ok(())) }).unwrap();
                        world = world.kill(5);
                    }
                    world
                        .run(async {
                            let io = world.io();
                            let segments = files(&io, 1, ".log").await;
                            assert_eq!(segments.len(), 3, "{segments:?}");
                            let (name, size) = &segments[which];
                            let path = file(1, name);
                            if cut == 0 {
                                io.remove_file(&path).await.unwrap();
                            } else if which == 2 {
                                let at = if cut == u64::MAX { 0 } else { size.saturating_sub(cut) };
                                let file = io.open(&path, OpenHow::ReadWrite).await.unwrap();
                                file.truncate(at).await.unwrap();
                            } else {
                                return;
                            }
                            let what = format!("{stop:?} restarted {restarted}: {name} cut by {cut}");
                            let store = open(&io, config_of(&[1, 2])).await;
                            let Ok(store) = store else { return };
                            let Ok(log) = create(&store, 1).await else { return };
                            // Or the journal has all of it.
                            assert_eq!(served(&log, 40).await, Ok(()), "{what}");
                        })
                        .unwrap();
                }
            }
        }
    }
}
