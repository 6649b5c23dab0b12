//! The admin listener: metrics, health and the log's level over HTTP, on the control plane's thread. It reads what
//! the shards count and never asks them anything, so it cannot slow a request. There is no authentication: it listens
//! on this host alone unless it is told otherwise.

mod group_metrics;
mod http;
mod metrics;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::config::BrokerConfig;
use crate::counters::ShardCounters;
use crate::runtime::logging::LogFilter;

pub use http::serve;

/// Whether the broker answers requests; shared between whoever starts it and whoever is asked.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on it does, or it does not any more.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Relaxed);
    }

    /// Whether it does.
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// What the admin listener shows.
#[derive(Debug)]
pub struct Admin {
    /// Bound, not served yet.
    pub listener: TcpListener,
    /// The counters, by shard.
    pub counters: Vec<Arc<ShardCounters>>,
    /// Whether requests are answered.
    pub readiness: Readiness,
    /// The filter of the log.
    pub log: LogFilter,
    /// Limits that the metrics put beside what is held.
    pub limits: Limits,
}

/// What the admin listener is given beside the configuration.
#[derive(Debug)]
pub struct AdminParts<'a> {
    /// The counters, by shard.
    pub counters: &'a [Arc<ShardCounters>],
    /// Whether requests are answered.
    pub readiness: &'a Readiness,
    /// The filter of the log.
    pub log: LogFilter,
}

impl Admin {
    /// Binds it, if the configuration wants it. That nobody asked for it and the port is taken is no error, but advice.
    pub fn open(
        config: &BrokerConfig,
        parts: AdminParts<'_>,
        advice: &mut Vec<String>,
    ) -> Result<Option<Self>, String> {
        let Some((address, is_wanted)) = config.admin else { return Ok(None) };
        let listener = match TcpListener::bind(address) {
            Ok(listener) => listener,
            Err(error) if is_wanted => return Err(format!("ringmain.admin.listener={address}: {error}")),
            Err(error) => {
                advice.push(format!(
                    "no metrics on {address} ({error}): set ringmain.admin.listener to a free port, or to `off`"
                ));
                return Ok(None);
            }
        };
        let net = config.net.of_shard(parts.counters.len());
        Ok(Some(Self {
            listener,
            counters: parts.counters.to_vec(),
            readiness: parts.readiness.clone(),
            log: parts.log,
            limits: Limits {
                unhandled_bytes_max: net.received_bytes_max,
                unsent_bytes_max: net.unsent_bytes_max,
                group_bytes_max: config.groups.of_shard(parts.counters.len()).bytes_max,
            },
        }))
    }
}

/// Limits of one shard, to read its gauges against.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of bytes received and not yet handled.
    pub unhandled_bytes_max: usize,
    /// Of answers that no client has taken.
    pub unsent_bytes_max: usize,
    /// Of groups and their offsets.
    pub group_bytes_max: usize,
}
