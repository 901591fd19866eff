//! Tests of cutting, halving and truncating requests.

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

use super::*;

#[test]
fn ids_are_lower_case_hex() {
    assert_eq!(hex(&[0x0a, 0xf7]), "0af7");
}

/// Traces of two spans each, with a text of `text` bytes in each span.
fn payload(traces: u8, text: usize) -> Payload {
    let span = |trace: u8, span: u8| {
        let value = Some(Any {
            value: Some(AnyValue::StringValue("é".repeat(text / 2))),
        });
        Span {
            trace_id: vec![trace; 16],
            span_id: vec![span; 8],
            attributes: vec![KeyValue {
                key: "input.value".to_owned(),
                value,
                ..KeyValue::default()
            }],
            ..Span::default()
        }
    };
    let spans = (0..traces)
        .flat_map(|trace| [span(trace, 1), span(trace, 2)])
        .collect();
    let scope_spans = vec![ScopeSpans {
        spans,
        ..ScopeSpans::default()
    }];
    let resource_spans = vec![ResourceSpans {
        scope_spans,
        ..ResourceSpans::default()
    }];
    Payload::of_messages(ExportTraceServiceRequest { resource_spans })
}

#[test]
fn a_large_request_is_truncated_between_traces() {
    let pieces = payload(10, 300_000).cut();
    assert_eq!(pieces.iter().map(Payload::trace_count).sum::<usize>(), 10);
    assert_eq!(pieces.iter().map(Payload::span_count).sum::<usize>(), 20);
    assert!(pieces.len() > 1);
    assert!(
        pieces
            .iter()
            .all(|piece| piece.span_count() % 2 == 0 && piece.size() <= MAX_REQUEST_BYTES)
    );
    assert_eq!(payload(1, 3 << 20).cut().len(), 1);
}

#[test]
fn halves_end_at_a_single_span() {
    let [first, second] = payload(3, 2).halves().unwrap();
    assert_eq!((first.trace_count(), second.trace_count()), (1, 2));
    let [parent, generation] = first.halves().unwrap();
    assert_eq!((parent.span_count(), generation.span_count()), (1, 1));
    assert!(parent.halves().is_none());
}

#[test]
fn truncation_ends_and_is_marked() {
    let mut payload = payload(1, 100_000);
    let mut rounds = 0;
    while let Some(shorter) = payload.truncated() {
        payload = shorter;
        rounds += 1;
    }
    assert!((5..12).contains(&rounds), "{rounds}");
    for span in spans_of(&payload.request()) {
        let keys: Vec<&str> = span
            .attributes
            .iter()
            .map(|attribute| attribute.key.as_str())
            .collect();
        assert_eq!(keys, ["input.value", TRUNCATION_KEY]);
    }
}

#[test]
fn a_line_without_spans_is_not_a_payload() {
    assert!(Payload::from_json_line("{}").is_err());
    assert!(Payload::from_json_line(r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"na"#).is_err());
}
