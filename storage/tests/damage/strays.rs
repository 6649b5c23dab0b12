//! Folders of topics that the metadata do not know: they get Kafka's name for them, and keep all they had.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{SimIo, SimWorld, Stopped};
use ringmain_storage::types::Offset;

use crate::kit::{
    Stop, Store, config, config_of, create, file, key, lead, open, produce, served, topic, world,
};

const TOPICS: &[(u8, i64)] = &[(1, 40), (2, 30), (3, 6)];
/// The topic that is gone.
const STRAY: u8 = 2;

/// Where its folder ends up.
fn stray() -> PathBuf {
    PathBuf::from(format!("/data/t{STRAY}-0.{}-stray", "02".repeat(16)))
}

/// What a start with the other topics in the metadata leaves: they are whole, and the stray log is under one of its names.
async fn rest_is_whole(io: &SimIo) {
    for result in lead(io, &[TOPICS[0], TOPICS[2]]).await {
        assert_eq!(result, Ok(()));
    }
}

/// Under its old name the stray log has all its records again.
async fn stray_is_whole(io: &SimIo) {
    let folder = file(STRAY, "");
    if io.list_directory(&folder).await.is_ok() {
        io.rename(&folder, Path::new("/data/elsewhere")).await.unwrap();
    }
    io.rename(&stray(), &folder).await.unwrap();
    for result in lead(io, TOPICS).await {
        assert_eq!(result, Ok(()));
    }
}

/// A new topic takes the name of the one that is gone, and keeps what it gets.
async fn name_is_free(io: &SimIo, store: &Store) {
    let anew = ringmain_storage::types::PartitionKey { topic_id: key(9).topic_id, ..key(STRAY) };
    let log = store.create_log(anew, &topic(STRAY), LogConfig::default()).await.unwrap();
    assert_eq!(log.offsets().log_end_offset, Offset(0));
    produce(&log, 4).await;
    assert!(io.list_directory(&stray()).await.unwrap().contains(&"00000000000000000000.log".to_owned()));
}

#[test]
fn a_log_of_a_topic_that_is_gone_is_set_aside_and_its_name_is_free() {
    for stop in [Stop::Clean, Stop::Killed] {
        let world = world(TOPICS, stop);
        world
            .run(async {
                let io = world.io();
                let store = open(&io, config_of(&[1, 3])).await.unwrap();
                assert_eq!(store.keys(), [key(1), key(3)], "{stop:?}");
                assert!(io.list_directory(&file(STRAY, "")).await.is_err(), "{stop:?}");
                for (number, end) in [(1, 40), (3, 6)] {
                    served(&create(&store, number).await.unwrap(), end).await.unwrap();
                }
                name_is_free(&io, &store).await;
            })
            .unwrap();
        let world = world.crash(1);
        world.run(rest_is_whole(&world.io())).unwrap();
        world.run(stray_is_whole(&world.io())).unwrap();
    }
}

#[test]
fn nothing_is_set_aside_while_nobody_knows_the_topics() {
    let unread: fn() -> StoreConfig = config;
    let none_left: fn() -> StoreConfig = || config_of(&[]);
    for config in [unread, none_left] {
        let world = world(TOPICS, Stop::Killed);
        world
            .run(async {
                let io = world.io();
                let store = open(&io, config()).await.unwrap();
                assert_eq!(store.keys().len(), 3);
                assert!(io.list_directory(&stray()).await.is_err());
                if config().topic_ids.is_some() {
                    name_is_free(&io, &store).await;
                    drop(store);
                    stray_is_whole(&io).await;
                }
            })
            .unwrap();
    }
}

#[test]
fn what_a_topic_left_that_was_made_anew_in_another_directory_is_set_aside() {
    let world = world(TOPICS, Stop::Killed);
    world
        .run(async {
            let io = world.io();
            io.create_directory(Path::new("/other/t2-0")).await.unwrap();
            let told = io.read_file(&file(STRAY, "partition.metadata"), 100).await.unwrap();
            let anew = String::from_utf8(told).unwrap().replace("topic_id: A", "topic_id: B").into_bytes();
            io.replace_file(Path::new("/other/t2-0/partition.metadata"), anew).await.unwrap();
            let mut config = config_of(&[1, 3]);
            config.other_log_dirs.push("/other".into());
            let mut ids = (**config.topic_ids.as_ref().unwrap()).clone();
            let mut id = key(STRAY).topic_id;
            id.0[0] |= 4;
            ids.insert(topic(STRAY), id);
            config.topic_ids = Some(Arc::new(ids));
            let store = open(&io, config).await.unwrap();
            assert_eq!((store.offline_logs().len(), store.keys()), (0, vec![key(1), key(3)]));
            drop(store);
            stray_is_whole(&io).await;
        })
        .unwrap();
}

#[test]
fn a_power_cut_while_a_log_is_set_aside_costs_nothing() {
    let base = world(TOPICS, Stop::Killed);
    let whole = base.kill(1);
    whole.run(rest_is_whole(&whole.io())).unwrap();
    let cut = |step: u64| -> SimWorld {
        let world = base.kill(1);
        world.cut_at_step(step);
        assert_eq!(world.run(rest_is_whole(&world.io())), Err(Stopped::PowerCut), "step {step}");
        world.crash(step)
    };
    for step in 0..whole.steps() {
        let world = cut(step);
        world.run(rest_is_whole(&world.io())).unwrap();
        let world = world.crash(step + 1);
        world.run(stray_is_whole(&world.io())).unwrap();
    }
}
