//! A broker under test: the binary on a free port, in a directory that may outlive it, ended by
//! its process id.

use std::env;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How many times a tenth of a second a start, a stop or a read may take before a test gives up.
/// It bounds a hang; no test asserts on time.
pub const POLLS_MAX: u32 = 600;

/// The binary under test: `TESTS_BROKER`, else the release build.
pub fn binary() -> PathBuf {
    let built = || crate::crate_root().join("../target/release/ringmain");
    env::var_os("TESTS_BROKER").map_or_else(built, PathBuf::from)
}

/// Asks `done` every tenth of a second until it answers; panics with `what` after a minute.
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    for _ in 0..POLLS_MAX {
        if let Some(answer) = done() {
            return answer;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("waited a minute for {what}");
}

/// A port that was free a moment ago, below those the kernel gives to clients: a client that tries
/// one of those again and again before the broker listens there may connect to itself.
pub fn free_port() -> u16 {
    loop {
        let any = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", 10_000 + any % 20_000)) {
            return listener.local_addr().unwrap().port();
        }
    }
}

/// A running broker. Dropping it kills it.
#[derive(Debug)]
pub struct Broker {
    process: Child,
    /// Its address.
    pub address: String,
    log: PathBuf,
}

impl Broker {
    /// Starts the binary with `directory` as its data and `settings` (`key=value`), and returns
    /// when it accepts connections. Two shards, if the settings say no number: what can happen between shards
    /// should, whatever the machine. Its output is appended to `DIRECTORY.log`.
    pub fn start(directory: &Path, settings: &[&str]) -> Broker {
        Broker::launch(directory, settings).listening()
    }

    /// The same, but returns at once: it listens soon.
    pub fn launch(directory: &Path, settings: &[&str]) -> Broker {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(binary());
        command.args(["--set", &format!("listeners=PLAINTEXT://{address}")]);
        command.args(["--set", &format!("log.dirs={}", directory.display())]);
        if !settings.iter().any(|setting| setting.starts_with("ringmain.shards=")) {
            command.args(["--set", "ringmain.shards=2"]);
        }
        for setting in settings {
            command.args(["--set", setting]);
        }
        Broker::spawn(command, address, directory.with_extension("log"))
    }

    /// Starts the binary with a configuration file, which makes it listen on `address`. Its output is appended to
    /// `FILE.log`.
    pub fn start_with_file(file: &Path, address: String) -> Broker {
        let mut command = Command::new(binary());
        command.arg("--config").arg(file);
        Broker::spawn(command, address, file.with_extension("log")).listening()
    }

    fn spawn(mut command: Command, address: String, log: PathBuf) -> Broker {
        let output = File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("{}: {error}; build it with `cargo build --release`", binary().display())
        });
        Broker { process, address, log }
    }

    fn listening(mut self) -> Broker {
        wait_for("the broker to listen", || {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the broker ended with {status}:\n{}", self.log());
            }
            TcpStream::connect(&self.address).ok()
        });
        self
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap())
    }

    /// What it has printed since the directory was made.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as a power switch would, as far as a process can be: SIGKILL.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends SIGTERM and returns its exit status.
    pub fn stop(self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended()
    }

    /// Waits for its end, after a signal, and returns its exit status.
    pub fn ended(mut self) -> ExitStatus {
        wait_for("the broker to end after SIGTERM", || self.process.try_wait().unwrap())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Its resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most resident memory that it had, in bytes, since [`Broker::forget_resident_bytes_max`].
    pub fn resident_bytes_max(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// From now on [`Broker::resident_bytes_max`] begins anew (proc(5), `clear_refs`).
    pub fn forget_resident_bytes_max(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").unwrap();
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        if thread::panicking() {
            eprintln!("--- the broker's output\n{}", self.log());
        }
    }
}
