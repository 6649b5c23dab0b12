//! `ringmain completions SHELL`: a script that completes this program's commands and flags, for a file that the shell
//! reads. It is made from the same description of the command line that parses it, so it cannot fall behind.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::{Shell, generate};

/// Arguments of `ringmain completions`.
#[derive(Args, Debug, Clone)]
pub struct CompletionsArgs {
    /// Which shell.
    shell: Shell,
}

/// Prints the script for `command`, the whole program.
pub fn run(args: &CompletionsArgs, mut command: Command) -> ExitCode {
    let mut script = Vec::new();
    generate(args.shell, &mut command, "ringmain", &mut script);
    match io::stdout().lock().write_all(&script) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads on.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringmain completions: {error}");
            ExitCode::FAILURE
        }
    }
}
