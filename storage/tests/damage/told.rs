//! What Kafka's text files and the system say of a log's files, against what its segments have.

use std::path::Path;

use ringmain_storage::io::Io;
use ringmain_storage::io::sim::SimWorld;

use crate::kit::{Stop, file, lead, world};

const TOPICS: &[(u8, i64)] = &[(1, 40), (2, 6)];
const ENDS: &str = "recovery-point-offset-checkpoint";
const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// `EACCES`.
const REFUSED: i32 = 13;

/// Has one of Kafka's files say another number of the first topic.
async fn tell(world: &SimWorld, name: &str, number: &str) {
    let path = Path::new("/data").join(name);
    let text = String::from_utf8(world.io().read_file(&path, 1000).await.unwrap()).unwrap();
    let told = text.replace("t1 0 40\n", &format!("t1 0 {number}\n"));
    assert_ne!(told, text, "{name}");
    world.io().replace_file(&path, told.into_bytes()).await.unwrap();
}

#[test]
fn an_end_that_one_file_tells_wrong_after_a_clean_stop_costs_nothing() {
    for wrong in ["41", "44", "48", "60", "0", "04", "39", "400", "9999999999"] {
        let first = world(TOPICS, Stop::Clean);
        first
            .run(async {
                tell(&first, ENDS, wrong).await;
                assert_eq!(lead(&first.io(), TOPICS).await, [Ok(()), Ok(())], "{wrong} instead of 40");
            })
            .unwrap();
        let next = first.kill(5);
        next.run(async {
            assert_eq!(lead(&next.io(), TOPICS).await, [Ok(()), Ok(())], "{wrong}, killed and started again");
        })
        .unwrap();
    }
}

#[test]
fn an_end_that_nothing_else_confirms_takes_its_partition_offline_and_is_told_with_its_file() {
    for wrong in ["41", "39"] {
        let world = world(TOPICS, Stop::Clean);
        world
            .run(async {
                tell(&world, ENDS, wrong).await;
                tell(&world, HIGH_WATERMARKS, "38").await;
                let results = lead(&world.io(), TOPICS).await;
                let problem = results[0].clone().unwrap_err();
                let said = format!("its segments end at 40, but /data/{ENDS} says {wrong}");
                assert!(problem.contains(&said), "{problem}");
                assert_eq!(results[1], Ok(()));
            })
            .unwrap();
    }
}

#[test]
fn a_segment_that_may_not_be_written_is_told_at_the_start() {
    for stop in [Stop::Clean, Stop::Killed] {
        let world = world(TOPICS, stop);
        world
            .run(async {
                let io = world.io();
                let files = io.list_files(&file(1, "")).await.unwrap();
                let (last, _) = files.iter().rfind(|(name, _)| name.strip_suffix(".log").is_some()).unwrap();
                let path = file(1, last);
                world.fail_below(&path, REFUSED);
                let results = lead(&io, TOPICS).await;
                let problem = results[0].clone().unwrap_err();
                let told = problem.starts_with("offline") && problem.contains(path.to_str().unwrap());
                assert!(told, "{stop:?}: {problem}");
                assert_eq!(problem.lines().count(), 1, "{problem}");
                assert_eq!(results[1], Ok(()));
                world.mend_below(&path);
                assert_eq!(lead(&io, TOPICS).await, [Ok(()), Ok(())], "{stop:?}, mended");
            })
            .unwrap();
    }
}
