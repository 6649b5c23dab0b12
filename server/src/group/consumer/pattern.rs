//! Expressions that stand for topics, in RE2's syntax, which is that of Kafka's clients. The engine here is of the same
//! family (linear time, no look-around); where its syntax means something else the expression is written anew.
//!
//! | RE2 | here |
//! |---|---|
//! | `\Q…\E` is literal text | each character escaped |
//! | `[`, `&`, `~` in a class are themselves | escaped, since they nest and cut classes here |
//! | `\C`, a byte, and `\1`, which is no octal number | refused |
//!
//! An expression matches a whole name. What one may take in memory is bounded.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::super::cluster::Cluster;

/// Bytes that a compiled expression may take: enough for a few thousand names in a row.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Bytes of an expression.
const BYTES_MAX: usize = 32 << 10;

/// An expression that can be held against names.
#[derive(Debug)]
pub(super) struct Pattern(Regex);

/// It is none.
#[derive(Debug)]
pub(super) struct NoPattern;

impl Pattern {
    /// Reads an expression.
    pub(super) fn new(text: &str) -> Result<Self, NoPattern> {
        if text.len() > BYTES_MAX {
            return Err(NoPattern);
        }
        let own = translate(text)?;
        let build = |text: &str| {
            let mut builder = RegexBuilder::new(text);
            builder.octal(true).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX);
            builder.build().map_err(|_| NoPattern)
        };
        // By itself first: a bracket too many must not find its mate around it.
        build(&own)?;
        build(&format!(r"\A(?:{own})\z")).map(Self)
    }

    /// The topics whose whole names it matches.
    pub(super) fn topics(&self, cluster: &dyn Cluster) -> BTreeSet<Arc<str>> {
        cluster.topic_names().filter(|name| self.0.is_match(name)).cloned().collect()
    }
}

/// The same expression in this engine's syntax.
fn translate(text: &str) -> Result<String, NoPattern> {
    let mut own = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_class = false;
    while let Some(next) = rest.chars().next() {
        let taken = if let Some(literal) = rest.strip_prefix(r"\Q") {
            let literal = literal.split_once(r"\E").map_or(literal, |(literal, _)| literal);
            own.push_str(&regex::escape(literal));
            rest = &rest[2 + literal.len()..];
            rest = rest.strip_prefix(r"\E").unwrap_or(rest);
            continue;
        } else if next == '\\' {
            let mut after = rest.chars().skip(1);
            let escaped = after.next().ok_or(NoPattern)?;
            let is_back = matches!(escaped, '1'..='7') && !matches!(after.next(), Some('0'..='7'));
            if escaped == 'C' || is_back {
                return Err(NoPattern);
            }
            1 + escaped.len_utf8()
        } else if in_class && rest.starts_with("[:") {
            rest.find(":]").map_or(1, |end| end + 2)
        } else if in_class {
            in_class = next != ']';
            if matches!(next, '[' | '&' | '~') {
                own.push('\\');
            }
            next.len_utf8()
        } else if next == '[' {
            in_class = true;
            // A bracket that closes is itself if it comes first.
            ["[^]", "[]", "[^", "["].into_iter().find(|start| rest.starts_with(start)).map_or(1, str::len)
        } else {
            next.len_utf8()
        };
        let (piece, after) = rest.split_at(taken);
        own.push_str(piece);
        rest = after;
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).unwrap().0.is_match(name)
    }

    #[test]
    fn a_whole_name_matches_or_none() {
        assert!(matches("a|b", "a") && matches("a|b", "b"));
        assert!(!matches("a|b", "ab") && !matches("topic", "a-topic") && !matches("topic", "topic-a"));
        assert!(matches("(?i)TOPIC-[0-9]+", "topic-17"));
        assert!(matches("^topic$", "topic"));
        assert!(matches(".*", "") && matches("", "") && !matches("", "a"));
    }

    #[test]
    fn the_syntax_is_that_of_re2() {
        assert!(matches(r"\Qa.b\E.", "a.bc") && !matches(r"\Qa.b\E.", "axbc"));
        assert!(matches(r"\Qa.b", "a.b"));
        assert!(matches("[a[]", "[") && matches("[a&&b]", "&") && matches("[a&&b]", "a"));
        assert!(matches("[]a]", "]") && matches("[^]a]", "b") && !matches("[^]a]", "]"));
        assert!(matches("[[:alpha:]_]+", "a_b") && matches(r"\141", "a") && matches(r"\x{61}", "a"));
        assert!(matches("(?P<n>a)", "a") && matches(r"\pL", "a") && matches("a{2,3}?", "aa"));
        for bad in ["(", ")", "a)(b", "[", "*", "(?=a)", r"\C", r"\", r"(a)\1", "a{2000}{2000}", "[b-a]"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
        assert!(Pattern::new(&"a".repeat(40_000)).is_err());
    }
}
