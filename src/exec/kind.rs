//! What a span of the child says by its attributes: whether it is a model call, of which model, and what it lacks.
//!
//! The names are those of Langfuse's own mapping and of the instrumentations that were measured. Nothing is changed
//! here.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::exec::attributes::{has, number, text};

/// Who made a span: the name of its instrumentation scope.
pub type ScopeName<'a> = &'a str;

/// The operations of the GenAI conventions that are model calls.
const OPERATIONS: [&str; 6] = [
    "chat",
    "completion",
    "text_completion",
    "generate_content",
    "generate",
    "embeddings",
];

/// Attributes that name a model, the one that answered first.
const MODELS: [&str; 9] = [
    "langfuse.observation.model.name",
    "gen_ai.response.model",
    "gen_ai.request.model",
    "ai.model.id",
    "llm.response.model",
    "llm.model_name",
    "mlflow.llm.model",
    "embedding.model_name",
    "model",
];
/// Those of them that Langfuse reads.
const READ_MODELS: [&str; 6] = [
    "langfuse.observation.model.name",
    "gen_ai.response.model",
    "gen_ai.request.model",
    "llm.response.model",
    "llm.model_name",
    "ai.model.id",
];

/// The attributes that hold input and output, in the order in which Langfuse reads them.
const CONTENT: [(&str, &str); 9] = [
    ("langfuse.observation.input", "langfuse.observation.output"),
    ("ai.prompt.messages", "ai.response.text"),
    ("mlflow.spanInputs", "mlflow.spanOutputs"),
    ("traceloop.entity.input", "traceloop.entity.output"),
    ("input.value", "output.value"),
    ("input", "output"),
    ("gen_ai.prompt", "gen_ai.completion"),
    ("gen_ai.input.messages", "gen_ai.output.messages"),
    ("llm.prompts", "llm.completions"),
];
/// Prefixes of attributes that hold input or output in many pieces.
const PIECES: [(&str, bool); 6] = [
    ("gen_ai.prompt.", true),
    ("gen_ai.completion.", false),
    ("llm.input_messages.", true),
    ("llm.output_messages.", false),
    ("ai.prompt", true),
    ("ai.response.", false),
];
/// Names of the attributes, besides those, in which a response id or an answer may be found.
const ANSWERS: [&str; 4] = [
    "ai.response.object",
    "ai.response.toolCalls",
    "ai.response.providerMetadata",
    "ai.embeddings",
];
/// Attributes whose value is a response id.
pub const RESPONSE_IDS: [&str; 4] = [
    "gen_ai.response.id",
    "llm.response.id",
    "ai.response.id",
    "langfuse.observation.metadata.response_id",
];

/// Whether a span reports a call of a model. The spans around it (agents, chains, requests) do not.
pub fn is_model_call(span: &Span, scope: ScopeName<'_>) -> bool {
    let attributes = span.attributes.as_slice();
    if let Some(kind) = text(attributes, "langfuse.observation.type") {
        return matches!(kind, "generation" | "embedding");
    }
    if let Some(kind) = text(attributes, "openinference.span.kind") {
        return matches!(kind, "LLM" | "EMBEDDING");
    }
    if let Some(id) = text(attributes, "ai.operationId") {
        return ["doGenerate", "doStream", "doEmbed"]
            .iter()
            .any(|end| id.ends_with(end));
    }
    if let Some(operation) = text(attributes, "gen_ai.operation.name") {
        return OPERATIONS.contains(&operation);
    }
    if let Some(kind) = text(attributes, "mlflow.spanType") {
        return matches!(kind.trim_matches('"'), "CHAT_MODEL" | "LLM" | "EMBEDDING");
    }
    if let Some(kind) = text(attributes, "langsmith.span.kind") {
        return kind == "llm";
    }
    if let Some(kind) = text(attributes, "llm.request.type") {
        return matches!(kind, "chat" | "completion" | "embedding");
    }
    scope == "litellm" && span.name == "litellm_request"
}

/// Whether a model call makes vectors of texts.
pub fn is_embedding(span: &Span) -> bool {
    let attributes = span.attributes.as_slice();
    let is = |key: &str, wanted: &str| {
        text(attributes, key).is_some_and(|kind| kind.trim_matches('"') == wanted)
    };
    is("langfuse.observation.type", "embedding")
        || is("openinference.span.kind", "EMBEDDING")
        || is("gen_ai.operation.name", "embeddings")
        || is("mlflow.spanType", "EMBEDDING")
        || text(attributes, "ai.operationId").is_some_and(|id| id.ends_with("doEmbed"))
}

/// The names of the model that a span states, without the quotes that `MLflow` adds.
pub fn models(attributes: &[KeyValue]) -> Vec<String> {
    let mut models: Vec<String> = MODELS
        .iter()
        .filter_map(|key| text(attributes, key))
        .map(|model| model.trim_matches('"').to_owned())
        .filter(|model| !model.is_empty() && !model.starts_with('{'))
        .collect();
    models.dedup();
    models
}

/// Whether Langfuse finds a model in the attributes.
pub fn has_model(attributes: &[KeyValue]) -> bool {
    READ_MODELS.iter().any(|key| has(attributes, key))
}

/// Whether Langfuse finds token counts in the attributes.
pub fn has_usage(attributes: &[KeyValue]) -> bool {
    let is_usage = |attribute: &KeyValue| {
        let key = attribute.key.as_str();
        let is_count = key.starts_with("llm.token_count.")
            || (key.starts_with("gen_ai.usage.") && key != "gen_ai.usage.cost");
        is_count && number(std::slice::from_ref(attribute), key).is_some()
    };
    has(attributes, "langfuse.observation.usage_details") || attributes.iter().any(is_usage)
}

/// The number of all tokens that the attributes count.
pub fn tokens(attributes: &[KeyValue]) -> u64 {
    let count = |keys: &[&str]| keys.iter().find_map(|key| number(attributes, key));
    let stated = text(attributes, "langfuse.observation.usage_details").and_then(total_of);
    let total = stated
        .or_else(|| count(&["llm.token_count.total", "gen_ai.usage.total_tokens"]))
        .or_else(|| {
            let input = count(&[
                "gen_ai.usage.input_tokens",
                "gen_ai.usage.prompt_tokens",
                "llm.token_count.prompt",
            ]);
            let output = count(&[
                "gen_ai.usage.output_tokens",
                "gen_ai.usage.completion_tokens",
                "llm.token_count.completion",
            ]);
            (input.is_some() || output.is_some())
                .then(|| input.unwrap_or(0.0) + output.unwrap_or(0.0))
        });
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a token count"
    )]
    total.map_or(0, |total| total.max(0.0) as u64)
}

/// The total of usage details: stated, else the sum of the buckets.
fn total_of(details: &str) -> Option<f64> {
    let details: serde_json::Map<String, serde_json::Value> = serde_json::from_str(details).ok()?;
    let stated = ["total", "total_tokens"]
        .iter()
        .find_map(|key| details.get(*key)?.as_f64());
    stated.or_else(|| {
        let counts = details.values().filter_map(serde_json::Value::as_f64);
        Some(counts.sum())
    })
}

/// US dollars, if the attributes state them.
pub fn cost(attributes: &[KeyValue]) -> Option<f64> {
    let details = text(attributes, "langfuse.observation.cost_details").and_then(total_of);
    details.or_else(|| {
        [
            "gen_ai.usage.cost",
            "llm.cost.total",
            "gen_ai.cost.total_cost",
            "operation.cost",
        ]
        .iter()
        .find_map(|key| number(attributes, key))
    })
}

/// Input and output of a span, each as the text in which Langfuse would find it; pieces count as an empty text.
pub fn content(attributes: &[KeyValue]) -> (Option<&str>, Option<&str>) {
    for (input, output) in CONTENT {
        let found = (text(attributes, input), text(attributes, output));
        if found.0.is_some() || found.1.is_some() {
            return found;
        }
    }
    let in_pieces = |wants_input: bool| {
        let is_piece = |attribute: &KeyValue| {
            PIECES.iter().any(|(prefix, is_input)| {
                *is_input == wants_input && attribute.key.starts_with(prefix)
            })
        };
        attributes.iter().any(is_piece).then_some("")
    };
    (in_pieces(true), in_pieces(false))
}

/// Whether an attribute holds what was said to a model or by it.
pub fn is_content(key: &str) -> bool {
    is_input(key)
        || is_answer(key)
        || key.starts_with("langfuse.trace.input")
        || key.starts_with("langfuse.trace.output")
        || key.starts_with("gen_ai.tool.call.")
        || key.starts_with("ai.toolCall.")
        || key.starts_with("embedding.embeddings.")
        || key.starts_with("mlflow.chunk")
        || matches!(
            key,
            "gen_ai.system_instructions" | "gen_ai.tool.definitions" | "mlflow.chat.tools"
        )
}

/// Whether an attribute holds an input.
pub fn is_input(key: &str) -> bool {
    CONTENT.iter().any(|(input, _)| key == *input)
        || PIECES
            .iter()
            .any(|(prefix, is_input)| *is_input && key.starts_with(prefix))
}

/// Whether an attribute may hold an answer, or its response id.
pub fn is_answer(key: &str) -> bool {
    CONTENT.iter().any(|(_, output)| key == *output)
        || ANSWERS.contains(&key)
        || PIECES.iter().any(|(prefix, is_input)| {
            !is_input && *prefix != "ai.response." && key.starts_with(prefix)
        })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    use super::*;
    use crate::exec::attributes::set;

    fn span(name: &str, texts: &[(&str, &str)]) -> Span {
        let mut span = Span {
            name: name.to_owned(),
            ..Span::default()
        };
        for (key, text) in texts {
            set(
                &mut span.attributes,
                key,
                Value::StringValue((*text).to_owned()),
            );
        }
        span
    }

    #[test]
    fn model_calls_of_each_instrumentation_are_known() {
        for (scope, name, texts) in [
            (
                "mlflow.tracing.provider",
                "Completions",
                &[("mlflow.spanType", "\"CHAT_MODEL\"")][..],
            ),
            (
                "mlflow",
                "chat gpt-4o-mini",
                &[("gen_ai.operation.name", "chat")],
            ),
            (
                "langfuse-sdk",
                "OpenAI-generation",
                &[("langfuse.observation.type", "generation")],
            ),
            ("x", "ChatCompletion", &[("openinference.span.kind", "LLM")]),
            (
                "x",
                "CreateEmbeddings",
                &[("openinference.span.kind", "EMBEDDING")],
            ),
            (
                "opentelemetry.instrumentation.openai.v1",
                "openai.chat",
                &[("gen_ai.operation.name", "chat")],
            ),
            ("litellm", "litellm_request", &[]),
            (
                "ai",
                "ai.generateText.doGenerate",
                &[("ai.operationId", "ai.generateText.doGenerate")],
            ),
            ("langsmith", "ChatOpenAI", &[("langsmith.span.kind", "llm")]),
        ] {
            assert!(is_model_call(&span(name, texts), scope), "{name}");
        }
    }

    #[test]
    fn the_spans_around_a_call_are_none() {
        for (scope, name, texts) in [
            (
                "opentelemetry.instrumentation.httpx",
                "POST",
                &[("http.method", "POST")][..],
            ),
            (
                "ai",
                "ai.generateText",
                &[
                    ("ai.operationId", "ai.generateText"),
                    ("gen_ai.request.model", "m"),
                ],
            ),
            (
                "pydantic-ai",
                "invoke_agent",
                &[
                    ("gen_ai.operation.name", "invoke_agent"),
                    ("gen_ai.request.model", "m"),
                ],
            ),
            (
                "langfuse-sdk",
                "main",
                &[("langfuse.observation.type", "span")],
            ),
            ("x", "chain", &[("openinference.span.kind", "CHAIN")]),
            ("litellm", "raw_gen_ai_request", &[]),
        ] {
            assert!(!is_model_call(&span(name, texts), scope), "{name}");
        }
    }

    #[test]
    fn models_are_unquoted() {
        let span = span("x", &[("mlflow.llm.model", "\"gpt-4o-mini\"")]);
        assert_eq!(models(&span.attributes), ["gpt-4o-mini"]);
        assert!(!has_model(&span.attributes));
    }

    #[test]
    fn content_of_one_family_counts() {
        let span = span(
            "x",
            &[("output.value", "b"), ("gen_ai.input.messages", "[]")],
        );
        assert_eq!(content(&span.attributes), (None, Some("b")));
    }
}
