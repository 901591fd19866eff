//! The attributes of a call by the OpenTelemetry GenAI conventions, version 0.1.0
//! (<https://github.com/open-telemetry/semantic-conventions-genai>).
//!
//! Which spans get them is decided in `spans`, the form of messages in `genai`.

use opentelemetry::KeyValue;
use serde_json::Value;

use super::attribute_list::AttributeList;
use super::attributes::otel;
use super::exchange::Exchange;
use super::{Trace, genai};
use crate::model::{Provider, Request, Usage};

/// Where a request says which form the answer must have, by dialect: chat completions, Responses, Messages.
const OUTPUT_FORMATS: [&[&str]; 4] = [
    &["response_format"],
    &["text", "format"],
    &["output_config", "format"],
    &["output_format"],
];

/// The call without its content: who answered, how, when, and for how many tokens.
pub fn call(exchange: &Exchange, trace: &Trace) -> Vec<KeyValue> {
    let completion = &exchange.completion;
    let request = &exchange.request;
    let mut attributes = AttributeList::default();
    attributes.text(otel::OPERATION_NAME, Some(request.dialect().operation()));
    let server = exchange.server.as_ref();
    let provider = server.map_or(Provider::OPENAI, |server| server.provider);
    attributes.text(otel::PROVIDER_NAME, Some(provider.name()));
    attributes.text(otel::CONVERSATION_ID, trace.session.clone());
    attributes.text(otel::REQUEST_MODEL, request.model());
    attributes.flag(otel::REQUEST_STREAM, is_streamed(exchange));
    attributes.text(otel::OUTPUT_TYPE, output_type(request));
    attributes.text(otel::RESPONSE_MODEL, completion.model.clone());
    attributes.text(otel::RESPONSE_ID, completion.id.clone());
    let reasons = completion.finish_reasons.iter().flatten();
    let reasons: Vec<String> = reasons.cloned().collect();
    attributes.texts(otel::RESPONSE_FINISH_REASONS, &reasons);
    let first_chunk = exchange.completion_start;
    attributes.float(
        otel::RESPONSE_TIME_TO_FIRST_CHUNK,
        first_chunk.map(|first| first.duration_since(exchange.start).as_secs_f64()),
    );
    let address = server.map(|server| server.address.clone());
    attributes.text(otel::SERVER_ADDRESS, address);
    let port = server.and_then(|server| server.port);
    attributes.int(otel::SERVER_PORT, port.map(i64::from));
    if let Some(usage) = &completion.usage {
        add_usage(&mut attributes, usage);
    }
    attributes.0
}

/// Whether the request asks for a stream.
pub fn is_streamed(exchange: &Exchange) -> bool {
    exchange.request.get("stream").unwrap_or_default()
}

/// Content, parameters and failure.
pub fn content(exchange: &Exchange) -> Vec<KeyValue> {
    let request = &exchange.request;
    let mut attributes = AttributeList::default();
    let instructions = genai::system_instructions(request);
    let messages = genai::history(request.messages(), instructions.as_deref());
    attributes.text(
        otel::SYSTEM_INSTRUCTIONS,
        instructions.map(|parts| Value::from(parts).to_string()),
    );
    if !messages.is_empty() {
        let input = genai::input_messages(&messages).to_string();
        attributes.text(otel::INPUT_MESSAGES, Some(input));
    }
    if !exchange.completion.messages.is_empty() {
        let output =
            genai::output_messages(&exchange.completion, exchange.error.is_some()).to_string();
        attributes.text(otel::OUTPUT_MESSAGES, Some(output));
    }
    let listed = |name: &str| request.get::<Vec<Value>>(name).unwrap_or_default();
    let tools = genai::tool_definitions(&listed("tools"), &listed("functions"));
    attributes.text(otel::TOOL_DEFINITIONS, tools.map(|tools| tools.to_string()));
    add_parameters(&mut attributes, request);
    if let Some(error) = &exchange.error {
        // The conventions' value for an error without a name.
        let cause = error
            .status
            .map_or_else(|| "_OTHER".to_owned(), |status| status.to_string());
        attributes.text(otel::ERROR_TYPE, Some(cause));
    }
    attributes.0
}

/// What the request wants the output to be; `None` if it leaves that open.
fn output_type(request: &Request) -> Option<&'static str> {
    let modalities: Vec<String> = request.get("modalities").unwrap_or_default();
    if modalities.iter().any(|modality| modality == "audio") {
        return Some("speech");
    }
    let stated = OUTPUT_FORMATS.iter().find_map(|path| {
        let (field, rest) = path.split_first()?;
        let mut format: Value = request.get(field)?;
        for key in rest {
            format = format[*key].take();
        }
        format["type"].as_str().map(str::to_owned)
    });
    match stated.as_deref()? {
        "text" => Some("text"),
        "json_object" | "json_schema" => Some("json"),
        _ => None,
    }
}

fn add_parameters(attributes: &mut AttributeList, request: &Request) {
    let number = |name: &str| request.get::<f64>(name);
    let count = |name: &str| request.get::<i64>(name);
    attributes.float(otel::REQUEST_TEMPERATURE, number("temperature"));
    attributes.float(otel::REQUEST_TOP_P, number("top_p"));
    attributes.int(otel::REQUEST_TOP_K, count("top_k"));
    attributes.float(otel::REQUEST_FREQUENCY_PENALTY, number("frequency_penalty"));
    attributes.float(otel::REQUEST_PRESENCE_PENALTY, number("presence_penalty"));
    let limits = ["max_completion_tokens", "max_output_tokens", "max_tokens"];
    attributes.int(
        otel::REQUEST_MAX_TOKENS,
        limits.iter().find_map(|name| count(name)),
    );
    attributes.int(otel::EMBEDDINGS_DIMENSION_COUNT, count("dimensions"));
    let encoding = request.get::<String>("encoding_format");
    attributes.texts(otel::REQUEST_ENCODING_FORMATS, encoding.as_slice());
    attributes.int(otel::REQUEST_SEED, count("seed"));
    attributes.int(otel::REQUEST_CHOICE_COUNT, count("n").filter(|n| *n != 1));
    let stop = request
        .get::<Vec<String>>("stop")
        .or_else(|| Some(vec![request.get("stop")?]))
        .or_else(|| request.get("stop_sequences"));
    attributes.texts(otel::REQUEST_STOP_SEQUENCES, &stop.unwrap_or_default());
}

/// The totals include their parts.
fn add_usage(attributes: &mut AttributeList, usage: &Usage) {
    for (key, total) in [
        (otel::USAGE_INPUT_TOKENS, usage.all_input()),
        (otel::USAGE_OUTPUT_TOKENS, usage.all_output()),
    ] {
        attributes.int(key, i64::try_from(total).ok());
    }
    attributes.tokens(otel::USAGE_CACHE_READ, usage.input_cached);
    attributes.tokens(otel::USAGE_CACHE_WRITE, usage.input_cache_creation);
    attributes.tokens(otel::USAGE_REASONING, usage.output_reasoning);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_states_its_output_type_in_each_dialect() {
        for (request, expected) in [
            (
                r#"{"response_format":{"type":"json_object"}}"#,
                Some("json"),
            ),
            (r#"{"response_format":{"type":"text"}}"#, Some("text")),
            (
                r#"{"text":{"format":{"type":"json_schema"}}}"#,
                Some("json"),
            ),
            (r#"{"text":{"verbosity":"low"}}"#, None),
            (
                r#"{"output_config":{"format":{"type":"json_schema"}}}"#,
                Some("json"),
            ),
            (r#"{"modalities":["text","audio"]}"#, Some("speech")),
            (r#"{"messages":[]}"#, None),
        ] {
            let parsed: Request = serde_json::from_str(request).unwrap();
            assert_eq!(output_type(&parsed), expected, "{request}");
        }
    }
}
