//! A partition's folder that does not say whose it is, or says the wrong thing.

use ringmain_storage::io::Io;
use ringmain_storage::types::TopicId;

use crate::kit::{Stop, config, config_of, create, file, key, lead, open, served, world};

const TOPICS: &[(u8, i64)] = &[(1, 40), (2, 6), (3, 40)];

#[test]
fn a_folder_that_lost_its_partition_metadata_is_taken_by_the_topic_of_its_name() {
    for stop in [Stop::Clean, Stop::Killed] {
        for garbled in [None, Some(&b"version: 0\ntopic_id: ?"[..])] {
            for number in [1, 2] {
                let world = world(TOPICS, stop);
                world
                    .run(async {
                        let (io, metadata) = (world.io(), file(number, "partition.metadata"));
                        let told = io.read_file(&metadata, 100).await.unwrap();
                        match garbled {
                            None => io.remove_file(&metadata).await.unwrap(),
                            Some(text) => io.replace_file(&metadata, text.to_vec()).await.unwrap(),
                        }
                        for result in lead(&io, TOPICS).await {
                            assert_eq!(result, Ok(()), "{stop:?} {garbled:?} t{number}");
                        }
                        assert_eq!(io.read_file(&metadata, 100).await.unwrap(), told);
                    })
                    .unwrap();
            }
        }
    }
}

#[test]
fn no_log_is_made_over_files_that_nobody_knows_of() {
    let world = world(TOPICS, Stop::Clean);
    world
        .run(async {
            let (io, metadata) = (world.io(), file(1, "partition.metadata"));
            let told = io.read_file(&metadata, 100).await.unwrap();
            io.remove_file(&metadata).await.unwrap();
            let store = open(&io, config()).await.unwrap();
            let refused = create(&store, 1).await.unwrap_err();
            assert!(refused.contains("/data/t1-0"), "{refused}");
            served(&create(&store, 3).await.unwrap(), 40).await.unwrap();
            store.close().await.unwrap();
            io.replace_file(&metadata, told).await.unwrap();
            let store = open(&io, config()).await.unwrap();
            served(&create(&store, 1).await.unwrap(), 40).await.unwrap();
        })
        .unwrap();
}

#[test]
fn a_folder_that_says_another_topic_id_than_the_metadata_is_left_alone() {
    let world = world(TOPICS, Stop::Clean);
    world
        .run(async {
            let (io, metadata) = (world.io(), file(1, "partition.metadata"));
            let told = io.read_file(&metadata, 100).await.unwrap();
            let other = String::from_utf8(told.clone()).unwrap().replace("topic_id: A", "topic_id: B");
            io.replace_file(&metadata, other.clone().into_bytes()).await.unwrap();
            let store = open(&io, config_of(&[1, 2, 3])).await.unwrap();
            let refused = create(&store, 1).await.unwrap_err();
            assert!(refused.contains("topic id"), "{refused}");
            assert!(store.keys().iter().all(|known| [key(2), key(3)].contains(known)));
            assert_ne!(key(1).topic_id, TopicId::default());
            assert_eq!(io.read_file(&metadata, 100).await.unwrap(), other.into_bytes());
            served(&create(&store, 3).await.unwrap(), 40).await.unwrap();
            store.close().await.unwrap();
            io.replace_file(&metadata, told).await.unwrap();
            for result in lead(&io, TOPICS).await {
                assert_eq!(result, Ok(()));
            }
        })
        .unwrap();
}

#[test]
fn a_folder_that_says_nothing_waits_while_another_directory_has_one_of_its_name() {
    let world = world(TOPICS, Stop::Clean);
    world
        .run(async {
            let io = world.io();
            io.create_directory(std::path::Path::new("/other/t1-0")).await.unwrap();
            io.remove_file(&file(1, "partition.metadata")).await.unwrap();
            let mut config = config_of(&[1, 2, 3]);
            config.other_log_dirs.push("/other".into());
            let store = open(&io, config).await.unwrap();
            let refused = create(&store, 1).await.unwrap_err();
            assert!(refused.contains("/other"), "{refused}");
            served(&create(&store, 3).await.unwrap(), 40).await.unwrap();
        })
        .unwrap();
}

#[test]
fn a_folder_of_a_topic_that_was_made_anew_elsewhere_is_nobodys() {
    let world = world(TOPICS, Stop::Clean);
    world
        .run(async {
            let (io, metadata) = (world.io(), file(1, "partition.metadata"));
            io.create_directory(std::path::Path::new("/other/t1-0")).await.unwrap();
            let told = String::from_utf8(io.read_file(&metadata, 100).await.unwrap()).unwrap();
            let other = told.replace("topic_id: A", "topic_id: B");
            io.replace_file(&metadata, other.into_bytes()).await.unwrap();
            let mut config = config_of(&[1, 2, 3]);
            config.other_log_dirs.push("/other".into());
            let store = open(&io, config).await.unwrap();
            assert_eq!((store.offline_logs(), store.keys()), (Vec::new(), vec![key(2), key(3)]));
        })
        .unwrap();
}
