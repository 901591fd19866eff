//! Which tokens of the input a real model would have read from its cache, and which it would have written there.
//!
//! The stand-in remembers nothing. Everything before the last answer of the assistant was sent in an earlier request, so
//! its marked part counts as read, and the marked part after it as written.

use serde_json::{Value, json};

use super::super::stand_in::{text, tokens};

/// The tokens of the input, each in one of the three.
#[derive(Debug, Default)]
pub struct InputTokens {
    read: usize,
    written: usize,
    /// The part of `written` that is to be kept for an hour.
    written_for_an_hour: usize,
    plain: usize,
}

/// A block of the input.
struct Block {
    tokens: usize,
    /// Whether the input up to here is to be cached, and for an hour.
    mark: Option<bool>,
}

impl InputTokens {
    pub fn of(request: &Value, messages: &[Value]) -> Self {
        let tools = request["tools"].as_array();
        let mut blocks: Vec<Block> = tools.into_iter().flatten().map(tool_block).collect();
        blocks.extend(content_blocks(&request["system"]));
        let mut earlier = 0;
        for message in messages {
            if message["role"] == "assistant" {
                earlier = blocks.len();
            }
            blocks.extend(content_blocks(&message["content"]));
        }

        let end = |blocks: &[Block]| {
            blocks
                .iter()
                .rposition(|block| block.mark.is_some())
                .map_or(0, |at| at + 1)
        };
        let read = end(&blocks[..earlier]);
        let cached = end(&blocks);
        let count = |blocks: &[Block]| blocks.iter().map(|block| block.tokens).sum::<usize>();
        let written = count(&blocks[read..cached]);
        let for_an_hour = cached > 0 && blocks[cached - 1].mark == Some(true);
        Self {
            read: count(&blocks[..read]),
            written,
            written_for_an_hour: if for_an_hour { written } else { 0 },
            plain: count(&blocks[cached..]),
        }
    }

    /// The fields of a message's `usage`.
    pub fn usage(&self) -> Value {
        let mut usage = self.usage_of_delta();
        usage["cache_creation"] = json!({
            "ephemeral_5m_input_tokens": self.written - self.written_for_an_hour,
            "ephemeral_1h_input_tokens": self.written_for_an_hour,
        });
        usage
    }

    /// The fields of the `usage` at the end of a stream.
    pub fn usage_of_delta(&self) -> Value {
        json!({
            "input_tokens": self.plain,
            "cache_creation_input_tokens": self.written,
            "cache_read_input_tokens": self.read,
        })
    }
}

fn tool_block(tool: &Value) -> Block {
    Block {
        tokens: tokens(&tool.to_string()),
        mark: mark(tool),
    }
}

/// The blocks of a content; a string is one block.
fn content_blocks(content: &Value) -> Vec<Block> {
    match content {
        Value::Array(blocks) => blocks
            .iter()
            .map(|block| Block {
                tokens: block_tokens(block),
                mark: mark(block),
            })
            .collect(),
        content => vec![Block {
            tokens: tokens(&text(content)),
            mark: None,
        }],
    }
}

/// Text, a tool call, or the result of one.
fn block_tokens(block: &Value) -> usize {
    let input = match &block["input"] {
        Value::Null => String::new(),
        input => input.to_string(),
    };
    tokens(block["text"].as_str().unwrap_or_default())
        + tokens(&text(&block["content"]))
        + tokens(&input)
}

fn mark(block: &Value) -> Option<bool> {
    let control = &block["cache_control"];
    control.is_object().then(|| control["ttl"] == "1h")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_before_the_last_answer_is_read_and_the_rest_written() {
        let marked = |text: &str| json!([{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]);
        let messages = [
            json!({"role": "user", "content": marked("12345678")}),
            json!({"role": "assistant", "content": "1234"}),
            json!({"role": "user", "content": marked("1234567890")}),
            json!({"role": "user", "content": "1"}),
        ];
        let request = json!({"system": marked("1234")});
        assert_eq!(
            InputTokens::of(&request, &messages).usage(),
            json!({
                "input_tokens": 1, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 3,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 0},
            })
        );
    }

    #[test]
    fn nothing_is_cached_without_a_mark() {
        let messages = [json!({"role": "user", "content": "1234"})];
        let usage = InputTokens::of(&json!({"system": "1234"}), &messages).usage_of_delta();
        assert_eq!(
            usage,
            json!({"input_tokens": 2, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0})
        );
    }
}
