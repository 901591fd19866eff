//! What an export request carries, whichever its encoding and compression.

use std::io::Read as _;

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Map, Value};

use crate::support::harness::{Request, Scripted};

/// One `ExportTraceServiceRequest` as OTLP/JSON.
#[derive(Debug)]
pub struct Export(Value);

impl Export {
    #[track_caller]
    pub fn of(request: &Request) -> Self {
        let mut body = request.body.clone();
        if request.header("content-encoding") == "gzip" {
            body = Vec::new();
            GzDecoder::new(request.body.as_slice())
                .read_to_end(&mut body)
                .unwrap();
        }
        Self(match request.header("content-type") {
            "application/json" => serde_json::from_slice(&body).unwrap(),
            "application/x-protobuf" => {
                let message = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
                serde_json::to_value(message).unwrap()
            }
            other => panic!("no OTLP body: {other:?}"),
        })
    }

    /// The only export that a server got.
    #[track_caller]
    pub fn only(server: &Scripted, path: &str) -> Self {
        let requests = server.requests_to(path);
        assert_eq!(requests.len(), 1, "{:?}", server.requests());
        Self::of(&requests[0])
    }

    /// The whole request.
    pub fn into_json(self) -> Value {
        self.0
    }

    /// The attributes of the resource, by key.
    pub fn resource(&self) -> Map<String, Value> {
        attributes(&self.0["resourceSpans"][0]["resource"])
    }

    /// The attributes of every span, by key.
    pub fn spans(&self) -> Vec<Map<String, Value>> {
        let scopes = self.0["resourceSpans"][0]["scopeSpans"].as_array().unwrap();
        let spans = scopes
            .iter()
            .flat_map(|scope| scope["spans"].as_array().unwrap());
        spans.map(attributes).collect()
    }

    /// The trace id of the first span, as it is written.
    pub fn trace_id(&self) -> String {
        self.0["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

fn attributes(holder: &Value) -> Map<String, Value> {
    let list = holder["attributes"].as_array().unwrap();
    list.iter()
        .map(|item| {
            let key = item["key"].as_str().unwrap().to_owned();
            (key, plain(&item["value"]))
        })
        .collect()
}

/// The value without the wrapper that names its type.
fn plain(value: &Value) -> Value {
    match value.as_object().and_then(|kinds| kinds.iter().next()) {
        Some((kind, list)) if kind == "arrayValue" => list["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(plain)
            .collect(),
        Some((_, inner)) => inner.clone(),
        None => Value::Null,
    }
}
