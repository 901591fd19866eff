//! Which source wins: option, named profile, environment, env file, profile, top level, default.

use super::{Servers, call};
use crate::support::export::Export;
use crate::support::harness::{Langspan, TRACES};

/// One source of the model's name: an argument, a variable, or lines of a file.
#[derive(Clone, Copy)]
enum Source {
    Option,
    NamedProfile,
    Environment,
    EnvFile,
    Profile,
    TopLevel,
}

const ALL: [Source; 6] = [
    Source::Option,
    Source::NamedProfile,
    Source::Environment,
    Source::EnvFile,
    Source::Profile,
    Source::TopLevel,
];
const NAMES: [&str; 6] = [
    "of-option",
    "of-named",
    "of-environment",
    "of-env-file",
    "of-profile",
    "of-top",
];

/// A call with these sources.
fn with(servers: &Servers, sources: &[Source]) -> Langspan {
    let has = |wanted: fn(&Source) -> bool| sources.iter().any(wanted);
    let mut settings = servers.settings();
    if has(|source| matches!(source, Source::Profile)) {
        settings.insert_str(0, "default_profile = 'b'\n");
    }
    if has(|source| matches!(source, Source::TopLevel)) {
        settings += "model = 'of-top'\n";
    }
    settings += "[profile.a]\nmodel = 'of-named'\n[profile.b]\nmodel = 'of-profile'\n";
    let mut call = call(&["chat", "Hello"], &settings);
    call.file("my.env", "LANGSPAN_MODEL=of-env-file");
    for source in sources {
        call = match source {
            Source::Option => call.arg("--model").arg("of-option"),
            Source::NamedProfile => call.arg("--profile").arg("a"),
            Source::Environment => call.env("LANGSPAN_MODEL", "of-environment"),
            Source::EnvFile => call.arg("--env-file").arg("my.env"),
            Source::Profile | Source::TopLevel => call,
        };
    }
    call
}

#[test]
fn each_source_beats_those_behind_it() {
    let servers = Servers::start();
    for (index, name) in NAMES.iter().enumerate() {
        with(&servers, &ALL[index..]).run().code(0);
        assert_eq!(servers.body()["model"], *name);
    }
    with(&servers, &[]).run().code(0);
    assert_eq!(servers.body()["model"], "gpt-4o-mini");
}

#[test]
fn a_variable_names_the_profile_before_the_file_does() {
    let servers = Servers::start();
    let settings = format!(
        "default_profile = 'b'\n{}[profile.a]\nmodel = 'ma'\n[profile.b]\nmodel = 'mb'\n",
        servers.settings()
    );
    let call = call(&["chat", "Hello"], &settings);
    call.run().code(0);
    assert_eq!(servers.body()["model"], "mb");
    let call = call.env("LANGSPAN_PROFILE", "a");
    call.run().code(0);
    assert_eq!(servers.body()["model"], "ma");
    call.arg("--profile").arg("b").run().code(0);
    assert_eq!(servers.body()["model"], "mb");
}

#[test]
fn a_named_profile_beats_the_environment_and_a_note_says_so() {
    let servers = Servers::start();
    let settings = format!("[profile.work]\n{}", servers.settings());
    let call = call(&["chat", "--profile", "work", "Hello"], &settings)
        .env("LANGFUSE_BASE_URL", "http://127.0.0.1:9")
        .env("LANGFUSE_PUBLIC_KEY", "pk-lf-of-environment")
        .env("LANGFUSE_SECRET_KEY", "sk-lf-of-environment");
    let ended = call.run();
    ended.code(0).stderr_has(
        "--profile work overrides LANGFUSE_BASE_URL, LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY",
    );
    Export::only(&servers.langfuse, TRACES);
    let quiet = call.arg("-q").run();
    quiet.code(0).stderr_lacks("overrides");
}

#[test]
fn switches_lists_and_tables_have_the_same_order() {
    let servers = Servers::start();
    let settings = format!(
        "{}verify = true\ntag = 'top'\nredact = 'aaa'\n[metadata]\na = 'top'\nb = 'top'\n[profile.p]\ntag = ['one', 'two']\nredact = ['bbb']\nmetadata = {{b = 'p'}}\n",
        servers.settings()
    );
    let call = call(
        &[
            "chat",
            "--profile",
            "p",
            "--metadata",
            "c=option",
            "aaa bbb ccc",
        ],
        &settings,
    )
    .arg("--redact")
    .arg("ccc")
    .env("LANGSPAN_VERIFY", "false")
    .env("LANGSPAN_TAGS", "environment");
    call.run().code(0).stderr_has("redacted 3 passages");
    let export = Export::only(&servers.langfuse, TRACES);
    let parent = &export.spans()[0];
    for (name, value) in [("a", "top"), ("b", "p"), ("c", "option")] {
        assert_eq!(parent[&format!("langfuse.trace.metadata.{name}")], value);
    }
    let input = parent["input.value"].as_str().unwrap();
    assert!(
        !["aaa", "bbb", "ccc"]
            .iter()
            .any(|word| input.contains(word)),
        "{input}"
    );
    assert_eq!(parent["langfuse.tags"], serde_json::json!(["one", "two"]));
}

#[test]
fn the_url_of_the_stronger_source_wins_whatever_its_name() {
    let servers = Servers::start();
    let call = call(
        &["chat", "--env-file", "my.env", "Hello"],
        &servers.settings(),
    )
    .env("LANGFUSE_HOST", servers.langfuse.url())
    .env("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
    .env("LANGFUSE_SECRET_KEY", "sk-lf-1");
    call.file("my.env", "LANGFUSE_BASE_URL=http://127.0.0.1:9");
    call.run().code(0);
    Export::only(&servers.langfuse, TRACES);
}

#[test]
fn output_and_loudness_come_from_the_file() {
    let settings = "output = 'url'\nquiet = true";
    let ended = call(&["chat", "--sandbox", "Hello"], settings).run();
    ended.code(0);
    assert_eq!(
        (ended.stdout.lines().count(), ended.stderr.as_str()),
        (1, "")
    );
    let ended = call(&["chat", "--sandbox", "Hello"], "json = true\nverbose = 1").run();
    assert_eq!(ended.json()["ok"], true);
    ended.stderr_has("> POST");
    let ended = call(&["chat", "--sandbox", "-o", "text", "Hello"], "json = true").run();
    ended.stderr_has("trace: ");
}

#[test]
fn the_env_file_may_be_named_in_the_file() {
    let servers = Servers::start();
    let settings = format!("env_file = 'my.env'\n{}", servers.settings());
    let call = call(&["chat", "Hello"], &settings);
    let path = call.home().join(".config/langspan/my.env");
    std::fs::write(path, "LANGSPAN_MODEL=of-env-file").unwrap();
    call.run().code(0);
    assert_eq!(servers.body()["model"], "of-env-file");
}
