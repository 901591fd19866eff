//! The architecture: imports point down, and verbs do not import each other.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::harness::files_below;

/// All modules, lowest first. A module may import those of its own line and of the lines before it. A name covers the
/// modules below it, unless one of them is listed too: then all of them must be.
const ORDER: &[&str] = &[
    "stdio",
    "embedded",
    "secret",
    "json",
    "content_type",
    "compression",
    "failure",
    "console",
    "sandbox",
    "http",
    "model",
    "trace",
    "expect::same",
    "expect::schema",
    "expect expect::expected",
    "prices",
    "langfuse",
    // Delivery: the forms of a request, then the steps that use them.
    "delivery::payload",
    "delivery::otlp_json",
    "delivery::encode",
    "delivery::ambiguity",
    "delivery::files",
    "delivery::sent_key",
    "delivery::ledger",
    "delivery::outbox::meta",
    "delivery::outbox::folder",
    "delivery::outbox::pending",
    "delivery::outbox::entry",
    "delivery::outbox::scores",
    "delivery::outbox",
    "delivery::partial_success",
    "delivery::outcome",
    "delivery::result",
    "delivery::client",
    "delivery::presence",
    "delivery::export",
    "delivery::redelivery",
    "delivery",
    "cli",
    // Settings: where values come from, then what they mean.
    "settings::origin",
    "settings::defaults",
    "settings::file",
    "settings::sources",
    "settings::ci",
    "settings::shard",
    "settings::variables",
    "settings::shown",
    "settings::otel",
    "settings::keys",
    "settings::folders settings::form settings::privacy",
    "settings::delivery",
    "settings::destination",
    "settings::tracing",
    "settings::header",
    "settings::bound",
    "settings::endpoint",
    "settings::body_changes",
    "settings::model",
    "settings::trace",
    "settings settings::exec settings::listing",
    "output",
    // What verbs share: services first, then what uses them.
    "app::confirm",
    "app::signals",
    "app::terminal",
    "app::delayed_note",
    "app::same_file",
    "app::cache_file",
    "app::secrets",
    "app::settings_file",
    "app::hints",
    "app::unread",
    "app::trace_reference",
    "app::experiment_reference",
    "app::delivery_report",
    "app::usage_error",
    "app::jsonl",
    "app::project_lookup",
    "app::trace_link",
    "app::price_cache",
    "app::price_lookup",
    "app::embedded_sandbox",
    "app::model_call",
    "app::record_file",
    "app::prompt",
    "app::text_files",
    "app::thread",
    "app::judge",
    "app::score_sender",
    "app::uploads",
    "app::attachments",
    "app::env_file",
    "app::clients",
    "app::setup",
    "app::trace_reader",
    "app::langfuse_server",
    "app::managed_prompt",
    "app::verify",
    "app::span_maker",
    "app::step_summary",
    "app::redeliver",
    "app::ledgered app::ledgered::arrival",
    "app::deliver",
    "app::run",
    "app",
    // The engine of `exec`: values, then what keeps and assembles them, then what listens.
    "exec::attributes",
    "exec::vectors",
    "exec::kind",
    "exec::fixes",
    "exec::identity",
    "exec::matching",
    "exec::call",
    "exec::baggage",
    "exec::environment",
    "exec::journal",
    "exec::media",
    "exec::media_upload",
    "exec::received",
    "exec::recorder",
    "exec::tree",
    "exec::merge",
    "exec::assemble::pieces",
    "exec::assemble::generation",
    "exec::assemble::index",
    "exec::assemble exec::assemble::command exec::assemble::media exec::assemble::stamp",
    "exec::deliver",
    "exec::process",
    "exec::report",
    "exec::answer",
    "exec::busy",
    "exec::receiver",
    "exec::proxy",
    "exec::pass_through",
    "exec::listener",
    "exec::conclude",
    "exec::run_record",
    "exec::run",
    "exec",
    // The engine of `batch`, as its head lists it.
    "batch::stats",
    "batch::progress",
    "batch::experiment::summary",
    "batch::summary",
    "batch::verify",
    "batch::links",
    "batch::costs",
    "batch::resume_command",
    "batch::experiment::run",
    "batch::input::foreign",
    "batch::input::dataset",
    "batch::input::raw_line",
    "batch::input",
    "batch::input::line",
    "batch::output::line",
    "batch::output::reorder",
    "batch::output::writer",
    "batch::output::stored",
    "batch::output::scan",
    "batch::output::target",
    "batch::output::temporary",
    "batch::output",
    "batch::plan",
    "batch::input::validate",
    "batch::dry_run",
    "batch::resume::input_note",
    "batch::resume::stretches",
    "batch::resume::acks",
    "batch::resume::previous_output",
    "batch::resume::checkpoint",
    "batch::resume::state",
    "batch::resume::compare",
    "batch::resume",
    "batch::experiment::dataset",
    "batch::experiment::items",
    "batch::experiment::lookup",
    "batch::experiment::open",
    "batch::experiment::scores",
    "batch::experiment::verify",
    "batch::experiment",
    "batch::pool::span_group",
    "batch::pool::span_queue",
    "batch::pool::score_queue",
    "batch::pool::pending_trace",
    "batch::pool::trace_sender",
    "batch::redeliver_failed",
    "batch::catch_up",
    "batch::pool::call",
    "batch::pool::tokens",
    "batch::pool batch::pool::events batch::pool::outage batch::pool::start batch::pool::stop",
    "batch::report",
    "batch::merge::part",
    "batch::merge::check",
    "batch::merge::totals",
    "batch::merge",
    "batch",
    // Two runs side by side: what is kept of each, then what is said of both.
    "compare::interner",
    "compare::run",
    "compare::output_file",
    "compare::experiment",
    "compare::trace_usage",
    "compare::change",
    "compare::measures",
    "compare::tally",
    "compare::comparison",
    "compare::rows",
    "compare::table",
    "compare::markdown",
    "compare::test_cases",
    "compare::report",
    "compare",
    "commands",
];

/// Each module below `src`, such as `batch::input`, with its code: no comments and no tests, which are at its end.
fn modules() -> Vec<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files("src").into_iter();
    let files = files.filter(|path| *path != source.join("main.rs"));
    files
        .map(|path| {
            let name = path.strip_prefix(&source).unwrap().with_extension("");
            let name = name.to_str().unwrap().replace('/', "::");
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap().lines();
            let code: Vec<&str> = code
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            (name.trim_end_matches("::mod").to_owned(), code.join("\n"))
        })
        .collect()
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files
}

/// The paths that the code of `module` names after `crate::` or `super::`, from the root.
fn imports(module: &str, code: &str) -> Vec<String> {
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for (keyword, base) in [("crate::", ""), ("super::", parent)] {
        let keywords = code.match_indices(keyword);
        for (at, _) in keywords.filter(|(at, _)| !code[..*at].ends_with(is_path)) {
            let rest = &code[at + keyword.len()..];
            let (path, rest) = rest.split_at(rest.find(|c| !is_path(c)).unwrap_or(rest.len()));
            let group = rest
                .strip_prefix('{')
                .and_then(|rest| rest.split(';').next());
            let names = group.unwrap_or_default().trim_end_matches([',', '}', '\n']);
            let names = names.split(['{', ',', '}']);
            found.extend(names.map(|name| joined(&[base, path, name.trim()])));
        }
    }
    found
}

/// The parts as one path; each `super` takes the part before it away.
fn joined(parts: &[&str]) -> String {
    let mut path = Vec::new();
    for part in parts.iter().flat_map(|part| part.split("::")) {
        match part {
            "" => {}
            "super" => drop(path.pop()),
            name => path.push(name),
        }
    }
    path.join("::")
}

/// The line of [`ORDER`] that lists this module, or else the nearest one above it.
fn listed(path: &str) -> Option<(usize, &str)> {
    let line = ORDER
        .iter()
        .position(|line| line.split(' ').any(|name| name == path));
    match line {
        Some(line) => Some((line, path)),
        None => listed(path.rsplit_once("::")?.0),
    }
}

/// The imports of a module that point up.
fn upward(module: &str, code: &str) -> Vec<String> {
    let own = listed(module).map(|(line, _)| line);
    let mut imports = imports(module, code);
    imports.retain(|path| listed(path).map(|(line, _)| line) > own);
    imports
        .iter()
        .map(|path| format!("{module} imports {path}"))
        .collect()
}

/// The verb that a path below `commands` belongs to; the engine of `batch` belongs to that verb.
fn verb(path: &str) -> Option<&str> {
    let mut parts = path.split("::");
    match parts.next() {
        Some("commands") => parts.next(),
        other => other.filter(|part| *part == "batch"),
    }
}

#[test]
fn every_module_is_listed() {
    let modules: Vec<String> = modules().into_iter().map(|(module, _)| module).collect();
    let is_listed = |module: &&String| {
        listed(module).is_some_and(|(_, name)| {
            let below = format!("{name}::");
            let mut all = ORDER.iter().flat_map(|line| line.split(' '));
            name == *module || !all.any(|other| other.starts_with(&below))
        })
    };
    let unlisted: Vec<&String> = modules.iter().filter(|name| !is_listed(name)).collect();
    assert!(
        unlisted.is_empty(),
        "add these modules to ORDER in tests/cli/layers.rs, after all that they import: {unlisted:#?}"
    );
    let names = ORDER.iter().flat_map(|line| line.split(' '));
    let gone: Vec<&str> = names
        .filter(|name| !modules.iter().any(|module| module == name))
        .collect();
    assert!(
        gone.is_empty(),
        "remove these names from ORDER in tests/cli/layers.rs: {gone:#?}"
    );
}

/// Every public type of a folder, with its file.
fn public_types() -> Vec<(String, String)> {
    let mut types = Vec::new();
    for (module, code) in modules() {
        for line in code.lines() {
            let words: Vec<&str> = line.split_whitespace().take(3).collect();
            if let ["pub", "struct" | "enum" | "trait" | "type", name] = words[..] {
                let end = name.find(|c: char| !c.is_alphanumeric());
                types.push((name[..end.unwrap_or(name.len())].to_owned(), module.clone()));
            }
        }
    }
    types.sort();
    types
}

#[test]
fn no_two_public_types_share_a_name() {
    let types = public_types();
    let shared: Vec<_> = types
        .windows(2)
        .filter(|pair| pair[0].0 == pair[1].0)
        .collect();
    assert!(shared.is_empty(), "{shared:#?}");
}

#[test]
fn imports_point_down() {
    let modules = modules();
    let found = modules.iter().map(|(module, code)| upward(module, code));
    let found: Vec<String> = found.flatten().collect();
    assert!(
        found.is_empty(),
        "the order is ORDER in tests/cli/layers.rs: {found:#?}"
    );
}

#[test]
fn verbs_do_not_import_each_other() {
    let modules = modules();
    let is_module = |path: &str| modules.iter().any(|(module, _)| module == path);
    let mut found = Vec::new();
    for (module, code) in modules
        .iter()
        .filter(|(name, _)| name.starts_with("commands::"))
    {
        for path in imports(module, code) {
            // They read what `batch` wrote, by the same engine.
            let readers = ["commands::merge", "commands::compare"];
            if readers.contains(&module.as_str()) && path.starts_with("batch::") {
                continue;
            }
            let other = verb(&path).filter(|other| is_module(&format!("commands::{other}")));
            if other.is_some_and(|other| verb(module) != Some(other)) {
                found.push(format!("{module} imports {path}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn upward_imports_are_found_in_every_form() {
    let code = "use crate::commands::chat;\nuse crate::app::{\n    deliver,\n    hints,\n};\nsuper::super::batch::run();";
    assert_eq!(
        upward("app::setup", code),
        [
            "app::setup imports commands::chat",
            "app::setup imports app::deliver",
            "app::setup imports batch::run",
        ]
    );
}

#[test]
fn every_file_starts_with_a_module_comment() {
    let files = [rust_files("src"), rust_files("tests")].concat();
    let silent: Vec<PathBuf> = files
        .into_iter()
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}
