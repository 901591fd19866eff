//! `langspan chat`: the answer, the trace and the exit code.

use serde_json::json;

use crate::support::harness::{Langspan, Reply, Scripted};
use crate::support::stand_in::Sandbox;

#[test]
fn an_answer_is_printed_and_its_trace_accepted() {
    let sandbox = Sandbox::start();
    let ended = Langspan::new(&[
        "chat", "-u", "u1", "-S", "s1", "-t", "a", "-t", "b", "Hello",
    ])
    .at(&sandbox)
    .run();
    ended
        .code(0)
        .stderr_has("trace: http://127.0.0.1")
        .stderr_has("/project/sandbox/traces/");
    assert!(ended.stdout.ends_with("“Hello”.\n"), "{}", ended.stdout);
    let rows = sandbox.observations(&ended.trace_id());
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert_eq!(
            (&row["userId"], &row["sessionId"], &row["tags"]),
            (&json!("u1"), &json!("s1"), &json!(["a", "b"]))
        );
    }
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn a_refused_trace_waits_in_the_outbox() {
    let model = Scripted::model("hi");
    let langfuse =
        Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "Invalid credentials."})));
    let ended = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .run();
    ended
        .code(5)
        .stdout("hi\n")
        .stderr_has("401 Unauthorized: Invalid credentials.")
        .stderr_has("langspan resend");
    assert_eq!(ended.kept().len(), 1);
}
