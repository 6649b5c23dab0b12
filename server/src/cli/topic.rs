//! `ringmain topic`: topics made, listed, described, altered and deleted, on any Kafka-protocol broker.
//!
//! Exit codes: 0 done; 1 refused by the broker, with the error's name and message on standard error, or no broker there;
//! 2 arguments that cannot be. Of several topics those that can be are done, whatever becomes of the others.

mod alter;
mod create;
mod delete;
mod describe;
mod list;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::client::Client;
use super::output::Output;

/// Arguments of `ringmain topic`.
#[derive(Args, Debug, Clone)]
pub struct TopicArgs {
    #[command(subcommand)]
    command: TopicCommand,
    /// A broker, as HOST:PORT; of several with commas between them the first that answers.
    #[arg(short, long, global = true, default_value = "127.0.0.1:9092", value_name = "HOST:PORT")]
    bootstrap: String,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

/// What is done to topics.
#[derive(Subcommand, Debug, Clone)]
enum TopicCommand {
    /// Makes topics.
    Create(create::CreateArgs),
    /// Lists topics.
    List(list::ListArgs),
    /// Shows partitions, leaders, replicas and what is configured.
    Describe(describe::DescribeArgs),
    /// Adds partitions and changes the configuration.
    Alter(alter::AlterArgs),
    /// Deletes topics with all their records.
    Delete(delete::DeleteArgs),
}

/// Runs the command.
pub fn run(args: &TopicArgs) -> ExitCode {
    let mut output = Output::new(args.json);
    let done = Client::connect(&args.bootstrap).and_then(|mut client| match &args.command {
        TopicCommand::Create(create) => create::run(create, &mut client, &mut output),
        TopicCommand::List(list) => list::run(list, &mut client, &mut output),
        TopicCommand::Describe(describe) => describe::run(describe, &mut client, &mut output),
        TopicCommand::Alter(alter) => alter::run(alter, &mut client, &mut output),
        TopicCommand::Delete(delete) => delete::run(delete, &mut client, &mut output),
    });
    output.end("topic", done)
}

/// Reads `KEY=VALUE`.
fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is not of the form KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
