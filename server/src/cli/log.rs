//! `ringmain log`: a stopped broker's log directory shown (`dump`) and checked (`verify`). Nothing is opened for writing.
//!
//! Exit codes: 0 nothing is damaged; 1 something is; 2 it could not be looked at: wrong arguments, no such file, no log
//! directory, a broker that uses it.

mod dump;
mod row;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Arguments of `ringmain log`.
#[derive(Args, Debug, Clone)]
pub struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

/// What is done with files.
#[derive(Subcommand, Debug, Clone)]
enum LogCommand {
    /// Prints what stands in segments, indexes, snapshots, checkpoints and journals.
    Dump(dump::DumpArgs),
    /// Checks every checksum, index entry and journal frame of a stopped broker's log directory.
    Verify(verify::VerifyArgs),
}

/// Something could not be looked at.
const UNUSABLE: u8 = 2;

/// Runs the command.
pub fn run(args: &LogArgs) -> ExitCode {
    let done = match &args.command {
        LogCommand::Dump(dump) => dump::run(dump, args.json),
        LogCommand::Verify(verify) => verify::run(verify, args.json),
    };
    match done {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::FAILURE,
        Err(what) => {
            eprintln!("ringmain log: {what}");
            ExitCode::from(UNUSABLE)
        }
    }
}
