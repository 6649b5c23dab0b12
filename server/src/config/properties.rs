//! Java's properties format, as `server.properties` is written in it: `key=value`, `key: value` or
//! `key value`; `#` and `!` begin comments; a backslash at the end of a line goes on in the next;
//! `\t \n \r \f \\ \uXXXX` are escapes, and a backslash before anything else is that character.

/// The keys and values of a text, in order. A key that stands twice comes twice.
pub fn parse(text: &str) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut logical = line.trim_start().to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while continues(&logical) {
            logical.pop();
            let Some(next) = lines.next() else { break };
            logical.push_str(next.trim_start());
        }
        let (key, value) = split(&logical);
        entries.push((unescape(key), unescape(value)));
    }
    entries
}

/// Whether a line ends with a backslash that is not itself escaped.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let is_end = !escaped && (c == '=' || c == ':' || c.is_ascii_whitespace());
        escaped = !escaped && c == '\\';
        is_end
    });
    let (key, rest) = end.map_or((line, ""), |end| line.split_at(end));
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).map_or(rest, str::trim_start);
    (key, value.trim_end())
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                out.push(code.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_forms_of_the_format_are_read() {
        let text = "# comment\n! too\n\na=1\n b : 2\nc 3\nd=x\\\n   y\ne=\\u0041\\tz\nf\\=g=h \nlast=";
        let expected =
            [("a", "1"), ("b", "2"), ("c", "3"), ("d", "xy"), ("e", "A\tz"), ("f=g", "h"), ("last", "")];
        let entries = parse(text);
        let entries: Vec<(&str, &str)> = entries.iter().map(|(key, value)| (&key[..], &value[..])).collect();
        assert_eq!(entries, expected);
    }
}
