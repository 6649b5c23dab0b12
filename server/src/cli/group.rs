//! `ringmain group`: consumer groups listed, described, moved and deleted, on any Kafka-protocol broker.
//!
//! Exit codes: 0 done; 1 refused by the broker, with the error's name and message on standard error, or no broker there;
//! 2 arguments that cannot be. Of several groups those that can be are done, whatever becomes of the others.

mod coordinator;
mod delete;
mod describe;
mod list;
mod members;
mod reset_offsets;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::client::Client;
use super::output::Output;

pub(crate) use coordinator::{TOPIC_NAMES_UNTIL, committed, coordinator};
pub(crate) use members::{CONSUMER, unversioned, versioned};

/// Arguments of `ringmain group`.
#[derive(Args, Debug, Clone)]
pub struct GroupArgs {
    #[command(subcommand)]
    command: GroupCommand,
    /// A broker, as HOST:PORT; of several with commas between them the first that answers.
    #[arg(short, long, global = true, default_value = "127.0.0.1:9092", value_name = "HOST:PORT")]
    bootstrap: String,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

/// What is done to groups.
#[derive(Subcommand, Debug, Clone)]
enum GroupCommand {
    /// Lists groups.
    List(list::ListArgs),
    /// Shows state, members, committed offsets and lag.
    Describe(describe::DescribeArgs),
    /// Moves the committed offsets of a group without members; without --execute it only shows what would be done.
    ResetOffsets(reset_offsets::ResetOffsetsArgs),
    /// Deletes groups without members, with what they committed.
    Delete(delete::DeleteArgs),
}

/// Runs the command.
pub fn run(args: &GroupArgs) -> ExitCode {
    let mut output = Output::new(args.json);
    let done = Client::connect(&args.bootstrap).and_then(|mut client| match &args.command {
        GroupCommand::List(list) => list::run(list, &mut client, &mut output),
        GroupCommand::Describe(describe) => describe::run(describe, &mut client, &mut output),
        GroupCommand::ResetOffsets(reset) => reset_offsets::run(reset, &mut client, &mut output),
        GroupCommand::Delete(delete) => delete::run(delete, &mut client, &mut output),
    });
    output.end("group", done)
}
