//! Prompts inside a prompt: `@@@langfusePrompt:name=N|label=L@@@` and `…|version=V@@@` stand for the text of another one.

use serde_json::Value;

use super::prompt::WantedVersion;

const BEGIN: &str = "@@@langfusePrompt:";
const END: &str = "@@@";
/// Deeper references stay as they are: a prompt may contain itself.
const DEEPEST: usize = 5;

/// Replaces the references in a text or in the messages of a chat prompt. `text_of` gives the text of another prompt;
/// a reference to one that is not there stays as it is.
pub fn resolved(prompt: &Value, text_of: &dyn Fn(&str, &WantedVersion) -> Option<String>) -> Value {
    match prompt {
        Value::String(text) => replaced(text, text_of, DEEPEST).into(),
        Value::Array(messages) => messages
            .iter()
            .map(|message| {
                let mut message = message.clone();
                if let Some(content) = message["content"].as_str() {
                    message["content"] = replaced(content, text_of, DEEPEST).into();
                }
                message
            })
            .collect(),
        other => other.clone(),
    }
}

fn replaced(
    text: &str,
    text_of: &dyn Fn(&str, &WantedVersion) -> Option<String>,
    depth: usize,
) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        whole.push_str(before);
        let Some((reference, behind)) = after.split_once(END) else {
            whole.push_str(BEGIN);
            rest = after;
            continue;
        };
        let found = (depth > 0)
            .then(|| read(reference))
            .flatten()
            .and_then(|(name, wanted)| text_of(name, &wanted));
        match found {
            Some(found) => whole.push_str(&replaced(&found, text_of, depth - 1)),
            None => whole.extend([BEGIN, reference, END]),
        }
        rest = behind;
    }
    whole.push_str(rest);
    whole
}

/// The name of the prompt and which version of it.
fn read(reference: &str) -> Option<(&str, WantedVersion)> {
    let (name, which) = reference.strip_prefix("name=")?.split_once('|')?;
    let wanted = match which.split_once('=')? {
        ("label", label) => WantedVersion::Label(label.to_owned()),
        ("version", version) => WantedVersion::Version(version.parse().ok()?),
        _ => return None,
    };
    Some((name, wanted))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_replaced_and_a_prompt_that_holds_itself_ends() {
        let text_of = |name: &str, wanted: &WantedVersion| match (name, wanted) {
            ("greet", WantedVersion::Label(label)) => Some(format!("Hi ({label})")),
            ("self", WantedVersion::Version(1)) => {
                Some("<@@@langfusePrompt:name=self|version=1@@@>".to_owned())
            }
            _ => None,
        };
        let prompt = json!("A @@@langfusePrompt:name=greet|label=production@@@ B");
        assert_eq!(resolved(&prompt, &text_of), "A Hi (production) B");
        for unchanged in [
            "@@@langfusePrompt:name=x",
            "@@@langfusePrompt:name=x|label=y@@@",
        ] {
            assert_eq!(resolved(&json!(unchanged), &text_of), unchanged);
        }
        let chat = json!([{"role": "user", "content": "@@@langfusePrompt:name=greet|label=l@@@"}]);
        assert_eq!(resolved(&chat, &text_of)[0]["content"], "Hi (l)");
        let endless = resolved(&json!("@@@langfusePrompt:name=self|version=1@@@"), &text_of);
        assert!(
            endless
                .as_str()
                .is_some_and(|text| text.starts_with("<<<<<@"))
        );
    }
}
