//! Logs go to standard error: standard output belongs to the commands.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// What the runtime says of itself: it warns that it could not register buffers, which nothing here uses.
const RUNTIME: &str = "glommio";

/// Starts logging with a filter as in `RUST_LOG`; one that cannot be read is an error that says so. The
/// runtime's warnings are left out unless the filter names it.
pub fn start(filter: &str) -> Result<(), String> {
    let whole =
        if filter.contains(RUNTIME) { filter.to_owned() } else { format!("{RUNTIME}=error,{filter}") };
    let filter =
        EnvFilter::try_new(whole).map_err(|error| format!("ringmain.log.filter={filter:?}: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init()
        .map_err(|error| error.to_string())
}
