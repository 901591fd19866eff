//! `--thread`: a conversation in a file.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::export::Export;
use crate::support::harness::{Langspan, Reply, Scripted, TRACES, completion, wait_until};

struct Servers {
    model: Scripted,
    langfuse: Scripted,
}

impl Servers {
    fn start() -> Self {
        Self::with(Scripted::model("hi"))
    }

    fn with(model: Scripted) -> Self {
        let langfuse = Scripted::langfuse(|_, _| Reply::json(200, &json!({})));
        Self { model, langfuse }
    }

    fn call(&self, arguments: &[&str]) -> Langspan {
        let arguments = [&["chat", "--thread", "t.json"], arguments].concat();
        Langspan::new(&arguments)
            .model_at(self.model.url())
            .langfuse_at(self.langfuse.url())
    }

    fn messages(&self) -> Value {
        self.model.requests().last().unwrap().json()["messages"].take()
    }
}

fn path(call: &Langspan) -> PathBuf {
    call.home().join("t.json")
}

fn conversation(call: &Langspan) -> Value {
    serde_json::from_str(&fs::read_to_string(path(call)).unwrap()).unwrap()
}

fn roles(messages: &Value) -> Vec<&str> {
    let messages = messages.as_array().unwrap();
    messages
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect()
}

#[test]
fn a_second_call_continues_the_first_in_its_session() {
    let servers = Servers::start();
    let first = servers.call(&["-s", "be brief", "one"]);
    first.run().code(0).stdout("hi\n");
    assert_eq!(
        fs::metadata(path(&first)).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let second = servers.call(&["two"]).beside(&first);
    second.run().code(0);
    assert_eq!(
        servers.messages(),
        json!([
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "two"}
        ])
    );
    let kept = conversation(&first);
    assert_eq!(
        roles(&kept["messages"]),
        ["system", "user", "assistant", "user", "assistant"]
    );
    let sessions = servers.langfuse.exports();
    let sessions: Vec<String> = sessions
        .iter()
        .map(|request| {
            Export::of(request).spans()[0]["langfuse.session.id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(sessions, [kept["session"].as_str().unwrap(); 2]);
}

#[test]
fn a_session_of_an_option_is_kept_by_a_new_conversation_alone() {
    let servers = Servers::start();
    let first = servers.call(&["-S", "mine", "one"]);
    first.run().code(0);
    assert_eq!(conversation(&first)["session"], "mine");
    let second = servers.call(&["-S", "other", "two"]).beside(&first);
    second.run().code(0);
    assert_eq!(conversation(&first)["session"], "mine");
    let export = Export::of(&servers.langfuse.exports()[1]);
    assert_eq!(export.spans()[0]["langfuse.session.id"], "other");
}

#[test]
fn another_system_message_is_refused() {
    let servers = Servers::start();
    let first = servers.call(&["one"]);
    first.run().code(0);
    servers
        .call(&["-s", "a", "two"])
        .beside(&first)
        .run()
        .code(0);
    assert_eq!(conversation(&first)["messages"][0]["content"], "a");
    servers
        .call(&["-s", "a", "three"])
        .beside(&first)
        .run()
        .code(0);
    let before = conversation(&first);
    let count = servers.model.count();
    let ended = servers.call(&["-s", "b", "four"]).beside(&first).run();
    ended
        .code(2)
        .stderr_has("another system message")
        .stderr_has("omit -s");
    assert_eq!(
        (conversation(&first), servers.model.count()),
        (before, count)
    );
}

#[test]
fn a_file_of_another_shape_is_refused_before_the_call() {
    let servers = Servers::start();
    for content in [
        "x",
        "[]",
        "{}",
        r#"{"messages":[]}"#,
        r#"{"session":"s","messages":{}}"#,
        r#"{"session":"s","messages":["x"]}"#,
        r#"{"session":"s","messages":[{"content":"x"}]}"#,
        r#"{"session":"s","messages":[],"more":1}"#,
    ] {
        let call = servers.call(&["one"]);
        call.file("t.json", content);
        let ended = call.run();
        ended
            .code(2)
            .stdout("")
            .stderr_has("is not a conversation")
            .stderr_has("hint: ");
        assert_eq!(fs::read_to_string(path(&call)).unwrap(), content);
    }
    assert_eq!(servers.model.count(), 0);
}

#[test]
fn a_failed_call_leaves_the_file_as_it_was() {
    let failing = Reply::json(400, &json!({"error": {"message": "no"}}));
    let servers = Servers::with(Scripted::always(failing));
    let call = servers.call(&["one"]);
    call.run().code(4);
    assert!(!path(&call).exists());
    let content = r#"{"session":"s","messages":[{"role":"user","content":"q"}]}"#;
    call.file("t.json", content);
    call.run().code(4);
    assert_eq!(fs::read_to_string(path(&call)).unwrap(), content);
}

#[test]
fn an_answer_is_kept_although_its_trace_is_not_delivered() {
    let model = Scripted::model("hi");
    let langfuse = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "no"})));
    let servers = Servers { model, langfuse };
    let call = servers.call(&["one"]);
    call.run().code(5).stdout("hi\n");
    assert_eq!(
        roles(&conversation(&call)["messages"]),
        ["user", "assistant"]
    );
}

#[test]
fn a_conversation_that_cannot_be_written_is_6_and_the_answer_is_printed() {
    let folder = std::sync::Arc::new(std::sync::Mutex::new(None::<PathBuf>));
    let known = std::sync::Arc::clone(&folder);
    // The folder becomes read-only during the call.
    let model = Scripted::start(move |_, _| {
        if let Some(folder) = known.lock().unwrap().as_ref() {
            fs::remove_dir_all(folder).unwrap();
        }
        Reply::json(200, &completion("hi"))
    });
    let servers = Servers::with(model);
    let call = Langspan::new(&["chat", "--thread", "folder/t.json", "one"])
        .model_at(servers.model.url())
        .langfuse_at(servers.langfuse.url());
    let path = call.home().join("folder");
    fs::create_dir(&path).unwrap();
    *folder.lock().unwrap() = Some(path);
    let ended = call.run();
    ended.code(6).stdout("hi\n").stderr_has("cannot be written");
    ended
        .stderr_has("trace: ")
        .stderr_has("the answer is not in it");
}

#[test]
fn a_full_disk_costs_neither_answer_nor_trace_nor_the_old_file() {
    let servers = Servers::start();
    let call = servers.call(&["--no-stdin", &"long ".repeat(1000)]);
    let content = r#"{"session":"s","messages":[]}"#;
    call.file("t.json", content);
    let ended = call.run_with_file_limit(1);
    ended
        .code(6)
        .stdout("hi\n")
        .stderr_has("t.json cannot be written");
    ended.stderr_has("free disk space");
    assert_eq!(fs::read_to_string(path(&call)).unwrap(), content);
    assert_eq!(servers.langfuse.exports().len(), 1);
}

#[test]
fn a_file_that_cannot_be_used_costs_no_call() {
    let servers = Servers::start();
    let call = servers.call(&["one"]);
    fs::create_dir(path(&call)).unwrap();
    call.run().code(6).stderr_has("cannot be used");
    let call = Langspan::new(&["chat", "--thread", "no/t.json", "one"])
        .model_at(servers.model.url())
        .langfuse_at(servers.langfuse.url());
    call.run().code(6).stderr_has("cannot be used");
    let call = Langspan::new(&["chat", "--thread", "/dev/full", "one"])
        .model_at(servers.model.url())
        .langfuse_at(servers.langfuse.url());
    call.run().code(6).stderr_has("not a regular file");
    assert_eq!(servers.model.count(), 0);
}

#[test]
fn a_locked_file_is_waited_for_and_then_refused() {
    let servers = Servers::start();
    let call = servers.call(&["--timeout", "0.3", "one"]);
    call.file("t.json", r#"{"session":"s","messages":[]}"#);
    let held = File::open(path(&call)).unwrap();
    held.lock().unwrap();
    let ended = call.run();
    ended
        .code(6)
        .stderr_has("in use by another call")
        .stderr_has("--timeout");
    assert_eq!(servers.model.count(), 0);
    drop(held);
    call.run().code(0);
}

#[test]
fn calls_at_the_same_time_take_turns() {
    let servers = Servers::start();
    let first = servers.call(&["--no-stdin", "one"]);
    let calls: Vec<_> = (0..4)
        .map(|_| servers.call(&["--no-stdin", "one"]).beside(&first))
        .collect();
    let children: Vec<_> = calls.iter().map(Langspan::spawn).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let kept = conversation(&first);
    assert_eq!(kept["messages"].as_array().unwrap().len(), 8);
}

#[test]
fn a_killed_call_does_not_block_the_next() {
    let servers = Servers::with(Scripted::always(Reply::Hang));
    let call = servers.call(&["--no-stdin", "one"]);
    let mut child = call.spawn();
    wait_until("the model is asked", || servers.model.count() > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    let model = Scripted::model("hi");
    let next = servers.call(&["one"]).beside(&call).model_at(model.url());
    next.run().code(0);
    assert_eq!(
        roles(&conversation(&call)["messages"]),
        ["user", "assistant"]
    );
}

#[test]
fn a_dry_run_shows_the_messages_and_touches_no_file() {
    let servers = Servers::start();
    let call = servers.call(&["--dry-run", "two"]);
    call.run().code(0);
    assert!(!path(&call).exists());
    call.file(
        "t.json",
        r#"{"session":"s","messages":[{"role":"user","content":"one"}]}"#,
    );
    let ended = call.run();
    assert!(
        ended.stdout.contains(r#"{"role":"user","content":"one"}"#),
        "{ended:#?}"
    );
}

#[test]
fn a_link_stays_a_link() {
    let servers = Servers::start();
    let call = servers.call(&["one"]);
    call.file("real.json", r#"{"session":"s","messages":[]}"#);
    std::os::unix::fs::symlink("real.json", path(&call)).unwrap();
    call.run().code(0);
    assert!(fs::symlink_metadata(path(&call)).unwrap().is_symlink());
    assert_eq!(
        roles(&conversation(&call)["messages"]),
        ["user", "assistant"]
    );
}

#[test]
fn only_what_a_server_takes_back_is_kept() {
    let mut body = completion("hi");
    body["choices"][0]["message"] = json!({"role": "assistant", "content": null, "annotations": [], "reasoning_content": "r",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let servers = Servers::with(Scripted::always(Reply::json(200, &body)));
    let call = servers.call(&["one"]);
    call.run().code(0);
    let kept = &conversation(&call)["messages"][1];
    let names: Vec<&String> = kept.as_object().unwrap().keys().collect();
    assert_eq!(names, ["role", "tool_calls"]);
}

#[test]
fn a_read_only_file_is_refused() {
    let servers = Servers::start();
    let call = servers.call(&["one"]);
    let file = call.file("t.json", r#"{"session":"s","messages":[]}"#);
    fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
    let is_root = fs::OpenOptions::new().write(true).open(&file).is_ok();
    let ended = call.run();
    if !is_root {
        ended.code(6).stderr_has("cannot be used");
    }
}

#[test]
fn the_trace_is_that_of_the_whole_request() {
    let servers = Servers::start();
    let first = servers.call(&["one"]);
    first.run().code(0);
    servers.call(&["two"]).beside(&first).run().code(0);
    let last = servers.langfuse.requests_to(TRACES).pop().unwrap();
    let spans = Export::of(&last);
    assert_eq!(spans.spans()[0]["input.value"], "two");
}
