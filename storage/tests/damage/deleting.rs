//! Topics that are deleted while a partition is offline, that one's own among them, leave nothing behind that keeps the
//! journals.

use std::path::Path;

use ringmain_storage::io::Io;
use ringmain_storage::io::sim::SimWorld;

use crate::kit::{Stop, config_of, create, file, key, lead, open, produce, served, world};

const TOPICS: &[(u8, i64)] = &[(1, 14), (2, 4), (3, 22)];

/// A machine on which t1 is damaged at its end.
async fn damage(world: &SimWorld) -> std::path::PathBuf {
    let names = world.io().list_files(&file(1, "")).await.unwrap();
    let (name, size) = names.into_iter().rfind(|(name, _)| name.strip_suffix(".log").is_some()).unwrap();
    let path = file(1, &name);
    world.flip_bit(&path, usize::try_from(size).unwrap() - 1).unwrap();
    path
}

/// Whether a stop of this store is a clean one.
async fn ends_clean(io: &impl Io) -> bool {
    io.list_directory(Path::new("/data")).await.unwrap().iter().any(|name| name == ".kafka_cleanshutdown")
}

#[test]
fn a_deleted_topic_stays_deleted_while_journals_are_kept_for_another() {
    let mut world = world(TOPICS, Stop::Clean);
    let path = world.run(async { damage(&world).await }).unwrap();
    for round in 0..3 {
        let topics: &[u8] = if round == 0 { &[1, 2, 3] } else { &[1, 2] };
        world
            .run(async {
                let io = world.io();
                let store = open(&io, config_of(topics)).await.unwrap();
                let offline: Vec<_> = store.offline_logs().into_iter().map(|(key, _)| key).collect();
                assert_eq!(offline, [key(1)], "round {round}");
                produce(&create(&store, 2).await.unwrap(), 10 + round * 10).await;
                if round == 0 {
                    produce(&create(&store, 3).await.unwrap(), 60).await;
                    store.delete_log(key(3)).await.unwrap();
                }
                assert_eq!(store.keys(), [key(2)]);
                if round == 1 {
                    store.close().await.unwrap();
                    assert!(!ends_clean(&io).await);
                }
            })
            .unwrap();
        world = world.kill(3);
    }
    world.flip_bit(&path, usize::try_from(size_of(&world, &path)).unwrap() - 1).unwrap();
    world.run(async { assert_eq!(lead(&world.io(), &[(1, 14), (2, 30)]).await, [Ok(()), Ok(())]) }).unwrap();
}

fn size_of(world: &SimWorld, path: &Path) -> u64 {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let files = world.run(async { world.io().list_files(path.parent().unwrap()).await.unwrap() }).unwrap();
    files.into_iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn a_partition_that_is_offline_can_be_deleted_and_made_anew() {
    for stop in [Stop::Clean, Stop::Killed] {
        let first = world(TOPICS, stop);
        first
            .run(async {
                damage(&first).await;
                let io = first.io();
                let store = open(&io, config_of(&[1, 2, 3])).await.unwrap();
                if store.offline_logs().is_empty() {
                    // The journal had those bytes, too.
                    assert!(matches!(stop, Stop::Killed));
                    return;
                }
                store.delete_log(key(1)).await.unwrap();
                assert!(io.list_files(&file(1, "")).await.is_err());
                let again = create(&store, 4).await.unwrap();
                produce(&again, 5).await;
            })
            .unwrap();
        let world = first.kill(9);
        world
            .run(async {
                let io = world.io();
                let store = open(&io, config_of(&[2, 3, 4])).await.unwrap();
                assert_eq!(store.offline_logs(), []);
                served(&create(&store, 3).await.unwrap(), 22).await.unwrap();
                store.close().await.unwrap();
                assert!(ends_clean(&io).await);
                assert!(
                    !io.list_directory(Path::new("/data"))
                        .await
                        .unwrap()
                        .iter()
                        .any(|name| name == "ringmain.journal")
                );
            })
            .unwrap();
    }
}
