//! Starting and stopping the broker: configuration, checks, lock, control plane, shard, banner, signals.
//! Each step that fails says what to do, and leaves nothing behind but the lock file.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::admin::{Admin, AdminParts, Readiness};
use crate::config::{BrokerConfig, Resolved, Sources, table};
use crate::control::{self, ControlConfig};
use crate::counters::ShardCounters;
use crate::handler::Settings;
use crate::listening::Listening;
use crate::runtime::logging::{self, LogFilter};
use crate::runtime::{directories::Directories, host, signals::StopSignals};
use crate::shards::{Shards, ShardsConfig, shard_count_default};
use ringmain_storage::config::Durability;

/// `ringmain --help-config`.
pub fn print_config_help() -> ExitCode {
    match std::io::stdout().write_all(table::help().as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Runs the broker until it is told to stop: 0 after a clean stop, 1 if it could not start or stop cleanly.
pub fn run_broker(file: Option<&Path>, set: Vec<String>) -> ExitCode {
    match run(file, set) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("ringmain: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn configure(file: Option<&Path>, set: Vec<String>) -> Result<(BrokerConfig, Vec<String>), String> {
    #[expect(clippy::disallowed_methods, reason = "one read before any executor runs")]
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let file = file.map(|path| read(path).map(|text| (path.display().to_string(), text))).transpose()?;
    let sources = Sources { file, environment: std::env::vars().collect(), set };
    let resolved = Resolved::new(&sources).map_err(|error| error.to_string())?;
    let config = BrokerConfig::new(&resolved, host::memory_bytes()).map_err(|error| error.to_string())?;
    Ok((config, resolved.warnings))
}

fn run(file: Option<&Path>, set: Vec<String>) -> Result<(), String> {
    let (config, warnings) = configure(file, set)?;
    let log = logging::start(&config.log_filter)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for note in &config.notes {
        tracing::info!("{note}");
    }
    let signals = StopSignals::block().map_err(|errno| format!("signals cannot be handled: {errno}"))?;
    let mut advice = Vec::new();
    host::check(&mut advice)?;
    let directories = Directories::open(&config.log_dirs, &mut advice)?;
    let mut listening = Listening::open(&config)?;
    let shard_count = config.shards.unwrap_or_else(shard_count_default);
    let counters: Vec<Arc<ShardCounters>> = (0..shard_count).map(|_| Arc::default()).collect();
    let readiness = Readiness::default();
    let parts = AdminParts { counters: &counters, readiness: &readiness, log: log.clone() };
    let admin = Admin::open(&config, parts, &mut advice)?;
    let control_config = ControlConfig {
        log_dirs: directories.online.clone(),
        node_id: config.node_id,
        rack: config.rack.clone(),
        listeners: listening.endpoints.clone(),
        cluster_id: config.cluster_id.clone(),
        num_partitions: config.num_partitions,
        default_replication_factor: config.default_replication_factor,
        snapshot_log_bytes: config.metadata_snapshot_log_bytes,
    };
    let mut control = control::start_with(control_config, admin).map_err(|error| error.to_string())?;

    let (shards, reports) = Shards::open(&ShardsConfig {
        counters,
        log_dirs: directories.online.clone(),
        store: config.store.clone(),
        net: config.net.clone(),
        settings: Settings {
            offline_log_dirs: directories.offline.clone(),
            ..settings(&config, &listening, log, shard_count)
        },
        metadata: Arc::clone(&control.store),
        controller: control.controller.clone(),
    })?;
    for report in reports {
        tracing::debug!("{report:?}");
    }
    shards.serve(std::mem::take(&mut listening.sockets), control.take_updates())?;
    readiness.set(true);
    banner(&directories, &listening, config.store.durability, &advice);
    let signal = signals.wait().map_err(|errno| format!("signals cannot be waited for: {errno}"))?;
    tracing::info!("{signal}: stopping; a second signal ends at once");
    std::thread::spawn(move || {
        // Whatever the wait says, somebody wants the process gone.
        let _ = signals.wait();
        std::process::exit(1);
    });
    readiness.set(false);
    let ended = shards.stop();
    control.stop();
    ended?;
    tracing::info!("stopped");
    Ok(())
}

fn settings(config: &BrokerConfig, listening: &Listening, log: LogFilter, shard_count: usize) -> Settings {
    Settings {
        node_id: config.node_id,
        listeners: listening.addresses.clone(),
        auto_create_topics: config.auto_create_topics,
        delete_topics: config.delete_topics,
        fetch_max_bytes: config.fetch_max_bytes,
        fetch_sessions_max: config.fetch_sessions_max,
        groups: config.groups.of_shard(shard_count),
        internal_topics: config.internal_topics.clone(),
        request_partitions_max: config.request_partitions_max,
        recordless_request_bytes_max: config.recordless_request_bytes_max,
        batch_bytes_max: config.store.batch_bytes_max(),
        log_dirs: config.log_dirs.clone(),
        offline_log_dirs: Vec::new(),
        has_offline_partitions: Arc::default(),
        set_at_start: config.set_at_start.clone(),
        log,
    }
}

fn banner(directories: &Directories, listening: &Listening, durability: Durability, advice: &[String]) {
    let directories: Vec<_> = directories.online.iter().map(|path| path.display().to_string()).collect();
    let bootstrap = listening.bootstrap();
    eprintln!(
        "ringmain {} listens on {}; data in {}",
        env!("CARGO_PKG_VERSION"),
        listening.in_words(),
        directories.join(" and ")
    );
    eprintln!(
        "{}",
        match durability {
            Durability::Strict =>
                "acks=1 and acks=all are answered when the record is on stable media; consumers see it from then on",
            Durability::Relaxed =>
                "durability is relaxed (ringmain.durability): acks=1 and acks=all are answered, and consumers see the record, \
                 before it is on stable media; a power cut may take the last ones back",
        }
    );
    eprintln!(
        "try: echo hello | ringmain produce greetings -b {bootstrap}; ringmain consume greetings --from-beginning -b {bootstrap}"
    );
    for line in advice {
        eprintln!("advice: {line}");
    }
}
