//! The OpenTelemetry variables of an OTLP exporter, read as the specification says: the one for traces before the
//! general one.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::sources::{Origin, Rank, Sourced, Sources};
use crate::delivery::Protocol;
use crate::failure::Failure;
use crate::http::url::complete_http_url;

/// The variables that name the protocol, the stronger one first.
pub const PROTOCOL: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];
/// Time for one export attempt where no variable sets it (the specification's default).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The endpoint of traces at a rank: the variable for traces unchanged, the general one with `/v1/traces` added.
///
/// # Errors
/// If the variable is not a URL.
pub fn endpoint_at(rank: Rank, sources: &Sources) -> Result<Option<Sourced<Url>>, Failure> {
    let own = sources.variable(rank, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let is_own = own.is_some();
    let general = || sources.variable(rank, "OTEL_EXPORTER_OTLP_ENDPOINT");
    let Some(found) = own.or_else(general) else {
        return Ok(None);
    };
    let mut url = complete_http_url(&found.value).map_err(|error| {
        Failure::config(format!("{}: {error}", found.origin))
            .hint("set it to the URL of an OTLP/HTTP endpoint")
    })?;
    if !is_own {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(Some(Sourced::new(url, found.origin)))
}

/// The headers of exports. An entry that is not a header is left out, with a warning.
pub fn headers(sources: &Sources, warnings: &mut Vec<String>) -> Sourced<HeaderMap> {
    let mut headers = HeaderMap::new();
    let Some(found) = sources.first(&[
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_HEADERS",
    ]) else {
        return Sourced::new(headers, Origin::Default);
    };
    for (index, item) in found.value.split(',').enumerate() {
        if item.trim().is_empty() {
            continue;
        }
        let header = item.split_once('=').and_then(|(name, value)| {
            let name: HeaderName = name.trim().parse().ok()?;
            // Without -w0, `base64` wraps its output.
            let value = value.replace(['\r', '\n'], "");
            let mut value: HeaderValue = decode(value.trim()).parse().ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        match header {
            Some((name, value)) => {
                headers.insert(name, value);
            }
            None => warnings.push(format!(
                "{}: entry {} is not a NAME=VALUE header and is ignored",
                found.origin,
                index + 1
            )),
        }
    }
    Sourced::new(headers, found.origin)
}

/// The `Authorization` among headers.
pub fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
}

/// The protocol, when a variable names one that is spoken here; the variable's name and value when it does not.
pub fn protocol(sources: &Sources) -> Result<Protocol, Sourced<String>> {
    let Some(found) = sources.first(&PROTOCOL) else {
        return Ok(Protocol::default());
    };
    match found.value.trim().to_ascii_lowercase().as_str() {
        "http/protobuf" => Ok(Protocol::HttpProtobuf),
        "http/json" => Ok(Protocol::HttpJson),
        _ => Err(found),
    }
}

/// Whether bodies are compressed: by default with gzip, and not at all to this machine.
pub fn gzip(sources: &Sources, to_loopback: bool, warnings: &mut Vec<String>) -> bool {
    let names = [
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
    ];
    match sources.first(&names) {
        None => !to_loopback,
        Some(found) => match found.value.trim().to_ascii_lowercase().as_str() {
            "gzip" => true,
            "none" => false,
            other => {
                warnings.push(format!(
                    "{}: unknown compression `{other}`; use gzip or none",
                    found.origin
                ));
                !to_loopback
            }
        },
    }
}

/// What one attempt may take.
///
/// # Errors
/// If the variable is not a number of milliseconds.
pub fn attempt_timeout(sources: &Sources) -> Result<Duration, Failure> {
    let Some(found) = sources.first(&[
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
    ]) else {
        return Ok(DEFAULT_TIMEOUT);
    };
    match found.value.trim().parse() {
        Ok(milliseconds) if milliseconds > 0 => Ok(Duration::from_millis(milliseconds)),
        _ => Err(Failure::config(format!(
            "{}: `{}` is not a number of milliseconds",
            found.origin, found.value
        ))
        .hint("10000 is ten seconds")),
    }
}

/// The files of `…_CERTIFICATE`, `…_CLIENT_CERTIFICATE` and `…_CLIENT_KEY`.
pub fn certificate(sources: &Sources, what: &str) -> Option<PathBuf> {
    let own = format!("OTEL_EXPORTER_OTLP_TRACES_{what}");
    let general = format!("OTEL_EXPORTER_OTLP_{what}");
    sources.path(&own).or_else(|| sources.path(&general))
}

/// `OTEL_RESOURCE_ATTRIBUTES`, percent-decoded.
pub fn resource_attributes(sources: &Sources) -> Vec<(String, String)> {
    let Some(found) = sources.get("OTEL_RESOURCE_ATTRIBUTES") else {
        return Vec::new();
    };
    let pairs = found
        .value
        .split(',')
        .filter_map(|item| item.split_once('='));
    pairs
        .map(|(key, value)| (key.trim().to_owned(), decode(value.trim())))
        .filter(|(key, _)| !key.is_empty())
        .collect()
}

/// Percent-decodes; malformed escapes stay as they are.
fn decode(value: &str) -> String {
    percent_decode_str(value)
        .decode_utf8()
        .map_or_else(|_| value.to_owned(), Into::into)
}
