//! One line of the input: what is asked, and what its trace is filed under.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::batch::input;
use crate::model::{Request, request};
use crate::settings;
use crate::settings::trace::refuse_keys;
use crate::trace::Trace;

/// A line that can be asked.
#[derive(Debug)]
pub struct Line {
    pub custom_id: Option<String>,
    pub request: Request,
    pub trace: Trace,
}

/// The fields that tell the kinds of lines apart.
#[derive(Deserialize)]
struct Shape<'a> {
    custom_id: Option<Value>,
    url: Option<Value>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    prompt: Option<Value>,
    trace: Option<Override>,
}

/// What a line says of its trace. An unknown field is refused: a user that is misspelt would be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Override {
    user: Option<String>,
    session: Option<String>,
    tags: Option<Vec<String>>,
    name: Option<String>,
    metadata: Option<Map<String, Value>>,
}

/// What a line has beside a body that is sent as it is.
const OUR_FIELDS: [&str; 2] = ["trace", "custom_id"];

impl Line {
    /// Reads a line; `defaults` fill in what it leaves open.
    ///
    /// # Errors
    /// One line that says what is wrong with it.
    pub fn parse(line: &input::RawLine, defaults: &LineDefaults<'_>) -> Result<Self, String> {
        // A JSON reader counts lines, of which it is given one.
        Self::of(line, defaults).map_err(|why| why.replace(" at line 1 column ", " at column "))
    }

    fn of(line: &input::RawLine, defaults: &LineDefaults<'_>) -> Result<Self, String> {
        if line.is_too_long() {
            return Err("the line is longer than 100 MB".to_owned());
        }
        let text = str::from_utf8(&line.text)
            .map_err(|error| format!("byte {} is no UTF-8", error.valid_up_to()))?
            .trim_ascii_start();
        if !text.starts_with('{') {
            return Err("a JSON object is wanted".to_owned());
        }
        let shape: Shape<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let is_batch_line = shape.messages.is_none() && shape.body.is_some();
        let mut request = match &shape {
            Shape {
                messages: None,
                body: Some(body),
                url,
                ..
            } => {
                request::check_batch_url(url.as_ref())?;
                read(body.get())?
            }
            Shape {
                messages: None,
                prompt: Some(prompt),
                ..
            } => prompted(text, prompt, defaults.model)?,
            _ => read(text)?,
        };
        if !is_batch_line {
            for field in OUR_FIELDS {
                request.remove(field);
            }
        }
        request.validate()?;
        defaults.model.amend(&mut request);
        let custom_id = match shape.custom_id {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id),
            Some(_) => return Err("`custom_id` is no string".to_owned()),
        };
        let trace = shape.trace.unwrap_or_default().over(defaults.trace);
        refuse_keys(&trace).map_err(|failure| failure.message)?;
        Ok(Self {
            custom_id,
            request,
            trace,
        })
    }
}

/// What lines leave open.
#[derive(Clone, Copy, Debug)]
pub struct LineDefaults<'a> {
    pub model: &'a settings::ModelSettings,
    /// What every trace of the run is filed under.
    pub trace: &'a Trace,
}

impl Override {
    fn over(self, run: &Trace) -> Trace {
        let mut trace = run.clone();
        trace.user = self.user.or(trace.user);
        trace.session = self.session.or(trace.session);
        trace.name = self.name.or(trace.name);
        if let Some(tags) = self.tags {
            trace.tags = tags;
        }
        let metadata = self.metadata.unwrap_or_default();
        trace
            .metadata
            .retain(|(key, _)| !metadata.contains_key(key));
        let text = |value: Value| match value {
            Value::String(text) => text,
            value => value.to_string(),
        };
        let given = metadata.into_iter();
        trace
            .metadata
            .extend(given.map(|(key, value)| (key, text(value))));
        trace
    }
}

fn read(text: &str) -> Result<Request, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// A chat completion of a prompt; the line's other fields are fields of the body.
fn prompted(
    text: &str,
    prompt: &Value,
    model: &settings::ModelSettings,
) -> Result<Request, String> {
    let Value::String(prompt) = prompt else {
        return Err("`prompt` is no string".to_owned());
    };
    let mut request = Request::chat(&model.name.value, None, prompt);
    let given = read(text)?;
    for (name, value) in given.fields().filter(|(name, _)| *name != "prompt") {
        request.set_raw(name, value.to_owned());
    }
    Ok(request)
}
