//! What commands that ask and change print: JSON where it is asked for, else columns, aligned and with a heading on a terminal, with
//! tabs between them and without a heading for the next program. It is printed once, at the end.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde_json::Value;

use super::error::CliError;

/// Gathers what is printed.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    terminal: bool,
    text: String,
    values: Vec<Value>,
}

impl Output {
    /// Nothing yet.
    pub(crate) fn new(json: bool) -> Self {
        Self { json, terminal: io::stdout().is_terminal(), text: String::new(), values: Vec::new() }
    }

    /// Adds one thing for JSON.
    pub(crate) fn value(&mut self, value: Value) {
        self.values.push(value);
    }

    /// Adds a line for people.
    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Adds rows of columns.
    pub(crate) fn table(&mut self, heading: &[&str], rows: &[Vec<String>]) {
        let text = if self.terminal { aligned(heading, rows) } else { tabbed(rows) };
        self.text.push_str(&text);
    }

    fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Prints what was gathered and says how the command ends: what was done is told, whatever became of the rest.
    pub(crate) fn end(&self, command: &str, done: Result<(), CliError>) -> ExitCode {
        let printed = if done.is_ok() || !self.is_empty() { self.print() } else { Ok(()) };
        let Err(error) = done.and(printed) else { return ExitCode::SUCCESS };
        if error.is_closed_pipe() {
            return ExitCode::SUCCESS;
        }
        eprintln!("ringmain {command}: {error}");
        error.exit_code()
    }

    fn print(&self) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        let printed = if self.json {
            let whole = serde_json::to_string_pretty(&self.values).unwrap_or_default();
            writeln!(out, "{whole}")
        } else {
            out.write_all(self.text.as_bytes())
        };
        printed.and_then(|()| out.flush()).map_err(CliError::Terminal)
    }
}

fn tabbed(rows: &[Vec<String>]) -> String {
    rows.iter().map(|row| row.join("\t") + "\n").collect()
}

/// Columns as wide as their widest cell, two blanks apart.
fn aligned(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(ToString::to_string).collect();
    let all = || std::iter::once(&heading).chain(rows);
    let width = |column: usize| {
        all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    all().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{aligned, tabbed};

    #[test]
    fn columns_are_aligned_for_people_and_tabbed_for_programs() {
        let rows = [["orders", "12"], ["ä", "3"]].map(|row| row.map(ToOwned::to_owned).to_vec());
        assert_eq!(aligned(&["NAME", "PARTITIONS"], &rows), "NAME    PARTITIONS\norders  12\nä       3\n");
        assert_eq!(tabbed(&rows), "orders\t12\nä\t3\n");
    }
}
