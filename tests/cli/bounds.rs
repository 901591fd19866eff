//! How much of an answer of Langfuse is read: a server, or another one by mistake, must not fill the memory.

use serde_json::json;

use crate::support::harness::{Langspan, OBSERVATIONS, Reply, Scripted, TRACES, completion};

const PROJECTS: &str = "/api/public/projects";
const HEALTH: &str = "/api/public/health";
const ID: &str = "2de564082ca19a9b24fd35f84866aae6";

/// A valid answer with as many MiB of white space behind it, with or without its length in the header.
fn padded(answer: &serde_json::Value, mib: usize, is_announced: bool) -> Reply {
    let body = format!("{answer}{}", " ".repeat(mib << 20));
    if is_announced {
        Reply::Answer(200, "application/json", body)
    } else {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
        Reply::Bytes(format!("{head}{body}").into_bytes())
    }
}

/// A Langfuse with one overlong answer.
fn langfuse(overlong: &'static str, mib: usize, is_announced: bool) -> Scripted {
    Scripted::start(move |request, _| {
        let path = request.path.split('?').next().unwrap_or_default();
        let answer = match path {
            PROJECTS => json!({"data": [{"id": "p1", "name": "P"}]}),
            HEALTH => json!({"status": "OK", "version": "4.16.0"}),
            OBSERVATIONS => json!({"data": [], "meta": {}}),
            TRACES => json!({}),
            _ => return Reply::json(404, &json!({"message": "Not Found"})),
        };
        if path == overlong {
            padded(&answer, mib, is_announced)
        } else {
            Reply::json(200, &answer)
        }
    })
}

#[test]
fn a_look_up_is_read_up_to_a_mebibyte() {
    for is_announced in [true, false] {
        let model = Scripted::always(Reply::json(200, &completion("hi")));
        let server = langfuse(PROJECTS, 2, is_announced);
        let call = Langspan::new(&["chat", "--no-stdin", "Hello"]).model_at(model.url());
        let ended = call.langfuse_at(server.url()).run();
        ended
            .code(0)
            .stdout("hi\n")
            .stderr_has("warning")
            .stderr_has("longer than 1 MiB");
        let server = langfuse(HEALTH, 2, is_announced);
        let ended = Langspan::new(&["check"]).langfuse_at(server.url()).run();
        ended.code(5);
        assert!(ended.stdout.contains("longer than 1 MiB"), "{ended:#?}");
    }
}

#[test]
fn a_page_is_read_up_to_64_mebibytes() {
    for is_announced in [true, false] {
        let server = langfuse(OBSERVATIONS, 65, is_announced);
        let call = Langspan::new(&["show", ID]);
        let ended = call.langfuse_at(server.url()).run();
        ended.code(5).stderr_has("longer than 64 MiB");
        assert_eq!(server.count(), 1, "asking again would not help");
    }
    let server = langfuse(OBSERVATIONS, 2, true);
    let call = Langspan::new(&["show", ID, "--wait", "1"]);
    call.langfuse_at(server.url()).run().code(7);
}
