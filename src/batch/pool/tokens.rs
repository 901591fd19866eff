//! How many tokens a call is expected to use (`--tpm`).

use serde_json::Value;

use crate::json::lenient;
use crate::model::Request;

/// The tokens of an answer while none is known.
const FIRST_ANSWER: u64 = 256;
/// A token is about as long as this many characters.
const CHARACTERS: u64 = 4;
/// The fields that limit the answer, in the order in which they count.
const LIMITS: [&str; 3] = ["max_completion_tokens", "max_tokens", "max_output_tokens"];
/// The fields of base64 content.
const CONTENT: [&str; 2] = ["data", "file_data"];

/// The tokens that a request is expected to use: a quarter of its characters, and its limit of the answer, else
/// `mean_answer`.
pub fn expected(request: &Request, mean_answer: Option<u64>) -> u64 {
    let texts = request.fields().map(|(_, value)| {
        let value = lenient::parse(value.get()).unwrap_or_default();
        characters(&value)
    });
    let limit = LIMITS.iter().find_map(|name| request.get::<u64>(name));
    let answer = limit.or(mean_answer).unwrap_or(FIRST_ANSWER);
    (texts.sum::<u64>() / CHARACTERS).saturating_add(answer)
}

/// The characters of all texts. Base64 content has other tokens than a text of its length: it counts nothing here, and what
/// it uses is known after the call.
fn characters(value: &Value) -> u64 {
    match value {
        Value::String(text) if text.starts_with("data:") => 0,
        Value::String(text) => text.chars().count() as u64,
        Value::Array(items) => items.iter().map(characters).sum(),
        Value::Object(fields) => {
            let texts = fields.iter();
            let texts = texts.filter(|(name, _)| !CONTENT.contains(&name.as_str()));
            texts.map(|(_, value)| characters(value)).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(body: &Value) -> Request {
        serde_json::from_value(body.clone()).unwrap()
    }

    #[test]
    fn the_limit_of_the_answer_comes_before_the_mean() {
        let text = "x".repeat(400);
        let plain = json!({"messages": [{"content": text}]});
        assert_eq!(expected(&request(&plain), None), 100 + 256);
        assert_eq!(expected(&request(&plain), Some(30)), 100 + 30);
        let mut limited = plain.clone();
        limited["max_tokens"] = 7.into();
        assert_eq!(expected(&request(&limited), Some(30)), 100 + 7);
    }

    #[test]
    fn base64_content_counts_nothing() {
        let base64 = "A".repeat(100_000);
        let body = json!({"messages": [{"content": [
            {"image_url": {"url": format!("data:image/png;base64,{base64}")}},
            {"input_audio": {"data": base64}}, {"file": {"file_data": base64}}, {"text": "four"},
        ]}]});
        assert_eq!(expected(&request(&body), Some(0)), 1);
    }
}
