//! What the host must have, checked before anything is touched, each problem with what to do about it.

use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::room::is_no_space;

/// Descriptors below which a line of advice is due: connections, segments and journals share them.
const DESCRIPTORS_ADVISED: u64 = 4096;
/// Descriptors below which nothing works: rings, journal, metadata log, sockets and a few segments.
const DESCRIPTORS_MIN: u64 = 64;
/// First kernel that has all that is used: `IORING_SETUP_SINGLE_ISSUER`, `RWF_DSYNC` through io_uring.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// The least a start needs. An error says what to do; advice goes into the list.
pub fn check(advice: &mut Vec<String>) -> Result<(), String> {
    let name = nix::sys::utsname::uname()
        .map_err(|errno| format!("the kernel's version cannot be read: {errno}"))?;
    check_kernel(&name.release().to_string_lossy())?;
    check_io_uring()?;
    check_descriptors(raised(Resource::RLIMIT_NOFILE), advice)
}

/// Room on a file system, as an ordinary user has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its size.
    pub total_bytes: u64,
    /// What is free.
    pub usable_bytes: u64,
}

/// The room where `path` lies; `None` if it cannot be told. The kernel answers from memory.
pub fn space(path: &Path) -> Option<Space> {
    let told = nix::sys::statvfs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(told.fragment_size());
    Some(Space { total_bytes: bytes(told.blocks()), usable_bytes: bytes(told.blocks_available()) })
}

fn check_kernel(release: &str) -> Result<(), String> {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < KERNEL_MIN {
        return Err(format!(
            "Linux {release} is too old: ringmain needs {}.{} or newer",
            KERNEL_MIN.0, KERNEL_MIN.1
        ));
    }
    Ok(())
}

/// Raises a soft limit to the hard one, for nothing else in the process counts on the soft one, and says
/// what it is then.
fn raised(resource: Resource) -> u64 {
    let Ok((soft, hard)) = getrlimit(resource) else { return u64::MAX };
    if soft < hard && setrlimit(resource, hard, hard).is_ok() { hard } else { soft }
}

/// How many descriptors may be open.
pub fn descriptors() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

fn check_descriptors(descriptors: u64, advice: &mut Vec<String>) -> Result<(), String> {
    let more = "`ulimit -n 65536` (LimitNOFILE=65536 in a systemd unit) allows more";
    if descriptors < DESCRIPTORS_MIN {
        return Err(format!(
            "only {descriptors} descriptors may be open, and a broker needs {DESCRIPTORS_MIN} at least: {more}"
        ));
    }
    if descriptors < DESCRIPTORS_ADVISED {
        advice.push(format!(
            "only {descriptors} descriptors may be open, which connections and partitions share: {more}"
        ));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "one small read before any executor runs")]
fn check_io_uring() -> Result<(), String> {
    let switch = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    check_io_uring_switch(&switch, nix::unistd::geteuid().is_root())?;
    ringmain_storage::io::ring_available().map_err(|error| match error.raw_os_error() {
        Some(1 | 38) => format!(
            "io_uring is forbidden to this process ({error}): in a container allow io_uring_setup, io_uring_enter and io_uring_register in its seccomp profile"
        ),
        Some(12) => format!("io_uring got no memory ({error}): raise the locked memory limit, `ulimit -l 8192`"),
        _ => format!("io_uring cannot be used: {error}"),
    })
}

/// What `kernel.io_uring_disabled` says: 0 or nothing, everyone; 1, a group (and root); 2, nobody.
fn check_io_uring_switch(switch: &str, is_root: bool) -> Result<(), String> {
    match switch.trim() {
        "2" => Err(
            "io_uring is switched off on this host: `sysctl kernel.io_uring_disabled=0` allows it".to_owned()
        ),
        // A member of the group is told by the ring itself.
        "1" if !is_root && ringmain_storage::io::ring_available().is_err() => Err(
            "io_uring is for members of kernel.io_uring_group only here: `sysctl kernel.io_uring_disabled=0`, or join that group"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

/// Whether the file system keeps its files in memory only.
fn lies_in_memory(path: &Path) -> bool {
    use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
    const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
    statfs(path).is_ok_and(|told| [TMPFS_MAGIC, RAMFS_MAGIC].contains(&told.filesystem_type()))
}

/// What the kernel says to direct I/O where there is none.
const NO_DIRECT_IO: i32 = 22;

/// Makes sure that files can be written in a directory; advises against memory, and where there is no direct I/O.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a probe file before any executor runs"
)]
pub fn check_direct_io(data: &Path, advice: &mut Vec<String>) -> Result<(), String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let probe = data.join(".ringmain-probe");
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(nix::fcntl::OFlag::O_DIRECT.bits())
        .open(&probe);
    let removed = std::fs::remove_file(&probe);
    let data_dir = data.display();
    match opened.and(removed) {
        Err(error) if error.raw_os_error() == Some(NO_DIRECT_IO) => advice.push(format!(
            "{data_dir} is on a file system without direct I/O: everything goes through the page cache, which is slower, \
             and what is acknowledged there is as safe as that file system's fsync; ext4 and XFS have direct I/O"
        )),
        // Nothing can be said then; what else the start needs says whether it can go on.
        Err(error) if is_no_space(&error) => {}
        tried => tried.map_err(|error| format!("{data_dir} cannot be written: {error}"))?,
    }
    if lies_in_memory(data) {
        advice.push(format!(
            "{data_dir} lies in memory: what is acknowledged there does not outlive the machine"
        ));
    }
    Ok(())
}

/// The machine's memory, or its control group's if that is less.
#[expect(clippy::disallowed_methods, reason = "small reads before any executor runs")]
pub fn memory_bytes() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let total = read("/proc/meminfo")
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?.to_owned();
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(1 << 30, |kib| kib * 1024);
    let limit = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = limit.iter().find_map(|path| read(path)?.trim().parse::<u64>().ok()).unwrap_or(u64::MAX);
    total.min(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        check_direct_io(directory.path(), &mut Vec::new()).unwrap();
        assert!(!directory.path().join(".ringmain-probe").exists());
    }

    #[test]
    fn a_kernel_is_old_by_its_first_two_numbers() {
        for good in ["6.1.0", "6.1-rc1", "6.18.44-fc", "10.0", "7.0.0+"] {
            assert_eq!(check_kernel(good), Ok(()), "{good}");
        }
        for old in ["6.0.19-amd64", "5.15.0", "2.6.32", "", "linux"] {
            assert!(check_kernel(old).unwrap_err().contains("6.1 or newer"), "{old}");
        }
    }

    #[test]
    fn too_few_descriptors_are_refused_with_what_would_do() {
        let mut advice = Vec::new();
        assert!(check_descriptors(16, &mut advice).unwrap_err().contains("ulimit -n"));
        assert_eq!(check_descriptors(1024, &mut advice), Ok(()));
        assert!(advice[0].contains("only 1024 descriptors"), "{advice:?}");
        assert_eq!(check_descriptors(DESCRIPTORS_ADVISED, &mut advice), Ok(()));
        assert_eq!(advice.len(), 1);
    }

    #[test]
    fn io_uring_that_is_switched_off_is_told_with_the_switch() {
        assert!(check_io_uring_switch("2\n", true).unwrap_err().contains("io_uring_disabled=0"));
        assert_eq!(check_io_uring_switch("1\n", true), Ok(()));
        assert_eq!(check_io_uring_switch("0\n", false), Ok(()));
        assert_eq!(check_io_uring_switch("", false), Ok(()));
    }
}
