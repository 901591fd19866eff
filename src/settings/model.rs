//! Which model is asked, where, and with which changes to a request.

use std::str::FromStr;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;
use serde_json::Value;
use serde_json::value::RawValue;

use super::bound::{BoundSecrets, MissingKey, OPENAI};
use super::defaults::CommandDefaults;
use super::header::header_of;
use super::shown::{Notes, Shown};
use super::sources::{Origin, Rank, Sourced, Sources, empty_flag};
use crate::cli;
use crate::failure::Failure;
use crate::http::url::{complete_http_url, is_loopback, parse_http_url, shown};
use crate::model::endpoint::{Surface, check_key};
use crate::model::{Endpoint, Provider, Request};

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
}

/// The model side of the settings.
#[derive(Clone, Debug)]
pub struct ModelSettings {
    pub endpoint: Endpoint,
    /// Why the endpoint cannot be asked: its key is missing. Only counts when it is asked.
    pub missing_key: Option<MissingKey>,
    pub name: Sourced<String>,
    /// The system message.
    pub system: Option<Sourced<String>>,
    /// Fields that the settings file sets in a body that is made here, with their JSON texts.
    pub default_fields: Vec<(String, Box<RawValue>)>,
    /// Fields of every body that options set, with their JSON texts, in the order they are set.
    pub fields: Vec<(String, Box<RawValue>)>,
    /// Content parts that go with the last user message.
    pub attachments: Vec<Box<RawValue>>,
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
        let (mut endpoint, missing_key) = match sandbox {
            Some(port) => (embedded(port)?, None),
            None => endpoint(options, sources, notes)?,
        };
        notes
            .shown
            .insert(0, Shown::new("model", &name.value, name.origin.clone()));
        for header in &options.headers {
            let (name, value) = header_of(header, "--header")?;
            endpoint.headers.append(name, value);
        }
        let has_header = endpoint.headers.contains_key(AUTHORIZATION)
            || endpoint.headers.contains_key("api-key");
        notes.secrets.extend(endpoint.secrets());
        Ok(Self {
            missing_key: missing_key.filter(|_| !has_header),
            name,
            system: None,
            default_fields: Vec::new(),
            fields: Vec::new(),
            attachments: Vec::new(),
            stream: None,
            retries: 0,
            timeout: CHECK_TIMEOUT,
            endpoint,
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
        let mut fields = Fields::of(&self.endpoint);
        fields.push_options(options, &files);
        let mut defaults_of_file = Fields::of(&self.endpoint);
        defaults_of_file.push_defaults(sources, files.default_params)?;
        Ok(Self {
            system: files.system,
            default_fields: defaults_of_file.fields,
            fields: fields.fields,
            attachments: files.attachments,
            stream,
            retries: retries.map_or(defaults.retries, |found| found.value),
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            ..self
        })
    }

    /// A chat completion of `prompt`.
    pub fn chat(&self, prompt: &str, stream: bool) -> Request {
        self.continued(&[], prompt, stream)
    }

    /// A chat completion of `prompt` after earlier messages and those that a field sets.
    pub fn continued(&self, earlier: &[Box<RawValue>], prompt: &str, stream: bool) -> Request {
        let mut request = self.with_defaults(earlier, prompt);
        self.apply_options(&mut request, true);
        if stream || request.is_streamed() {
            request.set_stream(true);
        }
        request
    }

    /// A body of `prompt` with what the settings file sets; [`amend_prompted`](Self::amend_prompted) adds the options.
    pub fn prompted(&self, prompt: &str) -> Request {
        self.with_defaults(&[], prompt)
    }

    fn with_defaults(&self, earlier: &[Box<RawValue>], prompt: &str) -> Request {
        let mut request = Request::chat(&self.name.value, None, prompt);
        request.precede(&self.field_messages());
        request.precede(earlier);
        let system = self.system.as_ref().filter(|system| !system.is_flag());
        if let Some(system) = system.filter(|_| !request.has_system()) {
            request.set_system(&system.value);
        }
        for (name, value) in fields_without_messages(&self.default_fields) {
            request.set_raw(name, value.clone());
        }
        request
    }

    /// The changes that options make to any body; of one made of a prompt they do not replace the messages.
    fn apply_options(&self, request: &mut Request, is_prompt: bool) {
        if let Some(system) = self.system.as_ref().filter(|system| system.is_flag()) {
            request.set_system(&system.value);
        }
        request.attach(&self.attachments);
        let is_kept = |name: &str| is_prompt && name == "messages";
        for (name, value) in self.fields.iter().filter(|(name, _)| !is_kept(name)) {
            request.set_raw(name, value.clone());
        }
    }

    /// The messages that a field sets: a prompt follows them, and must not be replaced by them.
    pub fn field_messages(&self) -> Vec<Box<RawValue>> {
        let mut fields = self
            .fields
            .iter()
            .rev()
            .chain(self.default_fields.iter().rev());
        let found = fields.find(|(name, _)| name == "messages");
        // That they are an array was checked when the options were read.
        found
            .and_then(|(_, messages)| serde_json::from_str(messages.get()).ok())
            .unwrap_or_default()
    }

    /// Applies the options to a body that was given; a missing model is filled in, last. The settings file does not
    /// change it.
    pub fn amend(&self, request: &mut Request) {
        self.apply_options(request, false);
        self.complete(request);
    }

    /// The same for a body that was made of a prompt.
    pub fn amend_prompted(&self, request: &mut Request) {
        self.apply_options(request, true);
        self.complete(request);
    }

    /// Sets stream and model as options ask for them.
    fn complete(&self, request: &mut Request) {
        if let Some(stream) = self.stream.as_ref().filter(|stream| stream.is_flag())
            && stream.value != request.is_streamed()
        {
            request.set_stream(stream.value);
        }
        if self.name.is_flag() || request.raw("model").is_none() {
            request.set("model", &self.name.value);
        }
    }

    /// Whether the endpoint can be asked at all.
    ///
    /// # Errors
    /// If its key is missing.
    pub fn check_key(&self) -> Result<(), Failure> {
        match &self.missing_key {
            None => Ok(()),
            Some(MissingKey::OfAnother { message, hint }) => {
                Err(Failure::config(message).hint(hint))
            }
            Some(MissingKey::Unset(name)) => {
                let host = self.endpoint.base.host_str().unwrap_or_default();
                Err(Failure::config(format!(
                    "no key for the model endpoint {host}: {name} is not set"
                ))
                .hint(format!(
                    "export {name}, or name another endpoint with --openai-base-url"
                )))
            }
        }
    }
}

fn embedded(port: u16) -> Result<Endpoint, Failure> {
    let base = parse_http_url(&format!("http://127.0.0.1:{port}/v1")).map_err(Failure::config)?;
    Ok(Endpoint {
        provider: Provider::of(&base),
        base,
        surface: Surface::OpenAi,
        key: None,
        key_origin: None,
        headers: HeaderMap::new(),
    })
}

/// The endpoint, and why its key is missing.
fn endpoint(
    options: &cli::EndpointArgs,
    sources: &Sources,
    notes: &mut Notes,
) -> Result<(Endpoint, Option<MissingKey>), Failure> {
    let (found, surface) = chosen(options, sources)?;
    let base = complete_http_url(&found.value).map_err(|error| {
        Failure::config(format!("{}: {error}", found.origin))
            .hint("as in https://api.openai.com/v1 or http://localhost:11434/v1")
    })?;
    let chosen = Sourced::new(base.clone(), found.origin);
    let row = Shown::new("model endpoint", shown(&base), chosen.origin.clone());
    notes.shown.insert(0, row);
    let key_name = match surface {
        Surface::OpenAi => "OPENAI_API_KEY",
        _ => "AZURE_OPENAI_API_KEY",
    };
    let bound = BoundSecrets::new(sources, &chosen);
    let (key, of_another) = match surface {
        Surface::OpenAi => bound.key()?,
        _ => (bound.variable(key_name), None),
    };
    let key_origin = key.as_ref().map(|key| key.origin.to_string());
    let key = key.map(|key| {
        notes
            .shown
            .push(Shown::new("model key", "(set)", key.origin));
        key.value
    });
    if let Some(key) = &key {
        let place = key_origin.as_deref().unwrap_or(key_name);
        check_key(key).map_err(|error| {
            Failure::config(format!("{place}: {error}"))
                .hint("copy the key again, without line ends or quotes")
        })?;
        if base.scheme() == "http" && !is_loopback(&base) {
            let host = base.host_str().unwrap_or_default();
            notes.warnings.push(format!(
                "the key of {place} is sent unencrypted to {host}: use https"
            ));
        }
    }
    let is_required = surface != Surface::OpenAi || is_openai(&base);
    let (mut headers, header_of_another) = bound.headers(options)?;
    let missing_key = of_another
        .or(header_of_another)
        .or_else(|| (is_required && key.is_none()).then_some(MissingKey::Unset(key_name)));
    headers.extend(account_headers(sources, &surface));
    Ok((
        Endpoint {
            provider: provider(&base, &surface),
            base,
            surface,
            key,
            key_origin,
            headers,
        },
        missing_key,
    ))
}

/// The URL that is asked: of the option, then of each source in its turn, else OpenAI's.
fn chosen(
    options: &cli::EndpointArgs,
    sources: &Sources,
) -> Result<(Sourced<String>, Surface), Failure> {
    const FLAG: &str = "--openai-base-url";
    match options.openai_base_url.as_deref() {
        Some("") => return Err(empty_flag(FLAG)),
        Some(url) => {
            let url = Sourced::new(url.to_owned(), Origin::Flag(FLAG));
            return Ok((url, Surface::OpenAi));
        }
        None => {}
    }
    for rank in Rank::ALL {
        let url = sources.text(rank, "openai_base_url");
        if let Some(url) = url.or_else(|| sources.variable(rank, "OPENAI_BASE_URL")) {
            return Ok((url, Surface::OpenAi));
        }
        if let Some(url) = sources.variable(rank, "AZURE_OPENAI_ENDPOINT") {
            let version = sources.get("OPENAI_API_VERSION").map(|found| found.value);
            let surface = version.map_or(Surface::AzureV1, |api_version| {
                Surface::AzureDeployment { api_version }
            });
            return Ok((url, surface));
        }
    }
    let url = Sourced::new(OPENAI.to_owned(), Origin::Default);
    Ok((url, Surface::OpenAi))
}

fn is_openai(base: &Url) -> bool {
    base.host_str() == Some("api.openai.com")
}

fn provider(base: &Url, surface: &Surface) -> Provider {
    if *surface == Surface::OpenAi {
        Provider::of(base)
    } else {
        Provider::AZURE
    }
}

/// The headers that choose between the accounts of one OpenAI key.
fn account_headers(sources: &Sources, surface: &Surface) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if *surface != Surface::OpenAi {
        return headers;
    }
    for (variable, name) in [
        ("OPENAI_ORG_ID", "openai-organization"),
        ("OPENAI_PROJECT_ID", "openai-project"),
    ] {
        let value = sources
            .get(variable)
            .and_then(|found| HeaderValue::from_str(found.value.trim()).ok());
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}

/// Fields of a body, collected: those of `--param` last, so that it has the last word.
struct Fields<'a> {
    endpoint: &'a Endpoint,
    fields: Vec<(String, Box<RawValue>)>,
}

impl<'a> Fields<'a> {
    fn of(endpoint: &'a Endpoint) -> Self {
        Self {
            endpoint,
            fields: Vec::new(),
        }
    }

    fn push_options(&mut self, options: &cli::ModelArgs, files: &RequestFiles) {
        if let Some(temperature) = &options.temperature {
            self.push("temperature", temperature.to_string());
        }
        if let Some(limit) = options.max_tokens {
            self.push_limit(limit);
        }
        if let Some(format) = &files.response_format {
            self.push("response_format", format.to_string());
        }
        self.fields.extend(files.params.iter().cloned());
    }

    fn push_defaults(
        &mut self,
        sources: &Sources,
        params: Vec<(String, Box<RawValue>)>,
    ) -> Result<(), Failure> {
        if let Some(found) = sources.parsed("--temperature", None, &[], cli::temperature)? {
            self.push("temperature", found.value.to_string());
        }
        if let Some(found) = sources.parsed("--max-tokens", None, &[], whole)? {
            self.push_limit(found.value);
        }
        self.fields.extend(params);
        Ok(())
    }

    fn push_limit(&mut self, limit: u64) {
        let provider = &self.endpoint.provider;
        self.push(
            provider.max_tokens_field(&self.endpoint.base),
            limit.to_string(),
        );
    }

    fn push(&mut self, name: &str, json: String) {
        if let Ok(value) = RawValue::from_string(json) {
            self.fields.push((name.to_owned(), value));
        }
    }
}

fn fields_without_messages(
    fields: &[(String, Box<RawValue>)],
) -> impl Iterator<Item = &(String, Box<RawValue>)> {
    fields.iter().filter(|(name, _)| name != "messages")
}

/// Reads a whole number.
fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "expected a whole number".to_owned())
}
