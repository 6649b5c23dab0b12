//! Log directories that cannot be used: a start says why in one line that names them, and writes nothing there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringmain_tests::batch;
use ringmain_tests::broker::{Broker, binary};
use ringmain_tests::client::Client;

const TOPIC: &str = "kept";

/// A directory that a kill left, with a journal.
fn killed(directory: &Path) {
    let broker = Broker::start(directory, &["ringmain.shards=1"]);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait(TOPIC, 1);
    assert_eq!(client.produce(TOPIC, 0, &batch::build(&[b"kept".to_vec()])).unwrap().error_code, 0);
    broker.kill();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// All files but the lock, which every start takes.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if path.file_name().unwrap() != ".lock" {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// What a start on these directories says; it has to fail.
fn refused(log_dirs: &str, settings: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.args(["--set", "listeners=PLAINTEXT://127.0.0.1:0"]);
    command.args(["--set", "ringmain.admin.listener=127.0.0.1:0"]);
    command.args(["--set", &format!("log.dirs={log_dirs}")]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it starts: {said}");
    let last = said.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("ringmain: "), "the reason is the last line: {said}");
    last
}

/// The journal's folder of the only shard.
fn journal(data: &Path) -> PathBuf {
    let mut folders = fs::read_dir(data.join("ringmain.journal")).unwrap();
    folders.find_map(|entry| Some(entry.unwrap().path()).filter(|path| path.is_dir())).unwrap()
}

/// Says version 99 in a file whose checksum is the last thing.
fn from_the_future(path: &Path, bytes: usize) {
    let mut file = fs::read(path).unwrap();
    let content = &mut file[..bytes];
    content[4..8].copy_from_slice(&99_u32.to_le_bytes());
    let checksum = crc32c::crc32c(&content[..bytes - 4]).to_le_bytes();
    content[bytes - 4..].copy_from_slice(&checksum);
    fs::write(path, file).unwrap();
}

#[test]
fn a_directory_of_a_newer_format_or_another_cluster_is_refused_untouched() {
    let temporary = tempfile::tempdir().unwrap();
    let (template, data) = (temporary.path().join("template"), temporary.path().join("data"));
    killed(&template);
    let replaced = |file: &Path, from: &str, to: &str| {
        let text = fs::read_to_string(file).unwrap();
        let line = text.lines().find(|line| line.starts_with(from)).unwrap();
        fs::write(file, text.replace(line, to)).unwrap();
    };
    type Change<'a> = &'a dyn Fn();
    let checkpoint = || {
        let path = journal(&data).join("checkpoint");
        from_the_future(&path, usize::try_from(fs::metadata(&path).unwrap().len()).unwrap());
    };
    let settled = || {
        let path = data.join("ringmain.journal/settled");
        // It has everything twice.
        let half = fs::read(&path).unwrap().len() / 2;
        from_the_future(&path, half);
    };
    let frame = || {
        let mut files: Vec<_> =
            fs::read_dir(journal(&data)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let mut file = fs::read(&files[0]).unwrap();
        // Its last byte, so that the checksum is another build's, too.
        file[4] = 99;
        file[60] = 1;
        fs::write(&files[0], file).unwrap();
    };
    let meta = || replaced(&data.join("meta.properties"), "version=", "version=9");
    let nothing = || {};
    let cases: [(&str, Change<'_>, &[&str]); 6] = [
        ("format version 99", &checkpoint, &[]),
        ("format version 99", &settled, &[]),
        ("format version 99", &frame, &[]),
        ("version 9", &meta, &[]),
        (
            "ringmain.cluster.id is AAAAAAAAAAAAAAAAAAAAAA",
            &nothing,
            &["ringmain.cluster.id=AAAAAAAAAAAAAAAAAAAAAA"],
        ),
        ("belongs to node 1", &nothing, &["node.id=7"]),
    ];
    for (why, change, settings) in cases {
        fs::remove_dir_all(&data).ok();
        copy(&template, &data);
        change();
        let before = contents(&data);
        let said = refused(data.to_str().unwrap(), settings);
        assert!(said.contains(why) && said.contains(data.to_str().unwrap()), "{why}: {said}");
        assert!(contents(&data) == before, "{why}: files were changed");
    }
    // Two directories of two clusters.
    let other = temporary.path().join("other");
    fs::remove_dir_all(&data).unwrap();
    copy(&template, &data);
    copy(&template, &other);
    replaced(&other.join("meta.properties"), "cluster.id=", "cluster.id=AAAAAAAAAAAAAAAAAAAAAA");
    let before = (contents(&data), contents(&other));
    let said = refused(&format!("{},{}", data.display(), other.display()), &[]);
    assert!(said.contains("cannot be used together"), "{said}");
    assert!((contents(&data), contents(&other)) == before, "files were changed");
}

#[test]
fn what_is_no_directory_is_named_in_one_line() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("file");
    fs::write(&file, "a file").unwrap();
    let said = refused(file.to_str().unwrap(), &[]);
    assert!(said.contains(file.to_str().unwrap()) && said.contains("must be a directory"), "{said}");
    let below = file.join("below");
    let said = refused(below.to_str().unwrap(), &[]);
    assert!(said.contains(below.to_str().unwrap()), "{said}");
    assert_eq!(fs::read(&file).unwrap(), b"a file");
}
