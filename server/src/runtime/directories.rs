//! Which of the log directories can be used, found out before anything is written into them, and locked while the
//! process runs. One that a failed drive has taken away is offline until the next start (KIP-112), as it would be if the
//! drive failed now: what it holds cannot be had, and the others go on. The first holds the metadata, without which
//! nothing can be done.

use std::io;
use std::path::{Path, PathBuf};

use super::lock::{self, DirectoryLock, LockError};
use super::{host, room};

/// The log directories of a start.
#[derive(Debug)]
pub struct Directories {
    /// Those that can be used, in the order of the configuration: the first of all is among them.
    pub online: Vec<PathBuf>,
    /// Those that cannot.
    pub offline: Vec<PathBuf>,
    _locks: Vec<DirectoryLock>,
}

/// Why a directory cannot be used.
enum Problem {
    /// It has failed, or whatever lies below it.
    Failed(String),
    /// It is somebody else's, or of a kind that can never be used.
    Wrong(String),
}

impl Directories {
    /// Makes those that are not there, and locks all. The error says what to do. A new cluster has to have all of its
    /// directories: a name that is wrong is noticed then, and no data can be in what is not there.
    pub fn open(log_dirs: &[PathBuf], advice: &mut Vec<String>) -> Result<Self, String> {
        let (mut online, mut offline, mut locks) = (Vec::<PathBuf>::new(), Vec::new(), Vec::new());
        for directory in log_dirs {
            let may_be_offline = online.first().is_some_and(|first| has_identity(first));
            match open(directory, advice) {
                Ok(lock) => {
                    online.push(directory.clone());
                    locks.push(lock);
                }
                Err(Problem::Failed(what)) if may_be_offline => {
                    tracing::error!("{what}. What it holds is offline until a start finds it again");
                    offline.push(directory.clone());
                }
                Err(Problem::Failed(what) | Problem::Wrong(what)) => return Err(what),
            }
        }
        Ok(Self { online, offline, _locks: locks })
    }
}

fn open(directory: &Path, advice: &mut Vec<String>) -> Result<DirectoryLock, Problem> {
    let lock = lock::lock(directory).map_err(|error| match error {
        LockError::Held { .. } => Problem::Wrong(error.to_string()),
        LockError::Unusable { .. } => Problem::Failed(error.to_string()),
    })?;
    room::see_to_some(directory);
    host::check_direct_io(directory, advice).map_err(Problem::Failed)?;
    let path = directory.join(META_PROPERTIES);
    match read(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Problem::Failed(format!("{}: {error}", path.display())))
        }
        _ => Ok(lock),
    }
}

/// What makes a directory one of a cluster's.
const META_PROPERTIES: &str = "meta.properties";

fn has_identity(directory: &Path) -> bool {
    read(&directory.join(META_PROPERTIES)).is_ok()
}

#[expect(clippy::disallowed_methods, reason = "a small read before any executor runs")]
fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_directory_that_failed_is_offline_unless_it_is_the_first_or_the_cluster_is_new() {
        let root = tempfile::tempdir().unwrap();
        let [first, second, third] = ["a", "b", "c"].map(|name| root.path().join(name));
        // A file in its place: nobody can make a directory of that, whatever he may do.
        fs::write(&second, "").unwrap();
        let open = |directories: [&PathBuf; 3]| {
            let directories = directories.map(Clone::clone);
            Directories::open(&directories, &mut Vec::new()).map(|found| (found.online, found.offline))
        };
        let refused = open([&first, &second, &third]).unwrap_err();
        assert!(refused.contains(&second.display().to_string()), "{refused}");
        fs::write(first.join(META_PROPERTIES), "").unwrap();
        let found = open([&first, &second, &third]).unwrap();
        assert_eq!(found, (vec![first.clone(), third.clone()], vec![second.clone()]));
        assert!(open([&second, &first, &third]).is_err());
        let held = Directories::open(std::slice::from_ref(&third), &mut Vec::new()).unwrap();
        assert!(open([&first, &second, &third]).unwrap_err().contains("in use"));
        drop(held);
        fs::create_dir(third.join(META_PROPERTIES)).unwrap();
        assert_eq!(open([&first, &second, &third]).unwrap().1, [second.clone(), third.clone()]);
    }
}
