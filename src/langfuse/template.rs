//! Fills the variables and placeholders of a managed prompt. Pure functions.
//!
//! `{{name}}` and `{{ name }}` stand for the text of a variable, which goes in as it is: what looks like a variable in it
//! stays. A placeholder of a chat prompt stands for a list of messages.

use std::collections::BTreeSet;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::langfuse::prompts::{ManagedPrompt, PromptContent};

/// A prompt with its variables filled in.
#[derive(Debug)]
pub struct FilledPrompt {
    /// The messages, `typed` text included.
    pub messages: Vec<Box<RawValue>>,
    /// The names of given variables that the prompt does not have.
    pub unused: Vec<String>,
}

impl ManagedPrompt {
    /// Fills the prompt. `typed` follows a text prompt after a blank line, and a chat prompt as its last message.
    ///
    /// # Errors
    /// One line that names the variables or placeholders that are missing or of a wrong type.
    pub fn fill(
        &self,
        variables: &Map<String, Value>,
        typed: Option<&str>,
    ) -> Result<FilledPrompt, String> {
        let mut filler = Filler {
            variables,
            used: BTreeSet::new(),
            missing: Vec::new(),
        };
        let messages = match &self.content {
            PromptContent::Text(text) => {
                let text = filler.text(text);
                let content = match typed {
                    Some(typed) => format!("{text}\n\n{typed}"),
                    None => text,
                };
                vec![json!({"role": "user", "content": content})]
            }
            PromptContent::Chat(parts) => {
                let mut messages = Vec::new();
                for part in parts {
                    messages.extend(filler.messages(part)?);
                }
                messages.extend(typed.map(|typed| json!({"role": "user", "content": typed})));
                messages
            }
        };
        filler.check(&self.name)?;
        if messages.is_empty() {
            return Err(format!("the prompt `{}` has no messages", self.name));
        }
        let unused = variables.keys().filter(|name| !filler.used.contains(*name));
        Ok(FilledPrompt {
            unused: unused.cloned().collect(),
            // JSON values always serialise.
            messages: messages
                .iter()
                .filter_map(|message| to_raw_value(message).ok())
                .collect(),
        })
    }

    /// Whether the prompt has a variable or placeholder of this name.
    pub fn has_variable(&self, name: &str) -> bool {
        let in_text = |text: &str| {
            let mut has = false;
            replace(text, |found| {
                has |= found == name;
                None
            });
            has
        };
        match &self.content {
            PromptContent::Text(text) => in_text(text),
            PromptContent::Chat(parts) => parts.iter().any(|part| match placeholder(part) {
                Some(found) => found == name,
                None => in_text(&part["content"].to_string()),
            }),
        }
    }
}

/// The name of a placeholder; `None` for a message.
fn placeholder(part: &Value) -> Option<&str> {
    (part["type"] == "placeholder").then(|| part["name"].as_str())?
}

struct Filler<'a> {
    variables: &'a Map<String, Value>,
    used: BTreeSet<String>,
    /// What the prompt needs and was not given, in its order.
    missing: Vec<String>,
}

impl Filler<'_> {
    fn check(&self, prompt: &str) -> Result<(), String> {
        match self.missing.as_slice() {
            [] => Ok(()),
            [one] => Err(format!("the prompt `{prompt}` needs {one}")),
            several => Err(format!(
                "the prompt `{prompt}` needs {}",
                several.join(", ")
            )),
        }
    }

    fn text(&mut self, text: &str) -> String {
        replace(text, |name| {
            let Some(value) = self.variables.get(name) else {
                let missing = format!("the variable `{name}`");
                if !self.missing.contains(&missing) {
                    self.missing.push(missing);
                }
                return None;
            };
            self.used.insert(name.to_owned());
            Some(
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            )
        })
    }

    /// The messages that a part of a chat prompt stands for.
    fn messages(&mut self, part: &Value) -> Result<Vec<Value>, String> {
        if let Some(name) = placeholder(part) {
            return self.placeholder(name);
        }
        let mut message = part.clone();
        // Langfuse's own name of the kind, which models do not know.
        if message["type"] == "chatmessage"
            && let Some(fields) = message.as_object_mut()
        {
            fields.shift_remove("type");
        }
        if let Some(content) = message.get_mut("content") {
            self.content(content);
        }
        Ok(vec![message])
    }

    fn content(&mut self, content: &mut Value) {
        match content {
            Value::String(text) => *text = self.text(text),
            Value::Array(parts) => parts.iter_mut().for_each(|part| self.content(part)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.content(value)),
            _ => {}
        }
    }

    fn placeholder(&mut self, name: &str) -> Result<Vec<Value>, String> {
        let Some(value) = self.variables.get(name) else {
            self.missing
                .push(format!("messages for the placeholder `{name}`"));
            return Ok(Vec::new());
        };
        self.used.insert(name.to_owned());
        let list = match value {
            // As from a file or the command line.
            Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
            value => value.clone(),
        };
        match list {
            Value::Array(messages)
                if messages.iter().all(|message| message["role"].is_string()) =>
            {
                Ok(messages)
            }
            _ => Err(format!(
                "the placeholder `{name}` takes an array of messages, each an object with a role"
            )),
        }
    }
}

/// Replaces `{{name}}` by what `value` gives for the name; where that is nothing, the text stays.
fn replace(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let name = after
            .split_once("}}")
            .map(|(name, behind)| (name.trim(), behind));
        if let Some((name, behind)) = name.filter(|(name, _)| is_name(name)) {
            let written = &rest[before.len()..rest.len() - behind.len()];
            let value = value(name);
            filled.push_str(value.as_deref().unwrap_or(written));
            rest = behind;
        } else {
            // Not a variable, as in nested JSON. One brace further may be one.
            filled.push('{');
            rest = &rest[before.len() + 1..];
        }
    }
    filled.push_str(rest);
    filled
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(content: PromptContent) -> ManagedPrompt {
        ManagedPrompt {
            name: "p".to_owned(),
            version: 1,
            content,
            config: Map::new(),
        }
    }

    fn text(template: &str, variables: &Value, typed: Option<&str>) -> Result<String, String> {
        let filled = prompt(PromptContent::Text(template.to_owned()))
            .fill(variables.as_object().unwrap(), typed)?;
        let message: Value = serde_json::from_str(filled.messages[0].get()).unwrap();
        Ok(message["content"].as_str().unwrap().to_owned())
    }

    #[test]
    fn variables_go_in_as_they_are() {
        let given = json!({"a": "{{b}} $1", "b": 7, "c": {"x": [1]}});
        for (template, filled) in [
            ("{{a}}|{{ b }}|{{c}}", "{{b}} $1|7|{\"x\":[1]}"),
            ("{\"k\": {\"v\": {{b}}}}", "{\"k\": {\"v\": 7}}"),
            ("{{{b}}}", "{7}"),
            ("{{\"x\": 1}} {{}} {{b", "{{\"x\": 1}} {{}} {{b"),
        ] {
            assert_eq!(text(template, &given, None).unwrap(), filled, "{template}");
        }
        assert_eq!(text("{{b}}", &given, Some("q")).unwrap(), "7\n\nq");
    }

    #[test]
    fn missing_variables_are_named_once() {
        let error = text("{{x}} {{y}} {{x}}", &json!({}), None).unwrap_err();
        assert_eq!(
            error,
            "the prompt `p` needs the variable `x`, the variable `y`"
        );
    }

    #[test]
    fn a_chat_prompt_takes_messages_for_its_placeholders() {
        let chat = prompt(PromptContent::Chat(vec![
            json!({"role": "system", "content": "You are {{who}}."}),
            json!({"type": "placeholder", "name": "history"}),
            json!({"type": "chatmessage", "role": "user", "content": "{{q}}"}),
        ]));
        let fill = |variables: Value| {
            let filled = chat.fill(variables.as_object().unwrap(), Some("typed"))?;
            let messages: Vec<&str> = filled
                .messages
                .iter()
                .map(|message| message.get())
                .collect();
            Ok::<_, String>((messages.join("\n"), filled.unused))
        };
        let history = json!([{"role": "assistant", "content": "{{q}}"}]);
        let (messages, unused) =
            fill(json!({"who": "Ada", "q": "Why?", "history": history, "z": 1})).unwrap();
        assert_eq!(
            messages,
            "{\"role\":\"system\",\"content\":\"You are Ada.\"}\n\
             {\"role\":\"assistant\",\"content\":\"{{q}}\"}\n\
             {\"role\":\"user\",\"content\":\"Why?\"}\n\
             {\"role\":\"user\",\"content\":\"typed\"}"
        );
        assert_eq!(unused, ["z"]);
        let missing = fill(json!({"who": "a", "q": "b"})).unwrap_err();
        assert!(missing.contains("placeholder `history`"), "{missing}");
        let wrong = fill(json!({"who": "a", "q": "b", "history": "x"})).unwrap_err();
        assert!(wrong.contains("array of messages"), "{wrong}");
        assert!(chat.has_variable("who") && chat.has_variable("history"));
        assert!(!chat.has_variable("z"));
    }
}
