//! What has to be put right in the spans of single instrumentations so that Langfuse shows them as they were meant.
//!
//! One row each. What any span may lack is filled in from the model call instead (`merge`).

use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use crate::exec::attributes::{get, has, remove, set, set_text, text};
use crate::exec::kind::ScopeName;
use crate::exec::vectors;
use crate::trace::attributes::langfuse;

/// One row: the spans of one instrumentation, and what is done about them.
struct Fix {
    applies: fn(&Span, ScopeName<'_>) -> bool,
    remedy: Remedy,
}

enum Remedy {
    /// Changes the span.
    Span(fn(&mut Span)),
    /// Changes the resource that the span was sent with.
    Resource(fn(&mut Resource)),
    /// Takes input and output from the model call, although the span has its own.
    ProxiedContent,
}

const FIXES: [Fix; 6] = [
    // MLflow without MLFLOW_ENABLE_OTEL_GENAI_SEMCONV writes every value as JSON: Langfuse reads a model in quotes, and
    // no usage.
    Fix {
        applies: |span, _| {
            has(&span.attributes, "mlflow.spanType")
                && !has(&span.attributes, "gen_ai.operation.name")
        },
        remedy: Remedy::Span(mlflow),
    },
    // OpenInference names the model of embeddings by a key that Langfuse does not read.
    Fix {
        applies: |span, _| has(&span.attributes, "embedding.model_name"),
        remedy: Remedy::Span(|span| copy(span, "embedding.model_name", langfuse::MODEL_NAME)),
    },
    // Several instrumentations write the vectors of embeddings.
    Fix {
        applies: |_, _| true,
        remedy: Remedy::Span(|span| vectors::drop_from(&mut span.attributes)),
    },
    // LiteLLM's spans have a model, and no kind.
    Fix {
        applies: |span, scope| {
            is_litellm_call(span, scope)
                && !has(&span.attributes, langfuse::OBSERVATION_TYPE)
                && !has(&span.attributes, "openinference.span.kind")
        },
        remedy: Remedy::Span(|span| {
            set_text(
                &mut span.attributes,
                langfuse::OBSERVATION_TYPE,
                "generation",
            );
        }),
    },
    // LiteLLM makes an environment up: one trace would be shown in two environments.
    Fix {
        applies: |_, scope| scope == "litellm",
        remedy: Remedy::Resource(|resource| {
            remove(&mut resource.attributes, "deployment.environment");
        }),
    },
    // LangSmith writes LangChain's own objects.
    Fix {
        applies: |_, scope| scope == "langsmith",
        remedy: Remedy::ProxiedContent,
    },
];

fn is_litellm_call(span: &Span, scope: ScopeName<'_>) -> bool {
    scope == "litellm" && span.name == "litellm_request"
}

/// Puts a span right.
pub fn apply(span: &mut Span, scope: ScopeName<'_>) {
    for fix in &FIXES {
        if let Remedy::Span(change) = fix.remedy
            && (fix.applies)(span, scope)
        {
            change(span);
        }
    }
}

/// Puts the resource right that a span was sent with.
pub fn apply_to_resource(resource: &mut Resource, span: &Span, scope: ScopeName<'_>) {
    for fix in &FIXES {
        if let Remedy::Resource(change) = fix.remedy
            && (fix.applies)(span, scope)
        {
            change(resource);
        }
    }
}

/// Whether the content of a model call is better taken from the proxy.
pub fn prefers_proxied_content(span: &Span, scope: ScopeName<'_>) -> bool {
    FIXES
        .iter()
        .any(|fix| matches!(fix.remedy, Remedy::ProxiedContent) && (fix.applies)(span, scope))
}

fn copy(span: &mut Span, from: &str, to: &str) {
    if let Some(value) = get(&span.attributes, from).cloned()
        && !has(&span.attributes, to)
    {
        set(&mut span.attributes, to, value);
    }
}

fn mlflow(span: &mut Span) {
    let decoded = |key: &str| -> Option<Value> {
        let value = text(&span.attributes, key)?;
        Some(serde_json::from_str(value).unwrap_or_else(|_| value.into()))
    };
    let kind = match decoded("mlflow.spanType").as_ref().and_then(Value::as_str) {
        Some("CHAT_MODEL" | "LLM") => Some("generation"),
        Some("EMBEDDING") => Some("embedding"),
        _ => None,
    };
    let model = decoded("mlflow.llm.model").or_else(|| decoded("model"));
    let usage = decoded("mlflow.chat.tokenUsage").and_then(|usage| mlflow_usage(&usage));
    let attributes = &mut span.attributes;
    let Some(kind) = kind else { return };
    if !has(attributes, langfuse::OBSERVATION_TYPE) {
        set_text(attributes, langfuse::OBSERVATION_TYPE, kind);
    }
    if let Some(model) = model.as_ref().and_then(Value::as_str)
        && !has(attributes, langfuse::MODEL_NAME)
    {
        set_text(attributes, langfuse::MODEL_NAME, model);
    }
    if let Some(usage) = usage
        && !has(attributes, langfuse::USAGE_DETAILS)
    {
        set_text(attributes, langfuse::USAGE_DETAILS, usage);
    }
}

/// The counts of `MLflow` as buckets that do not overlap.
fn mlflow_usage(usage: &Value) -> Option<String> {
    let count = |key: &str| usage[key].as_u64();
    let cached = count("cache_read_input_tokens").unwrap_or(0);
    let created = count("cache_creation_input_tokens").unwrap_or(0);
    let input = count("input_tokens")?;
    let output = count("output_tokens").unwrap_or(0);
    let mut buckets = json!({
        "input": input.saturating_sub(cached + created),
        "output": output,
        "total": count("total_tokens").unwrap_or(input + output),
    });
    if cached > 0 {
        buckets["input_cached_tokens"] = cached.into();
    }
    if created > 0 {
        buckets["input_cache_creation"] = created.into();
    }
    Some(buckets.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(scope: &str, name: &str, texts: &[(&str, &str)]) -> Span {
        let mut span = Span {
            name: name.to_owned(),
            ..Span::default()
        };
        for (key, text) in texts {
            set_text(&mut span.attributes, key, *text);
        }
        apply(&mut span, scope);
        span
    }

    #[test]
    fn mlflow_loses_its_quotes_and_gets_its_usage() {
        let span = fixed(
            "mlflow.tracing.provider",
            "Completions",
            &[
                ("mlflow.spanType", "\"CHAT_MODEL\""),
                ("mlflow.llm.model", "\"gpt-4o-mini\""),
                (
                    "mlflow.chat.tokenUsage",
                    r#"{"input_tokens": 12, "output_tokens": 17, "total_tokens": 29, "cache_read_input_tokens": 2}"#,
                ),
            ],
        );
        let text = |key| text(&span.attributes, key);
        assert_eq!(text(langfuse::OBSERVATION_TYPE), Some("generation"));
        assert_eq!(text(langfuse::MODEL_NAME), Some("gpt-4o-mini"));
        assert_eq!(
            text(langfuse::USAGE_DETAILS),
            Some(r#"{"input":10,"output":17,"total":29,"input_cached_tokens":2}"#)
        );
    }

    #[test]
    fn with_the_conventions_mlflow_is_right_already() {
        let span = fixed(
            "mlflow",
            "chat gpt-4o-mini",
            &[
                ("mlflow.spanType", "\"CHAT_MODEL\""),
                ("gen_ai.operation.name", "chat"),
                ("model", "\"gpt-4o-mini\""),
            ],
        );
        assert!(!has(&span.attributes, langfuse::MODEL_NAME));
    }

    #[test]
    fn embeddings_get_their_model_and_litellm_its_kind() {
        let span = fixed("x", "CreateEmbeddings", &[("embedding.model_name", "e")]);
        assert_eq!(text(&span.attributes, langfuse::MODEL_NAME), Some("e"));
        let span = fixed("litellm", "litellm_request", &[]);
        assert_eq!(
            text(&span.attributes, langfuse::OBSERVATION_TYPE),
            Some("generation")
        );
    }
}
