//! An error in the words of the server, read from a body in any of the shapes that compatible servers use.

use serde_json::Value;

/// An error as the server described it.
#[derive(Clone, Debug)]
pub struct ServerError {
    message: String,
    codes: Vec<String>,
}

impl ServerError {
    /// The server's own words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the model is unknown, in the words of the known servers.
    pub fn is_unknown_model(&self) -> bool {
        const WORDS: [&str; 6] = [
            "not found",
            "does not exist",
            "not a valid model",
            "invalid model",
            "unknown model",
            "no such model",
        ];
        let message = self.message.to_lowercase();
        let is_said =
            message.contains("model") && WORDS.iter().any(|words| message.contains(words));
        is_said || self.codes.iter().any(|code| code == "model_not_found")
    }

    /// Reads the error from a body, in any of the shapes that compatible servers use.
    pub fn of(body: &Value) -> Option<Self> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        // Gemini wraps its error in an array; a router may put the error in the choice that failed.
        let body = body.get(0).unwrap_or(body);
        let of_choice = || {
            let choices = body["choices"].as_array().into_iter().flatten();
            choices
                .map(|choice| &choice["error"])
                .find(|error| error.is_object())
        };
        let error = Some(&body["error"]).filter(|error| !error.is_null());
        let error = error.or_else(of_choice).unwrap_or(&Value::Null);
        match error {
            Value::Object(object) if !object.is_empty() => Some(Self {
                message: text(&error["message"]).map_or_else(
                    || error.to_string(),
                    |message| message + &upstream_message(error),
                ),
                codes: [&error["code"], &error["type"]]
                    .into_iter()
                    .filter_map(text)
                    .collect(),
            }),
            Value::String(message) if !message.is_empty() => Some(Self::in_words(message)),
            _ if body["choices"].is_null() => {
                let detail = [&body["detail"], &body["message"]]
                    .into_iter()
                    .find(|value| !value.is_null())?;
                let message = text(detail).unwrap_or_else(|| detail.to_string());
                Some(Self::in_words(&message))
            }
            _ => None,
        }
    }

    /// Whether the server was too busy to begin: Anthropic's word for it in a stream.
    pub fn is_overloaded(&self) -> bool {
        self.codes.iter().any(|code| code == "overloaded_error")
    }

    /// An error that is stated in plain text.
    pub fn in_words(message: &str) -> Self {
        Self {
            message: message.to_owned(),
            codes: Vec::new(),
        }
    }

    /// Whether the account is out of credit: a 429 that waiting does not fix.
    pub fn is_quota(&self) -> bool {
        self.codes.iter().any(|code| code == "insufficient_quota")
    }
}

/// The message of the provider behind a router. The router's own message only says that there was one.
fn upstream_message(error: &Value) -> String {
    let raw = error["metadata"]["raw"].as_str().unwrap_or_default();
    if raw.is_empty() || is_html(raw) {
        return String::new();
    }
    format!(": {}", raw.chars().take(300).collect::<String>())
}

/// Whether a body is a page for people.
pub fn is_html(body: &str) -> bool {
    body.trim_start().starts_with('<')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_are_read_in_every_shape() {
        let message = |body: Value| ServerError::of(&body).map(|error| error.message);
        assert_eq!(
            message(json!({"error": {"message": "m", "code": 400}})).as_deref(),
            Some("m")
        );
        assert_eq!(message(json!({"error": "m"})).as_deref(), Some("m"));
        assert_eq!(
            message(json!({"detail": [{"msg": "m"}]})).as_deref(),
            Some(r#"[{"msg":"m"}]"#)
        );
        assert_eq!(
            message(json!([{"error": {"message": "m", "status": "INVALID_ARGUMENT"}}])).as_deref(),
            Some("m")
        );
        assert_eq!(
            message(json!({"choices": [{"message": {}}, {"error": {"message": "m"}}]})).as_deref(),
            Some("m")
        );
        assert_eq!(message(json!({"choices": [], "error": null})), None);
        assert_eq!(message(json!({"choices": [{"error": null}]})), None);
    }
}
