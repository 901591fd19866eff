//! The clients of a run, made from its settings: HTTP, the Langfuse that can be asked, the exporter.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::Resource;

use crate::app::uploads::Uploads;
use crate::console::Console;
use crate::delivery::{Encoder, Exporter, OtlpClient, Outbox, OutboxError, Outcome};
use crate::failure::{Failure, Kind};
use crate::http::proxy::EnvironmentProxies;
use crate::http::{self, CONNECT_TIMEOUT, Proxies, TlsFiles};
use crate::langfuse::Api;
use crate::settings::{Destination, OutboxPlace, Settings, TraceSettings, Tracing};
use crate::trace::spans;

/// The clients of a run.
#[derive(Debug)]
pub struct Clients {
    pub http: reqwest::Client,
    /// `None` for a plain OTLP backend, and if tracing is off.
    pub api: Option<Api>,
    /// `None` if nothing can be sent.
    pub otlp: Option<OtlpClient>,
    /// `None` if tracing is off.
    pub exporter: Option<Exporter>,
    /// Where base64 content goes.
    pub uploads: Uploads,
}

impl Clients {
    /// Makes the clients; opens no connection.
    ///
    /// # Errors
    /// If a certificate file cannot be used.
    pub fn new(settings: &Settings, proxies: Proxies, console: &Console) -> Result<Self, Failure> {
        let http = client(&settings.tls, proxies, settings.delivery.export_timeout)?;
        let mut clients = Self {
            http,
            api: None,
            otlp: None,
            exporter: None,
            uploads: Uploads::new(None, console.clone()),
        };
        match &settings.tracing {
            Tracing::Off(_) => return Ok(clients),
            Tracing::Unreachable(_) => {}
            Tracing::On(destination) => {
                let otlp = otlp_client(destination, &clients.http, console);
                clients.api.clone_from(&otlp.api);
                if settings.uploads_media && settings.privacy.keeps_all() {
                    clients.uploads = Uploads::new(otlp.api.clone(), console.clone());
                }
                clients.otlp = Some(otlp);
            }
        }
        clients.exporter = Some(clients.exporter(settings, console)?);
        Ok(clients)
    }

    fn exporter(&self, settings: &Settings, console: &Console) -> Result<Exporter, Failure> {
        let resource = resource(&settings.trace);
        let client = match (&self.otlp, &settings.tracing) {
            (Some(client), _) => Ok(client.clone()),
            (None, Tracing::Unreachable(failure)) => Err(Outcome::Unsent(failure.message.clone())),
            (None, _) => Err(Outcome::Unsent("there is no destination".to_owned())),
        };
        let langfuse = settings.tracing.destination();
        let langfuse = langfuse.and_then(|destination| destination.langfuse.as_ref());
        Ok(Exporter {
            encoder: Encoder::new(&resource)?,
            client,
            outbox: open_outbox(settings.delivery.outbox.as_ref())
                .map(|outbox| outbox.warning_on(console)),
            public_key: langfuse.map(|langfuse| langfuse.keys.public.clone()),
        })
    }
}

/// The resource of the spans of a run.
pub fn resource(trace: &TraceSettings) -> Resource {
    spans::resource(
        trace.service.as_deref(),
        &trace.resource,
        trace.environment.as_deref(),
        trace.release.as_deref(),
    )
}

/// The HTTP client of a run whose exports may take `export_timeout` each.
///
/// # Errors
/// If a certificate file or a proxy variable cannot be used.
pub fn client(
    files: &TlsFiles,
    proxies: Proxies,
    export_timeout: Duration,
) -> Result<reqwest::Client, Failure> {
    if proxies == Proxies::FromEnvironment {
        EnvironmentProxies::read().map_err(|error| {
            Failure::config(error.to_string()).hint(
                "set it to the URL of an HTTP proxy, as in http://proxy.example:3128, or unset it",
            )
        })?;
    }
    // Less than an export may take, so that a host that drops packets is reported as not reached.
    let connect_timeout = CONNECT_TIMEOUT.min(export_timeout / 2);
    http::client(files, proxies, connect_timeout).map_err(|error| {
        let is_file = error.root_cause().is::<io::Error>();
        let kind = if is_file { Kind::File } else { Kind::Config };
        Failure::new(kind, format!("cannot set up TLS: {error:#}"))
            .hint("check --ca-file and the OTLP certificate variables")
    })
}

/// The client that sends spans to a destination.
pub fn otlp_client(
    destination: &Destination,
    http: &reqwest::Client,
    console: &Console,
) -> OtlpClient {
    OtlpClient {
        http: http.clone(),
        endpoint: destination.target.clone(),
        api: api(destination, http, console),
        is_collector: destination.is_collector,
        console: console.clone(),
    }
}

/// The Langfuse of a destination; `None` for a plain OTLP backend.
pub fn api(destination: &Destination, http: &reqwest::Client, console: &Console) -> Option<Api> {
    let langfuse = destination.langfuse.as_ref()?;
    Some(Api::new(
        http.clone(),
        langfuse.base.clone(),
        &langfuse.keys,
        console.clone(),
    ))
}

fn open_outbox(place: Option<&OutboxPlace>) -> Result<Outbox, OutboxError> {
    let OutboxPlace { dir, max_bytes } = place.ok_or(OutboxError::Disabled)?;
    let dir = dir.clone().map_err(OutboxError::NoFolder)?;
    Outbox::open(&dir, *max_bytes).map_err(|error| OutboxError::Unusable {
        error: Arc::new(error),
        dir,
    })
}
