//! Why a command-line client stopped, in words for the person at the terminal.

use std::fmt;
use std::io;
use std::process::ExitCode;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::wire::{DecodeError, EncodeError};

/// What went wrong, and with what.
#[derive(Debug)]
pub(crate) enum CliError {
    /// No connection, or it broke.
    Connection {
        /// `host:port` as it was given or advertised.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The broker's bytes made no sense.
    Decode(DecodeError),
    /// A request of ours cannot be written in that version.
    Encode(EncodeError),
    /// The broker answered with an error code.
    Broker {
        /// What was asked, as words: `produce to logs-3`.
        doing: String,
        /// The code.
        code: ErrorCode,
        /// What the broker said beside it.
        message: Option<String>,
    },
    /// The broker does not speak an API this command needs, in any version we know.
    Unsupported(&'static str),
    /// Standard input or output failed.
    Terminal(io::Error),
    /// The arguments do not fit together or do not fit the topic.
    Usage(String),
}

impl CliError {
    /// Whether asking again, perhaps after looking up the leader anew, can help.
    pub(crate) fn retriable(&self) -> bool {
        match self {
            Self::Connection { .. } => true,
            Self::Broker { code, .. } => code.retriable(),
            _ => false,
        }
    }
}

impl CliError {
    /// 2 for arguments that cannot be, 1 for all else.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }

    /// Whether the reader of our output went away, as `head` does: that is its right.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Terminal(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Ends a command with the first refusal, after all have been told.
pub(crate) fn first_refusal(command: &str, refusals: Vec<CliError>) -> Result<(), CliError> {
    let mut refusals = refusals.into_iter();
    let Some(first) = refusals.next() else { return Ok(()) };
    for other in refusals {
        eprintln!("ringmain {command}: {other}");
    }
    Err(first)
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection { address, source } => {
                write!(f, "{address}: {source}")?;
                if source.kind() == io::ErrorKind::ConnectionRefused {
                    write!(f, " (is a broker running there? --bootstrap HOST:PORT names another)")?;
                }
                Ok(())
            }
            Self::Decode(error) => write!(f, "the broker's answer cannot be read: {error}"),
            Self::Encode(error) => write!(f, "a request cannot be written: {error}"),
            Self::Broker { doing, code, message } => {
                write!(f, "{doing}: {} (code {})", code.name(), code.code())?;
                message.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
            }
            Self::Unsupported(api) => write!(f, "the broker does not speak {api} in a version known here"),
            Self::Terminal(source) => write!(f, "standard input or output: {source}"),
            Self::Usage(text) => f.write_str(text),
        }
    }
}

impl From<DecodeError> for CliError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<EncodeError> for CliError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}
