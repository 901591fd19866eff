//! Which model is asked, where, in which dialect, and with which changes to a request.

use std::time::Duration;

use http::header::AUTHORIZATION;
use serde_json::Value;
use serde_json::value::RawValue;

use super::body_changes::{BodyChanges, whole};
use super::bound::MissingKey;
use super::defaults::CommandDefaults;
use super::endpoint;
use super::header::header_of;
use super::shown::{Notes, Shown};
use super::sources::{Origin, Sourced, Sources};
use crate::cli;
use crate::expect::schema::JsonSchema;
use crate::failure::Failure;
use crate::model::dialect::{self, Feature, ModelDialect, Preference, Vendor};
use crate::model::{Endpoint, Request};

const DEFAULT_MODEL: &str = "gpt-4o-mini";
/// Time for all attempts and the whole answer.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(10);
/// Time for the completion of `check --with-model`.
const CHECK_TIMEOUT: Duration = Duration::from_mins(1);

/// What the files that a call names add to its request.
#[derive(Debug, Default)]
pub struct RequestFiles {
    /// The text of `--system-file` or of the key `system_file`.
    pub system: Option<Sourced<String>>,
    /// The fields of `--param`, with the content of the files that they name.
    pub params: Vec<(String, Box<RawValue>)>,
    /// The same of the settings file.
    pub default_params: Vec<(String, Box<RawValue>)>,
    /// Content parts that go with the last user message.
    pub attachments: Vec<Box<RawValue>>,
    /// The field of that name, made of a JSON Schema.
    pub response_format: Option<Value>,
    /// The same schema, to check the answer.
    pub schema: Option<JsonSchema>,
}

/// The model side of the settings.
#[derive(Clone, Debug)]
pub struct ModelSettings {
    /// The OpenAI-compatible endpoint.
    pub endpoint: Endpoint,
    /// Anthropic's endpoint.
    pub anthropic: Endpoint,
    /// Why an endpoint cannot be asked: its key is missing. Only counts when it is asked.
    missing_key: Option<MissingKey>,
    missing_anthropic_key: Option<MissingKey>,
    /// The dialect that a setting names.
    api: Option<Sourced<&'static dyn ModelDialect>>,
    /// Whether an option names the OpenAI-compatible endpoint.
    has_openai_option: bool,
    pub name: Sourced<String>,
    /// The system message.
    pub system: Option<Sourced<String>>,
    /// What the settings file sets in a body that is made here.
    defaults: BodyChanges,
    /// What options set in every body.
    changes: BodyChanges,
    /// Content parts that go with the last user message.
    pub attachments: Vec<Box<RawValue>>,
    /// The JSON Schema that the answer must fit.
    pub schema: Option<JsonSchema>,
    /// Whether a setting asks for a stream or forbids it.
    pub stream: Option<Sourced<bool>>,
    pub retries: u32,
    pub timeout: Duration,
}

impl ModelSettings {
    /// Resolves which model is asked and where; `sandbox` is the port of the embedded one.
    ///
    /// # Errors
    /// If a URL is malformed.
    pub fn resolve(
        options: &cli::EndpointArgs,
        sources: &Sources,
        sandbox: Option<u16>,
        notes: &mut Notes,
    ) -> Result<Self, Failure> {
        let name = sources
            .flag_or("--model", options.model.as_deref(), &["LANGSPAN_MODEL"])?
            .unwrap_or_else(|| Sourced::new(DEFAULT_MODEL.to_owned(), Origin::Default));
        let api = api(options.api, sources)?;
        let is_anthropic =
            |api: &Sourced<&dyn ModelDialect>| api.value.vendor() == Vendor::Anthropic;
        let has_openai_option = options.openai_base_url.is_some();
        if let Some(api) = api
            .as_ref()
            .filter(|api| is_anthropic(api) && api.is_flag())
            && has_openai_option
        {
            return Err(not_openai(api.value));
        }
        let is_anthropic = api.as_ref().is_some_and(is_anthropic);
        let ((mut openai, missing_key), (mut anthropic, missing_anthropic_key)) = match sandbox {
            Some(port) => {
                let (openai, anthropic) = endpoint::embedded(port)?;
                ((openai, None), (anthropic, None))
            }
            None => (
                endpoint::openai(options, sources, notes)?,
                endpoint::anthropic(options, sources, is_anthropic, notes)?,
            ),
        };
        if let Some(api) = &api {
            let row = Shown::new("api", api.value.name(), api.origin.clone());
            notes.shown.insert(0, row);
        }
        notes
            .shown
            .insert(0, Shown::new("model", &name.value, name.origin.clone()));
        if is_anthropic {
            add_headers(&options.headers, &mut anthropic, &mut openai)?;
        } else {
            add_headers(&options.headers, &mut openai, &mut anthropic)?;
        }
        let has_header = |endpoint: &Endpoint, name| {
            endpoint.headers.contains_key(AUTHORIZATION) || endpoint.headers.contains_key(name)
        };
        notes.secrets.extend(openai.secrets());
        notes.secrets.extend(anthropic.secrets());
        Ok(Self {
            missing_key: missing_key.filter(|_| !has_header(&openai, "api-key")),
            missing_anthropic_key: missing_anthropic_key
                .filter(|_| !has_header(&anthropic, "x-api-key")),
            api,
            has_openai_option,
            name,
            system: None,
            defaults: BodyChanges::default(),
            changes: BodyChanges::default(),
            attachments: Vec::new(),
            schema: None,
            stream: None,
            retries: 0,
            timeout: CHECK_TIMEOUT,
            endpoint: openai,
            anthropic,
        })
    }

    /// Adds the changes to requests that the options, their files and the settings file ask for.
    ///
    /// # Errors
    /// If a value of the settings file is malformed.
    pub fn with(
        self,
        options: &cli::ModelArgs,
        files: RequestFiles,
        defaults: &CommandDefaults,
        sources: &Sources,
    ) -> Result<Self, Failure> {
        let stream = match options.stream || options.no_stream {
            true if options.stream => Some(Sourced::new(true, Origin::Flag("--stream"))),
            true => Some(Sourced::new(false, Origin::Flag("--no-stream"))),
            false => sources.switch("--stream", false, &[])?,
        };
        let retries = sources.parsed("--retries", options.retries, &[], whole)?;
        let timeout = sources.parsed("--timeout", options.timeout, &[], cli::seconds)?;
        let timeout = timeout.map(|found| Duration::from_secs_f64(found.value));
        let changes = BodyChanges {
            temperature: options.temperature.clone().map(Value::from),
            max_tokens: options.max_tokens,
            response_format: files.response_format,
            params: files.params,
        };
        let defaults_of_file = BodyChanges::of_file(sources, files.default_params)?;
        Ok(Self {
            system: files.system,
            defaults: defaults_of_file,
            changes,
            attachments: files.attachments,
            schema: files.schema,
            stream,
            retries: retries.map_or(defaults.retries, |found| found.value),
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            ..self
        })
    }

    /// The dialect that a setting names.
    pub fn preference(&self) -> Option<Preference> {
        self.api.as_ref().map(preference)
    }

    /// The dialect of a body that is made here.
    pub fn dialect(&self) -> &'static dyn ModelDialect {
        self.api.as_ref().map_or(dialect::CHAT, |api| api.value)
    }

    /// The endpoint that speaks a dialect.
    pub fn endpoint_of(&self, dialect: &dyn ModelDialect) -> &Endpoint {
        match dialect.vendor() {
            Vendor::OpenAi => &self.endpoint,
            Vendor::Anthropic => &self.anthropic,
        }
    }

    /// A request of `prompt` in the chosen dialect.
    ///
    /// # Errors
    /// If the dialect lacks what an option asks for: one line.
    pub fn chat(&self, prompt: &str, stream: bool) -> Result<Request, String> {
        self.continued(&[], prompt, stream)
    }

    /// A request of `prompt` after earlier messages and those that a field sets.
    ///
    /// # Errors
    /// If the dialect lacks what an option asks for: one line.
    pub fn continued(
        &self,
        earlier: &[Box<RawValue>],
        prompt: &str,
        stream: bool,
    ) -> Result<Request, String> {
        self.with_options(self.with_defaults(earlier, prompt)?, stream)
    }

    /// A body of `prompt` with what the settings file sets; [`amend_prompted`](Self::amend_prompted) adds the options.
    ///
    /// # Errors
    /// If a field that the prompt is added to is no array.
    pub fn prompted(&self, prompt: &str) -> Result<Request, String> {
        self.with_defaults(&[], prompt)
    }

    /// A body of the messages of a managed prompt, with its own parameters: they come after the options and before
    /// `LANGSPAN_MODEL` and the settings file.
    ///
    /// # Errors
    /// If the dialect lacks a part of the messages.
    pub fn managed(
        &self,
        earlier: &[Box<RawValue>],
        messages: &[Box<RawValue>],
        parameters: &[(String, Box<RawValue>)],
    ) -> Result<Request, String> {
        let mut request = Request::default();
        request.set("model", &self.name.value);
        request.set("messages", messages);
        let mut request = self.completed_by_defaults(earlier, request)?;
        for (name, value) in parameters {
            if name != "model" || !self.name.is_flag() {
                request.set_raw(name, value.clone());
            }
        }
        Ok(request)
    }

    /// The body of a chat with the options applied.
    ///
    /// # Errors
    /// If the dialect lacks what an option asks for: one line.
    pub fn with_options(&self, mut request: Request, stream: bool) -> Result<Request, String> {
        self.apply_options(&mut request, true)?;
        if stream || request.is_streamed() {
            request.set_stream(true);
        }
        self.check_model(&request)?;
        request.fill_in();
        Ok(request)
    }

    fn with_defaults(&self, earlier: &[Box<RawValue>], prompt: &str) -> Result<Request, String> {
        let request = Request::chat(&self.name.value, None, prompt);
        self.completed_by_defaults(earlier, request)
    }

    fn completed_by_defaults(
        &self,
        earlier: &[Box<RawValue>],
        mut request: Request,
    ) -> Result<Request, String> {
        let dialect = self.dialect();
        request.precede(&self.field_messages()?);
        request.precede(earlier);
        let default = self.system.as_ref().filter(|system| !system.is_flag());
        if let Some(default) = default.filter(|_| !request.has_system()) {
            request.set_system(&default.value);
        }
        let mut request = request.adopted(dialect)?;
        self.defaults
            .apply(&mut request, self.endpoint_of(dialect), true);
        Ok(request)
    }

    /// The changes that options make to any body; of one made of a prompt they do not replace the conversation.
    fn apply_options(&self, request: &mut Request, is_prompt: bool) -> Result<(), String> {
        let dialect = request.dialect();
        if let Some(option) = self.lacking(dialect) {
            return Err(format!(
                "{option} is not possible in the dialect {}",
                dialect.name()
            ));
        }
        if let Some(system) = self.system.as_ref().filter(|system| system.is_flag()) {
            request.set_system(&system.value);
        }
        request.attach(&self.attachments)?;
        self.changes
            .apply(request, self.endpoint_of(dialect), is_prompt);
        Ok(())
    }

    /// The option that a dialect lacks, if one is given.
    fn lacking(&self, dialect: &dyn ModelDialect) -> Option<&'static str> {
        let is_streamed = self
            .stream
            .as_ref()
            .is_some_and(|stream| stream.is_flag() && stream.value);
        let is_system = self.system.as_ref().is_some_and(Sourced::is_flag);
        let given = [
            (is_streamed, Feature::Stream, "--stream"),
            (is_system, Feature::System, "--system"),
            (
                !self.attachments.is_empty(),
                Feature::Attachments,
                "--image or --file",
            ),
        ];
        let lacking = given
            .into_iter()
            .find(|(is_given, feature, _)| *is_given && dialect.lacks(*feature));
        lacking
            .map(|(_, _, option)| option)
            .or_else(|| self.changes.lacking(dialect))
    }

    /// The messages that a field sets: a prompt follows them, and must not be replaced by them.
    ///
    /// # Errors
    /// If the field is no array.
    pub fn field_messages(&self) -> Result<Vec<Box<RawValue>>, String> {
        let dialect = self.dialect();
        let found = self.changes.conversation(dialect);
        let Some(messages) = found.or_else(|| self.defaults.conversation(dialect)) else {
            return Ok(Vec::new());
        };
        serde_json::from_str(messages.get()).map_err(|_| {
            let field = dialect.conversation_field();
            format!("`{field}` is not an array, to which the prompt could be added")
        })
    }

    /// Applies the options to a body that was given; a missing model is filled in, last. The settings file does not
    /// change it.
    ///
    /// # Errors
    /// If its dialect lacks what an option asks for, or a model: one line.
    pub fn amend(&self, request: &mut Request) -> Result<(), String> {
        self.apply_options(request, false)?;
        self.complete(request)
    }

    /// The same for a body that was made of a prompt.
    ///
    /// # Errors
    /// As [`amend`](Self::amend).
    pub fn amend_prompted(&self, request: &mut Request) -> Result<(), String> {
        self.apply_options(request, true)?;
        self.complete(request)
    }

    /// Sets stream and model as options ask for them, and what the API requires.
    fn complete(&self, request: &mut Request) -> Result<(), String> {
        if let Some(stream) = self.stream.as_ref().filter(|stream| stream.is_flag())
            && stream.value != request.is_streamed()
        {
            request.set_stream(stream.value);
        }
        if self.name.is_flag() || request.raw("model").is_none() {
            request.set("model", &self.name.value);
            self.check_model(request)?;
        }
        request.fill_in();
        Ok(())
    }

    /// Refuses the default model where it does not speak the dialect.
    fn check_model(&self, request: &Request) -> Result<(), String> {
        let is_default = self.name.origin == Origin::Default
            && request.model().as_ref() == Some(&self.name.value);
        match request.dialect().model_example() {
            Some(example) if is_default => Err(format!(
                "no model: {} has no default; name one, as with --model {example}",
                request.dialect().title()
            )),
            _ => Ok(()),
        }
    }

    /// Refuses an option for the endpoint that the chosen dialect does not use.
    ///
    /// # Errors
    /// If there is one.
    pub fn check_endpoint_option(&self) -> Result<(), Failure> {
        let dialect = self.dialect();
        if self.has_openai_option && dialect.vendor() == Vendor::Anthropic {
            return Err(not_openai(dialect));
        }
        Ok(())
    }

    /// Whether the endpoint of the chosen dialect can be asked at all.
    ///
    /// # Errors
    /// If its key is missing.
    pub fn check_key(&self) -> Result<(), Failure> {
        self.check_key_of(self.dialect())
    }

    /// Whether the endpoint of a dialect can be asked at all.
    ///
    /// # Errors
    /// If its key is missing.
    pub fn check_key_of(&self, dialect: &dyn ModelDialect) -> Result<(), Failure> {
        let endpoint = self.endpoint_of(dialect);
        let missing = match dialect.vendor() {
            Vendor::OpenAi => &self.missing_key,
            Vendor::Anthropic => &self.missing_anthropic_key,
        };
        match missing {
            None => Ok(()),
            Some(MissingKey::OfAnother { message, hint }) => {
                Err(Failure::config(message).hint(hint))
            }
            Some(MissingKey::Unset(name)) => {
                let host = endpoint.base.host_str().unwrap_or_default();
                let option = endpoint.url_option();
                Err(Failure::config(format!(
                    "no key for the model endpoint {host}: {name} is not set"
                ))
                .hint(format!(
                    "export {name}, or name another endpoint with {option}"
                )))
            }
        }
    }
}

/// Adds the headers of options. A batch may ask both endpoints; a secret is only for the `chosen` one.
fn add_headers(
    headers: &[String],
    chosen: &mut Endpoint,
    other: &mut Endpoint,
) -> Result<(), Failure> {
    for header in headers {
        let (name, value) = header_of(header, "--header")?;
        if !value.is_sensitive() {
            other.headers.append(name.clone(), value.clone());
        }
        chosen.headers.append(name, value);
    }
    Ok(())
}

/// The dialect of `--api`, else of its variable or its key.
///
/// # Errors
/// If a variable or a key names none.
pub fn api(
    given: Option<&'static dyn ModelDialect>,
    sources: &Sources,
) -> Result<Option<Sourced<&'static dyn ModelDialect>>, Failure> {
    sources.parsed("--api", given, &["LANGSPAN_API"], cli::api)
}

/// A setting as what a body is read by.
pub fn preference(api: &Sourced<&'static dyn ModelDialect>) -> Preference {
    Preference {
        dialect: api.value,
        is_option: api.is_flag(),
    }
}

fn not_openai(dialect: &dyn ModelDialect) -> Failure {
    Failure::usage(format!(
        "--openai-base-url is not the endpoint of {}",
        dialect.title()
    ))
    .hint("--anthropic-base-url names it")
}
