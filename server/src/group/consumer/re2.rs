//! RE2's syntax, which is that of Kafka's clients, in the syntax of the engine here. Both are of one family (linear time, no
//! look-around), but many signs mean something else in one of them: classes that nest and subtract, `\u`, `\<`, `(?x)`,
//! `a**`, a brace that counts nothing. So an expression is read whole, as RE2/J does that Apache Kafka uses (KIP-848), and
//! only what RE2 knows is written down, in a way that the engine cannot take for anything else.
//!
//! Otherwise than there, a property of characters may be one that only the engine knows (`\p{Alphabetic}`), and flags may not
//! stand between something and its repetition (`a(?i)*`).

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// How often something may be repeated.
const REPEAT_MAX: u32 = 1000;
/// The classes that have names.
const NAMED: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// The same expression in the engine's syntax; `None` if it is none.
pub(super) fn translate(text: &str) -> Option<String> {
    let mut reader = Reader { rest: text, own: String::with_capacity(2 * text.len()), ..Reader::default() };
    while !reader.rest.is_empty() {
        reader.next()?;
    }
    (reader.depth == 0).then_some(reader.own)
}

/// What a brace that opens comes to.
enum Count {
    /// It is just a brace.
    Brace,
    /// A number of repetitions, with its braces.
    Times(String),
}

/// Reading under way.
#[derive(Default)]
struct Reader<'a> {
    rest: &'a str,
    own: String,
    /// Whether what was read last is a repetition: that is not repeated again.
    is_repetition: bool,
    /// Groups that are open.
    depth: usize,
    names: BTreeSet<&'a str>,
}

impl<'a> Reader<'a> {
    fn pop(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn skip(&mut self, prefix: &str) -> bool {
        let after = self.rest.strip_prefix(prefix);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// Up to `end`, and after it.
    fn until(&mut self, end: &str) -> Option<&'a str> {
        let (before, after) = self.rest.split_once(end)?;
        self.rest = after;
        Some(before)
    }

    fn next(&mut self) -> Option<()> {
        let follows_repetition = std::mem::take(&mut self.is_repetition);
        match self.pop()? {
            '(' if self.skip("?") => self.group()?,
            '(' => self.open("("),
            ')' => {
                self.own.push(')');
                self.depth = self.depth.checked_sub(1)?;
            }
            sign @ ('|' | '^' | '$' | '.') => self.own.push(sign),
            '[' => self.class()?,
            '*' | '+' | '?' if follows_repetition => return None,
            sign @ ('*' | '+' | '?') => self.repeat(&sign.to_string()),
            '{' => match self.count()? {
                Count::Times(_) if follows_repetition => return None,
                Count::Times(text) => self.repeat(&text),
                Count::Brace => {
                    self.literal('{');
                    // RE2/J does not let it be repeated.
                    self.is_repetition = true;
                }
            },
            '\\' => self.backslash()?,
            other => self.literal(other),
        }
        Some(())
    }

    fn literal(&mut self, literal: char) {
        self.own.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
    }

    fn open(&mut self, own: &str) {
        self.own.push_str(own);
        self.depth += 1;
    }

    /// A group with flags or a name, after `(?`.
    fn group(&mut self) -> Option<()> {
        if self.skip("P<") || self.skip("<") {
            let name = self.until(">")?;
            let is_good = !name.is_empty() && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
            if !is_good || !self.names.insert(name) {
                return None;
            }
            self.open("(");
            return Some(());
        }
        let (mut on, mut off) = (BTreeSet::new(), BTreeSet::new());
        let mut is_off = false;
        let is_group = loop {
            match self.pop()? {
                flag @ ('i' | 'm' | 's' | 'U') if is_off => drop(off.insert(flag)),
                flag @ ('i' | 'm' | 's' | 'U') => drop(on.insert(flag)),
                '-' if !is_off => is_off = true,
                end @ (':' | ')') if !is_off || !off.is_empty() => break end == ':',
                _ => return None,
            }
        };
        let mut flags: String = on.difference(&off).collect();
        if is_off {
            flags.push('-');
            flags.extend(&off);
        }
        if is_group {
            self.open(&format!("(?{flags}:"));
        } else if !flags.is_empty() {
            write!(self.own, "(?{flags})").ok()?;
        }
        Some(())
    }

    /// What was read last is repeated, as often or as seldom as can be.
    fn repeat(&mut self, text: &str) {
        self.own.push_str(text);
        if self.skip("?") {
            self.own.push('?');
        }
        self.is_repetition = true;
    }

    /// A number of repetitions, after `{`.
    fn count(&mut self) -> Option<Count> {
        let Some((inside, after)) = self.rest.split_once('}') else { return Some(Count::Brace) };
        let (min, max) = inside.split_once(',').map_or((inside, None), |(min, max)| (min, Some(max)));
        let is_number = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|it| it.is_ascii_digit())
                && (text.len() == 1 || !text.starts_with('0'))
        };
        if !is_number(min) || !max.is_none_or(|max| max.is_empty() || is_number(max)) {
            return Some(Count::Brace);
        }
        let number = |text: &str| text.parse().ok().filter(|number| *number <= REPEAT_MAX);
        let least: u32 = number(min)?;
        if let Some(max) = max.filter(|max| !max.is_empty()) {
            number(max).filter(|most| *most >= least)?;
        }
        self.rest = after;
        Some(Count::Times(format!("{{{inside}}}")))
    }

    /// After a backslash that is in no class.
    fn backslash(&mut self) -> Option<()> {
        if self.skip("Q") {
            let (literal, after) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
            self.rest = after;
            literal.chars().for_each(|it| self.literal(it));
            return Some(());
        }
        let sign = self.rest.chars().next()?;
        match sign {
            // In a group of its own, since a brace after it could mean something here.
            'A' | 'b' | 'B' | 'z' => {
                self.pop();
                write!(self.own, r"(?:\{sign})").ok()
            }
            _ if self.set("[", "]")? => Some(()),
            _ => {
                let literal = self.escape()?;
                self.literal(literal);
                Some(())
            }
        }
    }

    /// A set of characters that has a name, after a backslash: true if it is one.
    fn set(&mut self, open: &str, close: &str) -> Option<bool> {
        let Some(sign) = self.rest.chars().next() else { return Some(false) };
        let set = match sign.to_ascii_lowercase() {
            'd' => "0-9",
            's' => r"\t\n\f\r ",
            'w' => "0-9A-Za-z_",
            'p' => {
                self.pop();
                return self.property(sign == 'P').map(|()| true);
            }
            _ => return Some(false),
        };
        self.pop();
        if sign.is_ascii_uppercase() {
            write!(self.own, "[^{set}]").ok()?;
        } else {
            write!(self.own, "{open}{set}{close}").ok()?;
        }
        Some(true)
    }

    fn property(&mut self, is_other: bool) -> Option<()> {
        let mut letter = [0; 4];
        let name = match self.pop()? {
            '{' => self.until("}")?,
            other => other.encode_utf8(&mut letter),
        };
        let (name, is_other) = name.strip_prefix('^').map_or((name, is_other), |name| (name, !is_other));
        let is_good = name.starts_with(|it: char| it.is_ascii_uppercase())
            && name.chars().all(|it| it.is_ascii_alphabetic() || it == '_');
        let sign = if is_other { 'P' } else { 'p' };
        if is_good { write!(self.own, r"\{sign}{{{name}}}").ok() } else { None }
    }

    /// One character, after a backslash.
    fn escape(&mut self) -> Option<char> {
        let sign = self.pop()?;
        let digits = |rest: &str, radix| rest.chars().take_while(|it: &char| it.is_digit(radix)).count();
        let number = match sign {
            'a' => 7,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            '0'..='7' => {
                // One digit that is not 0 would mean what a group matched.
                let more = digits(self.rest, 8).min(2);
                if more == 0 && sign != '0' {
                    return None;
                }
                let (octal, after) = self.rest.split_at(more);
                self.rest = after;
                u32::from_str_radix(&format!("{sign}{octal}"), 8).ok()?
            }
            'x' if self.skip("{") => {
                let hex = self.until("}")?;
                if digits(hex, 16) != hex.chars().count() {
                    return None;
                }
                u32::from_str_radix(hex, 16).ok()?
            }
            'x' if digits(self.rest, 16) >= 2 => {
                let (hex, after) = self.rest.split_at(2);
                self.rest = after;
                u32::from_str_radix(hex, 16).ok()?
            }
            other if !other.is_ascii_alphanumeric() => return Some(other),
            _ => return None,
        };
        char::from_u32(number)
    }

    /// After a bracket that opens a class: a bracket that closes is itself if it comes first, a hyphen wherever it makes no
    /// range.
    fn class(&mut self) -> Option<()> {
        let open = if self.skip("^") { "[^" } else { "[" };
        self.own.push_str(open);
        let mut is_first = true;
        while is_first || !self.rest.starts_with(']') {
            is_first = false;
            if self.rest.starts_with("[:") && self.rest.contains(":]") {
                let name = self.until(":]")?.strip_prefix("[:")?;
                let is_known = NAMED.contains(&name.strip_prefix('^').unwrap_or(name));
                write!(self.own, "[:{name}:]").ok().filter(|()| is_known)?;
                continue;
            }
            if self.rest.starts_with('\\') {
                let before = self.rest;
                self.pop();
                if self.set("", "")? {
                    continue;
                }
                self.rest = before;
            }
            let from = self.class_char()?;
            write!(self.own, r"\x{{{:x}}}", u32::from(from)).ok()?;
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.pop();
                let to = self.class_char().filter(|to| from <= *to)?;
                write!(self.own, r"-\x{{{:x}}}", u32::from(to)).ok()?;
            }
        }
        self.pop();
        self.own.push(']');
        Some(())
    }

    fn class_char(&mut self) -> Option<char> {
        match self.pop()? {
            '\\' => self.escape(),
            other => Some(other),
        }
    }
}
