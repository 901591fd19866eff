//! Lines of OTLP/JSON that other programs wrote, such as the file exporter of the OpenTelemetry Collector.
//!
//! OTLP/JSON requires ids in hex, enums as numbers and names in camel case. Writers that use a general proto-JSON library
//! give ids in base64, enums by name, and names as in the `.proto` file; older ones use `instrumentationLibrarySpans`.
//! All of these are read. A line that would lose something is an error, never a smaller request.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Map, Value, json};

use crate::delivery::payload::{Payload, hex};
use crate::json::from_value;

/// The lengths of ids, in bytes.
const TRACE_ID: usize = 16;
const SPAN_ID: usize = 8;

/// What a line holds.
#[derive(Debug)]
pub enum OtlpLine {
    Spans(Payload),
    /// Something that an exporter writes, such as logs, without spans.
    NoSpans,
}

/// Reads one line.
///
/// # Errors
/// One line that says what is wrong with it.
pub fn read(text: &str) -> Result<OtlpLine, String> {
    // Most writers follow the specification. A name as in the `.proto` file would be ignored without an error.
    let follows = !text.contains("\"trace_id\"");
    if let Ok(request) = serde_json::from_str::<ExportTraceServiceRequest>(text)
        && follows
        && spans(&request).next().is_some()
    {
        return payload(request);
    }
    let value = serde_json::from_str(text).map_err(|error| in_line(&error))?;
    let Value::Object(mut fields) = value else {
        return Err("expected a JSON object with `resourceSpans`".to_owned());
    };
    normalise_fields(&mut fields)?;
    if !fields.contains_key("resourceSpans") {
        let others = ["resourceLogs", "resourceMetrics", "resourceProfiles"];
        return if others.iter().any(|name| fields.contains_key(*name)) {
            Ok(OtlpLine::NoSpans)
        } else {
            Err("not an OTLP/JSON export request: `resourceSpans` is missing".to_owned())
        };
    }
    let request: ExportTraceServiceRequest = from_value(&Value::Object(fields))?;
    if spans(&request).next().is_none() {
        return Ok(OtlpLine::NoSpans);
    }
    payload(request)
}

/// The parser sees one line, so its line number is always 1.
fn in_line(error: &serde_json::Error) -> String {
    let why = error.to_string();
    let why = why.replace(" at line 1 column ", " at column ");
    if error.is_data() {
        why
    } else {
        format!("malformed JSON: {why}")
    }
}

fn spans(request: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    let resources = request.resource_spans.iter();
    let scopes = resources.flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans)
}

/// The request, if every span has its ids: a server refuses the whole request otherwise.
fn payload(request: ExportTraceServiceRequest) -> Result<OtlpLine, String> {
    for (span, number) in spans(&request).zip(1_u64..) {
        let is_id = |id: &[u8], length| id.len() == length && id.iter().any(|byte| *byte != 0);
        let wrong = if !is_id(&span.trace_id, TRACE_ID) {
            "trace id"
        } else if !is_id(&span.span_id, SPAN_ID) {
            "span id"
        } else if !matches!(span.parent_span_id.len(), 0 | SPAN_ID) {
            "parent span id"
        } else {
            continue;
        };
        let name = &span.name;
        return Err(format!("span {number} (`{name}`) has no valid {wrong}"));
    }
    Ok(OtlpLine::Spans(Payload::of_messages(request)))
}

/// Turns the forms of general proto-JSON into those of OTLP/JSON, everywhere below `value`. All names are those of
/// messages: keys of attributes are values here.
fn normalise(value: &mut Value) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(normalise),
        Value::Object(fields) => normalise_fields(fields),
        _ => Ok(()),
    }
}

fn normalise_fields(fields: &mut Map<String, Value>) -> Result<(), String> {
    for (name, value) in std::mem::take(fields) {
        if value.is_null() {
            // In proto-JSON, the same as an absent field.
            continue;
        }
        let name = match camel_case(&name).as_str() {
            "instrumentationLibrarySpans" => "scopeSpans".to_owned(),
            "instrumentationLibrary" => "scope".to_owned(),
            name => name.to_owned(),
        };
        let value = normal_value(&name, value)?;
        fields.insert(name, value);
    }
    Ok(())
}

/// The value of the field `name` as OTLP/JSON has it.
fn normal_value(name: &str, mut value: Value) -> Result<Value, String> {
    match (name, &value) {
        ("traceId", Value::String(text)) => return Ok(id(text, TRACE_ID)?.into()),
        ("spanId" | "parentSpanId", Value::String(text)) => return Ok(id(text, SPAN_ID)?.into()),
        ("kind", Value::String(kind)) => {
            let known = SpanKind::from_str_name(kind).map(|kind| kind as i32);
            return known.map(Value::from).ok_or_else(|| unknown(name, kind));
        }
        ("code", Value::String(code)) => {
            let known = StatusCode::from_str_name(code).map(|code| code as i32);
            return known.map(Value::from).ok_or_else(|| unknown(name, code));
        }
        ("arrayValue" | "kvlistValue", Value::Object(list)) if list.is_empty() => {
            return Ok(json!({"values": []}));
        }
        _ => {}
    }
    normalise(&mut value)?;
    Ok(value)
}

fn unknown(field: &str, value: &str) -> String {
    format!("`{value}` is not a `{field}` of OTLP")
}

/// An id in lower-case hex, from hex or base64. Empty stays empty: a span without a parent.
fn id(text: &str, length: usize) -> Result<String, String> {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.is_empty() || (text.len() == 2 * length && is_hex(text)) {
        return Ok(text.to_ascii_lowercase());
    }
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabets = [&alphabet::STANDARD, &alphabet::URL_SAFE];
    let mut decoded = alphabets
        .map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text))
        .into_iter();
    match decoded.find_map(|bytes| bytes.ok().filter(|bytes| bytes.len() == length)) {
        Some(bytes) => Ok(hex(&bytes)),
        None => Err(format!(
            "`{text}` is not an id: expected {} hexadecimal digits, or base64",
            2 * length
        )),
    }
}

/// `start_time_unix_nano` as `startTimeUnixNano`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "5b8efff798038103d269b633813fc60c";
    const SPAN: &str = "eee19b7ec3c1b174";

    fn line(span: &Value) -> String {
        json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string()
    }

    fn request(text: &str) -> Value {
        match read(text).unwrap() {
            OtlpLine::Spans(payload) => {
                serde_json::from_str(&payload.to_json_line().unwrap()).unwrap()
            }
            OtlpLine::NoSpans => panic!("no spans"),
        }
    }

    fn error(text: &str) -> String {
        read(text).unwrap_err()
    }

    #[test]
    fn general_proto_json_becomes_the_same_request() {
        let plain = json!({
            "traceId": TRACE, "spanId": SPAN, "parentSpanId": SPAN, "name": "a", "kind": 3,
            "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000001",
            "attributes": [
                {"key": "n", "value": {"intValue": "9007199254740993"}},
                {"key": "l", "value": {"arrayValue": {"values": [{"doubleValue": 0.5}]}}},
                {"key": "b", "value": {"bytesValue": "AAEC"}},
            ],
            "events": [{"timeUnixNano": "1", "name": "e"}],
            "links": [{"traceId": TRACE, "spanId": SPAN}],
            "status": {"code": 2, "message": "no"},
        });
        let general = json!({
            "trace_id": "W47/95gDgQPSabYzgT/GDA==", "span_id": "7uGbfsPBsXQ", "parent_span_id": "7uGbfsPBsXQ=",
            "name": "a", "kind": "SPAN_KIND_CLIENT",
            "start_time_unix_nano": "1544712660000000000", "end_time_unix_nano": 1_544_712_661_000_000_001_u64,
            "attributes": [
                {"key": "n", "value": {"int_value": 9_007_199_254_740_993_i64}},
                {"key": "l", "value": {"array_value": {"values": [{"double_value": 0.5}]}}},
                {"key": "b", "value": {"bytes_value": "AAEC"}},
            ],
            "events": [{"time_unix_nano": "1", "name": "e", "attributes": null}],
            "links": [{"trace_id": "W47/95gDgQPSabYzgT/GDA", "span_id": SPAN.to_uppercase()}],
            "status": {"code": "STATUS_CODE_ERROR", "message": "no"},
        });
        let wanted = request(&line(&plain));
        assert_eq!(
            wanted["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"],
            TRACE
        );
        assert_eq!(request(&line(&general)), wanted);
        let older =
            json!({"resource_spans": [{"instrumentation_library_spans": [{"spans": [general]}]}]});
        assert_eq!(request(&older.to_string()), wanted);
    }

    #[test]
    fn keys_of_attributes_are_not_names_of_fields() {
        let span = json!({
            "traceId": TRACE, "spanId": SPAN,
            "attributes": [{"key": "trace_id", "value": {"stringValue": "\"trace_id\""}}, {"key": "e", "value": {"arrayValue": {}}}],
        });
        let found = request(&line(&span));
        let attributes = &found["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"];
        assert_eq!(attributes[0]["key"], "trace_id");
        assert_eq!(attributes[0]["value"]["stringValue"], "\"trace_id\"");
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        assert!(error("{\"resourceSpans\":[{\"sco").contains("EOF"));
        assert!(error("[]").contains("expected a JSON object"));
        assert!(error("{\"messages\":[]}").contains("`resourceSpans` is missing"));
        let id = |field: &str, value: &str| {
            let mut span = json!({"traceId": TRACE, "spanId": SPAN, "name": "a"});
            span[field] = value.into();
            error(&line(&span))
        };
        assert!(id("traceId", "5b8e").contains("span 1 (`a`) has no valid trace id"));
        assert!(id("traceId", "5b8e-").contains("is not an id: expected 32"));
        assert!(id("traceId", "").contains("span 1 (`a`) has no valid trace id"));
        assert!(
            id("traceId", "00000000000000000000000000000000").contains("has no valid trace id")
        );
        assert!(id("spanId", "eee19b7ec3c1b1zz").contains("expected 16"));
        assert!(id("kind", "CLIENT").contains("`CLIENT` is not a `kind`"));
    }

    #[test]
    fn other_signals_have_no_spans() {
        for name in [
            "resourceLogs",
            "resourceMetrics",
            "resource_profiles",
            "resourceSpans",
        ] {
            let read = read(&json!({name: []}).to_string());
            assert!(matches!(read, Ok(OtlpLine::NoSpans)), "{name}");
        }
    }
}
