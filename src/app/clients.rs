//! The means of a run, made of its settings: the client, the Langfuse that can be asked, the exporter.

use std::io;
use std::time::Duration;

use crate::app::uploads::Uploads;
use crate::console::Console;
use crate::delivery::{Exporter, OtlpClient, Outbox, Sender};
use crate::failure::{Failure, Kind};
use crate::http::{self, CONNECT_TIMEOUT, Proxies, TlsFiles};
use crate::langfuse::Api;
use crate::settings::{Destination, OutboxPlace, Settings, Tracing};
use crate::trace::spans;

/// What a run sends with.
#[derive(Debug)]
pub struct Clients {
    pub http: reqwest::Client,
    /// None of a plain OTLP backend.
    pub api: Option<Api>,
    /// None when nothing can be sent.
    pub wire: Option<OtlpClient>,
    /// None when tracing is off.
    pub exporter: Option<Exporter>,
    /// Where base64 content goes.
    pub uploads: Uploads,
}

impl Clients {
    /// Makes them; opens no connection.
    ///
    /// # Errors
    /// When a certificate file cannot be used.
    pub fn new(settings: &Settings, proxies: Proxies, console: &Console) -> Result<Self, Failure> {
        let http = client(&settings.tls, proxies, settings.delivery.export_timeout)?;
        let mut clients = Self {
            http,
            api: None,
            wire: None,
            exporter: None,
            uploads: Uploads::new(None, console.clone()),
        };
        let (wire, public_key) = match &settings.tracing {
            Tracing::Off(_) => return Ok(clients),
            Tracing::Unreachable(failure) => (Err(failure.message.clone()), None),
            Tracing::On(destination) => {
                clients.api = api(destination, &clients.http, console);
                if settings.uploads_media && settings.privacy.keeps_all() {
                    clients.uploads = Uploads::new(clients.api.clone(), console.clone());
                }
                let wire = OtlpClient {
                    http: clients.http.clone(),
                    target: destination.target.clone(),
                    api: clients.api.clone(),
                    is_collector: destination.is_collector,
                    console: console.clone(),
                };
                clients.wire = Some(wire.clone());
                let langfuse = destination.langfuse.as_ref();
                (
                    Ok(wire),
                    langfuse.map(|langfuse| langfuse.keys.public.clone()),
                )
            }
        };
        let outbox = settings.delivery.outbox.as_ref().map(open_outbox);
        let trace = &settings.trace;
        let resource = spans::resource(
            trace.service.as_deref(),
            &trace.resource,
            trace.environment.as_deref(),
            trace.release.as_deref(),
        );
        clients.exporter = Some(Exporter::new(
            Sender {
                wire,
                outbox,
                public_key,
            },
            &resource,
        )?);
        Ok(clients)
    }
}

/// The client of a run whose exports may take `export_timeout` each.
///
/// # Errors
/// When a certificate file cannot be used.
pub fn client(
    files: &TlsFiles,
    proxies: Proxies,
    export_timeout: Duration,
) -> Result<reqwest::Client, Failure> {
    // Within the time of an export, so that a host that swallows packets is known as one that was not reached.
    let connect_timeout = CONNECT_TIMEOUT.min(export_timeout / 2);
    http::client(files, proxies, connect_timeout).map_err(|error| {
        let is_file = error.root_cause().is::<io::Error>();
        let kind = if is_file { Kind::File } else { Kind::Config };
        Failure::new(kind, format!("TLS cannot be set up: {error:#}"))
            .hint("check --ca-file and the OTLP certificate variables")
    })
}

/// The Langfuse of a destination, to be asked.
pub fn api(destination: &Destination, http: &reqwest::Client, console: &Console) -> Option<Api> {
    let langfuse = destination.langfuse.as_ref()?;
    Some(Api::new(
        http.clone(),
        langfuse.base.clone(),
        &langfuse.keys,
        console.clone(),
    ))
}

fn open_outbox(place: &OutboxPlace) -> io::Result<Outbox> {
    match &place.dir {
        Ok(dir) => Outbox::open(dir, place.max_bytes)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()))),
        Err(why) => Err(io::Error::other(why.clone())),
    }
}
