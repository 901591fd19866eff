//! Which dialect a body is in: what its URL says, else an option, else its shape.

use serde_json::Value;

use super::{ALL, CHAT, ModelDialect, of_path};
use crate::model::fields::BodyFields;

/// A dialect that a setting names.
#[derive(Clone, Copy, Debug)]
pub struct Preference {
    pub dialect: &'static dyn ModelDialect,
    /// Whether it is an option, which a body must not contradict. A variable gives way to the body.
    pub is_option: bool,
}

/// The dialect of a body.
#[derive(Clone, Copy, Debug)]
pub struct Chosen {
    pub dialect: &'static dyn ModelDialect,
    /// Whether only the shape of the body tells.
    pub is_guess: bool,
}

/// The dialect of a body whose `url` is that of its Batch line.
///
/// # Errors
/// If the URL is of no dialect, or an option contradicts it or the body: one line that names both.
pub fn choose(
    url: Option<&Value>,
    fields: &BodyFields,
    preference: Option<Preference>,
) -> Result<Chosen, String> {
    let option = preference.filter(|preference| preference.is_option);
    if let Some(url) = url.filter(|url| !url.is_null()) {
        let named = url.as_str().and_then(of_path);
        let named = named.filter(|dialect| ALL.contains(dialect));
        let dialect = named.ok_or_else(|| {
            let paths = ALL.map(|dialect| format!("/v1/{}", dialect.path().join("/")));
            format!(
                "the Batch line is for {url}, not for any of {}",
                paths.join(", ")
            )
        })?;
        if let Some(option) = option.filter(|option| option.dialect != dialect) {
            let named = option.dialect.name();
            return Err(format!("--api {named} contradicts the line's url {url}"));
        }
        return Ok(Chosen {
            dialect,
            is_guess: false,
        });
    }
    let fitting = fitting(fields);
    let fits =
        |preference: &Preference| fitting.is_empty() || fitting.contains(&preference.dialect);
    match (preference, fitting.first()) {
        (Some(preference), _) if fits(&preference) => Ok(Chosen {
            dialect: preference.dialect,
            is_guess: false,
        }),
        (Some(preference), Some(found)) if preference.is_option => {
            let named = preference.dialect.name();
            let field = found.conversation_field();
            let is: Vec<&str> = fitting.iter().map(|dialect| dialect.name()).collect();
            let is = is.join(" or ");
            Err(format!(
                "--api {named} contradicts the body: with `{field}` it is one for {is}"
            ))
        }
        (_, found) => Ok(Chosen {
            dialect: found.copied().unwrap_or(CHAT),
            is_guess: true,
        }),
    }
}

/// The dialects that a body may be in, the likeliest first. Empty if its fields do not tell.
fn fitting(fields: &BodyFields) -> Vec<&'static dyn ModelDialect> {
    let has_own = |dialect: &&dyn ModelDialect| fields.raw(dialect.conversation_field()).is_some();
    let mut fitting: Vec<_> = ALL.into_iter().filter(has_own).collect();
    if let Some(first) = fitting.first().map(|dialect| dialect.conversation_field()) {
        fitting.retain(|dialect| dialect.conversation_field() == first);
    }
    fitting
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dialect(
        url: &Value,
        body: &Value,
        api: Option<(&str, bool)>,
    ) -> Result<&'static str, String> {
        let fields: BodyFields = serde_json::from_value(body.clone()).unwrap();
        let preference = api.map(|(name, is_option)| Preference {
            dialect: super::super::named(name).unwrap(),
            is_option,
        });
        choose(Some(url), &fields, preference).map(|chosen| chosen.dialect.name())
    }

    #[test]
    fn the_url_comes_before_the_option_and_that_before_the_shape() {
        let (chat, input) = (json!({"messages": []}), json!({"input": "a"}));
        let option = |name| Some((name, true));
        let variable = |name| Some((name, false));
        for (url, body, api, found) in [
            (json!("/v1/embeddings"), &input, None, Ok("embeddings")),
            (json!("/v1/messages"), &chat, None, Ok("messages")),
            (
                json!("/openai/v1/chat/completions"),
                &chat,
                None,
                Ok("chat"),
            ),
            (Value::Null, &chat, None, Ok("chat")),
            (Value::Null, &input, None, Ok("responses")),
            (Value::Null, &chat, option("messages"), Ok("messages")),
            (Value::Null, &input, option("embeddings"), Ok("embeddings")),
            (Value::Null, &chat, variable("messages"), Ok("messages")),
            (Value::Null, &chat, variable("responses"), Ok("chat")),
            (
                json!("/v1/responses"),
                &input,
                variable("chat"),
                Ok("responses"),
            ),
            (
                json!("/v1/responses"),
                &input,
                option("chat"),
                Err("contradicts the line's url"),
            ),
            (
                Value::Null,
                &input,
                option("chat"),
                Err("--api chat contradicts the body: with `input`"),
            ),
            (
                Value::Null,
                &chat,
                option("responses"),
                Err("one for chat or messages"),
            ),
            (json!("/v1/audio"), &chat, None, Err("not for any of")),
            (json!(7), &chat, None, Err("not for any of")),
        ] {
            match (dialect(&url, body, api), found) {
                (Ok(name), Ok(expected)) => assert_eq!(name, expected, "{url} {body} {api:?}"),
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
                (other, _) => panic!("{url} {body} {api:?}: {other:?}"),
            }
        }
    }
}
