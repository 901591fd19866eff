//! Which model is asked, where, and in which dialect; [`request`] makes the requests.

mod request;

use std::time::Duration;

use http::header::AUTHORIZATION;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli;
use crate::expect::schema::JsonSchema;
use crate::failure::Failure;
use crate::model::Endpoint;
use crate::model::dialect::{self, ModelDialect, Preference, Vendor};
use crate::settings::body_changes::{BodyChanges, whole};
use crate::settings::bound::MissingKey;
use crate::settings::defaults::CommandDefaults;
use crate::settings::endpoint;
use crate::settings::header::header_of;
use crate::settings::shown::{Notes, Shown};
use crate::settings::sources::{Origin, Sourced, Sources};

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
    .hint("use --anthropic-base-url")
}
