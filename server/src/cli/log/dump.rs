//! `ringmain log dump`: what stands in files, a line each: `kind name: value …`, or with `--json` one object a line.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use ringmain_storage::inspect::dump::{DumpOptions, dump};

use super::row;

/// Arguments of `ringmain log dump`.
#[derive(Args, Debug, Clone)]
pub(super) struct DumpArgs {
    /// A file of a log directory, or a directory: then every file in it whose name says what it is.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The records of each batch as well, decompressed.
    #[arg(long)]
    records: bool,
}

/// Prints everything; whether something is damaged.
pub(super) fn run(args: &DumpArgs, json: bool) -> Result<bool, String> {
    let mut out = BufWriter::with_capacity(1 << 18, io::stdout().lock());
    let mut damaged = false;
    let mut failed = None;
    let mut shown: Option<PathBuf> = None;
    for path in &args.paths {
        let options = DumpOptions { records: args.records };
        let dumped = dump(path, options, &mut |path, row| {
            let written = if json {
                writeln!(out, "{}", row::json(path, &row))
            } else {
                let heading = if shown.as_deref() == Some(path) {
                    Ok(())
                } else {
                    shown = Some(path.to_owned());
                    writeln!(out, "{}", path.display())
                };
                heading.and_then(|()| writeln!(out, "{}", row::line(&row)))
            };
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        let dumped = dumped.map_err(|error| error.to_string())?;
        damaged |= dumped.damaged;
        if dumped.files == 0 {
            return Err(format!("{}: no file in it has the name of one of a log directory", path.display()));
        }
    }
    match failed.map_or_else(|| out.flush(), Err) {
        // The reader of our output went away, as `head` does: that is its right.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(damaged),
    }
}
