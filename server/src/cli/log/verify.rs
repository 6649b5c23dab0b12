//! `ringmain log verify`: what it finds a line each, then what it looked at. On a terminal it shows how far it is.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use ringmain_storage::inspect::verify::{Progress, Verified, verify};
use ringmain_storage::inspect::{Finding, Severity};
use serde_json::json;

use super::super::clock::{instant, pause};
use crate::runtime::lock::lock_for_reading;

/// Threads without `--threads`, where there are as many CPUs: enough for the disks that are sold.
const THREADS_DEFAULT_MAX: usize = 4;
/// How often the bar moves.
const BAR_INTERVAL: Duration = Duration::from_millis(200);
/// Characters of the bar.
const BAR_WIDTH: usize = 30;

/// Arguments of `ringmain log verify`.
#[derive(Args, Debug, Clone)]
pub(super) struct VerifyArgs {
    /// Log directories of a stopped broker.
    #[arg(required = true, value_name = "DIRECTORY")]
    directories: Vec<PathBuf>,
    /// Threads that read; without it as many as there are CPUs, at most four.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

/// Checks the directories one after the other; whether anything is damaged.
pub(super) fn run(args: &VerifyArgs, json: bool) -> Result<bool, String> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_DEFAULT_MAX);
    let threads = args.threads.map_or(cpus, usize::from);
    let mut damaged = false;
    for directory in &args.directories {
        if !is_log_directory(directory) {
            return Err(format!("{} is no log directory of a broker", directory.display()));
        }
        let _lock = lock_for_reading(directory).map_err(|error| error.to_string())?;
        let verified = with_bar(directory, threads)?;
        damaged |= verified.is_damaged();
        let text = if json { to_json(directory, &verified) } else { to_text(directory, &verified) };
        match io::stdout().lock().write_all(text.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(format!("standard output: {error}"));
            }
            _ => {}
        }
    }
    Ok(damaged)
}

/// A mistyped path is not to be called undamaged.
fn is_log_directory(directory: &Path) -> bool {
    ["meta.properties", "ringmain.journal", "recovery-point-offset-checkpoint", "__cluster_metadata-0"]
        .iter()
        .any(|name| directory.join(name).exists())
}

fn with_bar(directory: &Path, threads: usize) -> Result<Verified, String> {
    let progress = Progress::default();
    if !io::stderr().is_terminal() {
        return verify(directory, threads, &progress).map_err(|error| error.to_string());
    }
    let began = instant();
    std::thread::scope(|scope| {
        let verifying = scope.spawn(|| verify(directory, threads, &progress));
        while !verifying.is_finished() {
            pause(BAR_INTERVAL);
            let (read, total) =
                (progress.bytes_read.load(Ordering::Relaxed), progress.bytes_total.load(Ordering::Relaxed));
            eprint!("\r{}\x1b[K", bar(read, total, began.elapsed()));
        }
        eprint!("\r\x1b[K");
        match verifying.join() {
            Ok(verified) => verified.map_err(|error| error.to_string()),
            Err(panicked) => std::panic::resume_unwind(panicked),
        }
    })
}

/// `[#####-----] 50% 1.0 GB/s, 3 s left`.
fn bar(read: u64, total: u64, since: Duration) -> String {
    if total == 0 {
        return "reading the journals".to_owned();
    }
    let read = read.min(total);
    let percent = read.saturating_mul(100) / total;
    let filled = usize::try_from(read.saturating_mul(BAR_WIDTH as u64) / total).unwrap_or(BAR_WIDTH);
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1);
    let per_second = u64::try_from(u128::from(read) * 1000 / u128::from(millis)).unwrap_or(u64::MAX);
    let left =
        (total - read).checked_div(per_second).map_or(String::new(), |left| format!(", {left} s left"));
    let rate = per_second / 1_000_000;
    format!("[{}{}] {percent}% {rate} MB/s{left}", "#".repeat(filled), "-".repeat(BAR_WIDTH - filled))
}

fn to_text(directory: &Path, verified: &Verified) -> String {
    let mut text = String::new();
    for finding in &verified.findings {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{finding}");
    }
    let damages = verified.findings.iter().filter(|finding| finding.severity == Severity::Damage).count();
    let Verified { partitions, segments, batches, bytes, frames, clean, .. } = verified;
    let stop = if *clean { "after a clean stop" } else { "not after a clean stop" };
    let verdict = if damages == 0 { "nothing is damaged".to_owned() } else { format!("{damages} damaged") };
    let _ = writeln!(
        text,
        "{}: {partitions} partitions, {segments} segments, {batches} batches, {bytes} bytes, {frames} journal frames, {stop}: {verdict}",
        directory.display()
    );
    text
}

fn to_json(directory: &Path, verified: &Verified) -> String {
    let finding = |finding: &Finding| {
        json!({
            "file": finding.path.display().to_string(),
            "position": finding.position,
            "partition": finding.partition,
            "damage": finding.severity == Severity::Damage,
            "what": finding.what,
        })
    };
    let object = json!({
        "directory": directory.display().to_string(),
        "clean": verified.clean,
        "partitions": verified.partitions,
        "segments": verified.segments,
        "batches": verified.batches,
        "bytes": verified.bytes,
        "journalFrames": verified.frames,
        "damaged": verified.is_damaged(),
        "findings": verified.findings.iter().map(finding).collect::<Vec<_>>(),
    });
    format!("{object}\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::bar;

    #[test]
    fn the_bar_says_how_far_how_fast_and_how_long() {
        let half = bar(500_000_000, 1_000_000_000, Duration::from_secs(1));
        assert_eq!(half, "[###############---------------] 50% 500 MB/s, 1 s left");
        assert_eq!(bar(0, 10, Duration::ZERO), "[------------------------------] 0% 0 MB/s");
        assert_eq!(bar(0, 0, Duration::ZERO), "reading the journals");
    }
}
