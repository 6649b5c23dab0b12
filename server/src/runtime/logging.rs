//! Logs go to standard error: standard output belongs to the commands.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use super::log_levels;

/// The running log's filter, which may be changed.
#[derive(Clone)]
pub struct LogFilter {
    text: Arc<Mutex<String>>,
    replace: Arc<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>,
}

impl std::fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LogFilter").field(&self.current()).finish()
    }
}

impl LogFilter {
    /// The filter as it was given.
    pub fn current(&self) -> String {
        self.text().clone()
    }

    /// Takes another filter from now on; the error says what is wrong with it.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        self.change(|_| filter.to_owned())
    }

    /// Every logger with Kafka's name of its level.
    pub fn loggers(&self) -> BTreeMap<String, String> {
        log_levels::all(&self.text())
    }

    /// Gives a logger another level from now on, or none of its own.
    pub fn set_level(&self, logger: &str, level: Option<LevelFilter>) -> Result<(), String> {
        self.change(|filter| log_levels::with(filter, logger, level))
    }

    /// Takes the filter that `next` makes of the one there is. Two who change it at once both have their way.
    fn change(&self, next: impl FnOnce(&str) -> String) -> Result<(), String> {
        let mut text = self.text();
        let filter = next(&text);
        (self.replace)(parse(&filter)?)?;
        *text = filter;
        Ok(())
    }

    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A filter of no log, for tests.
    #[cfg(test)]
    pub(crate) fn of_no_log(filter: &str) -> Self {
        Self { text: Arc::new(Mutex::new(filter.to_owned())), replace: Arc::new(|_| Ok(())) }
    }
}

/// The filter of a text as in `RUST_LOG`.
fn parse(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(filter).map_err(|error| format!("ringmain.log.filter={filter:?}: {error}"))
}

/// Starts logging with a filter as in `RUST_LOG`; one that cannot be read is an error that says so.
pub fn start(filter: &str) -> Result<LogFilter, String> {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_env_filter(parse(filter)?)
        .with_filter_reloading();
    let handle = builder.reload_handle();
    builder.try_init().map_err(|error| error.to_string())?;
    let replace = move |filter| handle.reload(filter).map_err(|error| error.to_string());
    Ok(LogFilter { text: Arc::new(Mutex::new(filter.to_owned())), replace: Arc::new(replace) })
}
