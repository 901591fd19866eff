//! Fills in what the child's span of a model call lacks, from the call that passed the proxy.
//!
//! The span keeps its ids, its place and its name; nothing that it says is replaced, but for what Langfuse could not
//! use.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::exec::attributes::{get, has, set, set_text, text};
use crate::exec::fixes;
use crate::exec::kind::{self, ScopeName};
use crate::trace::Exchange;
use crate::trace::attributes::{langfuse, otel};
use crate::trace::spans::Dialect;

/// A call, and the attributes of the generation that it would be by itself.
#[derive(Debug)]
pub struct SeenCall<'a> {
    pub exchange: &'a Exchange,
    pub attributes: &'a [KeyValue],
    pub attempts: usize,
}

/// What may be filled in, by the name that it is counted under.
pub type Filled = &'static str;

/// Model parameters, by the keys that Langfuse reads.
const PARAMETERS: [&str; 3] = [
    langfuse::MODEL_PARAMETERS,
    "llm.invocation_parameters",
    "model_config",
];
/// The first token, by the keys that Langfuse reads.
const FIRST_TOKEN: [&str; 3] = [
    langfuse::COMPLETION_START_TIME,
    "ai.response.msToFirstChunk",
    "ai.stream.msToFirstChunk",
];

/// Fills a span in; returns what was lacking.
pub fn fill(
    span: &mut Span,
    scope: ScopeName<'_>,
    call: &SeenCall<'_>,
    dialect: Dialect,
) -> Vec<Filled> {
    let mut filled = content(span, scope, call);
    if !kind::has_usage(&span.attributes) && !has(call.attributes, langfuse::USAGE_DETAILS) {
        plain_output(span, call);
    }
    let attributes = &mut span.attributes;
    let lacks_parameters = !PARAMETERS.iter().any(|key| has(attributes, key))
        && !attributes.iter().any(|attribute| {
            attribute.key.starts_with("gen_ai.request.") && attribute.key != otel::REQUEST_MODEL
        });
    let has_usage = kind::has_usage(attributes);
    let lacks_first_token = !FIRST_TOKEN.iter().any(|key| has(attributes, key));
    for (name, key, is_lacking) in [
        ("model", langfuse::MODEL_NAME, !kind::has_model(attributes)),
        ("usage", langfuse::USAGE_DETAILS, !has_usage),
        (
            "cost",
            langfuse::COST_DETAILS,
            kind::cost(attributes).is_none(),
        ),
        ("parameters", langfuse::MODEL_PARAMETERS, lacks_parameters),
        (
            "first token",
            langfuse::COMPLETION_START_TIME,
            lacks_first_token,
        ),
    ] {
        if is_lacking && let Some(value) = get(call.attributes, key) {
            set(attributes, key, value.clone());
            // An empty list of parameters only keeps Langfuse from reading others.
            if text(call.attributes, key) != Some("{}") {
                filled.push(name);
            }
        }
    }
    name_endpoint(attributes, call.exchange);
    if call.attempts > 1 {
        let attempts = i64::try_from(call.attempts).unwrap_or(i64::MAX);
        let key = langfuse::OBSERVATION_METADATA_ATTEMPTS;
        set(attributes, key, Value::IntValue(attempts));
    }
    if dialect != Dialect::Langfuse {
        conventions(attributes, call.attributes, has_usage);
    }
    status(span, call.exchange);
    filled
}

/// Input and output. Langfuse takes both from one family of attributes, so that both are set where one is lacking.
fn content(span: &mut Span, scope: ScopeName<'_>, call: &SeenCall<'_>) -> Vec<Filled> {
    let own = if fixes::prefers_proxied_content(span, scope) {
        (None, None)
    } else {
        kind::content(&span.attributes)
    };
    let (Some(_), Some(_)) = own else {
        let whole = |own: Option<&str>| own.filter(|own| !own.is_empty()).map(str::to_owned);
        let sides = [
            ("input", langfuse::OBSERVATION_INPUT, own.0, whole(own.0)),
            ("output", langfuse::OBSERVATION_OUTPUT, own.1, whole(own.1)),
        ];
        let sides = sides.map(|(name, key, own, whole)| {
            let of_call = text(call.attributes, key).map(str::to_owned);
            let is_filled = own.is_none() && of_call.is_some();
            (name, key, whole.or(of_call), is_filled)
        });
        let mut filled = Vec::new();
        if sides.iter().any(|(.., is_filled)| *is_filled) {
            for (name, key, value, is_filled) in sides {
                if let Some(value) = value {
                    set_text(&mut span.attributes, key, value);
                }
                filled.extend(is_filled.then_some(name));
            }
        }
        return filled;
    };
    Vec::new()
}

/// Without token counts the server counts the text that it stores, JSON included. So the output is the answer alone.
fn plain_output(span: &mut Span, call: &SeenCall<'_>) {
    let answer = call.exchange.completion.answer();
    let (input, Some(output)) = kind::content(&span.attributes) else {
        return;
    };
    let input = input.map(str::to_owned);
    let input =
        input.or_else(|| text(call.attributes, langfuse::OBSERVATION_INPUT).map(str::to_owned));
    if answer.is_empty() || !output.starts_with(['{', '[']) {
        return;
    }
    set_text(&mut span.attributes, langfuse::OBSERVATION_OUTPUT, answer);
    if let Some(input) = input.filter(|input| !input.is_empty()) {
        set_text(&mut span.attributes, langfuse::OBSERVATION_INPUT, input);
    }
}

/// The child names the listener; the real endpoint is behind it.
fn name_endpoint(attributes: &mut Vec<KeyValue>, exchange: &Exchange) {
    let Some(server) = &exchange.server else {
        return;
    };
    if has(attributes, otel::SERVER_ADDRESS) {
        set_text(attributes, otel::SERVER_ADDRESS, server.address.as_str());
    }
    if let Some(port) = server.port
        && has(attributes, otel::SERVER_PORT)
    {
        set(attributes, otel::SERVER_PORT, Value::IntValue(port.into()));
    }
}

/// What other backends than Langfuse read. The usage comes from one side, or Langfuse would add up both.
fn conventions(attributes: &mut Vec<KeyValue>, of_call: &[KeyValue], has_usage: bool) {
    for attribute in of_call {
        if attribute.key.starts_with("gen_ai.")
            && !(has_usage && attribute.key.starts_with("gen_ai.usage."))
            && !has(attributes, &attribute.key)
            && let Some(value) = get(of_call, &attribute.key)
        {
            set(attributes, &attribute.key, value.clone());
        }
    }
}

fn status(span: &mut Span, exchange: &Exchange) {
    let Some(error) = &exchange.error else { return };
    let status = span.status.get_or_insert_default();
    if status.message.is_empty() {
        status.message.clone_from(&error.message);
    }
    status.code = StatusCode::Error.into();
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::Request;

    fn filled(scope: &str, own: &[(&str, &str)], of_call: &[(&str, &str)]) -> (Span, Vec<Filled>) {
        let attributes = |pairs: &[(&str, &str)]| {
            let mut attributes = Vec::new();
            for (key, text) in pairs {
                set_text(&mut attributes, key, *text);
            }
            attributes
        };
        let mut span = Span {
            attributes: attributes(own),
            ..Span::default()
        };
        let now = Timestamp::UNIX_EPOCH;
        let exchange = Exchange::new(Request::default(), now, now);
        let call = SeenCall {
            exchange: &exchange,
            attributes: &attributes(of_call),
            attempts: 2,
        };
        let filled = fill(&mut span, scope, &call, Dialect::Langfuse);
        (span, filled)
    }

    const CALL: [(&str, &str); 4] = [
        (langfuse::OBSERVATION_INPUT, "in"),
        (langfuse::OBSERVATION_OUTPUT, "out"),
        (langfuse::MODEL_NAME, "m"),
        (langfuse::USAGE_DETAILS, "{\"input\":1}"),
    ];

    #[test]
    fn only_what_is_lacking_is_filled_in() {
        let own = [
            ("input.value", "own"),
            ("llm.model_name", "own"),
            ("output.value", "own"),
            ("llm.token_count.prompt", "3"),
        ];
        let (span, names) = filled("x", &own, &CALL);
        assert!(names.is_empty(), "{names:?}");
        assert!(!has(&span.attributes, langfuse::OBSERVATION_INPUT));
        let (span, names) = filled("x", &[("gen_ai.request.model", "own")], &CALL);
        assert_eq!(names, ["input", "output", "usage"]);
        assert_eq!(
            text(&span.attributes, langfuse::OBSERVATION_INPUT),
            Some("in")
        );
        assert!(has(
            &span.attributes,
            langfuse::OBSERVATION_METADATA_ATTEMPTS
        ));
    }

    #[test]
    fn the_side_that_is_there_moves_to_the_family_of_the_other() {
        let (span, names) = filled("x", &[("input.value", "own")], &CALL);
        assert_eq!(names, ["output", "model", "usage"]);
        assert_eq!(
            text(&span.attributes, langfuse::OBSERVATION_INPUT),
            Some("own")
        );
        assert_eq!(
            text(&span.attributes, langfuse::OBSERVATION_OUTPUT),
            Some("out")
        );
    }

    #[test]
    fn serialised_objects_give_way_to_messages() {
        let own = [("gen_ai.prompt", "{}"), ("gen_ai.completion", "{}")];
        let (span, _) = filled("langsmith", &own, &CALL);
        assert_eq!(
            text(&span.attributes, langfuse::OBSERVATION_INPUT),
            Some("in")
        );
    }
}
