//! Streams assembled to the answer that an unstreamed call would give.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::dialect::chat::completion;
use crate::model::{dialect, stream::StreamReader};

fn assemble(chunks: &[Value]) -> Value {
    let mut assembly = Assembly::default();
    for chunk in chunks {
        assembly.add(chunk.clone());
    }
    assembly.body()
}

#[test]
fn text_and_usage_are_assembled() {
    let body = assemble(&[
        json!({"id": "", "model": "", "choices": [], "prompt_filter_results": []}),
        json!({"id": "c1", "model": "m", "usage": null, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}, "finish_reason": null}]}),
        json!({"id": "c1", "model": "m", "usage": null, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "lo"}, "finish_reason": null}]}),
        json!({"id": "c1", "model": "m", "usage": null, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        json!({"id": "c1", "model": "m", "usage": {"prompt_tokens": 1}, "choices": []}),
    ]);
    assert_eq!(
        body,
        json!({"object": "chat.completion", "id": "c1", "model": "m", "prompt_filter_results": [], "usage": {"prompt_tokens": 1},
               "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop", "index": 0}]})
    );
}

#[test]
fn tool_calls_are_joined_by_index() {
    let fragment = |index: u64, call: Value| {
        let mut call = call;
        call["index"] = index.into();
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    };
    let body = assemble(&[
        fragment(
            0,
            json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}),
        ),
        fragment(
            1,
            json!({"id": "b", "type": "function", "function": {"name": "g", "arguments": "{"}}),
        ),
        fragment(0, json!({"function": {"arguments": "{\"x\":"}})),
        fragment(1, json!({"function": {"arguments": "}"}})),
        fragment(0, json!({"function": {"arguments": "1}"}})),
    ]);
    let calls = &body["choices"][0]["message"]["tool_calls"];
    assert_eq!(
        calls[0]["function"],
        json!({"name": "f", "arguments": "{\"x\":1}"})
    );
    assert_eq!(
        calls[1]["function"],
        json!({"name": "g", "arguments": "{}"})
    );
    assert_eq!(calls[0]["id"], "a");
    assert_eq!(calls[0].get("index"), None);
}

#[test]
fn choices_may_come_in_any_order() {
    let body = assemble(&[
        json!({"choices": [{"index": 1, "delta": {"content": "b"}}]}),
        json!({"choices": [{"index": 0, "delta": {"content": "a"}}]}),
    ]);
    assert_eq!(body["choices"][0]["message"]["content"], "a");
    assert_eq!(body["choices"][1]["message"]["content"], "b");
}

#[test]
fn parts_and_text_are_joined_without_loss() {
    let content = |deltas: &[Value]| {
        let chunks: Vec<Value> = deltas
            .iter()
            .map(|delta| json!({"choices": [{"index": 0, "delta": {"content": delta}}]}))
            .collect();
        assemble(&chunks)["choices"][0]["message"]["content"].clone()
    };
    let thought =
        |text: &str| json!([{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]);
    assert_eq!(
        content(&[
            json!(""),
            thought("a"),
            thought("b"),
            json!("c"),
            json!("d")
        ]),
        json!([
            {"type": "thinking", "thinking": [{"type": "text", "text": "ab"}]},
            {"type": "text", "text": "cd"}
        ])
    );
    assert_eq!(
        content(&[json!("a"), json!([{"type": "image_url"}])]),
        json!([{"type": "text", "text": "a"}, {"type": "image_url"}])
    );
}

#[test]
fn fields_repeated_in_every_fragment_are_not_joined() {
    let detail = |text: &str| {
        json!({"choices": [{"index": 0, "delta": {"role": "assistant", "channel": "analysis", "reasoning_details":
            [{"type": "reasoning.text", "text": text, "format": "v1", "index": 0}]}}]})
    };
    assert_eq!(
        assemble(&[detail("a"), detail("b")])["choices"][0]["message"],
        json!({"role": "assistant", "channel": "analysis", "reasoning_details":
            [{"type": "reasoning.text", "text": "ab", "format": "v1", "index": 0}]})
    );
}

#[test]
fn a_response_is_complete_when_every_choice_is() {
    let is_whole = |events: &[&str]| {
        let mut reader = StreamReader::new(dialect::CHAT);
        for event in events {
            reader
                .push(format!("data: {event}\n\n").as_bytes(), |_| ())
                .unwrap();
        }
        reader.is_whole()
    };
    let [first, second, unnamed] = [
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":1,"delta":{"content":"b"},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":""}]}"#,
    ];
    assert!(is_whole(&[first]));
    assert!(is_whole(&[second, first, "[DONE]"]));
    assert!(!is_whole(&[first, second]));
    assert!(!is_whole(&[unnamed]));
    assert!(!is_whole(&[]));
}

#[test]
fn a_malformed_chunk_is_an_error() {
    let mut reader = StreamReader::new(dialect::CHAT);
    reader.push(b"data: a notice\n\n", |_| ()).unwrap();
    let broken = reader.push(b"data: {\"choices\": [\n\n", |_| ());
    assert!(
        matches!(broken, Err(StreamError::InvalidChunk)),
        "{broken:?}"
    );
}

#[test]
fn chunks_of_other_shapes_are_ignored() {
    let mut assembly = Assembly::default();
    for chunk in [
        json!(1),
        json!({"choices": 3}),
        json!({"choices": [{"index": 99_999_999}, 7]}),
    ] {
        assert_eq!(assembly.add(chunk), None);
    }
    assert!(!assembly.has_content());
}

/// A stream with everything that may separate its pieces: comments, unknown fields, three kinds of line ends, data
/// on several lines, notices.
const STREAM: &str = concat!(
    "\u{feff}: PROCESSING\r\n\r\ndata: {\"id\":\"\",\"model\":\"\",\"choices\":[],\"prompt_filter_results\":[]}\r\n\r\n",
    "event: chunk\rid: 1\rdata: {\"id\":\"c\",\"model\":\"m\",\rdata: \"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"né\"}}]}\r\r",
    "data:{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"\\ud83d\\ude00😀\"}}],\"usage\":null}\n\n: again\n\ndata: ping\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\n\",\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\r\n\r\ndata: [DONE]\n\n",
);

/// Reads a stream in these pieces: its body, the text reported on the way, whether it is complete.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Value, String, bool) {
    let mut reader = StreamReader::new(dialect::CHAT);
    let mut shown = String::new();
    for piece in pieces {
        reader.push(piece, |text| shown.push_str(text)).unwrap();
    }
    let is_whole = reader.is_whole();
    (reader.into_body(), shown, is_whole)
}

#[test]
fn a_stream_with_everything_in_it_is_read() {
    let (body, shown, is_whole) = read([STREAM.as_bytes()]);
    assert!(is_whole);
    assert_eq!(shown, "né\n");
    assert_eq!(
        body["choices"],
        json!([
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "né\n",
                "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "{}"}}]}},
            {"index": 1, "message": {"content": "😀😀"}}
        ])
    );
    assert_eq!(body["usage"]["total_tokens"], 5);
}

/// Cuts `text` at each offset of `cuts`, given in thousandths of its length.
fn pieces<'a>(text: &'a str, cuts: &[usize]) -> Vec<&'a str> {
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let mut cuts: Vec<usize> = cuts
        .iter()
        .filter_map(|cut| ends.get(cut * ends.len() / 1000).copied())
        .chain([0, text.len()])
        .collect();
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .collect()
}

/// One choice of a response, and the offsets at which its stream is cut.
#[derive(Clone, Debug)]
struct TestMessage {
    content: Option<String>,
    reasoning: Option<String>,
    /// Names and arguments.
    calls: Vec<(String, String)>,
    cuts: Vec<usize>,
}

impl TestMessage {
    /// As a whole message.
    fn message(&self) -> Value {
        let mut message = json!({"role": "assistant", "content": self.content, "refusal": null});
        if let Some(reasoning) = &self.reasoning {
            message["reasoning_content"] = reasoning.as_str().into();
        }
        let calls = self.calls.iter().enumerate();
        message["tool_calls"] = calls
            .map(|(at, (name, arguments))| json!({"id": format!("call-{at}"), "type": "function", "function": {"name": name, "arguments": arguments}}))
            .collect();
        message
    }

    /// As the deltas of a stream.
    fn deltas(&self) -> Vec<Value> {
        let mut deltas =
            vec![json!({"role": "assistant", "content": self.content.as_ref().map(|_| "")})];
        for (name, text) in [
            ("reasoning_content", &self.reasoning),
            ("content", &self.content),
        ] {
            let text = text.iter().flat_map(|text| pieces(text, &self.cuts));
            deltas.extend(text.map(|piece| json!({name: piece})));
        }
        for (index, (name, arguments)) in self.calls.iter().enumerate() {
            let id = format!("call-{index}");
            deltas.push(json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]}));
            let fragments = pieces(arguments, &self.cuts).into_iter();
            deltas.extend(fragments.map(|fragment| {
                json!({"tool_calls": [{"index": index, "function": {"arguments": fragment}}]})
            }));
        }
        deltas
    }
}

fn any_message() -> impl Strategy<Value = TestMessage> {
    let text = || prop::option::of("[a-zé😀\n\"\\\\ ]{1,20}");
    let calls = prop::collection::vec(("[a-z]{1,8}", "[{}:\"a-zé😀]{0,20}"), 0..4);
    let cuts = prop::collection::vec(0..1000_usize, 0..6);
    (text(), text(), calls, cuts).prop_map(|(content, reasoning, calls, cuts)| TestMessage {
        content,
        reasoning,
        calls,
        cuts,
    })
}

const USAGE: &str = r#"{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}"#;

/// The answer of these choices as a whole body.
fn whole(choices: &[TestMessage]) -> Value {
    let usage: Value = serde_json::from_str(USAGE).unwrap();
    let choices = choices.iter().enumerate().map(|(index, message)| {
        json!({"index": index, "message": message.message(), "finish_reason": "stop"})
    });
    json!({"id": "c", "model": "m", "choices": choices.collect::<Vec<_>>(), "usage": usage})
}

/// The same answer as a stream, its choices in `turns`.
fn streamed(choices: &[TestMessage], turns: &[usize]) -> String {
    let mut waiting: Vec<_> = choices
        .iter()
        .map(|message| message.deltas().into_iter())
        .collect();
    let everyone = (0..choices.len()).cycle().take(choices.len() * 100);
    let mut events = Vec::new();
    for index in turns.iter().copied().chain(everyone) {
        if let Some(delta) = waiting.get_mut(index).and_then(Iterator::next) {
            let choice = json!({"index": index, "delta": delta});
            let chunk = json!({"id": "c", "model": "m", "choices": [choice], "usage": null});
            events.push(chunk.to_string());
        }
    }
    for index in 0..choices.len() {
        let choice = json!({"index": index, "delta": {}, "finish_reason": "stop"});
        events.push(json!({"id": "c", "model": "m", "choices": [choice]}).to_string());
    }
    events.push(format!(r#"{{"choices":[],"usage":{USAGE}}}"#));
    events.push("[DONE]".to_owned());
    events
        .iter()
        .map(|event| ["data: ", event, "\n\n"].concat())
        .collect()
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_response(cuts in prop::collection::vec(0..STREAM.len(), 0..20)) {
        let mut cuts = cuts;
        cuts.extend([0, STREAM.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &STREAM.as_bytes()[pair[0]..pair[1]]);
        prop_assert_eq!(read(pieces), read([STREAM.as_bytes()]));
    }

    #[test]
    fn any_response_is_the_same_streamed_or_not(
        choices in prop::collection::vec(any_message(), 1..4),
        turns in prop::collection::vec(0..3_usize, 0..60),
    ) {
        let (body, _, is_whole) = read([streamed(&choices, &turns).as_bytes()]);
        prop_assert!(is_whole);
        prop_assert_eq!(completion::read(body), completion::read(whole(&choices)));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut reader = StreamReader::new(dialect::CHAT);
        let _ = reader.push(&bytes, |_| ());
        completion::read(reader.into_body());
    }

    #[test]
    fn no_json_makes_it_panic(chunks in prop::collection::vec(any_json(), 0..8)) {
        let mut reader = StreamReader::new(dialect::CHAT);
        for chunk in chunks {
            let chunk = format!("data: {}\n\n", json!({"choices": chunk, "usage": chunk}));
            let _ = reader.push(chunk.as_bytes(), |_| ());
        }
        completion::read(reader.into_body());
    }
}

/// Values that look like parts of chunks, in places where they do not belong.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "index",
        "delta",
        "message",
        "content",
        "tool_calls",
        "function",
        "arguments",
        "finish_reason",
        "logprobs",
        "prompt_tokens",
        "prompt_tokens_details",
        "cached_tokens",
        "cost",
        "error",
        "type",
        "text",
    ]);
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|fields| fields
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}
