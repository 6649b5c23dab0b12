//! How a record is printed.

use std::io::{self, Write};

use ringmain_storage::record::record::Record;

use super::ConsumeArgs;

/// Prints the parts that were asked for, in one line.
pub(super) fn print(
    args: &ConsumeArgs,
    partition: i32,
    record: &Record<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    let separator = args.separator.as_bytes();
    if args.print_offset {
        write!(out, "{partition}:{}", record.offset)?;
        out.write_all(separator)?;
    }
    if args.print_timestamp {
        write!(out, "{}", record.timestamp)?;
        out.write_all(separator)?;
    }
    if args.print_headers {
        for (position, (name, value)) in record.headers.enumerate() {
            if position > 0 {
                out.write_all(b",")?;
            }
            out.write_all(name.as_bytes())?;
            out.write_all(b"=")?;
            out.write_all(value.unwrap_or_default())?;
        }
        out.write_all(separator)?;
    }
    if args.print_key {
        out.write_all(record.key.unwrap_or_default())?;
        out.write_all(separator)?;
    }
    out.write_all(record.value.unwrap_or_default())?;
    out.write_all(b"\n")
}
