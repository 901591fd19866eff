//! Traces of other tools: the forms in which they state messages, tools and parameters.

use serde_json::{Value, json};

use super::{ID, Place, VERSIONS, question, span, text};

const CHAT: &str = "/v1/chat/completions";

/// The body that is asked for a generation with these attributes, its path, and what stderr said.
#[track_caller]
fn asked(version: &str, scope: &str, attributes: &[(&str, &str)]) -> (String, Value, String) {
    let attributes: Vec<Value> = attributes
        .iter()
        .map(|(key, value)| text(key, value))
        .collect();
    let place = Place::holding(
        version,
        scope,
        &[span("00000000000000a1", "", 0, &attributes)],
    );
    let ended = place.replay(ID, &[]);
    ended.code(0);
    let (path, body) = place.last();
    (path, body, ended.stderr)
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of forms")]
fn the_messages_of_each_tool_are_found() {
    const OBSERVATION: &str = "langfuse.observation.type";
    const MODEL: &str = "langfuse.observation.model.name";
    const INPUT: &str = "langfuse.observation.input";
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {}}});
    let sdk = [(OBSERVATION, "generation"), (MODEL, "gpt-4o")];
    let parts = r#"[{"role":"user","parts":[{"type":"text","content":"q"}]}]"#;
    let with_tools = json!({"tools": [tool], "messages": question("q")});
    let chat = |fields: Value| {
        let mut body = json!({"model": "gpt-4o", "messages": question("q")});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        (CHAT, body)
    };
    let plain = question("q").to_string();
    let with_tools = with_tools.to_string();
    let mlflow =
        json!({"messages": question("q"), "model": "gpt-4o", "temperature": 0.5, "stream": true})
            .to_string();
    let vercel = json!([{"role": "user", "content": [{"type": "text", "text": "q"}]}]).to_string();
    let langchain = json!({"messages": [[{"lc": 1, "type": "constructor", "id": ["langchain", "HumanMessage"], "kwargs": {"content": "q", "type": "human"}}]]}).to_string();
    let arguments = json!({"args": [], "kwargs": {"messages": question("q")}}).to_string();
    let responses =
        json!({"model": "gpt-4o", "input": "q", "instructions": "be brief"}).to_string();
    for (scope, more, (path, expected)) in [
        (
            "langfuse-sdk",
            vec![(INPUT, plain.as_str())],
            chat(json!({})),
        ),
        (
            "langfuse-sdk",
            vec![(INPUT, with_tools.as_str())],
            chat(json!({"tools": [tool]})),
        ),
        (
            "langfuse-sdk",
            vec![(INPUT, arguments.as_str())],
            chat(json!({})),
        ),
        (
            "litellm",
            vec![
                (INPUT, plain.as_str()),
                (
                    "llm.invocation_parameters",
                    r#"{"temperature": 0.5, "extra_headers": {"a": "b"}}"#,
                ),
            ],
            chat(json!({"temperature": 0.5})),
        ),
        (
            "openinference",
            vec![
                ("input.value", mlflow.as_str()),
                (
                    "llm.invocation_parameters",
                    r#"{"model": "gpt-4o", "temperature": 0.5}"#,
                ),
            ],
            chat(json!({"temperature": 0.5})),
        ),
        (
            "openinference",
            vec![("input.value", responses.as_str())],
            (
                "/v1/responses",
                json!({"model": "gpt-4o", "instructions": "be brief", "input": question("q")}),
            ),
        ),
        (
            "openllmetry",
            vec![
                ("gen_ai.input.messages", parts),
                ("gen_ai.request.max_tokens", "5"),
            ],
            chat(json!({"max_tokens": 5})),
        ),
        (
            "openllmetry",
            vec![
                ("gen_ai.input.messages", parts),
                (
                    "gen_ai.system_instructions",
                    r#"[{"type":"text","content":"be brief"}]"#,
                ),
            ],
            (
                CHAT,
                json!({"model": "gpt-4o", "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "q"}]}),
            ),
        ),
        (
            "mlflow.tracing.provider",
            vec![("mlflow.spanInputs", mlflow.as_str())],
            chat(json!({"temperature": 0.5})),
        ),
        (
            "ai",
            vec![("ai.prompt.messages", vercel.as_str())],
            (
                CHAT,
                json!({"model": "gpt-4o", "messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}]}),
            ),
        ),
        (
            "langsmith",
            vec![(INPUT, langchain.as_str())],
            chat(json!({})),
        ),
    ] {
        for version in VERSIONS {
            let (asked_at, body, stderr) = asked(version, scope, &[&sdk[..], &more].concat());
            assert_eq!(
                (asked_at.as_str(), &body),
                (path, &expected),
                "{version} {scope} {more:?}"
            );
            assert!(!stderr.contains("warning"), "{stderr}");
        }
    }
}

#[test]
fn every_input_of_the_recorded_rows_is_asked_or_refused_with_a_reason() {
    let recorded: Value =
        serde_json::from_str(include_str!("../../../fixtures/langfuse-mapping.json")).unwrap();
    let mut asked = 0;
    for case in recorded["cases"].as_array().unwrap() {
        if !matches!(
            case["row"]["type"].as_str(),
            Some("GENERATION" | "EMBEDDING")
        ) {
            continue;
        }
        let mut span = case["span"].clone();
        for (field, value) in [
            ("traceId", ID),
            ("spanId", "00000000000000a1"),
            ("parentSpanId", ""),
        ] {
            span[field] = value.into();
        }
        let place = Place::holding("v4", "mapping", &[span]);
        let ended = place.replay(ID, &["--wait", "5"]);
        let name = &case["case"];
        if case["row"]["input"].is_null() {
            ended.code(2).stderr_has("it has no input");
        } else {
            ended.code(0);
            let (_, body) = place.last();
            assert!(!body["messages"][0]["content"].is_null(), "{name}: {body}");
            asked += 1;
        }
    }
    assert!(asked >= 3, "{asked}");
}

#[test]
fn a_parameter_that_the_api_does_not_know_is_left_out_with_a_warning() {
    let parameters = r#"{"temperature":1,"max_tokens":"Infinity","top_p":1,"frequency_penalty":0,"presence_penalty":0,"seed":"7","mystery":3,"request_timeout":9}"#;
    let (_, body, stderr) = asked(
        "v4",
        "langfuse-sdk",
        &[
            ("langfuse.observation.type", "generation"),
            ("langfuse.observation.model.name", "gpt-4o"),
            ("langfuse.observation.input", &question("q").to_string()),
            ("langfuse.observation.model.parameters", parameters),
        ],
    );
    assert_eq!(
        body,
        json!({"model": "gpt-4o", "messages": question("q"), "seed": 7})
    );
    assert!(
        stderr.contains("left out, since chat completions is not known to take it: mystery;"),
        "{stderr}"
    );
}

#[test]
fn a_text_alone_is_what_the_user_says() {
    let (_, body, stderr) = asked(
        "v4",
        "langfuse-sdk",
        &[
            ("langfuse.observation.type", "generation"),
            ("langfuse.observation.model.name", "gpt-4o"),
            ("langfuse.observation.input", "Hello"),
        ],
    );
    assert_eq!(
        body,
        json!({"model": "gpt-4o", "messages": question("Hello")})
    );
    assert!(stderr.contains("the input is a text alone"), "{stderr}");
}

#[test]
fn an_answer_of_blocks_tells_that_anthropic_was_asked() {
    let output =
        json!({"role": "assistant", "content": [{"type": "text", "text": "a"}]}).to_string();
    let (path, body, _) = asked(
        "v4",
        "langfuse-sdk",
        &[
            ("langfuse.observation.type", "generation"),
            ("langfuse.observation.model.name", "claude-1"),
            ("langfuse.observation.input", &question("q").to_string()),
            ("langfuse.observation.output", &output),
        ],
    );
    assert_eq!(path, "/v1/messages");
    // The API requires a limit.
    assert_eq!(
        body,
        json!({"model": "claude-1", "messages": question("q"), "max_tokens": 4096})
    );
}
