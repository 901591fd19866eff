//! `replay --from` and `--from-session`: requests that are taken out of Langfuse and asked again.

// Traces of this program: every dialect, options, sessions, lines for a batch.
mod own;
// Traces of other tools.
mod other;
// What cannot be replayed, and options that make no sense together.
mod refused;
// Images and files.
mod media;

use serde_json::{Value, json};

use crate::support::harness::{Ended, Langspan, Reply, Request, Scripted, TRACES, completion};
use crate::support::stand_in::Sandbox;

const VERSIONS: [&str; 2] = ["v3", "v4"];
const ID: &str = "2de564082ca19a9b24fd35f84866aae6";
const ANTHROPIC_KEY: &str = "sk-ant-REDACTED-0123456789";

/// A model that answers in every dialect, beside a sandbox's Langfuse.
struct Place {
    model: Scripted,
    langfuse: Sandbox,
    version: String,
}

impl Place {
    fn start(version: &str) -> Self {
        Self {
            model: Scripted::start(|request, _| polyglot(request)),
            langfuse: Sandbox::start_with(&["--langfuse", version]),
            version: version.to_owned(),
        }
    }

    /// One that holds these spans.
    fn holding(version: &str, scope: &str, spans: &[Value]) -> Self {
        let place = Self::start(version);
        let export = json!({"resourceSpans": [{"scopeSpans": [{"scope": {"name": scope}, "spans": spans}]}]});
        let headers = [("content-type", "application/json")];
        let answer = place.langfuse.post(TRACES, &headers, export.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        place
    }

    fn call(&self, arguments: &[&str]) -> Langspan {
        Langspan::new(arguments)
            .model_at(&format!("{}/v1", self.model.url()))
            .langfuse_at(self.langfuse.url())
            .env("ANTHROPIC_BASE_URL", self.model.url())
            .env("ANTHROPIC_API_KEY", ANTHROPIC_KEY)
    }

    /// Runs a call that must succeed; returns the id of its trace.
    #[track_caller]
    fn traced(&self, arguments: &[&str]) -> String {
        let call = [arguments, &["-o", "json", "--verify"]].concat();
        let ended = self.call(&call).run();
        ended.code(0);
        ended.trace_id()
    }

    fn replay(&self, from: &str, options: &[&str]) -> Ended {
        let arguments = [&["replay", "--from", from], options].concat();
        self.call(&arguments).run()
    }

    /// The path and the body of the last request to the model.
    #[track_caller]
    fn last(&self) -> (String, Value) {
        let requests = self.model.requests();
        let last = requests.last().unwrap();
        (last.path.clone(), last.json())
    }

    /// The rows of a trace, each with the metadata of the trace.
    fn rows(&self, trace_id: &str) -> Vec<Value> {
        if self.version == "v4" {
            return self.langfuse.observations(trace_id);
        }
        let path = format!("/api/public/traces/{trace_id}");
        let mut trace = self.langfuse.get(&path).json();
        let metadata = trace["metadata"].take();
        let mut rows = trace["observations"].as_array().unwrap().clone();
        for row in &mut rows {
            row["metadata"] = metadata.clone();
        }
        rows
    }
}

fn polyglot(request: &Request) -> Reply {
    let body = match request.path.as_str() {
        "/v1/chat/completions" => completion("from chat"),
        "/v1/responses" => json!({
            "id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5-2026", "service_tier": "default",
            "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "from responses", "annotations": []}]}],
        }),
        "/v1/messages" => json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-1-2026", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "from messages"}],
            "usage": {"input_tokens": 10, "output_tokens": 17, "service_tier": "standard"},
        }),
        "/v1/embeddings" => json!({"object": "list", "model": "text-embedding-3-small",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]}),
        _ => return Reply::json(404, &json!({"error": {"message": "no such path"}})),
    };
    Reply::json(200, &body)
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// A span with these attributes, which begins this many seconds after a fixed time.
fn span(id: &str, parent: &str, second: u64, attributes: &[Value]) -> Value {
    let nanos = |second: u64| ((1_790_000_000 + second) * 1_000_000_000).to_string();
    json!({
        "traceId": ID, "spanId": id, "parentSpanId": parent, "name": "call", "kind": 3,
        "startTimeUnixNano": nanos(second), "endTimeUnixNano": nanos(second + 1), "attributes": attributes,
    })
}

/// A generation with this input.
fn generation(id: &str, parent: &str, second: u64, input: &Value) -> Value {
    let attributes = [
        text("langfuse.observation.type", "generation"),
        text("langfuse.observation.model.name", "gpt-4o-mini"),
        text("langfuse.observation.input", &input.to_string()),
    ];
    span(id, parent, second, &attributes)
}

fn question(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}
