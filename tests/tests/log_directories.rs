//! Several log directories, one of which cannot be used any more: what it holds is offline, nothing takes its place, the
//! others go on, and all is there again once it is.

use std::fs;
use std::path::{Path, PathBuf};

use ringmain_tests::batch;
use ringmain_tests::broker::Broker;
use ringmain_tests::client::Client;
use ringmain_tests::wire::{Reader, Writer};

const PARTITIONS: i32 = 6;
/// `KAFKA_STORAGE_ERROR`.
const STORAGE: i16 = 56;
/// What a Fetch of the tests' version is told instead.
const NOT_LEADER: i16 = 6;
const DESCRIBE_LOG_DIRS: i16 = 35;
const DELETE_TOPICS: i16 = 20;

fn start(directories: &[&PathBuf; 2]) -> Broker {
    let all = directories.map(|directory| directory.display().to_string()).join(",");
    // The last word holds, so that the first directory also names the file of the log.
    Broker::start(directories[0], &[&format!("log.dirs={all}")])
}

fn produce(client: &mut Client, topic: &str, partition: i32, value: &str) -> i16 {
    client.produce(topic, partition, &batch::build(&[value.into()])).unwrap().error_code
}

fn values(client: &mut Client, topic: &str, partition: i32) -> Result<Vec<String>, i16> {
    let fetched = client.fetch(topic, partition, 0).unwrap();
    if fetched.error_code != 0 {
        return Err(fetched.error_code);
    }
    let records = batch::records(&fetched.records).into_iter();
    Ok(records.map(|(_, value)| String::from_utf8(value).unwrap()).collect())
}

/// Error code and count of topics of each log directory, in the order of the configuration.
fn log_dirs(client: &mut Client) -> Vec<(i16, usize)> {
    let answer = client.request(DESCRIBE_LOG_DIRS, 1, &Writer::default().i32(-1).0).unwrap();
    let mut reader = Reader(&answer[4..]);
    let told = |reader: &mut Reader<'_>| {
        let (code, _path) = (reader.i16(), reader.string());
        let topics = reader.count();
        for _ in 0..topics {
            reader.string();
            for _ in 0..reader.count() {
                reader.raw(4 + 8 + 8 + 1);
            }
        }
        (code, topics)
    };
    (0..reader.count()).map(|_| told(&mut reader)).collect()
}

/// The partitions of `t` that have a folder in a directory.
fn held(directory: &Path) -> Vec<i32> {
    let has_folder = |partition: &i32| directory.join(format!("t-{partition}")).exists();
    (0..PARTITIONS).filter(has_folder).collect()
}

#[test]
fn a_directory_that_failed_is_offline_and_comes_back_whole() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    let broker = start(&[&first, &second]);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait("t", PARTITIONS);
    for partition in 0..PARTITIONS {
        assert_eq!(produce(&mut client, "t", partition, &format!("one {partition}")), 0);
    }
    assert_eq!(log_dirs(&mut client), [(0, 1), (0, 1)]);
    // Its journal holds them, too.
    broker.kill();
    let lost = held(&second);
    assert!(!lost.is_empty() && !held(&first).is_empty(), "partitions stand in both");

    let away = root.path().join("away");
    fs::rename(&second, &away).unwrap();
    fs::write(&second, "a file where the directory was").unwrap();
    let broker = start(&[&first, &second]);
    assert!(broker.log().contains("offline"), "{}", broker.log());
    let mut client = Client::connect(&broker.address);
    for partition in 0..PARTITIONS {
        let (code, read) = (produce(&mut client, "t", partition, "two"), values(&mut client, "t", partition));
        if lost.contains(&partition) {
            assert_eq!((code, read), (STORAGE, Err(NOT_LEADER)), "{partition}");
            assert!(!first.join(format!("t-{partition}")).exists(), "nothing takes its place");
        } else {
            assert_eq!((code, read), (0, Ok(vec![format!("one {partition}"), "two".to_owned()])));
        }
    }
    assert_eq!(log_dirs(&mut client), [(0, 1), (STORAGE, 0)]);
    client.create_topic_and_wait("new", 2);
    assert_eq!((produce(&mut client, "new", 0, "new"), produce(&mut client, "new", 1, "new")), (0, 0));
    client.create_topic_and_wait("gone", 1);
    let gone = Writer::default().i32(1).string("gone").i32(10_000).0;
    client.request(DELETE_TOPICS, 1, &gone).unwrap();
    assert!(broker.stop().success());

    fs::remove_file(&second).unwrap();
    fs::rename(&away, &second).unwrap();
    let broker = start(&[&first, &second]);
    let mut client = Client::connect(&broker.address);
    for partition in 0..PARTITIONS {
        let mut all = vec![format!("one {partition}")];
        all.extend((!lost.contains(&partition)).then(|| "two".to_owned()));
        assert_eq!(values(&mut client, "t", partition), Ok(all));
        assert_eq!(produce(&mut client, "t", partition, "three"), 0);
    }
    assert_eq!(values(&mut client, "new", 0), Ok(vec!["new".to_owned()]));
    assert_eq!(log_dirs(&mut client).iter().map(|(code, _)| *code).collect::<Vec<_>>(), [0, 0]);
    assert!(broker.stop().success());
}

#[test]
fn a_topic_that_was_made_anew_while_its_directory_was_away_finds_the_old_one_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    let broker = start(&[&first, &second]);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait("t", PARTITIONS);
    for partition in 0..PARTITIONS {
        assert_eq!(produce(&mut client, "t", partition, "old"), 0);
    }
    broker.kill();
    let lost = held(&second);
    assert!(!lost.is_empty(), "partitions stand in both");

    let away = root.path().join("away");
    fs::rename(&second, &away).unwrap();
    fs::write(&second, "a file where the directory was").unwrap();
    let broker = start(&[&first, &second]);
    let mut client = Client::connect(&broker.address);
    let gone = Writer::default().i32(1).string("t").i32(10_000).0;
    client.request(DELETE_TOPICS, 1, &gone).unwrap();
    client.create_topic_and_wait("t", PARTITIONS);
    for partition in 0..PARTITIONS {
        assert_eq!(produce(&mut client, "t", partition, "new"), 0);
    }
    assert!(broker.stop().success());

    fs::remove_file(&second).unwrap();
    fs::rename(&away, &second).unwrap();
    let broker = start(&[&first, &second]);
    let mut client = Client::connect(&broker.address);
    for partition in 0..PARTITIONS {
        assert_eq!(values(&mut client, "t", partition), Ok(vec!["new".to_owned()]));
        assert_eq!(produce(&mut client, "t", partition, "more"), 0);
    }
    assert!(held(&second).is_empty());
    let names = fs::read_dir(&second).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let strays: Vec<_> = names.filter(|name| name.ends_with("-stray")).collect();
    assert_eq!(strays.len(), lost.len(), "{strays:?}");
    for stray in strays {
        assert!(broker.log().contains(&stray), "{stray} is told: {}", broker.log());
        assert!(fs::metadata(second.join(&stray).join("00000000000000000000.log")).unwrap().len() > 0);
    }
    assert!(broker.stop().success());
}
