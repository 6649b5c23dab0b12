//! Expressions that stand for topics, in RE2's syntax ([`re2`](super::re2)). One matches a whole name. What it takes in
//! memory, and so how long a name takes it, is bounded: others wait meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::super::cluster::Cluster;
use super::re2;

/// Bytes that a compiled expression may take: 173 KiB are the most for names in a row, and what is counted (`a{1000}`) takes
/// its place as often.
const COMPILED_BYTES_MAX: usize = 192 << 10;
/// Bytes that the engine may take to be quick, for one expression while it is held against names.
const CACHE_BYTES_MAX: usize = 256 << 10;
/// Bytes of an expression.
const BYTES_MAX: usize = 4 << 10;

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
        let own = re2::translate(text).ok_or(NoPattern)?;
        let mut builder = RegexBuilder::new(&format!(r"\A(?:{own})\z"));
        builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(CACHE_BYTES_MAX);
        builder.build().map(Self).map_err(|_| NoPattern)
    }

    /// The topics whose whole names it matches.
    pub(super) fn topics(&self, cluster: &dyn Cluster) -> BTreeSet<Arc<str>> {
        cluster.topic_names().filter(|name| self.0.is_match(name)).cloned().collect()
    }
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

    /// What RE2/J 1.8, which Apache Kafka 4.3 uses, says of each for these names: 1 for a match.
    const NAMES: [&str; 12] = ["a", "b", "aa", "ab", "a-b", "-", "{", "a{2}", "A", "_", "5", "a.b"];
    const VERDICTS: &[(&str, &str)] = &[
        ("[+--]", "000001000000"),
        ("[a-c--]", "110001000000"),
        ("a{1000}", "000000000000"),
        ("a{", "000000000000"),
        ("{", "000000100000"),
        ("a{,2}", "000000000000"),
        ("a{x}", "000000000000"),
        ("{a}", "000000000000"),
        ("a{2}", "001000000000"),
        ("a{01}", "000000000000"),
        ("a{2", "000000000000"),
        ("a??", "100000000000"),
        ("a{2}?", "001000000000"),
        (r"\<a", "000000000000"),
        (r"\b{start}a", "000000000000"),
        (r"\ba\b", "100000000000"),
        (r"\Ba", "000000000000"),
        ("(?i-i)a", "100000000000"),
        ("(?ii)a", "100000001000"),
        ("(?)a", "100000000000"),
        ("(?:)a", "100000000000"),
        ("(?-i)A", "000000001000"),
        ("(?i)A", "100000001000"),
        ("(?i:A)b", "000100000000"),
        ("(?m)^a$", "100000000000"),
        ("(?s).", "110001101110"),
        ("(?U)a+", "101000000000"),
        ("(?P<n>a)", "100000000000"),
        ("(?<n>a)", "100000000000"),
        (r"\pL", "110000001000"),
        (r"\p{L}+", "111100001000"),
        (r"\p{^L}", "000001100110"),
        (r"\PL", "000001100110"),
        (r"\p{Lu}", "000000001000"),
        (r"\p{Greek}", "000000000000"),
        (r"\p{Any}", "110001101110"),
        (r"[\p{L}]", "110000001000"),
        (r"[^\pL]", "000001100110"),
        (r"\d", "000000000010"),
        (r"\D", "110001101100"),
        (r"[\d-z]", "000001000010"),
        (r"[\w.-]+", "111111001111"),
        (r"\w+-\d+", "000000000000"),
        (r"[^\W]", "110000001110"),
        (r"[\s]", "000000000000"),
        ("[[:alpha:]]", "110000001000"),
        ("[[:^alpha:]]", "000001100110"),
        ("[[:word:]]+", "111100001110"),
        ("[:alpha:]", "100000000000"),
        ("[a[:digit:]]", "100000000010"),
        ("[]a]", "100000000000"),
        ("[^]a]", "010001101110"),
        ("[a&&b]", "110000000000"),
        ("[a~~b]", "110000000000"),
        ("[a[b]]", "000000000000"),
        (r"\Qa.b\E", "000000000001"),
        (r"\Qa.b", "000000000001"),
        (r"\Qa\E*", "101000000000"),
        (r"a\Q\E*", "101000000000"),
        (r"\z", "000000000000"),
        (r"a\z", "100000000000"),
        (r"\Aa", "100000000000"),
        (r"\12", "000000000000"),
        (r"\141", "100000000000"),
        (r"\0", "000000000000"),
        (r"\x61", "100000000000"),
        (r"\x{61}", "100000000000"),
        (r"\_", "000000000100"),
        (r"\-", "000001000000"),
        (r"\{", "000000100000"),
        ("^*", "000000000000"),
        ("$*", "000000000000"),
        ("(|a)*", "101000000000"),
        ("()", "000000000000"),
        ("a||b", "110000000000"),
        ("|a", "100000000000"),
        ("a(?i)B", "000100000000"),
        ("^{2}a", "100000000000"),
        ("(a{2}){2}", "000000000000"),
        ("a{0}b", "010000000000"),
        ("a{0,}", "101000000000"),
        ("[a-]", "100001000000"),
        ("[-a]", "100001000000"),
        ("[a-c-e]", "110001000000"),
        (r"[\]]", "000000000000"),
        (r"[\-a]", "100001000000"),
        ("[.]", "000000000000"),
        ("[^a]", "010001101110"),
        (".*", "111111111111"),
        ("", "000000000000"),
        ("a#b", "000000000000"),
        ("é", "000000000000"),
        ("[é]", "000000000000"),
        (r"\é", "000000000000"),
        ("(?i)[a-b]+", "111100001000"),
        (r"[\x{61}-\x{63}]+", "111100000000"),
        (r"[a-\x62]", "110000000000"),
        (r"\a\f\n\r\t\v", "000000000000"),
        ("(?is:A.)", "001100000000"),
        ("(?i-s:A.)", "001100000000"),
        ("[[]", "000000000000"),
        ("[[a]", "100000000000"),
        ("[a:]", "100000000000"),
        ("]", "000000000000"),
        ("}", "000000000000"),
        ("a}", "000000000000"),
        ("-", "000001000000"),
        ("a-b", "000010000000"),
        ("[!-~]", "110001101110"),
        ("~", "000000000000"),
        ("&&", "000000000000"),
        ("a--b", "000000000000"),
    ];
    /// What it does not take for an expression.
    const NO_EXPRESSIONS: &[&str] = &[
        "[a--]",
        "[a--b]",
        "(?x)a b",
        "(?x: a )",
        r"\u0061",
        r"\u{61}",
        r"\U00000061",
        "a{1001}",
        "a{2,1001}",
        "a{3,2}",
        "x{2}{3}",
        "a**",
        "a+*",
        "a???",
        "a*+",
        "a{2}*",
        "(?u)a",
        "(?R)a",
        "(?-)a",
        "(?'n'a)",
        "(?P<n>a)(?P<n>b)",
        "(?P=n)",
        "(?<=a)b",
        "(?!a)b",
        r"\p{greek}",
        r"[a-\d]",
        "[[:foo:]]",
        "[]",
        "[^]",
        "[a",
        "[z-a]",
        r"[\Q]",
        r"[\b]",
        r"\Q\E*",
        r"\E",
        r"\Z",
        r"\G",
        r"\C",
        r"\1",
        r"(a)\1",
        r"\x{110000}",
        r"\x6",
        r"\x{}",
        r"\x{6g}",
        r"\q",
        r"\e",
        r"\h",
        r"\R",
        r"\X",
        r"\N",
        r"\k<n>",
        "a|*",
        "*",
        "+a",
        "(*a)",
        "(",
        ")",
        "a)(b",
        "(?i)*",
        "{2}",
        "a{1,2}{3}",
        "a{2}+",
        "(?--i)a",
        "(?i-)a",
        "(?:a",
        "(?",
        "(?i",
        "(?P",
        "(?P<",
        "(?P<n",
        "(?P<>a)",
        "(?P<n-m>a)",
        "[[:",
        "[[:a",
    ];

    #[test]
    fn the_syntax_is_that_of_re2() {
        for (text, verdict) in VERDICTS {
            let pattern = Pattern::new(text).unwrap_or_else(|_| panic!("{text} is an expression"));
            let own: String =
                NAMES.iter().map(|name| if pattern.0.is_match(name) { '1' } else { '0' }).collect();
            assert_eq!((own.as_str(), *text), (*verdict, *text));
        }
        for text in NO_EXPRESSIONS {
            assert!(Pattern::new(text).is_err(), "{text} is no expression");
        }
    }

    #[test]
    fn what_an_expression_may_take_is_bounded() {
        // As many names as its length lets in.
        let names: Vec<String> = (0..500).map(|number| format!("topic-{number}")).collect();
        assert!(matches(&names.join("|")[..4096], "topic-17"));
        assert!(matches(r"[\w.-]{1,249}", "topic-17") && matches(r"(?i)\pL+-\d+", "topic-17"));
        for large in ["a{1000}{1000}", "(a{100}){100}", r"\pL{900}", &"a".repeat(4097)] {
            assert!(Pattern::new(large).is_err(), "{large}");
        }
    }
}
