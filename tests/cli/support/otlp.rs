//! A scripted model beside a scripted Langfuse, and the spans that arrived there, decoded.

use std::collections::{BTreeMap, HashMap, HashSet};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::harness::{Langspan, OBSERVATIONS, Reply, Request, SCORES, Scripted, TRACES};

const ASK: &str = "/v1/chat/completions";

/// A model and a Langfuse that takes everything, and knows no earlier trace.
#[derive(Debug)]
pub struct Servers {
    pub model: Scripted,
    pub langfuse: Scripted,
}

impl Servers {
    /// The model answers `text`.
    pub fn answering(text: &str) -> Self {
        Self::with(Scripted::model(text))
    }

    /// The model always replies this.
    pub fn replying(reply: Reply) -> Self {
        Self::with(Scripted::always(reply))
    }

    /// The model's replies to its first, second … request; the last one again for every further one.
    pub fn replying_in_turn(replies: Vec<Reply>) -> Self {
        Self::with(Scripted::start(move |_, count| {
            replies[count.min(replies.len() - 1)].clone()
        }))
    }

    pub fn with(model: Scripted) -> Self {
        let project = json!({"data": [{"id": "p1", "name": "P"}]});
        let langfuse = Scripted::start(move |request, _| {
            match request.path.split('?').next().unwrap_or_default() {
                "/api/public/projects" => Reply::json(200, &project),
                OBSERVATIONS => Reply::json(200, &json!({"data": [], "meta": {}})),
                TRACES => Reply::json(200, &json!({})),
                SCORES => Reply::json(200, &json!({"id": "s1"})),
                _ => Reply::Answer(404, "text/html", "<html></html>".to_owned()),
            }
        });
        Self { model, langfuse }
    }

    /// A call that goes to both.
    pub fn call(&self, arguments: &[&str]) -> Langspan {
        Langspan::new(arguments)
            .model_at(&format!("{}/v1", self.model.url()))
            .langfuse_at(self.langfuse.url())
    }

    /// Everything that the model was asked.
    pub fn asked(&self) -> Vec<Request> {
        self.model.requests_to(ASK)
    }

    /// The body of the only request to the model.
    #[track_caller]
    pub fn body(&self) -> Value {
        let asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:#?}");
        asked[0].json()
    }

    /// The prompt in the only request to the model.
    #[track_caller]
    pub fn prompt(&self) -> Value {
        self.body()["messages"][0]["content"].take()
    }

    /// The only trace that arrived.
    #[track_caller]
    pub fn trace(&self) -> Trace {
        let mut traces = traces_at(&self.langfuse);
        assert_eq!(traces.len(), 1, "{traces:#?}");
        traces.remove(0)
    }
}

/// The two spans of a call, with their resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    pub resource: BTreeMap<String, String>,
    pub scope: String,
    pub parent: Span,
    pub generation: Span,
}

/// The traces that a server received, two spans each.
pub fn traces_at(server: &Scripted) -> Vec<Trace> {
    let exports = server.requests().into_iter().filter(|request| {
        request.method == "POST" && request.header("content-type") == "application/x-protobuf"
    });
    exports.flat_map(|request| decoded(&request.body)).collect()
}

#[track_caller]
fn decoded(body: &[u8]) -> Vec<Trace> {
    let export = ExportTraceServiceRequest::decode(body).unwrap();
    let mut traces = Vec::new();
    for group in export.resource_spans {
        let resource = attributes(&group.resource.unwrap().attributes);
        for scoped in group.scope_spans {
            let scope = scoped.scope.unwrap().name;
            traces.extend(paired(scoped.spans).map(|(parent, generation)| Trace {
                resource: resource.clone(),
                scope: scope.clone(),
                parent,
                generation,
            }));
        }
    }
    traces
}

/// Each generation with its parent; a span without the other is an error.
#[track_caller]
fn paired(spans: Vec<Span>) -> impl Iterator<Item = (Span, Span)> {
    let count = spans.len();
    let ids: HashSet<Vec<u8>> = spans.iter().map(|span| span.span_id.clone()).collect();
    let (generations, parents): (Vec<Span>, Vec<Span>) = spans
        .into_iter()
        .partition(|span| ids.contains(&span.parent_span_id));
    let parents: HashMap<Vec<u8>, Span> = parents
        .into_iter()
        .map(|span| (span.span_id.clone(), span))
        .collect();
    assert_eq!(
        (parents.len(), generations.len() * 2),
        (generations.len(), count)
    );
    generations.into_iter().map(move |generation| {
        let parent = parents[&generation.parent_span_id].clone();
        (parent, generation)
    })
}

impl Trace {
    pub fn spans(&self) -> [&Span; 2] {
        [&self.parent, &self.generation]
    }

    pub fn id(&self) -> String {
        hex(&self.parent.trace_id)
    }
}

/// An attribute of a span as text; other types than strings name themselves.
pub fn attribute(span: &Span, key: &str) -> Option<String> {
    attributes(&span.attributes).remove(key)
}

/// An attribute that holds JSON.
#[track_caller]
pub fn attribute_json(span: &Span, key: &str) -> Value {
    let text = attribute(span, key)
        .unwrap_or_else(|| panic!("no {key}: {:#?}", attributes(&span.attributes)));
    serde_json::from_str(&text).unwrap()
}

/// Every attribute, by its key; a key that occurs twice is an error.
#[track_caller]
pub fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for pair in pairs {
        let earlier = found.insert(pair.key.clone(), shown(pair.value.as_ref()));
        assert!(earlier.is_none(), "{} twice", pair.key);
    }
    found
}

fn shown(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()).unwrap() {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::BoolValue(value) => format!("(bool) {value}"),
        any_value::Value::IntValue(value) => format!("(int) {value}"),
        any_value::Value::DoubleValue(value) => format!("(double) {value}"),
        any_value::Value::ArrayValue(array) => {
            let items: Vec<String> = array.values.iter().map(|item| shown(Some(item))).collect();
            format!("[{}]", items.join(", "))
        }
        other => panic!("an attribute of this type has no reader: {other:?}"),
    }
}

pub fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}
