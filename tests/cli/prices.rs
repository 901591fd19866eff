//! The cost that Langfuse computes from the usage on the span, for every response in `tests/answers`.
//!
//! Langfuse adds up the price of each bucket, and a bucket without a price costs nothing. So every bucket must have a
//! price, and the sum must be the cost that the provider charges. `langfuse-prices.json` is the server's price table.
//! Costs that a provider states are a subject of `answers`.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

/// A folder of `tests/answers`, the model in the price table, and the cost in millionths of a US dollar, worked out by
/// hand from the tokens of each kind and their price for a million. Models that the table lacks have the prices of
/// another model, because the buckets matter here.
pub const COSTS: &[(&str, &str, f64)] = &[
    ("anthropic-text", CLAUDE, 12.0 * 3.0 + 6.0 * 15.0),
    (
        "azure-classic-content-filter",
        GPT_4O,
        20.0 * 2.5 + 6.0 * 10.0,
    ),
    ("azure-classic-text", GPT_4O, 9.0 * 2.5 + 4.0 * 10.0),
    ("azure-v1-tool-call", GPT_4O, 50.0 * 2.5 + 15.0 * 10.0),
    (
        "deepseek-cached",
        MINI,
        36.0 * 0.15 + 64.0 * 0.075 + 4.0 * 0.6,
    ),
    (
        "deepseek-reasoning",
        MINI,
        36.0 * 0.15 + 64.0 * 0.075 + 40.0 * 0.6,
    ),
    // 40 of the 48 tokens are in the total only.
    (
        "gemini-tool-call",
        "gemini-2.5-flash",
        5.0 * 0.3 + 43.0 * 2.5,
    ),
    ("groq-text", MINI, 36.0 * 0.15 + 5.0 * 0.6),
    (
        "litellm-cache-creation",
        CLAUDE,
        10.0 * 3.0 + 2000.0 * 3.75 + 50.0 * 15.0,
    ),
    ("litellm-text", "gpt-4o-mini", 10.0 * 0.15 + 4.0 * 0.6),
    ("mistral-reasoning", MINI, 80.0 * 0.15 + 20.0 * 0.6),
    ("mistral-tool-call", MINI, 80.0 * 0.15 + 20.0 * 0.6),
    ("ollama-reasoning", MINI, 26.0 * 0.15 + 8.0 * 0.6),
    ("ollama-text", MINI, 26.0 * 0.15 + 8.0 * 0.6),
    ("ollama-tool-call", MINI, 26.0 * 0.15 + 8.0 * 0.6),
    ("openai-annotations", MINI, 9.0 * 0.15 + 6.0 * 0.6),
    (
        "openai-audio",
        "gpt-4o-audio-preview",
        18.0 * 2.5 + 12.0 * 100.0 + 10.0 * 10.0 + 30.0 * 200.0,
    ),
    ("openai-choices", MINI, 12.0 * 0.15 + 30.0 * 0.6),
    ("openai-content-filter", MINI, 9.0 * 0.15 + 5.0 * 0.6),
    ("openai-done-missing", MINI, 9.0 * 0.15 + 0.6),
    ("openai-empty", MINI, 9.0 * 0.15),
    (
        "openai-function-call",
        "gpt-3.5-turbo-0613",
        40.0 * 1.5 + 12.0 * 2.0,
    ),
    ("openai-length", MINI, 9.0 * 0.15 + 3.0 * 0.6),
    ("openai-logprobs", MINI, 9.0 * 0.15 + 2.0 * 0.6),
    // 256 of the 300 output tokens are reasoning.
    (
        "openai-reasoning",
        "o4-mini-2025-04-16",
        86.0 * 1.1 + 1920.0 * 0.275 + 300.0 * 4.4,
    ),
    // 800 of the 1,000 output tokens are reasoning, for which the table has no price apart.
    (
        "openai-reasoning-unpriced",
        "gpt-5.4-mini-2026-03-17",
        800.0 * 0.75 + 1000.0 * 4.5,
    ),
    (
        "openai-refusal",
        "gpt-4o-2024-08-06",
        17.0 * 2.5 + 9.0 * 10.0,
    ),
    ("openai-schema", MINI, 40.0 * 0.15 + 11.0 * 0.6),
    // The priority tier.
    ("openai-service-tier", MINI, 9.0 * 0.25 + 1.0),
    ("openai-text", MINI, 9.0 * 0.15 + 12.0 * 0.6),
    ("openai-tool-call", MINI, 62.0 * 0.15 + 17.0 * 0.6),
    ("openai-tool-calls-parallel", MINI, 70.0 * 0.15 + 50.0 * 0.6),
    (
        "openrouter-cache-write",
        CLAUDE,
        500.0 * 3.0 + 1000.0 * 0.3 + 1500.0 * 3.75 + 100.0 * 15.0,
    ),
    ("openrouter-choice-error", CLAUDE, 14.0 * 3.0 + 3.0 * 15.0),
    ("openrouter-free", MINI, 14.0 * 0.15 + 2.0 * 0.6),
    // 100 of the 120 output tokens are reasoning.
    (
        "openrouter-reasoning",
        CLAUDE,
        12.0 * 3.0 + 32.0 * 0.3 + 120.0 * 15.0,
    ),
    ("openrouter-text", CLAUDE, 14.0 * 3.0 + 20.0 * 15.0),
    ("other-no-choices", MINI, 4.0 * 0.15),
    (
        "vllm-reasoning",
        MINI,
        7.0 * 0.15 + 8.0 * 0.075 + 20.0 * 0.6,
    ),
    ("vllm-stream-cut", MINI, 11.0 * 0.15 + 2.0 * 0.6),
    ("vllm-text", MINI, 11.0 * 0.15 + 4.0 * 0.6),
    ("vllm-tool-call", MINI, 160.0 * 0.15 + 20.0 * 0.6),
    ("vllm-usage-nullable", MINI, 11.0 * 0.15),
    (
        "embeddings-azure-classic-text",
        "text-embedding-3-large",
        0.13,
    ),
    (
        "embeddings-mistral-text",
        "text-embedding-3-small",
        4.0 * 0.02,
    ),
    (
        "embeddings-ollama-text",
        "text-embedding-3-small",
        2.0 * 0.02,
    ),
    (
        "embeddings-openai-base64",
        "text-embedding-3-small",
        2.0 * 0.02,
    ),
    (
        "embeddings-openai-text",
        "text-embedding-3-small",
        3.0 * 0.02,
    ),
    (
        "embeddings-openai-tokens",
        "text-embedding-3-small",
        3.0 * 0.02,
    ),
    ("embeddings-vllm-text", "text-embedding-3-small", 4.0 * 0.02),
    (
        "messages-anthropic-cache",
        CLAUDE,
        9.0 * 3.0 + 2048.0 * 0.3 + 512.0 * 3.75 + 6.0 * 15.0,
    ),
    (
        "messages-anthropic-max-tokens",
        CLAUDE,
        12.0 * 3.0 + 5.0 * 15.0,
    ),
    (
        "messages-anthropic-max-tokens-missing",
        CLAUDE,
        9.0 * 3.0 + 6.0 * 15.0,
    ),
    (
        "messages-anthropic-media",
        CLAUDE,
        1530.0 * 3.0 + 11.0 * 15.0,
    ),
    ("messages-anthropic-refusal", CLAUDE, 9.0 * 3.0 + 15.0),
    (
        "messages-anthropic-stop-sequence",
        CLAUDE,
        9.0 * 3.0 + 6.0 * 15.0,
    ),
    ("messages-anthropic-stream-cut", CLAUDE, 9.0 * 3.0 + 15.0),
    ("messages-anthropic-stream-error", CLAUDE, 9.0 * 3.0 + 15.0),
    ("messages-anthropic-text", CLAUDE, 9.0 * 3.0 + 12.0 * 15.0),
    (
        "messages-anthropic-thinking",
        CLAUDE,
        16.0 * 3.0 + 90.0 * 15.0,
    ),
    (
        "messages-anthropic-thinking-redacted",
        CLAUDE,
        40.0 * 3.0 + 120.0 * 15.0,
    ),
    (
        "messages-anthropic-tool-result",
        CLAUDE,
        460.0 * 3.0 + 9.0 * 15.0,
    ),
    (
        "messages-anthropic-tool-use",
        CLAUDE,
        395.0 * 3.0 + 62.0 * 15.0,
    ),
    (
        "messages-anthropic-tools-parallel",
        CLAUDE,
        420.0 * 3.0 + 88.0 * 15.0,
    ),
    (
        "messages-anthropic-unknown-event",
        CLAUDE,
        9.0 * 3.0 + 12.0 * 15.0,
    ),
    (
        "messages-anthropic-web-search",
        CLAUDE,
        9100.0 * 3.0 + 70.0 * 15.0,
    ),
    ("messages-deepseek-text", MINI, 9.0 * 0.15 + 6.0 * 0.6),
    ("messages-ollama-text", MINI, 26.0 * 0.15 + 5.0 * 0.6),
    (
        "responses-azure-v1-text",
        "gpt-4.1-2025-04-14",
        9.0 * 2.0 + 5.0 * 8.0,
    ),
    ("responses-ollama-text", MINI, 26.0 * 0.15 + 5.0 * 0.6),
    (
        "responses-openai-content-filter",
        GPT_5_4,
        9.0 * 2.5 + 4.0 * 15.0,
    ),
    (
        "responses-openai-custom-tool",
        GPT_5_4,
        40.0 * 2.5 + 19.0 * 15.0,
    ),
    (
        "responses-openai-incomplete",
        GPT_5_4,
        12.0 * 2.5 + 16.0 * 15.0,
    ),
    (
        "responses-openai-incomplete-reasoning",
        GPT_5_4,
        9.0 * 2.5 + 64.0 * 15.0,
    ),
    (
        "responses-openai-reasoning",
        GPT_5_4,
        14.0 * 2.5 + 205.0 * 15.0,
    ),
    ("responses-openai-refusal", GPT_5_4, 9.0 * 2.5 + 8.0 * 15.0),
    ("responses-openai-schema", GPT_5_4, 44.0 * 2.5 + 8.0 * 15.0),
    // No model of OpenAI in the table has a price for cache writes.
    (
        "responses-openai-text",
        CLAUDE,
        57.0 * 3.0 + 1024.0 * 0.3 + 128.0 * 3.75 + 12.0 * 15.0,
    ),
    (
        "responses-openai-tool-call",
        GPT_5_4,
        58.0 * 2.5 + 17.0 * 15.0,
    ),
    (
        "responses-openai-tool-calls-parallel",
        GPT_5_4,
        61.0 * 2.5 + 41.0 * 15.0,
    ),
    (
        "responses-openai-tool-output",
        GPT_5_4,
        80.0 * 2.5 + 31.0 * 15.0,
    ),
    (
        "responses-openai-unknown-event",
        GPT_5_4,
        9.0 * 2.5 + 12.0 * 15.0,
    ),
    (
        "responses-openai-web-search",
        GPT_5_4,
        6006.0 * 2.5 + 2304.0 * 0.25 + 44.0 * 15.0,
    ),
    (
        "responses-openrouter-text",
        CLAUDE,
        20.0 * 3.0 + 30.0 * 15.0,
    ),
    ("responses-vllm-reasoning", MINI, 11.0 * 0.15 + 25.0 * 0.6),
];

const CLAUDE: &str = "claude-sonnet-4-5-20250929";
const GPT_5_4: &str = "gpt-5.4-2026-03-05";
const GPT_4O: &str = "gpt-4o-2024-11-20";
const MINI: &str = "gpt-4o-mini-2024-07-18";

/// The values of the attribute `key` in a `spans.txt`, as JSON.
fn attribute(spans: &str, key: &str) -> Option<Map<String, Value>> {
    let start = format!("  {key} = ");
    let value = spans.lines().find_map(|line| line.strip_prefix(&start))?;
    Some(serde_json::from_str(value).unwrap())
}

fn tests() -> &'static Path {
    const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    Path::new(TESTS)
}

/// The prices of `model` in the tier of `service_tier`: those of the first tier with a matching condition, else the
/// standard ones.
fn prices(model: &str, service_tier: &Value) -> Value {
    let table = fs::read_to_string(tests().join("fixtures/langfuse-prices.json")).unwrap();
    let table: Value = serde_json::from_str(&table).unwrap();
    let models = table["models"].as_array().unwrap();
    let mut rows = models.iter().filter(|row| row["modelName"] == model);
    let row = rows
        .next()
        .unwrap_or_else(|| panic!("no prices of {model}"));
    let tiers = row["pricingTiers"].as_array().unwrap();
    let is_met = |condition: &Value| {
        let values = condition["values"].as_array();
        condition["key"] == "service_tier"
            && values.is_some_and(|values| values.contains(service_tier))
    };
    let special = tiers.iter().find(|tier| {
        let conditions = tier["conditions"].as_array().unwrap();
        !conditions.is_empty() && conditions.iter().all(is_met)
    });
    let standard = || tiers.iter().find(|tier| tier["isDefault"] == true).unwrap();
    special.unwrap_or_else(standard)["prices"].clone()
}

/// The cost that Langfuse computes for a usage, in US dollars.
fn cost(folder: &str, usage: &Map<String, Value>, prices: &Value) -> f64 {
    // Models of embeddings have a price for the total only.
    let is_total = prices["total"].is_number();
    let buckets = usage
        .iter()
        .filter(|(bucket, _)| (*bucket == "total") == is_total);
    let costs = buckets.map(|(bucket, count)| {
        let price = prices[bucket].as_f64();
        let price = price.unwrap_or_else(|| panic!("{folder}: `{bucket}` has no price"));
        count.as_f64().unwrap() * price
    });
    costs.sum()
}

#[test]
fn every_usage_costs_what_the_provider_charges() {
    for &(folder, model, expected) in COSTS {
        let spans = fs::read_to_string(tests().join(format!("answers/{folder}/spans.txt")));
        let spans = spans.unwrap();
        let usage = attribute(&spans, "langfuse.observation.usage_details").unwrap();
        let parameters = attribute(&spans, "langfuse.observation.model.parameters");
        let tier = parameters.unwrap_or_default();
        let tier = tier.get("service_tier").unwrap_or(&Value::Null);
        let found = cost(folder, &usage, &prices(model, tier)) * 1e6;
        assert!(
            (found - expected).abs() < 1e-6,
            "{folder}: {found} instead of {expected} millionths of a dollar"
        );
    }
}

#[test]
fn every_response_with_a_usage_has_a_cost() {
    for folder in fs::read_dir(tests().join("answers")).unwrap() {
        let folder = folder.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let spans = fs::read_to_string(folder.join("spans.txt")).unwrap();
        let usage = attribute(&spans, "langfuse.observation.usage_details").unwrap_or_default();
        let is_used = usage.values().any(|count| *count != 0);
        let is_listed = COSTS.iter().any(|(listed, _, _)| *listed == name);
        assert_eq!(is_used, is_listed, "{name}");
    }
}
