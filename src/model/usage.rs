//! Token counts of a call, in buckets that do not overlap.
//!
//! OpenAI's totals include their details, while Langfuse adds up the price of every bucket that it gets. The bucket names
//! are those of Langfuse's price table. Prices themselves are not known here.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// The tokens of one call. Only `total` includes other buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub input_cached: u64,
    /// Written to the provider's cache.
    pub input_cache_creation: u64,
    pub input_audio: u64,
    pub output: u64,
    pub output_reasoning: u64,
    pub output_audio: u64,
    pub total: u64,
}

/// The number of tokens of each usage type, by the names of Langfuse's price table. As JSON it is an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageDetails(Vec<(&'static str, u64)>);

impl Usage {
    /// Reads the `usage` object of a response; `None` if it has no counts.
    pub fn from_openai(usage: &Value) -> Option<Self> {
        let (input, output) = (
            &usage["prompt_tokens_details"],
            &usage["completion_tokens_details"],
        );
        OpenAiUsage {
            prompt_tokens: usage["prompt_tokens"].as_u64(),
            completion_tokens: usage["completion_tokens"].as_u64(),
            total_tokens: usage["total_tokens"].as_u64(),
            prompt_cache_hit_tokens: usage["prompt_cache_hit_tokens"].as_u64(),
            cache_creation_input_tokens: usage["cache_creation_input_tokens"].as_u64(),
            prompt_tokens_details: Some(InputDetails {
                cached: input["cached_tokens"].as_u64(),
                cache_write: input["cache_write_tokens"].as_u64(),
                cache_creation: input["cache_creation_tokens"].as_u64(),
                audio: input["audio_tokens"].as_u64(),
            }),
            completion_tokens_details: Some(OutputDetails {
                reasoning: output["reasoning_tokens"].as_u64(),
                audio: output["audio_tokens"].as_u64(),
            }),
            cost: usage["cost"].as_f64(),
        }
        .usage()
    }

    /// The exclusive buckets, without zeros, as in JSON output.
    pub fn buckets(&self) -> UsageDetails {
        UsageDetails::non_zero([
            ("input", self.input),
            ("input_cached_tokens", self.input_cached),
            ("input_cache_creation", self.input_cache_creation),
            ("input_audio_tokens", self.input_audio),
            ("output", self.output),
            ("output_reasoning_tokens", self.output_reasoning),
            ("output_audio_tokens", self.output_audio),
            ("total", self.total),
        ])
    }

    /// The buckets that Langfuse prices, without zeros. Reasoning tokens are part of the output, because most models have
    /// no separate price for them, and where there is one, it is the price of output. With `text_names`, text tokens go
    /// by the names in the price tables of audio models.
    pub fn priced_buckets(&self, text_names: bool) -> UsageDetails {
        let (input, output) = if text_names {
            ("input_text_tokens", "output_text_tokens")
        } else {
            ("input", "output")
        };
        UsageDetails::non_zero([
            (input, self.input),
            ("input_cached_tokens", self.input_cached),
            ("input_cache_creation", self.input_cache_creation),
            ("input_audio_tokens", self.input_audio),
            (output, self.output + self.output_reasoning),
            ("output_audio_tokens", self.output_audio),
            ("total", self.total),
        ])
    }

    /// Whether any tokens are audio.
    pub fn has_audio(&self) -> bool {
        self.input_audio > 0 || self.output_audio > 0
    }

    /// All input tokens, including cached and audio ones (`gen_ai.usage.input_tokens`).
    pub fn all_input(&self) -> u64 {
        self.input + self.input_cached + self.input_cache_creation + self.input_audio
    }

    /// All output tokens, including reasoning and audio ones (`gen_ai.usage.output_tokens`).
    pub fn all_output(&self) -> u64 {
        self.output + self.output_reasoning + self.output_audio
    }
}

/// The `usage` object of a response, by the names of OpenAI and of those that follow it.
#[derive(Debug, Default, Deserialize)]
pub struct OpenAiUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
    /// `DeepSeek` states the cached tokens next to the totals.
    prompt_cache_hit_tokens: Option<u64>,
    /// A name of `LiteLLM`.
    cache_creation_input_tokens: Option<u64>,
    /// US dollars, if the provider states them.
    pub cost: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct InputDetails {
    #[serde(rename = "cached_tokens")]
    cached: Option<u64>,
    /// `OpenRouter`'s name.
    #[serde(rename = "cache_write_tokens")]
    cache_write: Option<u64>,
    /// Another name of `LiteLLM`.
    #[serde(rename = "cache_creation_tokens")]
    cache_creation: Option<u64>,
    #[serde(rename = "audio_tokens")]
    audio: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct OutputDetails {
    #[serde(rename = "reasoning_tokens")]
    reasoning: Option<u64>,
    #[serde(rename = "audio_tokens")]
    audio: Option<u64>,
}

impl OpenAiUsage {
    /// The counts in buckets that do not overlap; `None` without any count.
    ///
    /// Some providers leave reasoning tokens out of `completion_tokens`. So if the total is larger than prompt and
    /// completion, the difference is output.
    pub fn usage(&self) -> Option<Usage> {
        let (prompt, total) = (self.prompt_tokens, self.total_tokens);
        let completion = self.completion_tokens;
        if prompt.is_none() && completion.is_none() && total.is_none() {
            return None;
        }
        let completion = completion.unwrap_or(0);
        let completion = prompt.zip(total).map_or(completion, |(prompt, total)| {
            completion.max(total.saturating_sub(prompt))
        });
        let prompt = prompt.unwrap_or(0);
        let input = self.prompt_tokens_details.unwrap_or_default();
        let output = self.completion_tokens_details.unwrap_or_default();
        let cached = input.cached.or(self.prompt_cache_hit_tokens);
        let cache_creation = input
            .cache_write
            .or(self.cache_creation_input_tokens)
            .or(input.cache_creation);
        let mut text_input = prompt;
        let mut text_output = completion;
        Some(Usage {
            input_cached: take(&mut text_input, cached),
            input_cache_creation: take(&mut text_input, cache_creation),
            input_audio: take(&mut text_input, input.audio),
            output_reasoning: take(&mut text_output, output.reasoning),
            output_audio: take(&mut text_output, output.audio),
            input: text_input,
            output: text_output,
            total: total.unwrap_or(prompt.saturating_add(completion)),
        })
    }
}

/// Takes a stated count out of `rest`, but never more than `rest` has.
fn take(rest: &mut u64, stated: Option<u64>) -> u64 {
    let count = stated.unwrap_or(0).min(*rest);
    *rest -= count;
    count
}

impl UsageDetails {
    fn non_zero<const N: usize>(counts: [(&'static str, u64); N]) -> Self {
        Self(counts.into_iter().filter(|(_, count)| *count > 0).collect())
    }

    /// The totals as zeros, for a call that used nothing. Without any usage, Langfuse counts and prices the messages
    /// itself.
    pub fn zeros() -> Self {
        Self(["input", "output", "total"].map(|name| (name, 0)).to_vec())
    }

    pub fn as_slice(&self) -> &[(&'static str, u64)] {
        &self.0
    }
}

impl Serialize for UsageDetails {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_are_taken_out_of_their_totals() {
        let usage = Usage::from_openai(&json!({
            "prompt_tokens": 23, "completion_tokens": 35, "total_tokens": 58,
            "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": null},
            "completion_tokens_details": {"reasoning_tokens": 5},
            "cost": 0.1, "queue_time": 0.2
        }))
        .unwrap();
        assert_eq!(
            json!(usage.buckets()),
            json!({"input": 20, "input_cached_tokens": 3, "output": 30, "output_reasoning_tokens": 5, "total": 58})
        );
        assert_eq!(
            json!(usage.priced_buckets(false)),
            json!({"input": 20, "input_cached_tokens": 3, "output": 35, "total": 58})
        );
        assert_eq!((usage.all_input(), usage.all_output()), (23, 35));
    }

    #[test]
    fn tokens_beyond_prompt_and_completion_are_output() {
        let buckets = |usage: Value| json!(Usage::from_openai(&usage).unwrap().buckets());
        assert_eq!(
            buckets(json!({
                "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 130,
                "completion_tokens_details": {"reasoning_tokens": 100}
            })),
            json!({"input": 10, "output": 20, "output_reasoning_tokens": 100, "total": 130})
        );
        assert_eq!(
            buckets(json!({"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 48})),
            json!({"input": 5, "output": 43, "total": 48})
        );
        assert_eq!(buckets(json!({"total_tokens": 9})), json!({"total": 9}));
    }

    #[test]
    fn cache_writes_are_taken_out_of_the_input() {
        let written = [
            json!({"prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 50}}),
            json!({"prompt_tokens_details": {"cached_tokens": 30}, "cache_creation_input_tokens": 50}),
            json!({"prompt_tokens_details": {"cached_tokens": 30, "cache_creation_tokens": 50}}),
        ];
        for mut usage in written {
            usage["prompt_tokens"] = 100.into();
            usage["completion_tokens"] = 7.into();
            let usage = Usage::from_openai(&usage).unwrap();
            assert_eq!(
                json!(usage.buckets()),
                json!({"input": 20, "input_cached_tokens": 30, "input_cache_creation": 50, "output": 7, "total": 107})
            );
            assert_eq!(usage.all_input(), 100);
        }
    }

    #[test]
    fn text_tokens_have_names_of_their_own_beside_audio() {
        let usage = Usage::from_openai(&json!({
            "prompt_tokens": 30, "completion_tokens": 40, "total_tokens": 70,
            "prompt_tokens_details": {"audio_tokens": 12},
            "completion_tokens_details": {"audio_tokens": 30}
        }))
        .unwrap();
        assert!(usage.has_audio());
        assert_eq!(
            json!(usage.priced_buckets(true)),
            json!({"input_text_tokens": 18, "input_audio_tokens": 12, "output_text_tokens": 10, "output_audio_tokens": 30, "total": 70})
        );
    }

    #[test]
    fn no_usage_is_invented() {
        assert_eq!(Usage::from_openai(&Value::Null), None);
        assert_eq!(Usage::from_openai(&json!({"cost": 1})), None);
    }

    #[test]
    fn deepseek_states_cached_tokens_next_to_the_totals() {
        let usage = Usage::from_openai(&json!({
            "prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25,
            "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 12
        }))
        .unwrap();
        assert_eq!(
            json!(usage.buckets()),
            json!({"input": 12, "input_cached_tokens": 8, "output": 5, "total": 25})
        );
    }

    #[test]
    fn buckets_never_count_more_than_was_used() {
        let usage = Usage::from_openai(&json!({
            "prompt_tokens": 2, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 9}
        }))
        .unwrap();
        assert_eq!(
            json!(usage.buckets()),
            json!({"input_cached_tokens": 2, "total": 2})
        );
    }
}
