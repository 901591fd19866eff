//! The endpoints of the models: their URLs, keys and headers, one of each vendor.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;

use super::bound::{ANTHROPIC, BoundSecrets, MissingKey, OPENAI};
use super::shown::{Notes, Shown};
use super::sources::{Origin, Rank, Sourced, Sources, empty_flag};
use crate::cli;
use crate::failure::Failure;
use crate::http::url::{complete_http_url, is_loopback, parse_http_url, shown};
use crate::model::endpoint::{Surface, check_key};
use crate::model::{Endpoint, Provider};

/// The endpoints of the sandbox at a port: `OpenAI`'s and Anthropic's.
///
/// # Errors
/// Not expected: the URLs are made here.
pub fn embedded(port: u16) -> Result<(Endpoint, Endpoint), Failure> {
    let endpoint = |path: &str, surface, provider: Option<Provider>| {
        let base = parse_http_url(&format!("http://127.0.0.1:{port}{path}"));
        base.map_err(Failure::config).map(|base| Endpoint {
            provider: provider.unwrap_or_else(|| Provider::of(&base)),
            base,
            surface,
            key: None,
            key_origin: None,
            headers: HeaderMap::new(),
        })
    };
    Ok((
        endpoint("/v1", Surface::OpenAi, None)?,
        endpoint("", Surface::Anthropic, Some(Provider::ANTHROPIC))?,
    ))
}

/// The OpenAI-compatible endpoint, and why its key is missing.
///
/// # Errors
/// If a setting is malformed.
pub fn openai(
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
    let bound = BoundSecrets::new(&OPENAI, sources, &chosen);
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

/// Anthropic's endpoint, and why its key is missing. `is_used` says whether it is the one that is asked; where it is only
/// at hand, nothing is said about it.
///
/// # Errors
/// If a setting is malformed.
pub fn anthropic(
    options: &cli::EndpointArgs,
    sources: &Sources,
    is_used: bool,
    notes: &mut Notes,
) -> Result<(Endpoint, Option<MissingKey>), Failure> {
    const VARIABLES: &[&str] = &["ANTHROPIC_BASE_URL"];
    let given = options.anthropic_base_url.as_deref();
    let found = sources
        .flag_or("--anthropic-base-url", given, VARIABLES)?
        .unwrap_or_else(|| Sourced::new(ANTHROPIC.base.to_owned(), Origin::Default));
    let base = complete_http_url(&found.value).map_err(|error| {
        Failure::config(format!("{}: {error}", found.origin))
            .hint("as in https://api.anthropic.com")
    })?;
    let chosen = Sourced::new(base.clone(), found.origin);
    if is_used || chosen.origin != Origin::Default {
        let row = Shown::new("anthropic endpoint", shown(&base), chosen.origin.clone());
        notes.shown.push(row);
    }
    let bound = BoundSecrets::new(&ANTHROPIC, sources, &chosen);
    let (key, mut missing) = bound.key()?;
    let mut endpoint = Endpoint {
        provider: match Provider::of(&base) {
            Provider::OPENAI => Provider::ANTHROPIC,
            provider => provider,
        },
        base: base.clone(),
        surface: Surface::Anthropic,
        key: None,
        key_origin: None,
        headers: HeaderMap::new(),
    };
    if let Some(key) = key {
        if let Err(error) = check_key(&key.value) {
            missing = Some(MissingKey::OfAnother {
                message: format!("{}: {error}", ANTHROPIC.variable),
                hint: "copy the key again, without line ends or quotes".to_owned(),
            });
        } else {
            if is_used && base.scheme() == "http" && !is_loopback(&base) {
                let host = base.host_str().unwrap_or_default();
                notes.warnings.push(format!(
                    "the key of {} is sent unencrypted to {host}: use https",
                    key.origin
                ));
            }
            endpoint.key_origin = Some(key.origin.to_string());
            if is_used {
                notes
                    .shown
                    .push(Shown::new("anthropic key", "(set)", key.origin));
            }
            endpoint.key = Some(key.value);
        }
    }
    let is_required = base.host_str() == Some("api.anthropic.com") && endpoint.key.is_none();
    let missing = missing.or_else(|| is_required.then_some(MissingKey::Unset(ANTHROPIC.variable)));
    Ok((endpoint, missing))
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
    let url = Sourced::new(OPENAI.base.to_owned(), Origin::Default);
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
