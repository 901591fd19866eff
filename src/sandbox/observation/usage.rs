//! Token counts and stated costs.

use serde_json::{Map, Value};

use super::attributes::parsed_object;
use crate::sandbox::ingest::{Attributes, double};

type Buckets = Map<String, Value>;

/// The usage of a span. `langfuse.observation.usage_details` excludes every other source; a missing
/// total is the sum.
pub fn of(sent: &Attributes) -> Buckets {
    let stated = sent
        .get("langfuse.observation.usage_details")
        .and_then(stated);
    let mut usage = stated.unwrap_or_else(|| conventional(sent));
    if !usage.is_empty() && !usage.contains_key("total") {
        let total: u64 = usage.values().filter_map(Value::as_u64).sum();
        usage.insert("total".to_owned(), total.into());
    }
    usage
}

/// Costs stated by the sender, in US dollars; none are computed from prices.
pub fn cost(sent: &Attributes) -> Buckets {
    let mut cost: Buckets = sent
        .get("langfuse.observation.cost_details")
        .and_then(parsed_object)
        .map(|stated| {
            stated
                .into_iter()
                .filter(|(_, value)| value.is_number())
                .collect()
        })
        .unwrap_or_default();
    if cost.is_empty() {
        let total = ["gen_ai.usage.cost", "llm.cost.total"]
            .iter()
            .find_map(|key| sent.get(*key)?.as_f64());
        cost.extend(total.map(|total| ("total".to_owned(), double(total))));
    } else if cost.keys().all(|key| key == "input" || key == "output") {
        let total = cost.values().filter_map(Value::as_f64).sum();
        cost.insert("total".to_owned(), double(total));
    }
    cost
}

/// The sum of all buckets of one side, `input` or `output`.
pub fn sum_of(buckets: &Buckets, side: &str) -> Option<Value> {
    let of_side: Vec<f64> = buckets
        .iter()
        .filter(|(key, _)| key.contains(side))
        .filter_map(|(_, value)| value.as_f64())
        .collect();
    (!of_side.is_empty()).then(|| double(of_side.iter().sum()))
}

/// `None` only for text that is not JSON: then the conventions' attributes count.
fn stated(details: &Value) -> Option<Buckets> {
    let details: Value = details.as_str().map_or(Some(details.clone()), |text| {
        serde_json::from_str(text).ok()
    })?;
    let Value::Object(details) = details else {
        return Some(Buckets::new());
    };
    Some(openai(&details).unwrap_or_else(|| counts(details)))
}

fn counts(details: Buckets) -> Buckets {
    let count = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    details
        .into_iter()
        .filter_map(|(key, value)| Some((key, count(&value)?.into())))
        .collect()
}

/// Exactly the shape of `OpenAI`'s chat or responses usage: the details are parts of the totals.
fn openai(details: &Buckets) -> Option<Buckets> {
    let (input, output) = if details.contains_key("prompt_tokens") {
        ("prompt", "completion")
    } else {
        ("input", "output")
    };
    let mut usage = Buckets::new();
    for (side, name) in [("input", input), ("output", output)] {
        let mut rest = details.get(&format!("{name}_tokens"))?.as_u64()?;
        let mut parts = Buckets::new();
        if let Some(Value::Object(of_side)) = details.get(&format!("{name}_tokens_details")) {
            for (part, count) in of_side.iter().filter(|(_, count)| !count.is_null()) {
                let count = count.as_u64()?;
                rest = rest.saturating_sub(count);
                parts.insert(format!("{side}_{part}"), count.into());
            }
        }
        usage.insert(side.to_owned(), rest.into());
        usage.extend(parts);
    }
    usage.insert(
        "total".to_owned(),
        details.get("total_tokens")?.as_u64()?.into(),
    );
    let known = |key: &str| {
        key == "total_tokens"
            || [input, output].iter().any(|name| {
                key == format!("{name}_tokens") || key == format!("{name}_tokens_details")
            })
    };
    details.keys().all(|key| known(key)).then_some(usage)
}

/// Each bucket, the bucket that includes it, and its names in the conventions.
const BUCKETS: &[(&str, Option<&str>, &[&str])] = &[
    ("input", None, &["prompt_tokens", "input_tokens", "prompt"]),
    (
        "output",
        None,
        &["completion_tokens", "output_tokens", "completion"],
    ),
    ("total", None, &["total_tokens", "total"]),
    (
        "input_cached_tokens",
        Some("input"),
        &[
            "cache_read.input_tokens",
            "cache_read_input_tokens",
            "cache_read_tokens",
            "details.cache_read_tokens",
            "details.cache_read_input_tokens",
            "prompt_details.cache_read",
            "input_cached_tokens",
        ],
    ),
    (
        "input_cache_creation",
        Some("input"),
        &[
            "cache_creation.input_tokens",
            "cache_creation_input_tokens",
            "cache_write_tokens",
            "details.cache_write_tokens",
            "details.cache_creation_input_tokens",
            "prompt_details.cache_write",
            "input_cache_creation",
        ],
    ),
    (
        "output_reasoning_tokens",
        Some("output"),
        &["reasoning.output_tokens", "completion_details.reasoning"],
    ),
    (
        "output_audio_tokens",
        Some("output"),
        &["completion_details.audio"],
    ),
];

/// `gen_ai.usage.*` and `llm.token_count.*` count inclusively: parts are subtracted from their whole.
fn conventional(sent: &Attributes) -> Buckets {
    let mut counts: Map<String, Value> = sent
        .iter()
        .filter_map(|(key, value)| {
            let name = key
                .strip_prefix("gen_ai.usage.")
                .or_else(|| key.strip_prefix("llm.token_count."))?;
            Some((name, value.as_u64()?))
        })
        .filter(|(name, _)| *name != "cost")
        .map(|(name, count)| (name.to_owned(), count.into()))
        .collect();

    let mut usage = Buckets::new();
    for (bucket, whole, names) in BUCKETS {
        // All names are removed; the first one that was sent counts.
        let found: Vec<Value> = names
            .iter()
            .filter_map(|name| counts.shift_remove(*name))
            .collect();
        let Some(count) = found.into_iter().next() else {
            continue;
        };
        if let Some(rest) = whole.and_then(|whole| usage.get_mut(whole)) {
            let less = rest
                .as_u64()
                .unwrap_or(0)
                .saturating_sub(count.as_u64().unwrap_or(0));
            *rest = less.into();
        }
        usage.insert((*bucket).to_owned(), count);
    }
    for (name, count) in counts {
        usage.insert(
            name.strip_prefix("details.").unwrap_or(&name).to_owned(),
            count,
        );
    }
    usage
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn usage(details: &Value) -> Value {
        let sent = json!({"langfuse.observation.usage_details": details.to_string(), "gen_ai.usage.input_tokens": 99});
        Value::Object(of(sent.as_object().unwrap()))
    }

    #[test]
    fn the_openai_shape_is_made_exclusive() {
        let details = json!({
            "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": null},
            "completion_tokens_details": {"reasoning_tokens": 7},
        });
        let expected = json!({
            "input": 6, "input_cached_tokens": 4, "output": 0, "output_reasoning_tokens": 7, "total": 15,
        });
        assert_eq!(usage(&details), expected);
    }

    #[test]
    fn one_foreign_key_defeats_the_openai_shape() {
        let details =
            json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost": 0.1});
        let expected =
            json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "total": 30});
        assert_eq!(usage(&details), expected);
    }

    #[test]
    fn explicit_zeros_stay() {
        let zeros = json!({"input": 0, "output": 0, "total": 0});
        assert_eq!(usage(&zeros), zeros);
        assert_eq!(usage(&json!([1])), json!({}));
    }
}
