//! Which model is asked, where, and with which changes to a request.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;
use serde_json::Value;
use serde_json::value::RawValue;

use super::CommandDefaults;
use super::shown::{Notes, Shown};
use super::sources::{Origin, Sourced, Sources};
use crate::cli;
use crate::failure::Failure;
use crate::http::url::{is_loopback, parse_http_url, shown};
use crate::model::endpoint::{Surface, check_key};
use crate::model::{Endpoint, Provider, Request};
use crate::secret::Secret;

const OPENAI: &str = "https://api.openai.com/v1";
const DEFAULT_MODEL: &str = "gpt-4o-mini";
/// Time for the completion of `check --with-model`.
const CHECK_TIMEOUT: Duration = Duration::from_mins(1);

/// What the files that a call names add to its request.
#[derive(Debug, Default)]
pub struct RequestFiles {
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
    pub missing_key: Option<String>,
    pub name: Sourced<String>,
    pub system: Option<String>,
    /// Fields of the body that options set, with their JSON texts, in the order they are set.
    pub fields: Vec<(String, Box<RawValue>)>,
    /// Content parts that go with the last user message.
    pub attachments: Vec<Box<RawValue>>,
    /// Whether an option asks for a stream or forbids it.
    pub stream: Option<bool>,
    pub retries: u32,
    pub timeout: Duration,
}

impl ModelSettings {
    /// Resolves which model is asked and where; `sandbox` is the port of the embedded one.
    ///
    /// # Errors
    /// When a URL is malformed.
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
            let (name, value) = header_of(header)?;
            endpoint.headers.append(name, value);
        }
        let has_header = endpoint.headers.contains_key(AUTHORIZATION)
            || endpoint.headers.contains_key("api-key");
        notes.secrets.extend(endpoint.secrets());
        Ok(Self {
            missing_key: missing_key.filter(|_| !has_header),
            name,
            system: None,
            fields: Vec::new(),
            attachments: Vec::new(),
            stream: None,
            retries: 0,
            timeout: CHECK_TIMEOUT,
            endpoint,
        })
    }

    /// Adds the changes to requests that the options and their files ask for.
    #[must_use]
    pub fn with(
        self,
        options: &cli::ModelArgs,
        files: RequestFiles,
        defaults: &CommandDefaults,
    ) -> Self {
        Self {
            system: options.system.clone(),
            fields: fields(options, files.response_format.as_ref(), &self.endpoint),
            attachments: files.attachments,
            stream: (options.stream || options.no_stream).then_some(options.stream),
            retries: options.retries.unwrap_or(defaults.retries),
            timeout: Duration::from_secs_f64(options.timeout),
            ..self
        }
    }

    /// A chat completion of `prompt`.
    pub fn chat(&self, prompt: &str, stream: bool) -> Request {
        let mut request = Request::chat(&self.name.value, self.system.as_deref(), prompt);
        request.attach(&self.attachments);
        for (name, value) in &self.fields {
            request.set_raw(name, value.clone());
        }
        if stream || request.is_streamed() {
            request.set_stream(true);
        }
        request
    }

    /// Applies the options to a body; a missing model is filled in, last.
    pub fn amend(&self, request: &mut Request) {
        if let Some(system) = &self.system {
            request.set_system(system);
        }
        request.attach(&self.attachments);
        for (name, value) in &self.fields {
            request.set_raw(name, value.clone());
        }
        if let Some(stream) = self.stream
            && stream != request.is_streamed()
        {
            request.set_stream(stream);
        }
        if self.name.is_flag() || request.raw("model").is_none() {
            request.set("model", &self.name.value);
        }
    }

    /// Whether the endpoint can be asked at all.
    ///
    /// # Errors
    /// When its key is missing.
    pub fn check_key(&self) -> Result<(), Failure> {
        match &self.missing_key {
            None => Ok(()),
            Some(name) => {
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
        headers: HeaderMap::new(),
    })
}

/// The endpoint, and the variable of a required key that is not set.
fn endpoint(
    options: &cli::EndpointArgs,
    sources: &Sources,
    notes: &mut Notes,
) -> Result<(Endpoint, Option<String>), Failure> {
    let openai = sources.flag_or(
        "--openai-base-url",
        options.openai_base_url.as_deref(),
        &["OPENAI_BASE_URL"],
    )?;
    let azure = sources.get("AZURE_OPENAI_ENDPOINT");
    let (found, surface, key_name) = match (openai, azure) {
        (Some(found), _) => (found, Surface::OpenAi, "OPENAI_API_KEY"),
        (None, Some(found)) => {
            let version = sources.get("OPENAI_API_VERSION").map(|found| found.value);
            let surface = version.map_or(Surface::AzureV1, |api_version| {
                Surface::AzureDeployment { api_version }
            });
            (found, surface, "AZURE_OPENAI_API_KEY")
        }
        (None, None) => (
            Sourced::new(OPENAI.to_owned(), Origin::Default),
            Surface::OpenAi,
            "OPENAI_API_KEY",
        ),
    };
    let base = parse_http_url(&found.value).map_err(|error| {
        Failure::config(format!("{}: {error}", found.origin))
            .hint("as in https://api.openai.com/v1 or http://localhost:11434/v1")
    })?;
    notes
        .shown
        .insert(0, Shown::new("model endpoint", shown(&base), found.origin));
    let key = sources.get(key_name).map(|found| {
        notes
            .shown
            .push(Shown::new("model key", "(set)", found.origin));
        Secret::new(found.value.trim())
    });
    if let Some(key) = &key {
        check_key(key).map_err(|error| {
            Failure::config(format!("{key_name}: {error}"))
                .hint("copy the key again, without line ends or quotes")
        })?;
        if base.scheme() == "http" && !is_loopback(&base) {
            let host = base.host_str().unwrap_or_default();
            notes.warnings.push(format!(
                "{key_name} is sent unencrypted to {host}: use https"
            ));
        }
    }
    let is_required = surface != Surface::OpenAi || is_openai(&base);
    let missing_key = (is_required && key.is_none()).then(|| key_name.to_owned());
    let headers = account_headers(sources, &surface);
    Ok((
        Endpoint {
            provider: provider(&base, &surface),
            base,
            surface,
            key,
            headers,
        },
        missing_key,
    ))
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

/// Reads `NAME:VALUE`. The value is not repeated in messages, since it may be a key.
fn header_of(text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    const OURS: [&str; 4] = [
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
    ];
    const SECRET: [&str; 5] = ["auth", "cookie", "key", "secret", "token"];
    let wrong = |what: String| {
        Err(Failure::usage(format!("--header: {what}")).hint("as in -H 'X-Title: my script'"))
    };
    let Some((name, value)) = text.split_once(':') else {
        return wrong("expected NAME:VALUE".to_owned());
    };
    let Ok(name) = name.trim().parse::<HeaderName>() else {
        return wrong("the text before the colon is not a header name".to_owned());
    };
    if OURS.contains(&name.as_str()) {
        return wrong(format!("{name} is set by the request itself"));
    }
    let Ok(mut value) = value.trim().parse::<HeaderValue>() else {
        return wrong(format!("the value of {name} is not a valid header value"));
    };
    value.set_sensitive(SECRET.iter().any(|word| name.as_str().contains(word)));
    Ok((name, value))
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

/// The fields that options ask for, `--param` last so that it has the last word.
fn fields(
    options: &cli::ModelArgs,
    response_format: Option<&Value>,
    endpoint: &Endpoint,
) -> Vec<(String, Box<RawValue>)> {
    let mut fields = Vec::new();
    let mut push = |name: &str, json: String| {
        if let Ok(value) = RawValue::from_string(json) {
            fields.push((name.to_owned(), value));
        }
    };
    if let Some(temperature) = &options.temperature {
        push("temperature", temperature.to_string());
    }
    if let Some(limit) = options.max_tokens {
        push(
            endpoint.provider.max_tokens_field(&endpoint.base),
            limit.to_string(),
        );
    }
    if let Some(format) = response_format {
        push("response_format", format.to_string());
    }
    for parameter in &options.param {
        push(&parameter.name, parameter.json.clone());
    }
    fields
}
