//! `langspan config`: the settings in force, each with its origin.

use super::{Servers, call};
use crate::support::harness::{Ended, Langspan};
use crate::support::terminal::on_a_terminal;

/// Value and origin of a setting in the list.
fn setting(ended: &Ended, name: &str) -> (String, String) {
    let line = ended.stdout.lines().find(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(name)
    });
    let line = line.unwrap_or_else(|| panic!("no {name}: {ended:#?}"));
    let mut columns = line
        .split("  ")
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let mut column = || columns.next().unwrap_or_default().to_owned();
    column();
    (column(), column())
}

#[test]
fn every_setting_names_its_origin() {
    let servers = Servers::start();
    let settings = format!(
        "{}openai_api_key = 'sk-model-0123456789abcdef'\nuser = 'u1'\ntag = ['a', 'b']\n[header]\nAuthorization-Extra = 'secret-value'\n[profile.p]\nsession = 's1'\n",
        servers.settings()
    );
    let call = call(
        &["config", "--profile", "p", "-n", "mine", "--wait", "5"],
        &settings,
    )
    .arg("--no-stream")
    .env("LANGFUSE_TRACING_ENVIRONMENT", "dev");
    let ended = call.run();
    ended.code(0).stderr_lacks("error");
    let file = call.home().join(".config/langspan/config.toml");
    let line = |line: u32| format!("config.toml:{line}");
    let of = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    for (name, expected) in [
        ("settings_file", of(&file.display().to_string(), "found")),
        ("profile", of("p", "--profile")),
        ("name", of("mine", "--name")),
        ("wait", of("5", "--wait")),
        ("stream", of("false", "--no-stream")),
        ("environment", of("dev", "LANGFUSE_TRACING_ENVIRONMENT")),
        ("user", of("u1", &line(6))),
        ("tag", of("a, b", &line(7))),
        ("session", of("s1", &line(11))),
        ("model", of("gpt-4o-mini", "default")),
        ("langfuse_base_url", of(servers.langfuse.url(), &line(1))),
        ("public_key", of("pk-lf-of-file", &line(2))),
        ("secret_key", of("sk-lf-…6789", &line(3))),
        ("openai_api_key", of("sk-…cdef", &line(5))),
        ("header", of("Authorization-Extra: [redacted]", &line(8))),
        ("timeout", of("600", "default")),
    ] {
        assert_eq!(setting(&ended, name), expected, "{name}");
    }
    assert!(!ended.stdout.contains("0123456789"), "{ended:#?}");
    assert!(servers.langfuse.requests().is_empty() && servers.model.requests().is_empty());
}

#[test]
fn the_list_is_also_a_document() {
    let servers = Servers::start();
    let ended = call(&["config", "-o", "json"], &servers.settings()).run();
    let document = ended.json();
    assert_eq!(
        (&document["ok"], &document["command"]),
        (&true.into(), &"config".into())
    );
    let settings = document["settings"].as_array().unwrap();
    let model = settings.iter().find(|row| row["name"] == "model").unwrap();
    assert_eq!(model["origin"], "default");
    let key = settings.iter().find(|row| row["name"] == "public_key");
    let origin = key.unwrap()["origin"].as_str().unwrap();
    assert!(
        origin.starts_with('/') && origin.ends_with("/config.toml:2"),
        "{origin}"
    );
}

#[test]
fn settings_that_a_call_would_refuse_are_listed_with_the_reason() {
    let ended = Langspan::new(&["config"])
        .env("LANGSPAN_USER", "u1")
        .env("OPENAI_API_KEY", "sk-0123456789abcdef0123")
        .env("LANGFUSE_SECRET_KEY", "sk-lf-sandbox")
        .run();
    ended.code(3).stderr_has("LANGFUSE_PUBLIC_KEY");
    for (name, value, origin) in [
        ("openai_api_key", "sk-…0123", "OPENAI_API_KEY"),
        ("secret_key", "sk-lf-…", "LANGFUSE_SECRET_KEY"),
    ] {
        let found = setting(&ended, name);
        assert_eq!(found, (value.to_owned(), origin.to_owned()), "{name}");
    }
    assert_eq!(
        setting(&ended, "user"),
        ("u1".to_owned(), "LANGSPAN_USER".to_owned())
    );
    let ended = Langspan::new(&["config", "--json"]).run();
    assert_eq!(ended.json()["error"]["kind"], "config");
}

#[test]
fn a_narrow_terminal_shows_the_columns_below_each_other() {
    let call = Langspan::new(&["config"]).langfuse_at("http://127.0.0.1:9");
    let narrow = on_a_terminal(&call, 40, 24, false).text;
    assert!(
        narrow.contains("\nmodel\n  gpt-4o-mini\n  default\n"),
        "{narrow}"
    );
    let usual = on_a_terminal(&call, 80, 24, false).text;
    assert_eq!(usual, call.run().stdout);
}

#[test]
fn urls_without_a_scheme_are_shown_completed() {
    let ended = Langspan::new(&["config", "--openai-base-url", "localhost:11434/v1"])
        .langfuse_at("langfuse.example.com")
        .run();
    ended.code(0);
    let value = |name| setting(&ended, name).0;
    assert_eq!(value("langfuse_base_url"), "https://langfuse.example.com");
    assert_eq!(value("openai_base_url"), "http://localhost:11434/v1");
}

#[test]
fn profiles_are_listed_by_name() {
    let settings = "[profile.work]\n[profile.\"a b\"]\n[profile.local]\n";
    call(&["config", "profiles"], settings)
        .run()
        .code(0)
        .stdout("a b\nlocal\nwork\n");
    Langspan::new(&["config", "profiles"])
        .run()
        .code(0)
        .stdout("");
}
