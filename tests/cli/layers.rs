//! The architecture: imports point down, the verbs know nothing of each other, and every file says what it is for.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::harness::files_below;

/// Top to bottom. A module imports from itself and from those below it.
const LAYERS: [&str; 17] = [
    "commands",
    "batch",
    "app",
    "output",
    "settings",
    "cli",
    "delivery",
    "langfuse",
    "trace",
    "model",
    "http",
    "sandbox",
    "console",
    "failure",
    "content_type",
    "json",
    "secret",
];
const VERBS: [&str; 8] = [
    "batch",
    "chat",
    "check",
    "completions",
    "replay",
    "resend",
    "sandbox",
    "show",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files() -> Vec<PathBuf> {
    let mut files = files_below(&source());
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(files.len() > 20, "{files:?}");
    files
}

/// The code of a file: no comments, and nothing of its tests, which stand at its foot.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    let lines = text.lines().map(|line| {
        let is_comment = line.trim_start().starts_with("//");
        if is_comment { "" } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The names after each `prefix` in `code`: one, or several in braces.
fn names_after(code: &str, prefix: &str) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let first_name = |text: &str| {
        let text = text.trim_start();
        text[..text.find(|c| !is_name(c)).unwrap_or(text.len())].to_owned()
    };
    code.match_indices(prefix)
        .filter(|(at, _)| !code[..*at].ends_with(is_name))
        .flat_map(|(at, _)| {
            let rest = &code[at + prefix.len()..];
            match rest.strip_prefix('{') {
                None => vec![first_name(rest)],
                Some(group) => top_level(group).into_iter().map(first_name).collect(),
            }
        })
        .collect()
}

/// The parts of a `{…}` group of imports, its opening brace already taken away.
fn top_level(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    parts
}

/// The module directly below `src` that a file belongs to.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(source()).unwrap();
    let first = below.components().next().unwrap().as_os_str();
    first.to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| *layer == module)
        .unwrap_or_else(|| panic!("`{module}` has no place among the layers"))
}

#[test]
fn imports_point_down() {
    let mut upward = Vec::new();
    let mut seen = 0;
    for path in rust_files() {
        let own = module(&path);
        if own == "main" {
            continue;
        }
        for imported in names_after(&code(&path), "crate::") {
            seen += 1;
            if layer(&imported) < layer(&own) {
                upward.push(format!("{} imports `{imported}`", path.display()));
            }
        }
    }
    assert!(seen > 50, "only {seen} imports were found");
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn the_layers_are_all_the_modules() {
    let mut modules: Vec<String> = rust_files().iter().map(|path| module(path)).collect();
    modules.sort();
    modules.dedup();
    let mut named: Vec<&str> = LAYERS.iter().copied().chain(["main"]).collect();
    named.sort_unstable();
    assert_eq!(modules, named);
}

#[test]
fn verbs_never_import_each_other() {
    let mut found = Vec::new();
    for verb in VERBS {
        let path = source().join(format!("commands/{verb}.rs"));
        let path = if path.is_file() {
            path
        } else {
            source().join(format!("commands/{verb}/mod.rs"))
        };
        let code = code(&path);
        let siblings = [
            names_after(&code, "use super::"),
            names_after(&code, "crate::commands::"),
        ]
        .concat();
        let others = siblings
            .into_iter()
            .filter(|name| name != verb && VERBS.contains(&name.as_str()));
        found.extend(others.map(|other| format!("{verb} imports {other}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_file_says_at_its_head_what_it_is_for() {
    let silent: Vec<PathBuf> = rust_files()
        .into_iter()
        .chain(files_below(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"),
        ))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn main_is_a_table_of_contents() {
    let main = fs::read_to_string(source().join("main.rs")).unwrap();
    assert!(main.lines().count() <= 40);
}

#[test]
fn imports_are_found_in_every_form() {
    let code = "use crate::a::b;\nuse crate::{c::{d, e}, f};\nlet x = crate::g::h();\nmy_crate::i";
    assert_eq!(names_after(code, "crate::"), ["a", "c", "f", "g"]);
}
