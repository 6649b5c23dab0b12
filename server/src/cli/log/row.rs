//! A row of a dump as a line for people and as JSON.

use std::fmt::Write;
use std::path::Path;

use ringmain_storage::inspect::dump::{Row, Value};
use serde_json::{Map, Value as Json, json};

/// `kind name: value …`. Records' bytes are shown as text, what is none of it escaped.
pub(super) fn line(row: &Row) -> String {
    let mut line = row.kind.to_owned();
    for (name, value) in &row.fields {
        // Writing to a string cannot fail.
        let _ = write!(line, " {name}: ");
        let _ = match value {
            Value::Absent => write!(line, "none"),
            Value::Number(number) => write!(line, "{number}"),
            Value::Count(count) => write!(line, "{count}"),
            Value::Flag(flag) => write!(line, "{flag}"),
            Value::Text(text) => write!(line, "{text}"),
            Value::Bytes(bytes) => write!(line, "{}", bytes.escape_ascii()),
            Value::Pairs(pairs) => {
                let shown = pairs.iter().map(|(name, value)| match value {
                    Some(value) => format!("{}={}", name.escape_debug(), value.escape_ascii()),
                    None => name.escape_debug().to_string(),
                });
                write!(line, "[{}]", shown.collect::<Vec<_>>().join(", "))
            }
        };
    }
    line
}

/// One object: `file`, `kind`, then the row's own names.
pub(super) fn json(path: &Path, row: &Row) -> Json {
    let mut object = Map::new();
    object.insert("file".to_owned(), path.display().to_string().into());
    // An entry of the journal has a kind of its own.
    object.insert("row".to_owned(), row.kind.into());
    for (name, value) in &row.fields {
        let value = match value {
            Value::Absent => Json::Null,
            Value::Number(number) => (*number).into(),
            Value::Count(count) => (*count).into(),
            Value::Flag(flag) => (*flag).into(),
            Value::Text(text) => text.as_str().into(),
            Value::Bytes(value) => bytes(value),
            Value::Pairs(pairs) => {
                let pair = |(name, value): &(String, Option<Vec<u8>>)| json!({ "key": name, "value": value.as_deref().map_or(Json::Null, bytes) });
                pairs.iter().map(pair).collect()
            }
        };
        object.insert((*name).to_owned(), value);
    }
    Json::Object(object)
}

/// A string if it is text, else an object with its bytes in hexadecimal.
fn bytes(bytes: &[u8]) -> Json {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.into();
    }
    let mut hex = String::new();
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    json!({ "hex": hex })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ringmain_storage::inspect::dump::{Row, Value};

    use super::{json, line};

    #[test]
    fn bytes_that_are_no_text_are_shown_whole() {
        let pairs = vec![("a".to_owned(), None), ("b".to_owned(), Some(b"c\n".to_vec()))];
        let fields = vec![
            ("offset", Value::Number(-1)),
            ("key", Value::Absent),
            ("payload", Value::Bytes(vec![b'x', 0, 0xff])),
            ("headers", Value::Pairs(pairs)),
        ];
        let row = Row { kind: "record", fields };
        assert_eq!(line(&row), r"record offset: -1 key: none payload: x\x00\xff headers: [a, b=c\n]");
        assert_eq!(
            json(Path::new("f"), &row).to_string(),
            r#"{"file":"f","headers":[{"key":"a","value":null},{"key":"b","value":"c\n"}],"key":null,"offset":-1,"payload":{"hex":"7800ff"},"row":"record"}"#
        );
    }
}
