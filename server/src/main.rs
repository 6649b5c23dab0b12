//! The `ringmain` binary: no subcommand runs the broker; the others are clients and tools.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use ringmain::{cli, start};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A storage engine and broker that speaks Apache Kafka's wire protocol.
///
/// Without a command it runs the broker: data in ./data, 127.0.0.1:9092, topics made on first use.
#[derive(Parser, Debug)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// A configuration file in Kafka's server.properties format.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Shards, each a thread pinned to a CPU; one less than the CPUs without it (`ringmain.shards`).
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// Sets one configuration key; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Prints every configuration key with its default and meaning.
    #[arg(long)]
    help_config: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Sends every line of standard input as a record.
    Produce(cli::produce::ProduceArgs),
    /// Prints records, one a line.
    Consume(cli::consume::ConsumeArgs),
    /// Makes, lists, describes, alters and deletes topics.
    Topic(cli::topic::TopicArgs),
    /// Lists, describes and deletes consumer groups, and moves their offsets.
    Group(cli::group::GroupArgs),
    /// Shows and checks what stands in a stopped broker's log directory; changes nothing.
    Log(cli::log::LogArgs),
    /// Prints a script that completes commands and flags, for bash, zsh, fish and others.
    Completions(cli::completions::CompletionsArgs),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Produce(produce)) => cli::produce::run(&produce),
        Some(Command::Consume(consume)) => cli::consume::run(&consume),
        Some(Command::Topic(topic)) => cli::topic::run(&topic),
        Some(Command::Group(group)) => cli::group::run(&group),
        Some(Command::Log(log)) => cli::log::run(&log),
        Some(Command::Completions(completions)) => cli::completions::run(&completions, Arguments::command()),
        None if arguments.help_config => start::print_config_help(),
        None => {
            let mut set = arguments.set;
            set.extend(arguments.shards.map(|shards| format!("ringmain.shards={shards}")));
            start::run_broker(arguments.config.as_deref(), set)
        }
    }
}
