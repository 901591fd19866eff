//! The answer as text.

use serde_json::{Value, json};

use super::{chunk, piece, stop, streamed};
use crate::support::harness::{Reply, completion};
use crate::support::otlp::{Servers, attribute, attribute_json};

/// A model whose only answer is this message.
fn saying(message: &Value) -> Servers {
    let mut body = completion("");
    body["choices"][0]["message"] = message.clone();
    Servers::replying(Reply::json(200, &body))
}

#[test]
fn text_ends_in_exactly_one_newline() {
    for answer in ["one\ntwo", "one\ntwo\n", "one\ntwo\n\n\n", "one\ntwo\r\n"] {
        let servers = Servers::answering(answer);
        let ended = servers.call(&["chat", "Hello"]).run();
        ended.code(0).stdout("one\ntwo\n").stderr_has("trace: http");
    }
}

#[test]
fn streamed_text_ends_in_exactly_one_newline_wherever_it_is_cut() {
    for pieces in [
        &["one\n", "two"][..],
        &["one", "\n", "two\n"],
        &["one\ntwo", "\n", "\n\n"],
        &["one", "\ntwo\n\n"],
    ] {
        let mut events: Vec<String> = pieces.iter().map(|text| piece(0, text)).collect();
        events.push(stop(0));
        let servers = streamed(&events);
        let ended = servers.call(&["chat", "--stream", "Hello"]).run();
        ended.code(0).stdout("one\ntwo\n");
        // The trace has the answer with all newlines.
        let output = attribute_json(&servers.trace().generation, "langfuse.observation.output");
        assert_eq!(output["content"], pieces.concat());
    }
}

#[test]
fn several_choices_are_printed_in_order_with_a_blank_line_between() {
    let mut body = completion("one");
    let second = json!({"index": 1, "message": {"role": "assistant", "content": "two\n"}, "finish_reason": "stop"});
    body["choices"].as_array_mut().unwrap().push(second);
    let servers = Servers::replying(Reply::json(200, &body));
    let call = servers.call(&["chat", "-p", "n:=2", "Hello"]);
    call.run().code(0).stdout("one\n\ntwo\n");
}

#[test]
fn several_streamed_choices_are_not_mixed() {
    let servers = streamed(&[
        piece(1, "tw"),
        piece(0, "on"),
        piece(1, "o"),
        piece(0, "e"),
        stop(1),
        stop(0),
    ]);
    let call = servers.call(&["chat", "--stream", "-p", "n:=2", "Hello"]);
    call.run().code(0).stdout("one\n\ntwo\n");
}

#[test]
fn tool_calls_without_text_are_printed_as_json() {
    let calls =
        json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let message = json!({"role": "assistant", "content": null, "tool_calls": calls});
    let delta = json!({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let whole = saying(&message).call(&["chat", "Hello"]).run();
    let stream = streamed(&[chunk(0, &delta), stop(0)]);
    let stream = stream.call(&["chat", "--stream", "Hello"]).run();
    for ended in [whole, stream] {
        let printed = ended.code(0).json();
        assert_eq!(printed[0]["function"], calls[0]["function"], "{ended:#?}");
        assert_eq!(ended.stdout.trim_end().len() + 1, ended.stdout.len());
    }
}

#[test]
fn text_beside_tool_calls_is_the_answer() {
    let calls =
        json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let servers =
        saying(&json!({"role": "assistant", "content": "One moment.", "tool_calls": calls}));
    servers
        .call(&["chat", "Hello"])
        .run()
        .code(0)
        .stdout("One moment.\n");
    assert_eq!(
        attribute(&servers.trace().parent, "output.value").unwrap(),
        "One moment."
    );
}

#[test]
fn a_refusal_is_the_answer_where_there_is_no_other() {
    let whole = saying(&json!({"role": "assistant", "content": null, "refusal": "I cannot."}));
    whole
        .call(&["chat", "Hello"])
        .run()
        .code(0)
        .stdout("I cannot.\n");
    let stream = streamed(&[
        chunk(0, &json!({"refusal": "I "})),
        chunk(0, &json!({"refusal": "cannot."})),
        stop(0),
    ]);
    stream
        .call(&["chat", "--stream", "Hello"])
        .run()
        .code(0)
        .stdout("I cannot.\n");
}

#[test]
fn reasoning_is_traced_but_not_printed() {
    let whole =
        saying(&json!({"role": "assistant", "content": "42", "reasoning_content": "let me see"}));
    whole.call(&["chat", "Hello"]).run().code(0).stdout("42\n");
    let stream = streamed(&[
        chunk(0, &json!({"reasoning_content": "let me "})),
        chunk(0, &json!({"reasoning_content": "see"})),
        piece(0, "42"),
        stop(0),
    ]);
    stream
        .call(&["chat", "--stream", "Hello"])
        .run()
        .code(0)
        .stdout("42\n");
    for servers in [whole, stream] {
        let trace = servers.trace();
        let output = attribute_json(&trace.generation, "langfuse.observation.output");
        assert_eq!(output["reasoning_content"], "let me see");
        assert_eq!(attribute(&trace.parent, "output.value").unwrap(), "42");
    }
}
