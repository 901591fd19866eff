//! The parameters of a generation as fields of a body. Langfuse keeps numbers and texts as they are and everything else as
//! JSON text; older servers keep numbers as text too.

use serde_json::{Map, Value};

use crate::langfuse::Row;
use crate::model::dialect::ModelDialect;

/// Parameters that are texts, whatever they look like.
const TEXTS: [&str; 11] = [
    "encoding_format",
    "prompt_cache_key",
    "prompt_cache_retention",
    "previous_response_id",
    "reasoning_effort",
    "safety_identifier",
    "service_tier",
    "stop",
    "truncation",
    "user",
    "verbosity",
];
/// Names by the GenAI conventions that no API has.
const RENAMED: [(&str, &str); 3] = [
    ("choice.count", "n"),
    ("encoding_formats", "encoding_format"),
    ("embedding.dimensions", "dimensions"),
];
/// The limits of the tokens of an answer, by their names in the dialects.
const LIMITS: [&str; 3] = ["max_completion_tokens", "max_output_tokens", "max_tokens"];
const STOPS: [&str; 2] = ["stop", "stop_sequences"];
/// What Langfuse's Python SDK states for every call, whether it was asked for or not.
const STATED_DEFAULTS: [(&str, f64); 5] = [
    ("temperature", 1.0),
    ("top_p", 1.0),
    ("frequency_penalty", 0.0),
    ("presence_penalty", 0.0),
    ("n", 1.0),
];
/// How the answer is sent is asked for anew.
const OF_STREAM: [&str; 2] = ["stream", "stream_options"];
/// Fields of a body that are handled elsewhere, or are not sent to the model.
const BESIDE: [&str; 4] = ["model", "extra_headers", "timeout", "request_timeout"];

/// Parameters for a body.
#[derive(Debug, Default)]
pub struct Parameters {
    pub fields: Map<String, Value>,
    /// The names of those that the API is not known to take.
    pub left_out: Vec<String>,
}

/// The parameters of a generation that this program traced: the fields of the body as they were.
pub fn of_own(row: &Row, dialect: &dyn ModelDialect) -> Parameters {
    let mut fields = stated(row);
    // The tier that answered, which may be one that cannot be asked for.
    let is_default = fields
        .get("service_tier")
        .is_some_and(|tier| tier == "default" || tier == "standard");
    if is_default || !dialect.known_parameters().contains(&"service_tier") {
        fields.shift_remove("service_tier");
    }
    Parameters {
        fields,
        left_out: Vec::new(),
    }
}

/// The parameters of a generation that another program traced: those that the API is known to take. `beside` are the
/// fields of its input; `limit` is the name of the limit of tokens.
pub fn of_other(
    row: &Row,
    beside: Map<String, Value>,
    dialect: &dyn ModelDialect,
    limit: &'static str,
) -> Parameters {
    let mut all = stated(row);
    for (name, value) in beside {
        if !value.is_null() {
            all.insert(name, value);
        }
    }
    let mut parameters = adapted(all, dialect, limit);
    parameters.fields.retain(|name, value| {
        let is_default =
            |(stated, default): &(&str, f64)| name == stated && value.as_f64() == Some(*default);
        !STATED_DEFAULTS.iter().any(is_default)
    });
    parameters
}

/// Parameters with the names that a dialect has for them; others are left out.
pub fn adapted(
    all: Map<String, Value>,
    dialect: &dyn ModelDialect,
    limit: &'static str,
) -> Parameters {
    let known = dialect.known_parameters();
    let mut parameters = Parameters::default();
    for (name, value) in all {
        let renamed = RENAMED.iter().find(|(other, _)| *other == name);
        let name = renamed.map_or(name.as_str(), |(_, own)| own);
        let of_dialect = if LIMITS.contains(&name) {
            dialect.limit_field(limit).unwrap_or(name)
        } else if STOPS.contains(&name) {
            let own = STOPS.into_iter().find(|stop| known.contains(stop));
            own.unwrap_or(name)
        } else {
            name
        };
        if BESIDE.contains(&name) || OF_STREAM.contains(&name) {
            continue;
        }
        if known.contains(&of_dialect) {
            parameters
                .fields
                .insert(of_dialect.to_owned(), one(of_dialect, value));
        } else {
            parameters.left_out.push(name.to_owned());
        }
    }
    parameters
}

/// The conventions have a list of formats, of which an API takes one.
fn one(name: &str, value: Value) -> Value {
    match value {
        Value::Array(mut items) if name == "encoding_format" && !items.is_empty() => {
            items.swap_remove(0)
        }
        value => value,
    }
}

/// What the row states, each as the value that it was.
fn stated(row: &Row) -> Map<String, Value> {
    let Some(stated) = row.field("modelParameters").as_object() else {
        return Map::new();
    };
    let given = stated
        .iter()
        .filter(|(name, _)| !OF_STREAM.contains(&name.as_str()));
    given
        .filter_map(|(name, value)| Some((name.clone(), typed(name, value)?)))
        .collect()
}

/// A value as it was before Langfuse made a text of it; `None` if none was asked for.
fn typed(name: &str, value: &Value) -> Option<Value> {
    let Value::String(text) = value else {
        return (!value.is_null()).then(|| value.clone());
    };
    match serde_json::from_str(text) {
        Ok(list @ (Value::Array(_) | Value::Object(_))) => Some(list),
        Ok(Value::Null) if !TEXTS.contains(&name) => None,
        Ok(parsed) if !TEXTS.contains(&name) => Some(parsed),
        // Langfuse's Python SDK states that for a limit that was not given.
        Err(_) if text.is_empty() || text == "Infinity" || text == "None" => None,
        _ => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::dialect::{CHAT, MESSAGES, RESPONSES};

    fn row(parameters: &Value) -> Row {
        let mut rows = json!([{"modelParameters": parameters}]);
        Row::of_observations(&mut rows).remove(0)
    }

    #[test]
    fn values_are_what_they_were() {
        let parameters = json!({
            "temperature": 0.3, "max_tokens": "5", "seed": "7", "logprobs": "true", "stop": "5", "user": "12",
            "response_format": "{\"type\":\"json_object\"}", "tool_choice": "auto", "logit_bias": "{\"1\":2}",
            "stream": "true", "top_k": null, "service_tier": "default", "x_own": "\"quoted\"",
        });
        assert_eq!(
            Value::Object(of_own(&row(&parameters), CHAT).fields),
            json!({
                "temperature": 0.3, "max_tokens": 5, "seed": 7, "logprobs": true, "stop": "5", "user": "12",
                "response_format": {"type": "json_object"}, "tool_choice": "auto", "logit_bias": {"1": 2},
                "x_own": "quoted",
            })
        );
    }

    #[test]
    fn parameters_of_other_tools_get_the_names_of_the_api() {
        let parameters = json!({
            "temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": "0", "max_tokens": "Infinity",
            "stop_sequences": "[\"x\"]", "choice.count": 2, "request_timeout": 30, "seed": 7, "odd": 1,
        });
        let found = of_other(&row(&parameters), Map::new(), CHAT, "max_completion_tokens");
        assert_eq!(
            Value::Object(found.fields),
            json!({"stop": ["x"], "n": 2, "seed": 7})
        );
        assert_eq!(found.left_out, ["odd"]);
        let beside = json!({"max_tokens": 9, "model": "m"})
            .as_object()
            .unwrap()
            .clone();
        for (dialect, expected) in [
            (CHAT, json!({"max_completion_tokens": 9})),
            (RESPONSES, json!({"max_output_tokens": 9})),
            (MESSAGES, json!({"max_tokens": 9})),
        ] {
            let found = of_other(
                &row(&json!({})),
                beside.clone(),
                dialect,
                "max_completion_tokens",
            );
            assert_eq!(Value::Object(found.fields), expected);
        }
    }
}
