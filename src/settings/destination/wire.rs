//! How spans are sent over OTLP/HTTP, whoever receives them.

use std::time::Duration;

use http::header::HeaderMap;
use reqwest::Url;

use super::choice::ChosenDestination;
use crate::delivery::{OtlpEndpoint, Protocol};
use crate::failure::Failure;
use crate::http::url::{is_loopback, secrets, shown};
use crate::settings::otel;
use crate::settings::shown::{Notes, Shown};
use crate::settings::sources::{Sourced, Sources};

/// How requests are made, whoever receives them.
pub struct WireSettings {
    pub collector: Option<Url>,
    pub protocol: Protocol,
    pub gzip: bool,
    pub attempt_timeout: Duration,
}

impl WireSettings {
    pub fn read(
        collector: Option<Sourced<Url>>,
        sources: &Sources,
        chosen: &ChosenDestination,
        notes: &mut Notes,
    ) -> Result<Self, Failure> {
        if let Some(Sourced { value, origin }) = &collector {
            let row = Shown::new("collector", shown(value), origin.clone());
            notes.shown.push(row);
            notes.secrets.extend(secrets(value));
        }
        let collector = collector.map(|collector| collector.value);
        let protocol = match otel::protocol(sources) {
            Ok(protocol) => protocol,
            Err(found) if chosen.is_otlp_variable() && collector.is_none() => {
                return Err(Failure::config(format!("{}: `{}` is not spoken here", found.origin, found.value))
                    .hint("set it to http/protobuf, and the endpoint to the OTLP/HTTP one (port 4318 in place of 4317)"));
            }
            Err(found) => {
                notes.warnings.push(format!(
                    "{}={} is ignored: http/protobuf is sent",
                    found.origin, found.value
                ));
                Protocol::default()
            }
        };
        if let Some(found) = sources.first(&otel::PROTOCOL) {
            notes
                .shown
                .push(Shown::new("protocol", &found.value, found.origin));
        }
        let url = collector.clone().unwrap_or_else(|| chosen.url());
        Ok(Self {
            protocol,
            gzip: otel::gzip(sources, is_loopback(&url), &mut notes.warnings),
            attempt_timeout: otel::attempt_timeout(sources)?,
            collector,
        })
    }

    pub fn target(&self, url: Url, headers: HeaderMap) -> OtlpEndpoint {
        OtlpEndpoint {
            url,
            headers,
            protocol: self.protocol,
            gzip: self.gzip,
            attempt_timeout: self.attempt_timeout,
        }
    }
}
