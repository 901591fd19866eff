//! The JSON form of an export request. It is read by hand: Langfuse accepts any text as an id, and reports the reasons
//! and the number of malformed spans, which a typed reader could not.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::InvalidExport;
use super::span::{self, Attributes, Span, SpanEvent, SpanScope};
use crate::json;
use crate::sandbox::hex::hex;
use crate::sandbox::time::Millis;

pub fn decode(body: &[u8]) -> Result<Option<Vec<Span>>, InvalidExport> {
    let request: Value = json::from_slice(body).map_err(|_| unreadable())?;
    if request.is_null() {
        return Err(unreadable());
    }
    let resource_spans = list(&request["resourceSpans"]);
    if resource_spans.is_empty() {
        return Ok(None);
    }
    Faults::find(resource_spans).refusal().map_or(Ok(()), Err)?;

    let mut spans = Vec::new();
    for of_resource in resource_spans {
        let resource = Arc::new(attributes(&of_resource["resource"]["attributes"]));
        for of_scope in list(&of_resource["scopeSpans"]) {
            let scope = Arc::new(scope(&of_scope["scope"]));
            spans.extend(
                list(&of_scope["spans"])
                    .iter()
                    .map(|json| span(json, &resource, &scope)),
            );
        }
    }
    Ok(Some(spans))
}

fn unreadable() -> InvalidExport {
    InvalidExport::new("Failed to parse OTel JSON Trace")
}

/// Malformed spans; a single one makes Langfuse refuse the whole export.
#[derive(Debug, Default)]
struct Faults {
    spans: usize,
    faulty: usize,
    reasons: BTreeSet<String>,
    scopes: BTreeSet<String>,
}

impl Faults {
    fn find(resource_spans: &[Value]) -> Self {
        let mut faults = Self::default();
        for of_resource in resource_spans {
            faults.array(of_resource, "scopeSpans");
            for of_scope in list(&of_resource["scopeSpans"]) {
                faults.array(of_scope, "spans");
                for span in list(&of_scope["spans"]) {
                    faults.span(span, &of_scope["scope"]);
                }
            }
        }
        faults
    }

    fn span(&mut self, span: &Value, scope: &Value) {
        self.spans += 1;
        let mut reasons: Vec<String> =
            [("traceId", true), ("spanId", true), ("parentSpanId", false)]
                .into_iter()
                .filter_map(|(key, required)| id_fault(span, key, required))
                .collect();
        reasons.extend(
            ["attributes", "events"]
                .into_iter()
                .filter_map(|key| array_fault(span, key)),
        );
        if !reasons.is_empty() {
            self.faulty += 1;
            self.scopes.insert(string(&scope["name"]));
        }
        self.reasons.extend(reasons);
    }

    fn array(&mut self, holder: &Value, key: &str) {
        if let Some(reason) = array_fault(holder, key) {
            self.spans += 1;
            self.faulty += 1;
            self.reasons.insert(reason);
        }
    }

    fn refusal(self) -> Option<InvalidExport> {
        if self.faulty == 0 {
            return None;
        }
        let Self {
            spans,
            faulty,
            reasons,
            scopes,
        } = self;
        let (shapes, ids): (Vec<String>, Vec<String>) = reasons
            .into_iter()
            .partition(|reason| reason.ends_with(":not_an_array"));
        let mut rules = String::new();
        if !ids.is_empty() {
            rules += "traceId and spanId are required on every span, and each must be a string or a byte array. ";
        }
        if !shapes.is_empty() {
            rules += "scopeSpans, spans, attributes and events must all be arrays — OTLP attributes are a list of \
                      {key, value} entries, not a JSON object. ";
        }
        let reasons = [ids, shapes].concat().join(", ");
        let scopes = scopes.into_iter().collect::<Vec<_>>().join(", ");
        Some(InvalidExport::new(format!(
            "Invalid OTLP trace export: {faulty} of {spans} span(s) cannot be processed ({reasons}). {rules}The entire \
             export was rejected and no spans were ingested. Instrumentation scopes: {scopes}. This endpoint accepts \
             OpenTelemetry traces only — if you are exporting OpenTelemetry logs, point your log exporter elsewhere."
        )))
    }
}

fn id_fault(span: &Value, key: &str, required: bool) -> Option<String> {
    match &span[key] {
        Value::Null => required.then(|| format!("{key}:absent")),
        Value::String(_) => None,
        bytes if byte_array(bytes).is_some() => None,
        _ => Some(format!("{key}:not_an_id")),
    }
}

fn array_fault(holder: &Value, key: &str) -> Option<String> {
    let value = &holder[key];
    (!value.is_null() && !value.is_array()).then(|| format!("{key}:not_an_array"))
}

fn span(json: &Value, resource: &Arc<Attributes>, scope: &Arc<SpanScope>) -> Span {
    Span {
        trace_id: id(&json["traceId"]),
        id: id(&json["spanId"]),
        parent_id: Some(id(&json["parentSpanId"])).filter(|id| !id.is_empty()),
        name: string(&json["name"]),
        start: millis(&json["startTimeUnixNano"]),
        end: millis(&json["endTimeUnixNano"]),
        // For Langfuse only the number counts, not the name of the enum.
        is_error: json["status"]["code"].as_u64() == Some(2),
        status_message: string(&json["status"]["message"]),
        attributes: attributes(&json["attributes"]),
        events: list(&json["events"])
            .iter()
            .map(|event| SpanEvent {
                name: string(&event["name"]),
                attributes: attributes(&event["attributes"]),
            })
            .collect(),
        resource: Arc::clone(resource),
        scope: Arc::clone(scope),
    }
}

fn scope(json: &Value) -> SpanScope {
    SpanScope {
        name: string(&json["name"]),
        version: string(&json["version"]),
        attributes: attributes(&json["attributes"]),
    }
}

/// An id, unchanged: Langfuse checks neither length, case nor alphabet.
fn id(json: &Value) -> String {
    byte_array(json).map_or_else(|| string(json), |bytes| hex(&bytes))
}

fn byte_array(json: &Value) -> Option<Vec<u8>> {
    json.as_array()?
        .iter()
        .map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()))
        .collect()
}

fn millis(nanos: &Value) -> Option<Millis> {
    let nanos = nanos.as_u64().or_else(|| nanos.as_str()?.parse().ok())?;
    span::millis(nanos)
}

fn attributes(pairs: &Value) -> Attributes {
    list(pairs)
        .iter()
        .filter_map(|pair| Some((pair["key"].as_str()?.to_owned(), plain(&pair["value"])?)))
        .collect()
}

fn plain(wrapper: &Value) -> Option<Value> {
    let (kind, value) = wrapper.as_object()?.iter().next()?;
    match kind.as_str() {
        "stringValue" | "boolValue" => Some(value.clone()),
        "intValue" => match value {
            Value::String(digits) => digits.parse::<i64>().ok().map(Value::from),
            number => Some(number.clone()),
        },
        "doubleValue" => value
            .as_f64()
            .map(span::double)
            .or_else(|| Some(value.clone())),
        "arrayValue" if value["values"].is_array() => {
            Some(list(&value["values"]).iter().filter_map(plain).collect())
        }
        _ => Some(Value::String(wrapper.to_string())),
    }
}

fn list(json: &Value) -> &[Value] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn string(json: &Value) -> String {
    json.as_str().unwrap_or_default().to_owned()
}
