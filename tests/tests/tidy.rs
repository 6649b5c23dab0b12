//! The rules of the source tree that no compiler checks: headers, sizes, who may import whom,
//! and documented items. A rule that is broken prints every place at once.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A file is split before it reaches this many lines.
const FILE_LINES_MAX: usize = 600;

/// Source roots under the rules, relative to the workspace.
const ROOTS: [&str; 5] = ["storage", "server", "bench", "tests", "tuning"];

/// Which of our crates each crate may depend on (design.md, "The workspace").
const CRATES: [(&str, &[&str]); 6] = [
    ("storage", &[]),
    // On itself, for its own tests: with random values of every type.
    ("server/protocol", &["ringmain-protocol"]),
    ("server", &["ringmain-storage", "ringmain-protocol", "ringmain-bench", "ringmain-tune"]),
    ("bench", &["ringmain-protocol", "ringmain-storage"]),
    ("tests", &[]),
    ("tuning", &[]),
];

/// A word that only the listed places may name. A place is a folder (ends in `/`) or a file.
struct Import {
    word: &'static str,
    within: &'static str,
    allowed: &'static [&'static str],
    reason: &'static str,
}

/// The table of who may name whom.
const IMPORTS: &[Import] = &[
    Import {
        word: "io_uring",
        within: "",
        allowed: &["storage/src/io/", "server/src/runtime/", "server/src/net/"],
        reason: "rings are made in one place",
    },
    Import {
        word: "tokio::",
        within: "",
        allowed: &[
            // The executor is behind the seam, so that everything else runs simulated.
            "storage/src/io/",
            "server/src/net/",
            "server/src/control.rs",
            "server/src/control/",
            "server/src/admin/",
            "server/src/cluster/",
            "bench/",
        ],
        reason: "the executor is behind one seam; the control plane and load generators have their own",
    },
    Import {
        word: "ringmain_protocol",
        within: "storage/",
        allowed: &[],
        reason: "storage knows no network and no API versions",
    },
    Import {
        word: "ringmain_protocol::messages",
        within: "server/src/",
        allowed: &["server/src/handler/", "server/src/net/", "server/src/cli/", "server/src/cluster/"],
        reason: "below handler/ there are no request or response types and no API versions",
    },
    Import {
        word: "ringmain_bench",
        within: "server/src/",
        allowed: &["server/src/main.rs"],
        reason: "only main.rs touches the load generators",
    },
    Import {
        word: "ringmain_tune",
        within: "server/src/",
        allowed: &["server/src/main.rs"],
        reason: "only main.rs touches the tuning crate",
    },
];

/// One source file under the rules.
struct Source {
    path: String,
    text: String,
    generated: bool,
}

impl Source {
    fn read(root: &Path, path: &Path) -> Source {
        let text = fs::read_to_string(path).unwrap();
        let generated = text.lines().take(6).any(|line| line.contains("@generated"));
        let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        Source { path, text, generated }
    }

    /// The lines outside comments and outside `#[cfg(test)] mod`, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests_from =
            self.text.lines().position(|line| line.trim() == "#[cfg(test)]").unwrap_or(usize::MAX);
        self.text
            .lines()
            .enumerate()
            .take_while(move |(index, _)| *index < tests_from)
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(index, line)| (index + 1, line))
    }
}

fn workspace() -> PathBuf {
    ringmain_tests::crate_root().parent().unwrap().to_owned()
}

fn sources() -> Vec<Source> {
    let root = workspace();
    let mut folders: Vec<PathBuf> = ROOTS.iter().map(|name| root.join(name)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !matches!(name, "target" | ".cache" | "node_modules" | "corpus" | "artifacts") {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                found.push(Source::read(&root, &path));
            }
        }
    }
    assert!(found.len() > 5, "the tree was not found");
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

fn report(broken: &[String]) {
    let mut text = String::new();
    for line in broken {
        writeln!(text, "  {line}").unwrap();
    }
    assert!(broken.is_empty(), "{} places break the rule:\n{text}", broken.len());
}

#[test]
fn every_file_says_what_it_is() {
    let broken: Vec<String> = sources()
        .iter()
        .filter(|source| !source.generated)
        .filter(|source| !source.text.starts_with("//!") && !source.text.starts_with("#!"))
        .map(|source| format!("{}: does not begin with a //! header", source.path))
        .collect();
    report(&broken);
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let broken: Vec<String> = sources()
        .iter()
        .filter(|source| !source.generated && source.text.lines().count() > FILE_LINES_MAX)
        .map(|source| {
            format!("{}: {} lines, the limit is {FILE_LINES_MAX}", source.path, source.text.lines().count())
        })
        .collect();
    report(&broken);
}

#[test]
fn crates_depend_only_on_what_the_table_allows() {
    let mut broken = Vec::new();
    for (folder, allowed) in CRATES {
        let manifest = fs::read_to_string(workspace().join(folder).join("Cargo.toml")).unwrap();
        let mut dependencies = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                dependencies = line.contains("dependencies");
                continue;
            }
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if dependencies && name.starts_with("ringmain") && !allowed.contains(&name) {
                broken.push(format!("{folder}/Cargo.toml: may not depend on {name}"));
            }
        }
    }
    report(&broken);
}

#[test]
fn modules_name_only_what_the_table_allows() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.path != "tests/tests/tidy.rs") {
        for rule in IMPORTS.iter().filter(|rule| source.path.starts_with(rule.within)) {
            if rule.allowed.iter().any(|place| source.path.starts_with(place)) {
                continue;
            }
            for (number, line) in source.code().filter(|(_, line)| line.contains(rule.word)) {
                let shown = line.trim();
                broken.push(format!(
                    "{}:{number}: names {}: {} ({shown})",
                    source.path, rule.word, rule.reason
                ));
            }
        }
    }
    report(&broken);
}

/// The name of the item that a line declares public, if it declares one that needs a comment.
/// Modules and re-exports are left out (a module's comment is the header of its file), and so are
/// items whose name a macro fills in.
fn public_item(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub")?;
    let rest = if rest.starts_with('(') { rest.split_once(')')?.1 } else { rest };
    let mut words =
        rest.strip_prefix(' ')?.split([' ', '(', '<', ':', ';', '{']).filter(|word| !word.is_empty());
    let mut kind = words.next()?;
    while matches!(kind, "async" | "unsafe" | "extern" | "\"C\"" | "default") {
        kind = words.next()?;
    }
    let name = words.next()?;
    match kind {
        "const" if name == "fn" || name == "unsafe" => words.next(),
        "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union" => Some(name),
        _ => None,
    }
}

#[test]
fn every_public_and_crate_public_item_is_documented() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.generated) {
        let mut documented = false;
        let mut attribute_depth = 0_usize;
        for (index, line) in source.text.lines().enumerate() {
            let line = line.trim();
            if line == "#[cfg(test)]" {
                break;
            }
            if attribute_depth > 0 || line.starts_with("#[") {
                documented |= attribute_depth == 0 && line.starts_with("#[doc");
                let open = line.matches('[').count();
                attribute_depth = (attribute_depth + open).saturating_sub(line.matches(']').count());
                continue;
            }
            if line.starts_with("///") {
                documented = true;
                continue;
            }
            if let Some(name) = public_item(line).filter(|name| !documented && !name.starts_with('$')) {
                broken.push(format!("{}:{}: {name} has no comment", source.path, index + 1));
            }
            documented = false;
        }
    }
    report(&broken);
}

#[test]
fn every_promise_names_tests_that_exist() {
    let promises = fs::read_to_string(workspace().join("storage/docs/promises.md")).unwrap();
    let sources = sources();
    // What stands in backticks and looks like the name of a test.
    let names: Vec<_> =
        promises.split('`').skip(1).step_by(2).filter(|name| name.matches('_').count() > 3).collect();
    assert!(names.len() > 15, "found {names:?}");
    let is_missing = |name: &&str| {
        let test = format!("#[test]\nfn {name}() {{");
        !sources.iter().any(|source| source.text.contains(&test))
    };
    report(
        &names
            .into_iter()
            .filter(is_missing)
            .map(|name| format!("no test is called {name}"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn the_scanner_sees_each_form_of_a_public_item() {
    assert_eq!(public_item("pub fn name(x: u8)"), Some("name"));
    assert_eq!(public_item("pub(crate) async fn name<T>()"), Some("name"));
    assert_eq!(public_item("pub(in crate::log) const fn name()"), Some("name"));
    assert_eq!(public_item("pub const LIMIT: usize = 1;"), Some("LIMIT"));
    assert_eq!(public_item("pub struct Name;"), Some("Name"));
    assert_eq!(public_item("pub mod name;"), None);
    assert_eq!(public_item("pub use name::Name;"), None);
    assert_eq!(public_item("publish(1);"), None);
    assert_eq!(public_item("pub field: u8,"), None);
}
