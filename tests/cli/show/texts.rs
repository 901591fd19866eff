//! What was said in a generation, below its line.

use serde_json::{Value, json};

use super::{ID, assert_fits, holding, show, span, text};
use crate::support::harness::Langspan;
use crate::support::stand_in::Sandbox;

/// A generation with this input and output.
fn generation(input: &Value, output: &Value) -> Vec<Value> {
    let attributes = [
        text("langfuse.observation.type", "generation"),
        text("langfuse.observation.model.name", "gpt-4o-mini"),
        text("langfuse.observation.input", &input.to_string()),
        text("langfuse.observation.output", &output.to_string()),
    ];
    vec![
        span("00000000000000a1", "", "a parent", (0, 1000), &[]),
        span(
            "00000000000000b1",
            "00000000000000a1",
            "chat",
            (1, 1000),
            &attributes,
        ),
    ]
}

fn shown(sandbox: &Sandbox, options: &[&str]) -> String {
    let call = show(sandbox.url(), &[&[ID], options].concat()).env("COLUMNS", "60");
    let ended = call.run();
    ended.code(0);
    ended.stdout
}

fn messages(content: &Value) -> Value {
    json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "an earlier one"},
        {"role": "assistant", "content": "an earlier answer"},
        {"role": "user", "content": content},
    ])
}

#[test]
fn the_last_user_message_and_the_answer_are_cut_to_the_width() {
    let question = format!(
        "first line\n\tsecond {} end-of-question",
        "word ".repeat(40)
    );
    let answer = format!("short\u{1b}[31m\u{7} {} end-of-answer", "日本語".repeat(40));
    let output = json!({"role": "assistant", "content": answer});
    for version in ["v4", "v3"] {
        let sandbox = holding(
            version,
            &generation(&messages(&question.clone().into()), &output),
        );
        let drawing = shown(&sandbox, &[]);
        assert!(
            drawing.contains("\n      user: first line  second word word"),
            "{drawing}"
        );
        assert!(
            drawing.contains("\n      answer: short[31m 日本語"),
            "{drawing}"
        );
        assert_eq!(drawing.matches('…').count(), 2, "{drawing}");
        for hidden in ["end-of", "earlier", "Be brief", "\u{1b}", "\u{7}"] {
            assert!(!drawing.contains(hidden), "{hidden:?}: {drawing}");
        }
        assert_fits(&drawing, 60);
        let whole = shown(&sandbox, &["--full"]);
        let lines = format!(
            "      user: first line\n             second {}",
            "word ".repeat(40)
        );
        assert!(whole.contains(&lines), "{whole}");
        assert!(
            whole.contains("end-of-question\n") && whole.contains("end-of-answer\n"),
            "{whole}"
        );
        assert!(!whole.contains(['\u{1b}', '\u{7}']), "{whole}");
    }
}

#[test]
fn media_is_shown_by_its_reference() {
    let reference = "@@@langfuseMedia:type=image/png|id=abc|source=base64_data_uri@@@";
    let content = json!([
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": reference}},
    ]);
    let output = json!({"role": "assistant", "content": "A dot."});
    let sandbox = holding("v4", &generation(&messages(&content), &output));
    let whole = shown(&sandbox, &["--full"]);
    assert!(
        whole.contains(&format!("user: What is this?\n            {reference}\n")),
        "{whole}"
    );
}

#[test]
fn tool_calls_and_other_forms_are_shown() {
    let call =
        json!({"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}});
    let output = json!({"role": "assistant", "content": null, "tool_calls": [call]});
    let input =
        json!({"tools": [{"type": "function"}], "messages": messages(&"Look it up".into())});
    let sandbox = holding("v4", &generation(&input, &output));
    let whole = shown(&sandbox, &["--full"]);
    assert!(whole.contains("user: Look it up\n"), "{whole}");
    assert!(whole.contains(&format!("answer: [{call}]\n")), "{whole}");
    let sandbox = holding("v4", &generation(&"plain".into(), &json!({"score": 1})));
    let whole = shown(&sandbox, &[]);
    assert!(
        whole.contains("user: plain\n") && whole.contains(r#"answer: {"score":1}"#),
        "{whole}"
    );
}

#[test]
fn content_that_was_not_captured_is_not_shown() {
    let sandbox = Sandbox::start();
    for (capture, is_shown) in [("full", true), ("none", false)] {
        let chat = Langspan::new(&["chat", "-o", "url", "--capture", capture, "Hello"]);
        let chat = chat.at(&sandbox).run();
        let drawing = show(sandbox.url(), &[chat.code(0).stdout.trim()])
            .run()
            .stdout;
        assert_eq!(drawing.contains("user: Hello\n"), is_shown, "{drawing}");
        assert_eq!(drawing.contains("answer: "), is_shown, "{drawing}");
    }
}
