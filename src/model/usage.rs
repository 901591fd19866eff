//! Token counts of a call, in buckets that do not overlap.
//!
//! OpenAI's totals include their details, while Langfuse adds up the price of every bucket that it gets. The bucket names
//! are those of Langfuse's price table. Prices themselves are not known here.

use serde_json::{Map, Value};

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

impl Usage {
    /// Reads the `usage` object of a response; `None` if it has no counts.
    ///
    /// Some providers leave reasoning tokens out of `completion_tokens`. So if the total is larger than prompt and
    /// completion, the difference is output.
    pub fn from_openai(usage: &Value) -> Option<Self> {
        let stated = |name: &str| usage[name].as_u64();
        let (prompt, total) = (stated("prompt_tokens"), stated("total_tokens"));
        let completion = stated("completion_tokens");
        if prompt.is_none() && completion.is_none() && total.is_none() {
            return None;
        }
        let completion = completion.unwrap_or(0);
        let completion = prompt.zip(total).map_or(completion, |(prompt, total)| {
            completion.max(total.saturating_sub(prompt))
        });
        let prompt = prompt.unwrap_or(0);
        let input = &usage["prompt_tokens_details"];
        let output = &usage["completion_tokens_details"];
        let mut text_input = prompt;
        let mut text_output = completion;
        Some(Self {
            // DeepSeek states the cached tokens next to the totals.
            input_cached: take(
                &mut text_input,
                [&input["cached_tokens"], &usage["prompt_cache_hit_tokens"]],
            ),
            // OpenRouter's name, then those of LiteLLM.
            input_cache_creation: take(
                &mut text_input,
                [
                    &input["cache_write_tokens"],
                    &usage["cache_creation_input_tokens"],
                    &input["cache_creation_tokens"],
                ],
            ),
            input_audio: take(&mut text_input, [&input["audio_tokens"]]),
            output_reasoning: take(&mut text_output, [&output["reasoning_tokens"]]),
            output_audio: take(&mut text_output, [&output["audio_tokens"]]),
            input: text_input,
            output: text_output,
            total: total.unwrap_or(prompt.saturating_add(completion)),
        })
    }

    /// The exclusive buckets, without zeros, as in JSON output.
    pub fn buckets(&self) -> Map<String, Value> {
        non_zero([
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
    pub fn priced_buckets(&self, text_names: bool) -> Map<String, Value> {
        let (input, output) = if text_names {
            ("input_text_tokens", "output_text_tokens")
        } else {
            ("input", "output")
        };
        non_zero([
            (input, self.input),
            ("input_cached_tokens", self.input_cached),
            ("input_cache_creation", self.input_cache_creation),
            ("input_audio_tokens", self.input_audio),
            (output, self.output + self.output_reasoning),
            ("output_audio_tokens", self.output_audio),
            ("total", self.total),
        ])
    }

    /// The totals as zeros, for a call that used nothing. Without any usage, Langfuse counts and prices the messages
    /// itself.
    pub fn zeros() -> Map<String, Value> {
        ["input", "output", "total"]
            .map(|name| (name.to_owned(), Value::from(0)))
            .into_iter()
            .collect()
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

/// Takes the first stated count out of `rest`, but never more than `rest` has.
fn take<const N: usize>(rest: &mut u64, stated: [&Value; N]) -> u64 {
    let count = stated.into_iter().find_map(Value::as_u64).unwrap_or(0);
    let count = count.min(*rest);
    *rest -= count;
    count
}

fn non_zero<const N: usize>(buckets: [(&str, u64); N]) -> Map<String, Value> {
    let buckets = buckets.into_iter().filter(|(_, count)| *count > 0);
    buckets
        .map(|(name, count)| (name.to_owned(), Value::from(count)))
        .collect()
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
            Value::from(usage.buckets()),
            json!({"input": 20, "input_cached_tokens": 3, "output": 30, "output_reasoning_tokens": 5, "total": 58})
        );
        assert_eq!(
            Value::from(usage.priced_buckets(false)),
            json!({"input": 20, "input_cached_tokens": 3, "output": 35, "total": 58})
        );
        assert_eq!((usage.all_input(), usage.all_output()), (23, 35));
    }

    #[test]
    fn tokens_beyond_prompt_and_completion_are_output() {
        let buckets = |usage: Value| Value::from(Usage::from_openai(&usage).unwrap().buckets());
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
                Value::from(usage.buckets()),
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
            Value::from(usage.priced_buckets(true)),
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
            Value::from(usage.buckets()),
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
            Value::from(usage.buckets()),
            json!({"input_cached_tokens": 2, "total": 2})
        );
    }
}
