//! What the host must have, checked before anything is touched, each problem with what to do about it.

use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors below which a line of advice is due: connections, segments and journals share them.
const DESCRIPTORS_ADVISED: u64 = 4096;
/// Memory that io_uring may lock, below which buffers are not registered.
const LOCKED_BYTES_ADVISED: u64 = 8 << 20;
/// First kernel that has all that is used: `IORING_SETUP_*` of the runtime, `RWF_DSYNC` through io_uring.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// The least a start needs. An error says what to do; advice goes into the list.
pub fn check(log_dirs: &[PathBuf], advice: &mut Vec<String>) -> Result<(), String> {
    check_kernel()?;
    check_io_uring()?;
    log_dirs.iter().try_for_each(|directory| check_direct_io(directory))?;
    raise_descriptors(advice);
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_MEMLOCK)
        && soft < LOCKED_BYTES_ADVISED
    {
        advice.push(format!(
            "only {} KiB may be locked, so I/O buffers are not registered with the kernel: `ulimit -l 8192` makes it faster",
            soft / 1024
        ));
    }
    Ok(())
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

fn check_kernel() -> Result<(), String> {
    let name = nix::sys::utsname::uname()
        .map_err(|errno| format!("the kernel's version cannot be read: {errno}"))?;
    let release = name.release().to_string_lossy().into_owned();
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

#[expect(clippy::disallowed_methods, reason = "one small read before any executor runs")]
fn check_io_uring() -> Result<(), String> {
    match std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled") {
        Ok(text) if text.trim() == "2" => {
            Err("io_uring is switched off on this host: `sysctl kernel.io_uring_disabled=0` allows it".to_owned())
        }
        Ok(text) if text.trim() == "1" && !nix::unistd::geteuid().is_root() => Err(
            "io_uring is for members of kernel.io_uring_group only here: `sysctl kernel.io_uring_disabled=0`, or join that group"
                .to_owned(),
        ),
        _ => ringmain_storage::io::ring_available().map_err(|error| match error.raw_os_error() {
            Some(1 | 38) => format!(
                "io_uring is forbidden to this process ({error}): in a container allow io_uring_setup, io_uring_enter and io_uring_register in its seccomp profile"
            ),
            Some(12) => format!("io_uring got no memory ({error}): raise the locked memory limit, `ulimit -l 8192`"),
            _ => format!("io_uring cannot be used: {error}"),
        }),
    }
}

#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a probe file before any executor runs"
)]
fn check_direct_io(data: &Path) -> Result<(), String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let probe = data.join(".ringmain-probe");
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(nix::fcntl::OFlag::O_DIRECT.bits())
        .open(&probe);
    let removed = std::fs::remove_file(&probe);
    match (opened, removed) {
        (Ok(_), _) => Ok(()),
        (Err(error), _) if error.raw_os_error() == Some(22) => Err(format!(
            "{} is on a file system without direct I/O (tmpfs and overlays have none): set log.dirs to a directory on ext4 or XFS",
            data.display()
        )),
        (Err(error), _) => Err(format!("{} cannot be written: {error}", data.display())),
    }
}

/// Raises the soft limit to the hard one: nothing else in the process counts on the soft one.
fn raise_descriptors(advice: &mut Vec<String>) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let raised =
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard) } else { Ok(soft) };
    let now = raised.unwrap_or(soft);
    if now < DESCRIPTORS_ADVISED {
        advice.push(format!(
            "only {now} descriptors may be open: `ulimit -n 65536` allows more connections and partitions"
        ));
    }
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
    fn a_file_system_without_direct_io_is_named_with_the_way_out() {
        // tmpfs took O_DIRECT from Linux 6.6 on, so only the wording of a refusal can be looked at everywhere.
        if let Err(text) = check_direct_io(Path::new("/proc")) {
            assert!(text.contains("/proc"), "{text}");
        }
        let directory = tempfile::tempdir().unwrap();
        check_direct_io(directory.path()).unwrap();
        assert!(!directory.path().join(".ringmain-probe").exists());
    }
}
