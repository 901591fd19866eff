//! Embeddings: requests and answers without their vectors in the trace.

use serde_json::json;

use super::{asked, call, vectors};
use crate::support::harness::Reply;
use crate::support::otlp::{Servers, attribute, attribute_json};

const BODY: &str = r#"{"input":"Hi","model":"text-embedding-3-small","dimensions":3}"#;

#[test]
fn vectors_are_printed_and_not_traced() {
    let servers = Servers::replying(Reply::json(200, &vectors()));
    let ended = call(&servers, &["replay", "--api", "embeddings", "-"])
        .stdin(BODY)
        .run();
    ended.code(0).stdout(&format!("{}\n", vectors()));
    assert_eq!(asked(&servers).path, "/v1/embeddings");
    assert_eq!(asked(&servers).body, BODY.as_bytes());
    let trace = servers.trace();
    let generation = &trace.generation;
    assert_eq!(generation.name, "embeddings text-embedding-3-small");
    assert_eq!(
        attribute(generation, "langfuse.observation.type").unwrap(),
        "embedding"
    );
    assert_eq!(
        attribute(generation, "langfuse.observation.input").unwrap(),
        "Hi"
    );
    let output = json!({"dimensions": 3, "count": 2});
    assert_eq!(
        attribute_json(generation, "langfuse.observation.output"),
        output
    );
    assert_eq!(attribute_json(&trace.parent, "output.value"), output);
    assert_eq!(attribute(&trace.parent, "input.value").unwrap(), "Hi");
    assert_eq!(
        attribute_json(generation, "langfuse.observation.usage_details"),
        json!({"input": 7, "total": 7})
    );
    let sent = servers
        .langfuse
        .exports()
        .into_iter()
        .map(|export| export.body);
    assert!(
        sent.flatten()
            .collect::<Vec<u8>>()
            .windows(5)
            .all(|bytes| bytes != b"0.125")
    );
}

#[test]
fn what_the_dialect_lacks_is_named() {
    for (options, words) in [
        (
            &["--stream"][..],
            "--stream is not possible in the dialect embeddings",
        ),
        (
            &["--image", "http://x/i.png"],
            "--image or --file is not possible",
        ),
        (&["-s", "be brief"], "--system is not possible"),
        (&["--temperature", "1"], "--temperature is not possible"),
        (&["--max-tokens", "1"], "--max-tokens is not possible"),
    ] {
        let servers = Servers::replying(Reply::json(200, &vectors()));
        let arguments = [&["replay", "--api", "embeddings", "-"], options].concat();
        call(&servers, &arguments)
            .stdin(BODY)
            .run()
            .code(2)
            .stderr_has(words);
        assert_eq!(servers.model.count(), 0);
    }
    let servers = Servers::answering("hi");
    call(&servers, &["chat", "--api", "embeddings", "Hi"])
        .run()
        .code(2)
        .stderr_has("the dialect embeddings takes none");
}

#[test]
fn a_404_for_a_body_with_input_proposes_embeddings() {
    let missing = Reply::json(404, &json!({"error": {"message": "Not Found"}}));
    let servers = Servers::replying(missing);
    call(&servers, &["replay", "-"])
        .stdin(BODY)
        .run()
        .code(4)
        .stderr_has("--api embeddings");
    call(&servers, &["replay", "--api", "responses", "-"])
        .stdin(BODY)
        .run()
        .code(4)
        .stderr_lacks("--api embeddings");
}
