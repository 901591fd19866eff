//! System messages, earlier messages and fields from files.

use serde_json::json;

use crate::support::harness::Langspan;
use crate::support::otlp::Servers;

fn call(servers: &Servers, arguments: &[&str]) -> Langspan {
    servers.call(&[&["chat", "--no-stdin"], arguments].concat())
}

#[test]
fn a_system_message_may_come_from_a_file() {
    let servers = Servers::answering("hi");
    let chat = call(&servers, &["--system-file", "s.txt", "Hello"]);
    chat.file("s.txt", "be brief\nand kind\n");
    chat.run().code(0).stderr_lacks("warning");
    assert_eq!(
        servers.body()["messages"][0],
        json!({"role": "system", "content": "be brief\nand kind"})
    );
    let missing = call(&servers, &["--system-file", "no.txt", "Hello"]).run();
    missing
        .code(6)
        .stderr_has("no.txt cannot be read")
        .stderr_has("--system-file");
    call(&servers, &["--system-file", "s", "-s", "x", "Hello"])
        .run()
        .code(2);
}

#[test]
fn a_field_may_come_from_a_file() {
    let servers = Servers::answering("hi");
    let chat = call(
        &servers,
        &[
            "-p",
            "note=@note.txt",
            "-p",
            "tools:=@tools.json",
            "-p",
            "at=@@x",
            "Hello",
        ],
    );
    chat.file("note.txt", "line\n");
    chat.file("tools.json", r#" [{"type": "function", "n": 1.0}] "#);
    chat.run().code(0);
    let body = servers.body();
    assert_eq!(body["note"], "line\n");
    assert_eq!(body["at"], "@x");
    let sent = String::from_utf8(servers.asked()[0].body.clone()).unwrap();
    assert!(
        sent.contains(r#""tools":[{"type": "function", "n": 1.0}]"#),
        "{sent}"
    );
    let bad = call(&servers, &["-p", "x:=@bad.json", "Hello"]);
    bad.file("bad.json", "{");
    bad.run()
        .code(2)
        .stderr_has("bad.json is not valid JSON")
        .stderr_has("--param");
    call(&servers, &["-p", "x=@no", "Hello"])
        .run()
        .code(6)
        .stderr_has("no cannot be read");
}

#[test]
fn messages_of_a_file_precede_the_prompt() {
    let servers = Servers::answering("hi");
    let messages = r#"[{"role":"system","content":"old"},{"role":"user","content":"a","x":1.0}]"#;
    let chat = call(&servers, &["--messages", "m.json", "Hello"]);
    chat.file("m.json", messages);
    chat.run().code(0);
    let body = servers.body();
    assert_eq!(body["messages"][0]["content"], "old");
    assert_eq!(
        body["messages"][2],
        json!({"role": "user", "content": "Hello"})
    );
    let sent = String::from_utf8(servers.asked()[0].body.clone()).unwrap();
    assert!(
        sent.contains(r#"{"role":"user","content":"a","x":1.0}"#),
        "{sent}"
    );
    let servers = Servers::answering("hi");
    let chat = call(&servers, &["--messages", "m.json", "-s", "new", "Hello"]);
    chat.file("m.json", messages);
    chat.run().code(0);
    assert_eq!(servers.body()["messages"][0]["content"], "new");
    assert_eq!(servers.body()["messages"].as_array().unwrap().len(), 3);
}

#[test]
fn a_file_that_holds_no_messages_is_refused() {
    let servers = Servers::answering("hi");
    for content in ["x", "{}", r#"["x"]"#, r#"[{"content":"x"}]"#] {
        let chat = call(&servers, &["--messages", "m.json", "Hello"]);
        chat.file("m.json", content);
        chat.run()
            .code(2)
            .stderr_has("m.json is not")
            .stderr_has("hint: ");
    }
    call(&servers, &["--messages", "no.json", "Hello"])
        .run()
        .code(6);
    assert!(servers.asked().is_empty());
}

#[test]
fn messages_of_a_parameter_precede_the_prompt_too() {
    let servers = Servers::answering("hi");
    let messages = r#"messages:=[{"role":"assistant","content":"a"}]"#;
    call(&servers, &["-p", messages, "Hello"]).run().code(0);
    assert_eq!(
        servers.body()["messages"],
        json!([{"role": "assistant", "content": "a"}, {"role": "user", "content": "Hello"}])
    );
    let batch = servers.call(&["batch", "in.jsonl", "-p", messages]);
    batch.file("in.jsonl", "{\"prompt\": \"Line\"}\n");
    batch.run().code(0);
    assert_eq!(servers.asked()[1].json()["messages"][1]["content"], "Line");
    let ended = call(&servers, &["-p", "messages:=7", "Hello"]).run();
    ended.code(2).stderr_has("`messages` is not an array");
    let ended = call(&servers, &["-p", messages, "--thread", "t.json", "Hello"]).run();
    ended.code(2).stderr_has("both give earlier messages");
}

#[test]
fn a_text_that_looks_like_a_file_is_sent_with_a_warning() {
    let servers = Servers::answering("hi");
    let chat = call(&servers, &["@notes.txt"]);
    chat.file("notes.txt", "n");
    chat.run()
        .code(0)
        .stderr_has("the prompt `@notes.txt` is sent as it is")
        .stderr_has("--file notes.txt");
    assert_eq!(servers.prompt(), "@notes.txt");
    let servers = Servers::answering("hi");
    let chat = call(&servers, &["-s", "@notes.txt", "@someone"]);
    chat.file("notes.txt", "n");
    let ended = chat.run();
    ended
        .code(0)
        .stderr_has("--system-file notes.txt")
        .stderr_lacks("the prompt");
    assert_eq!(servers.body()["messages"][0]["content"], "@notes.txt");
}

#[test]
fn markdown_in_an_answer_is_left_as_it_is_and_a_pipe_gets_no_colour() {
    let markdown = "# Title\n\n**bold** `code`\n\n| a |\n|---|";
    let servers = Servers::answering(markdown);
    let ended = call(&servers, &["-v", "Hello"]).run();
    ended.code(0).stdout(&format!("{markdown}\n"));
    ended.stderr_lacks("\u{1b}");
}
