//! What a file may hold, and what is wrong with one that cannot be used.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::{Servers, call, write};
use crate::support::export::Export;
use crate::support::harness::{Langspan, TRACES};

#[test]
fn a_file_alone_is_enough_for_a_call() {
    let servers = Servers::start();
    let settings = format!(
        "{}user = 'u1'\ntag = ['a', 'b']\nmodel = 'm1'\ntemperature = 0.5\nmax-tokens = 9\nsystem = 'be brief'\n\
         openai_api_key = 'sk-model-0123456789'\n[metadata]\nteam = 'x'\n[param]\nseed = 7\n[header]\nX-Title = 'mine'\n",
        servers.settings()
    );
    let ended = call(&["chat", "Hello"], &settings).run();
    ended.code(0).stdout("hi\n").stderr_lacks("0123456789");
    let export = Export::only(&servers.langfuse, TRACES);
    let parent = &export.spans()[0];
    assert_eq!(parent["langfuse.user.id"], "u1");
    assert_eq!(parent["langfuse.trace.metadata.team"], "x");
    let body = servers.body();
    assert_eq!(body["model"], "m1");
    assert_eq!(body["temperature"], 0.5);
    assert_eq!(body["seed"], 7);
    assert_eq!(body["max_tokens"], 9);
    assert_eq!(body["messages"][0]["content"], "be brief");
    let request = &servers.model.requests()[0];
    assert_eq!(
        request.header("authorization"),
        "Bearer sk-model-0123456789"
    );
    assert_eq!(request.header("x-title"), "mine");
}

#[test]
fn paths_are_relative_to_the_file() {
    let servers = Servers::start();
    let settings = format!(
        "{}system_file = 'system.txt'\nparam = ['note=@note.txt']\n",
        servers.settings()
    );
    let call = call(&["chat", "Hello"], &settings);
    let folder = call.home().join(".config/langspan");
    fs::write(folder.join("system.txt"), "be brief\n").unwrap();
    fs::write(folder.join("note.txt"), "n").unwrap();
    call.run().code(0);
    assert_eq!(servers.body()["messages"][0]["content"], "be brief");
    assert_eq!(servers.body()["note"], "n");
}

#[test]
fn a_file_does_not_change_bodies_that_are_replayed() {
    let servers = Servers::start();
    let settings = format!(
        "{}model = 'm1'\nsystem = 's'\ntemperature = 1\nparam = {{seed = 7}}\nstream = true\n",
        servers.settings()
    );
    let call = call(&["replay", "body.json"], &settings);
    call.file(
        "body.json",
        r#"{"model":"m2","messages":[{"role":"user","content":"q"}]}"#,
    );
    call.run().code(0);
    assert_eq!(
        String::from_utf8_lossy(&servers.model.requests()[0].body),
        r#"{"model":"m2","messages":[{"role":"user","content":"q"}]}"#
    );
}

#[test]
fn a_file_completes_the_prompts_of_a_batch_but_not_its_bodies() {
    let servers = Servers::start();
    let settings = format!("{}system = 's'\nparam = {{seed = 7}}\n", servers.settings());
    let call = call(&["batch", "in.jsonl", "-j", "1", "-q"], &settings);
    call.file(
        "in.jsonl",
        "{\"prompt\":\"a\"}\n{\"prompt\":\"b\",\"seed\":8}\n{\"model\":\"m\",\"messages\":[]}\n",
    );
    call.run().code(0);
    let bodies = servers.model.requests_to("/v1/chat/completions");
    let bodies: Vec<_> = bodies
        .iter()
        .map(crate::support::harness::Request::json)
        .collect();
    assert_eq!(bodies[0]["messages"][0]["content"], "s");
    assert_eq!(bodies[0]["seed"], 7);
    assert_eq!(bodies[1]["seed"], 8);
    assert_eq!(bodies[2]["seed"], serde_json::Value::Null);
}

#[test]
fn a_file_with_a_mistake_is_refused_with_its_place_and_a_remedy() {
    for (settings, cause, remedy) in [
        ("user = u1", "config.toml:1:", "write it as TOML"),
        ("a\nb", "config.toml:1:", "write it as TOML"),
        (
            "\nmodle = 'x'",
            "config.toml:2:1: unknown key `modle`",
            "did you mean `model`?",
        ),
        (
            "[profile.x]\nlangfuse-url = 'x'",
            "config.toml:2:1: unknown key `langfuse_url`",
            "did you mean `langfuse_base_url`?",
        ),
        (
            "timeout = 'x'",
            "config.toml:1:11: `timeout` expects a number, not a string",
            "give `timeout`",
        ),
        ("thread = 'x'", "`thread` is about one call", "--thread"),
        ("capture = 'ful'", "config.toml:1: `ful`:", "config.toml:1"),
        ("wait = -1", "config.toml:1: `-1`:", "config.toml:1"),
        ("redact = ['(']", "config.toml:1", "hint:"),
        (
            "default_profile = 'work'\n[profile.word]",
            "has no profile `work`",
            "did you mean `word`?",
        ),
    ] {
        let ended = call(&["chat", "--sandbox", "Hello"], settings).run();
        ended
            .code(3)
            .stdout("")
            .stderr_has(cause)
            .stderr_has(remedy);
        assert_eq!(ended.stderr.lines().count(), 2, "{ended:#?}");
    }
}

#[test]
fn a_file_that_holds_a_key_must_be_private() {
    for settings in [
        "secret_key = 'sk-lf-0123456789'",
        "[profile.x]\nopenai_api_key = 'sk-0123456789'",
        "header = {Authorization = 'Bearer 0123456789'}",
    ] {
        let call = call(&["chat", "--sandbox", "Hello"], settings);
        let path = write(&call, settings);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let ended = call.run();
        ended
            .code(3)
            .stderr_has("holds a key, and others can read it (mode 0640)");
        ended.stderr_has("chmod 600").stderr_lacks("0123456789");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        call.run().code(0);
    }
    let call = call(&["chat", "--sandbox", "Hello"], "secret_key_file = 'k'");
    let path = write(&call, "secret_key_file = 'k'");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    call.run().code(0);
}

#[test]
fn a_file_that_is_a_directory_is_named() {
    let call = Langspan::new(&["chat", "--sandbox", "Hello"]);
    fs::create_dir_all(call.home().join(".config/langspan/config.toml")).unwrap();
    call.run()
        .code(6)
        .stderr_has("config.toml cannot be read")
        .stderr_has("langspan config path");
}

#[test]
fn without_a_file_a_profile_is_refused() {
    for call in [
        Langspan::new(&["chat", "--sandbox", "--profile", "eu", "Hello"]),
        Langspan::new(&["chat", "--sandbox", "Hello"]).env("LANGSPAN_PROFILE", "eu"),
    ] {
        call.run()
            .code(3)
            .stderr_has("profile `eu` not found")
            .stderr_has("langspan config init");
    }
}

#[test]
fn the_folder_is_that_of_xdg() {
    let call = call(&["config", "path"], "");
    let home = call.home().display().to_string();
    let default = format!("{home}/.config/langspan/config.toml\n");
    call.run().code(0).stdout(&default);
    let elsewhere = call.clone().env("XDG_CONFIG_HOME", &format!("{home}/x"));
    let ended = elsewhere.run();
    ended
        .code(0)
        .stdout(&format!("{home}/x/langspan/config.toml\n"));
    ended.stderr_has("does not exist");
    call.env("XDG_CONFIG_HOME", "relative")
        .run()
        .stdout(&default);
    for name in ["path", "profiles"] {
        Langspan::new(&["config", name])
            .run()
            .code(0)
            .stderr_has("the settings file does not exist; langspan config init writes one");
    }
    Langspan::new(&["config", "path"])
        .without("HOME")
        .run()
        .code(3);
}
