//! The OTLP/HTTP receiver: protobuf or JSON, plain or gzip, kept and then acknowledged. Nothing is delivered here.

use std::io::Read as _;

use axum::body::{Body, Bytes};
use flate2::read::MultiGzDecoder;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

use crate::exec::answer;
use crate::exec::environment::STAND_IN_PUBLIC;
use crate::exec::recorder::Recorder;
use crate::json;
use crate::langfuse::Keys;

/// The largest body that is decompressed, in bytes: a mistake must not fill the memory.
const LARGEST_BODY: usize = 256 << 20;

/// Takes an export request.
pub async fn receive(recorder: &Recorder, request: Request<Incoming>) -> Response<Body> {
    if request.method() != Method::POST {
        return answer::status(StatusCode::METHOD_NOT_ALLOWED);
    }
    let (parts, body) = request.into_parts();
    let body = match axum::body::to_bytes(Body::new(body), LARGEST_BODY).await {
        Ok(body) => body,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let export = match decode(&parts.headers, body) {
        Ok(export) => export,
        Err(why) => return refused(StatusCode::BAD_REQUEST, &why),
    };
    note_key(recorder, &parts.headers);
    match recorder.keep_spans(export) {
        Ok(()) => accepted(&parts.headers),
        Err(error) => {
            let mut response = refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
            let wait = HeaderValue::from_static("1");
            response.headers_mut().insert(RETRY_AFTER, wait);
            response
        }
    }
}

/// The answer of a receiver that took everything, in the form of the request.
pub fn accepted(headers: &HeaderMap) -> Response<Body> {
    if is_json(headers) {
        return answer::json(StatusCode::OK, &json!({}));
    }
    let mut response = answer::status(StatusCode::OK);
    let kind = HeaderValue::from_static("application/x-protobuf");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn refused(status: StatusCode, why: &str) -> Response<Body> {
    answer::json(status, &json!({"message": why}))
}

fn is_json(headers: &HeaderMap) -> bool {
    text(headers, CONTENT_TYPE.as_str()).contains("application/json")
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_ascii_lowercase()
}

fn decode(headers: &HeaderMap, body: Bytes) -> Result<ExportTraceServiceRequest, String> {
    let body = match text(headers, CONTENT_ENCODING.as_str()).as_str() {
        "" | "identity" => body,
        "gzip" | "x-gzip" => decompressed(&body)?,
        other => return Err(format!("content encoding `{other}` is not supported")),
    };
    let export = if is_json(headers) {
        let mut document: Value =
            json::from_slice(&body).map_err(|error| format!("invalid JSON: {error}"))?;
        tidy(&mut document);
        json::from_value(&document).map_err(|error| format!("invalid OTLP: {error}"))?
    } else {
        ExportTraceServiceRequest::decode(body).map_err(|error| format!("invalid OTLP: {error}"))?
    };
    check_ids(&export)?;
    Ok(export)
}

fn decompressed(body: &[u8]) -> Result<Bytes, String> {
    let mut plain = Vec::new();
    let limit = LARGEST_BODY as u64 + 1;
    let read = MultiGzDecoder::new(body)
        .take(limit)
        .read_to_end(&mut plain);
    match read {
        Ok(read) if read > LARGEST_BODY => Err("the body is too large".to_owned()),
        Ok(_) => Ok(plain.into()),
        Err(error) => Err(format!("invalid gzip: {error}")),
    }
}

/// What the JSON mapping allows and the decoder does not know: null for what is absent, empty lists left out, and names
/// of enumerations.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            for (key, value) in fields {
                if matches!(key.as_str(), "arrayValue" | "kvlistValue")
                    && let Value::Object(list) = value
                {
                    list.entry("values").or_insert_with(|| json!([]));
                }
                let named = value.as_str().and_then(|name| match key.as_str() {
                    "kind" => span_kind(name),
                    "code" => status_code(name),
                    _ => None,
                });
                match named {
                    Some(number) => *value = number.into(),
                    None => tidy(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn span_kind(name: &str) -> Option<i32> {
    use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
    SpanKind::from_str_name(name).map(Into::into)
}

fn status_code(name: &str) -> Option<i32> {
    use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
    StatusCode::from_str_name(name).map(Into::into)
}

/// A server would refuse the whole trace because of one malformed id.
fn check_ids(export: &ExportTraceServiceRequest) -> Result<(), String> {
    let scopes = export
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans);
    for span in scopes.flat_map(|scope| &scope.spans) {
        let is_id =
            |id: &[u8], length: usize| id.len() == length && id.iter().any(|byte| *byte != 0);
        if !is_id(&span.trace_id, 16) || !is_id(&span.span_id, 8) {
            return Err(format!("the span `{}` has no valid ids", span.name));
        }
    }
    Ok(())
}

/// Spans that come under a key of another project are delivered into the run's project all the same.
fn note_key(recorder: &Recorder, headers: &HeaderMap) {
    let value = headers.get(AUTHORIZATION);
    let keys = value
        .and_then(|value| value.to_str().ok())
        .and_then(Keys::from_basic);
    let Some(keys) = keys else { return };
    let is_own =
        keys.public == STAND_IN_PUBLIC || recorder.public_key.as_ref() == Some(&keys.public);
    if !is_own && recorder.note_foreign_key(&keys.public) {
        recorder.warn_later(format!(
            "spans came under the public key {}: they are delivered into the project of this run's keys",
            keys.public
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    const JSON: &str = r#"{"resourceSpans":[{"resource":null,"scopeSpans":[{"scope":{"name":"s"},"spans":[
        {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","parentSpanId":null,"name":"n","kind":"SPAN_KIND_CLIENT",
         "startTimeUnixNano":1,"endTimeUnixNano":"2","status":{"code":"STATUS_CODE_ERROR"},
         "attributes":[{"key":"a","value":{"intValue":"7"}},{"key":"b","value":{"intValue":7}},{"key":"c","value":{"doubleValue":1}},{"key":"d","value":{"arrayValue":{}}},{"key":"e","value":{}}]}]}]}]}"#;

    #[test]
    fn json_is_read_as_sdks_write_it() {
        let kind = [("content-type", "application/json")];
        let export = decode(&headers(&kind), Bytes::from_static(JSON.as_bytes())).unwrap();
        let span = &export.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(
            (
                span.kind,
                span.start_time_unix_nano,
                span.end_time_unix_nano
            ),
            (3, 1, 2)
        );
        assert_eq!(span.status.as_ref().unwrap().code, 2);
        assert_eq!(span.attributes.len(), 5);
        // Compressed and as protobuf it is the same.
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &export.encode_to_vec()).unwrap();
        let kinds = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "gzip"),
        ];
        let same = decode(&headers(&kinds), gzip.finish().unwrap().into()).unwrap();
        assert_eq!(same, export);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let json = [("content-type", "application/json")];
        for (kinds, body) in [
            (&json[..], "{"),
            (
                &json,
                r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}"#,
            ),
            (
                &json,
                r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"n"}]}]}]}"#,
            ),
            (&[("content-type", "application/x-protobuf")], "\u{ff}"),
            (&[("content-encoding", "gzip")], "x"),
            (&[("content-encoding", "br")], ""),
        ] {
            assert!(
                decode(&headers(kinds), Bytes::from_static(body.as_bytes())).is_err(),
                "{body}"
            );
        }
    }
}
