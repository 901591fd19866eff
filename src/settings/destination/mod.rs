//! Where the spans go, with which credentials, and which Langfuse knows of them afterwards.
//!
//! Langfuse keys never go to a host that they were not given for: the header variables of OTLP count only when an
//! OTLP variable chose the destination, and keys found in them are withheld from a collector named by a flag.

mod choice;
mod wire;

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::Url;

use crate::cli;
use crate::delivery::{OtlpEndpoint, Protocol};
use crate::failure::Failure;
use crate::http::TlsFiles;
use crate::http::url::{secrets, shown};
use crate::langfuse::keys::sensitive;
use crate::langfuse::{Base, Keys};
use crate::sandbox;
use crate::secret::Secret;
use crate::settings::keys::{PairOrigin, SourcedPair, Unresolved};
use crate::settings::shown::{Notes, Shown};
use crate::settings::sources::{Origin, Sourced, Sources};
use crate::settings::{keys, otel};
use crate::trace::spans::Dialect;

use choice::{ChosenDestination, choose, collector_setting};
use wire::WireSettings;

/// A resolved destination.
#[derive(Clone, Debug)]
pub struct Destination {
    pub target: OtlpEndpoint,
    /// The Langfuse behind the target, for look-ups and read-back; none for a plain OTLP backend.
    pub langfuse: Option<Langfuse>,
    pub dialect: Dialect,
    /// Whether the target is a collector: then "accepted" means accepted by the collector.
    pub is_collector: bool,
}

/// A Langfuse that can be asked.
#[derive(Clone, Debug)]
pub struct Langfuse {
    pub base: Base,
    pub keys: Keys,
    /// Where the keys came from.
    pub keys_origin: PairOrigin,
    /// The base of links for people.
    pub ui: Base,
}

/// Resolves the destination; `sandbox` is the port of the embedded one, in place of every other source.
///
/// # Errors
/// If a setting is malformed or a Langfuse lacks a key.
pub fn resolve(
    options: &cli::DestinationArgs,
    sources: &Sources,
    sandbox: Option<u16>,
    notes: &mut Notes,
) -> Result<Destination, Unresolved> {
    if let Some(port) = sandbox {
        return Ok(embedded(options, port, notes)?);
    }
    let chosen = choose(options, sources)?;
    let collector = collector_setting(options, sources)?;
    notes.shown.push(Shown::new(
        "destination",
        shown(&chosen.url()),
        chosen.origin().clone(),
    ));
    notes.secrets.extend(secrets(&chosen.url()));
    let headers = if chosen.is_otlp_variable() || collector.is_some() {
        otel::headers(sources, &mut notes.warnings)
    } else {
        Sourced::new(HeaderMap::new(), Origin::Default)
    };
    let Sourced {
        value: headers,
        origin: header_origin,
    } = headers;
    let given = headers.values().filter_map(|value| value.to_str().ok());
    notes.secrets.extend(given.flat_map(Secret::of_header));
    let wire = WireSettings::read(collector, sources, &chosen, notes)?;
    let langfuse = match &chosen {
        ChosenDestination::Plain(_) => None,
        ChosenDestination::Langfuse {
            base,
            from_otlp,
            origin,
        } => {
            let header = if *from_otlp {
                otel::authorization(&headers)
            } else {
                None
            };
            let SourcedPair { keys, origin } =
                keys::resolve(sources, header, &header_origin, (base, origin), notes)?;
            Some(Langfuse {
                ui: ui(options, sources, base, notes)?,
                base: base.clone(),
                keys,
                keys_origin: origin,
            })
        }
    };
    match (langfuse, wire.collector.clone()) {
        (langfuse, Some(url)) => Ok(through_collector(url, langfuse, headers, &wire, notes)),
        (Some(langfuse), None) => Ok(direct(langfuse, headers, &wire)),
        (None, None) => Ok(plain(chosen.url(), headers, &wire)),
    }
}

fn direct(langfuse: Langfuse, mut headers: HeaderMap, wire: &WireSettings) -> Destination {
    if let Some(authorization) = sensitive(&langfuse.keys.authorization()) {
        headers.insert(AUTHORIZATION, authorization);
    }
    // Without it Langfuse Cloud shows the trace minutes later.
    headers.insert(
        "x-langfuse-ingestion-version",
        HeaderValue::from_static("4"),
    );
    Destination {
        target: wire.target(langfuse.base.traces_url(), headers),
        langfuse: Some(langfuse),
        dialect: Dialect::Langfuse,
        is_collector: false,
    }
}

fn through_collector(
    url: Url,
    langfuse: Option<Langfuse>,
    mut headers: HeaderMap,
    wire: &WireSettings,
    notes: &mut Notes,
) -> Destination {
    let is_own = |keys: &Keys| {
        langfuse
            .as_ref()
            .is_some_and(|langfuse| langfuse.keys.secret == keys.secret)
    };
    let holds_keys = otel::authorization(&headers)
        .and_then(Keys::from_basic)
        .is_some_and(|keys| keys.look_right() || is_own(&keys));
    if holds_keys {
        headers.remove(AUTHORIZATION);
        notes.warnings.push(
            "the Authorization of the OTLP header variable holds Langfuse keys and is not sent to the collector".to_owned(),
        );
    }
    Destination {
        target: wire.target(url, headers),
        dialect: if langfuse.is_some() {
            Dialect::Collector
        } else {
            Dialect::Plain
        },
        is_collector: langfuse.is_some(),
        langfuse,
    }
}

fn plain(url: Url, headers: HeaderMap, wire: &WireSettings) -> Destination {
    Destination {
        target: wire.target(url, headers),
        langfuse: None,
        dialect: Dialect::Plain,
        is_collector: false,
    }
}

/// The sandbox inside this process; links go to the port that `langspan sandbox` serves the same traces on.
fn embedded(
    options: &cli::DestinationArgs,
    port: u16,
    notes: &mut Notes,
) -> Result<Destination, Failure> {
    let base = Base::parse(&format!("http://127.0.0.1:{port}")).map_err(Failure::config)?;
    let links =
        Base::parse(&format!("http://127.0.0.1:{}", sandbox::PORT)).map_err(Failure::config)?;
    let ui = match &options.ui_url {
        Some(url) => ui_base(url, &Origin::Flag("--ui-url"))?,
        None => links,
    };
    let keys = Keys {
        public: sandbox::PUBLIC_KEY.to_owned(),
        secret: Secret::new(sandbox::SECRET_KEY),
    };
    notes.shown.push(Shown::new(
        "destination",
        base.traces_url(),
        Origin::Sandbox,
    ));
    let wire = WireSettings {
        collector: None,
        protocol: Protocol::default(),
        gzip: false,
        attempt_timeout: Duration::from_secs(10),
    };
    let langfuse = Langfuse {
        base,
        keys,
        keys_origin: PairOrigin::new(&Origin::Sandbox, &Origin::Sandbox),
        ui,
    };
    Ok(direct(langfuse, HeaderMap::new(), &wire))
}

fn ui(
    options: &cli::DestinationArgs,
    sources: &Sources,
    base: &Base,
    notes: &mut Notes,
) -> Result<Base, Failure> {
    match sources.flag_or("--ui-url", options.ui_url.as_deref(), &["LANGSPAN_UI_URL"])? {
        Some(found) => {
            let ui = ui_base(&found.value, &found.origin)?;
            notes
                .shown
                .push(Shown::new("links", &ui, found.origin.clone()));
            Ok(ui)
        }
        None => Ok(base.clone()),
    }
}

fn ui_base(url: &str, origin: &Origin) -> Result<Base, Failure> {
    Base::parse(url).map_err(|error| {
        Failure::config(format!("{origin}: {error}"))
            .hint("set it to the URL that people open Langfuse with")
    })
}

/// The files that take part in TLS.
pub fn tls_files(options: &cli::DestinationArgs, sources: &Sources) -> TlsFiles {
    let own = || sources.setting("ca_file", &[]);
    let own = options
        .ca_file
        .clone()
        .or_else(|| Some(own()?.value.into()));
    let mut ca_files: Vec<_> = own.into_iter().collect();
    ca_files.extend(otel::certificate(sources, "CERTIFICATE"));
    TlsFiles {
        ca_files,
        client_certificate: otel::certificate(sources, "CLIENT_CERTIFICATE"),
        client_key: otel::certificate(sources, "CLIENT_KEY"),
    }
}
