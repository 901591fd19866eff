//! What is kept and what is redacted, of requests, answers and traces.

use jiff::Timestamp;
use serde_json::json;

use super::*;

const KEY: &str = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";

fn exchange(request: &str, response: &str) -> Exchange {
    let now = Timestamp::UNIX_EPOCH;
    let mut exchange = Exchange::new(serde_json::from_str(request).unwrap(), now, now);
    exchange.set_body(response);
    exchange
}

fn privacy(capture: Capture, patterns: &[&str]) -> Privacy {
    let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
    Privacy::new(capture, &patterns, &[]).unwrap()
}

/// The filtered request and response, and the number of redactions.
fn filtered(privacy: &Privacy, request: &str, response: &str) -> (String, String, usize) {
    let exchange = exchange(request, response);
    let trace = Trace::default();
    let filtered = privacy.filter(&exchange, &trace);
    let body = filtered.exchange.response.as_ref().unwrap();
    (
        filtered.exchange.request.to_json(),
        body.get().to_owned(),
        filtered.redactions,
    )
}

#[test]
fn an_unchanged_exchange_is_borrowed() {
    let exchange = exchange(r#"{"messages":[{"content":"task-list\n\u0041"}]}"#, "{}");
    let trace = Trace::default();
    let filtered = privacy(Capture::Full, &["x+"])
        .filter(&exchange, &trace)
        .exchange;
    assert!(matches!(filtered, Cow::Borrowed(_)));
}

#[test]
fn an_escape_hides_no_key() {
    for content in [
        json!(KEY).to_string(),
        format!("\"\\u0067{}\"", &KEY[1..]),
        format!("\"a\\n{KEY}\""),
        // JSON within a string, as tool calls have it.
        json!(format!("{{\"k\": \"\\u0067{}\"}}", &KEY[1..])).to_string(),
    ] {
        let request = format!(r#"{{"seed":1.00,"messages":[{{"content":{content}}}]}}"#);
        let (request, _, redactions) = filtered(&privacy(Capture::Full, &[]), &request, "{}");
        assert_eq!(redactions, 1, "{content}");
        assert!(request.contains("[redacted]"), "{request}");
        assert!(!request.contains(&KEY[1..]), "{request}");
        assert!(request.starts_with(r#"{"seed":1.00,"#), "{request}");
    }
}

#[test]
fn patterns_match_the_unescaped_text() {
    let request = r#"{"messages":[{"role":"user","content":"M\u00fcller said \"M\u00fcller\""}],"metadata":{"M\u00fcller":"x"}}"#;
    let (request, _, redactions) = filtered(
        &privacy(Capture::Full, &["Müller", "role|user"]),
        request,
        "{}",
    );
    assert_eq!(redactions, 3);
    assert_eq!(
        request,
        r#"{"messages":[{"role":"user","content":"[redacted] said \"[redacted]\""}],"metadata":{"[redacted]":"x"}}"#
    );
}

#[test]
fn overlapping_passages_get_one_mark() {
    let request = r#"{"messages":[{"content":"call 0123-456 now"}]}"#;
    let patterns = ["[0-9]", "3-4", "call 0"];
    let (request, _, redactions) = filtered(&privacy(Capture::Full, &patterns), request, "{}");
    assert_eq!(redactions, 1);
    assert_eq!(request, r#"{"messages":[{"content":"[redacted] now"}]}"#);
}

#[test]
fn redacted_text_does_not_remain_in_logprobs() {
    let response = r#"{"choices":[{"message":{"content":"Ada is here"},"logprobs":{"content":[{"token":"Ada"}]}}]}"#;
    let (_, response, _) = filtered(&privacy(Capture::Full, &["Ada is"]), "{}", response);
    assert_eq!(
        response,
        r#"{"choices":[{"message":{"content":"[redacted] here"},"logprobs":null}]}"#
    );
}

#[test]
fn texts_are_truncated_but_not_fixed_values() {
    let request = r#"{"model":"gpt-4o","service_tier":"flex","messages":[{"role":"user","content":[{"type":"text","text":"äöüß"},"loose",{"type":"text","text":"abc"}]}]}"#;
    let response = r#"{"id":"chatcmpl-1","choices":[{"index":0,"message":{"role":"assistant","content":"ghp and more","tool_calls":[{"id":"call_1","type":"function","function":{"name":"clock","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls"}]}"#;
    let (request, response, redactions) =
        filtered(&privacy(Capture::Truncate(3), &[]), request, response);
    assert_eq!(
        request,
        r#"{"model":"gpt-4o","service_tier":"flex","messages":[{"role":"user","content":[{"type":"text","text":"äöü…"},"loo…",{"type":"text","text":"abc"}]}]}"#
    );
    assert_eq!(
        response,
        r#"{"id":"chatcmpl-1","choices":[{"index":0,"message":{"role":"assistant","content":"ghp…","tool_calls":[{"id":"call_1","type":"function","function":{"name":"clock","arguments":"{\"a…"}}]},"finish_reason":"tool_calls"}]}"#
    );
    assert_eq!(redactions, 0);
}

#[test]
fn a_text_is_redacted_before_it_is_truncated() {
    let request = format!(r#"{{"messages":[{{"content":"is {KEY}"}}]}}"#);
    let (request, _, _) = filtered(&privacy(Capture::Truncate(10), &[]), &request, "{}");
    assert_eq!(request, r#"{"messages":[{"content":"is [redact…"}]}"#);
}

#[test]
fn without_content_model_parameters_and_usage_stay() {
    let request = r#"{"model":"m","messages":[{"role":"user","content":"q"}],"tools":[{}],"prediction":{"content":"p"},"seed":7}"#;
    let response = r#"{"id":"1","model":"m-1","citations":["c"],"usage":{"prompt_tokens":1},"choices":[{"index":0,"message":{"content":"a"},"logprobs":{},"finish_reason":"stop"}]}"#;
    let (request, response, _) = filtered(&privacy(Capture::None, &[]), request, response);
    assert_eq!(request, r#"{"model":"m","messages":[],"seed":7}"#);
    assert_eq!(
        response,
        r#"{"id":"1","model":"m-1","usage":{"prompt_tokens":1},"choices":[{"index":0,"finish_reason":"stop"}]}"#
    );
}

#[test]
fn misleading_patterns_are_rejected() {
    for pattern in [
        "", "x*", r"\b", "^", "(", r"\p{L}", "(?i)ä", "(?mi:ä)", "(?Ui)ä",
    ] {
        let refused = Privacy::new(Capture::Full, &[pattern.to_owned()], &[]).unwrap_err();
        assert!(refused.0.contains(&format!("`{pattern}`")), "{}", refused.0);
    }
    privacy(
        Capture::Full,
        &["x+", "ä", "(?i)a", "(?<i>ä)", r"\bx\b", "a-ä", r"\(?iä"],
    );
}
