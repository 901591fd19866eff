//! Token counts in buckets that do not overlap, so that a price for each adds up to the price of the call.
//!
//! OpenAI's totals include their details; Langfuse prices every bucket it is given. The names are
//! those that its price cards know.

use serde_json::{Map, Value};

/// Tokens of one call. No bucket includes another but `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub input_cached: u64,
    pub input_audio: u64,
    pub output: u64,
    pub output_reasoning: u64,
    pub output_audio: u64,
    pub total: u64,
}

impl Usage {
    /// Reads the `usage` object of an answer; `None` when it counts nothing.
    pub fn from_openai(usage: &Value) -> Option<Self> {
        let count = |value: &Value| value.as_u64();
        let prompt = count(&usage["prompt_tokens"]);
        let completion = count(&usage["completion_tokens"]);
        let total = count(&usage["total_tokens"]);
        if prompt.is_none() && completion.is_none() && total.is_none() {
            return None;
        }
        let (prompt, completion) = (prompt.unwrap_or(0), completion.unwrap_or(0));
        let detail = |side: &str, name: &str| count(&usage[side][name]).unwrap_or(0);
        // A detail larger than its total would make the buckets count more than was used.
        // DeepSeek's name for them stands beside the totals.
        let input_cached = count(&usage["prompt_tokens_details"]["cached_tokens"])
            .or_else(|| count(&usage["prompt_cache_hit_tokens"]))
            .unwrap_or(0)
            .min(prompt);
        let input_audio =
            detail("prompt_tokens_details", "audio_tokens").min(prompt - input_cached);
        let output_reasoning =
            detail("completion_tokens_details", "reasoning_tokens").min(completion);
        let output_audio =
            detail("completion_tokens_details", "audio_tokens").min(completion - output_reasoning);
        Some(Self {
            input: prompt - input_cached - input_audio,
            input_cached,
            input_audio,
            output: completion - output_reasoning - output_audio,
            output_reasoning,
            output_audio,
            total: total.unwrap_or(prompt.saturating_add(completion)),
        })
    }

    /// The buckets under the names of Langfuse's price cards, zeros left out.
    pub fn buckets(&self) -> Map<String, Value> {
        self.named()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), Value::from(count)))
            .collect()
    }

    /// The three totals as zeros: what a call reports that used nothing, because Langfuse counts and prices the
    /// messages itself when it is told nothing.
    pub fn zeros() -> Map<String, Value> {
        ["input", "output", "total"]
            .map(|name| (name.to_owned(), Value::from(0)))
            .into_iter()
            .collect()
    }

    /// All input tokens, cached and audio ones included, as `gen_ai.usage.input_tokens` means it.
    pub fn all_input(&self) -> u64 {
        self.input + self.input_cached + self.input_audio
    }

    /// All output tokens, reasoning and audio ones included, as `gen_ai.usage.output_tokens` means it.
    pub fn all_output(&self) -> u64 {
        self.output + self.output_reasoning + self.output_audio
    }

    fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("input", self.input),
            ("input_cached_tokens", self.input_cached),
            ("input_audio_tokens", self.input_audio),
            ("output", self.output),
            ("output_reasoning_tokens", self.output_reasoning),
            ("output_audio_tokens", self.output_audio),
            ("total", self.total),
        ]
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
            Value::from(usage.buckets()),
            json!({"input": 20, "input_cached_tokens": 3, "output": 30, "output_reasoning_tokens": 5, "total": 58})
        );
        assert_eq!((usage.all_input(), usage.all_output()), (23, 35));
    }

    #[test]
    fn no_usage_is_invented() {
        assert_eq!(Usage::from_openai(&Value::Null), None);
        assert_eq!(Usage::from_openai(&json!({"cost": 1})), None);
    }

    #[test]
    fn deepseek_counts_cached_tokens_beside_the_totals() {
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
