//! One line of the input as a request: the body that is sent and the identity of its trace.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::app::managed_prompt::RunPrompt;
use crate::batch::experiment::run::RunExperiment;
use crate::batch::input;
use crate::expect::{Expected, MatchMode};
use crate::model::Request;
use crate::model::dialect::Feature;
use crate::model::fields::BodyFields;
use crate::settings;
use crate::settings::trace::refuse_keys;
use crate::trace::Trace;

/// A valid line.
#[derive(Debug)]
pub struct ParsedLine {
    pub custom_id: Option<String>,
    pub request: Request,
    pub trace: Trace,
    /// The answer that the line expects.
    pub expected: Option<Expected>,
    /// Variables of the line that the managed prompt does not have.
    pub unused: Vec<String>,
}

/// The fields that decide which of the three shapes a line has.
#[derive(Deserialize)]
struct LineShape<'a> {
    custom_id: Option<Value>,
    url: Option<Value>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    prompt: Option<Value>,
    /// The `custom_id` of a line with a `prompt`.
    id: Option<Value>,
    /// The system message of a line with a `prompt`.
    system: Option<Value>,
    trace: Option<TraceOverride>,
    /// The variables of a managed prompt.
    vars: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    expected: Option<Value>,
    /// The metadata of the item of an experiment.
    item_metadata: Option<Map<String, Value>>,
}

/// A field that is there, null included.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The `trace` object of a line. Unknown fields are refused: a misspelt `user` would otherwise be lost silently.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceOverride {
    user: Option<String>,
    session: Option<String>,
    tags: Option<Vec<String>>,
    name: Option<String>,
    metadata: Option<Map<String, Value>>,
}

/// Fields that are removed from a line which is itself the body.
const OUR_FIELDS: [&str; 4] = ["trace", "custom_id", "expected", "item_metadata"];

impl ParsedLine {
    /// Parses a line; `defaults` fill in the fields that it does not set.
    ///
    /// # Errors
    /// One line that says what is wrong with the line.
    pub fn parse(line: &input::RawLine, defaults: &LineDefaults<'_>) -> Result<Self, String> {
        let parsed = Self::read(line, defaults)?;
        let key = defaults.model.check_key_of(parsed.request.dialect());
        key.map_err(|failure| failure.message)?;
        Ok(parsed)
    }

    /// Parses a line, whether or not there is a key for its endpoint.
    ///
    /// # Errors
    /// One line that says what is wrong with the line.
    pub fn read(line: &input::RawLine, defaults: &LineDefaults<'_>) -> Result<Self, String> {
        // The parser sees one line, so its line number is always 1.
        Self::of(line, defaults).map_err(|why| why.replace(" at line 1 column ", " at column "))
    }

    fn of(line: &input::RawLine, defaults: &LineDefaults<'_>) -> Result<Self, String> {
        if line.is_too_long() {
            return Err("the line is longer than 100 MB".to_owned());
        }
        let text = str::from_utf8(&line.text)
            .map_err(|error| format!("invalid UTF-8 at byte {}", error.valid_up_to()))?
            .trim_ascii_start();
        if !text.starts_with('{') {
            return Err("expected a JSON object".to_owned());
        }
        let shape: LineShape<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let is_managed = defaults.prompt.is_some();
        if !is_managed && shape.vars.is_some() {
            return Err("variables (`vars`) need a prompt: --prompt NAME".to_owned());
        }
        let is_body = shape.messages.is_some() || shape.input.is_some();
        let has_prompt = is_managed || shape.prompt.is_some();
        let is_prompt = !is_body && shape.body.is_none() && has_prompt;
        let mut unused = Vec::new();
        let mut request = if is_managed && is_prompt {
            managed(text, &shape, defaults, &mut unused)?
        } else if is_managed {
            return Err("a body of its own cannot be used with --prompt: give `vars`".to_owned());
        } else {
            own_request(text, &shape, defaults.model)?
        };
        if is_prompt {
            request.validate()?;
            defaults.model.amend_prompted(&mut request)?;
        } else {
            defaults.model.amend(&mut request)?;
        }
        let custom_id = match (shape.custom_id, shape.id) {
            (Some(Value::String(id)), _) => Some(id),
            (None | Some(Value::Null), Some(id)) if is_prompt => id_of_prompt(id)?,
            (None | Some(Value::Null), _) => None,
            (Some(_), _) => return Err("`custom_id` must be a string".to_owned()),
        };
        let own_trace = shape.trace.unwrap_or_default();
        let item = defaults.experiment.map(|experiment| {
            let metadata = shape.item_metadata.as_ref().or(own_trace.metadata.as_ref());
            let expected = shape.expected.as_ref();
            experiment.item(line.number, custom_id.as_deref(), metadata, expected)
        });
        let mut trace = own_trace.apply_to(defaults.trace);
        trace.prompt = defaults.prompt.map(RunPrompt::link);
        trace.item = item.map(Box::new);
        let expected = shape.expected.zip(defaults.match_expected);
        let expected = expected.map(|(expected, mode)| Expected::read(expected, mode));
        refuse_keys(&trace).map_err(|failure| failure.message)?;
        Ok(Self {
            custom_id,
            request,
            trace,
            expected: expected.transpose()?,
            unused,
        })
    }
}

/// Values for the fields that a line does not set.
#[derive(Clone, Copy, Debug)]
pub struct LineDefaults<'a> {
    pub model: &'a settings::ModelSettings,
    /// The identity of every trace of the run.
    pub trace: &'a Trace,
    /// The managed prompt of every line.
    pub prompt: Option<&'a RunPrompt>,
    /// `None` if answers are not compared with what a line expects.
    pub match_expected: Option<MatchMode>,
    /// The experiment that the lines are items of.
    pub experiment: Option<&'a RunExperiment>,
}

impl TraceOverride {
    fn apply_to(self, run: &Trace) -> Trace {
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

fn read(text: &str) -> Result<BodyFields, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// The `id` of a line with a `prompt`; numbers count as their text.
fn id_of_prompt(id: Value) -> Result<Option<String>, String> {
    match id {
        Value::Null => Ok(None),
        Value::String(id) => Ok(Some(id)),
        Value::Number(id) => Ok(Some(id.to_string())),
        _ => Err("`id` must be a string or a number".to_owned()),
    }
}

/// A chat completion for a prompt; the fields of the line that are not ours are fields of the body.
fn prompted(
    text: &str,
    prompt: &Value,
    system: Option<&Value>,
    model: &settings::ModelSettings,
) -> Result<Request, String> {
    let Value::String(prompt) = prompt else {
        return Err("`prompt` must be a string".to_owned());
    };
    with_fields(prompts(model)?.prompted(prompt)?, text, system)
}

/// The request of a line that has a body or a prompt of its own.
fn own_request(
    text: &str,
    shape: &LineShape<'_>,
    model: &settings::ModelSettings,
) -> Result<Request, String> {
    let preference = model.preference();
    let is_body = shape.messages.is_some() || shape.input.is_some();
    match shape {
        LineShape {
            body: Some(body),
            url,
            ..
        } if !is_body => Request::of_body(read(body.get())?, url.as_ref(), preference),
        LineShape {
            prompt: Some(prompt),
            ..
        } if !is_body => prompted(text, prompt, shape.system.as_ref(), model),
        _ => {
            let mut fields = read(text)?;
            for field in OUR_FIELDS {
                fields.remove(field);
            }
            Request::of_body(fields, None, preference)
        }
    }
}

/// The managed prompt of the run, filled with the variables of the line, and followed by its `prompt`.
fn managed(
    text: &str,
    shape: &LineShape<'_>,
    defaults: &LineDefaults<'_>,
    unused: &mut Vec<String>,
) -> Result<Request, String> {
    let Some(prompt) = defaults.prompt else {
        return Err("there is no prompt".to_owned());
    };
    let typed = match &shape.prompt {
        None | Some(Value::Null) => None,
        Some(Value::String(typed)) => Some(typed.as_str()),
        Some(_) => return Err("`prompt` must be a string".to_owned()),
    };
    let none = Map::new();
    let variables = match &shape.vars {
        None | Some(Value::Null) => &none,
        Some(Value::Object(variables)) => variables,
        Some(_) => return Err("`vars` must be an object".to_owned()),
    };
    let filled = prompt.fill(variables, typed)?;
    *unused = filled.unused;
    let model = prompts(defaults.model)?;
    let request = model.managed(&[], &filled.messages, &prompt.parameters)?;
    with_fields(request, text, shape.system.as_ref())
}

/// The request with the fields of a line that are not ours.
fn with_fields(
    mut request: Request,
    text: &str,
    system: Option<&Value>,
) -> Result<Request, String> {
    const OURS: [&str; 8] = [
        "prompt",
        "id",
        "system",
        "vars",
        "expected",
        "trace",
        "custom_id",
        "item_metadata",
    ];
    match system {
        None | Some(Value::Null) => {}
        Some(Value::String(system)) => request.set_system(system),
        Some(_) => return Err("`system` must be a string".to_owned()),
    }
    let given = read(text)?;
    for (name, value) in given.fields().filter(|(name, _)| !OURS.contains(name)) {
        request.set_raw(name, value.to_owned());
    }
    Ok(request)
}

/// The model settings, if the chosen dialect answers prompts.
fn prompts(model: &settings::ModelSettings) -> Result<&settings::ModelSettings, String> {
    if model.dialect().lacks(Feature::Prompt) {
        let name = model.dialect().name();
        return Err(format!("the dialect {name} takes no `prompt`"));
    }
    Ok(model)
}
