//! Where the spans go, with which credentials, and which Langfuse knows of them afterwards.
//!
//! Langfuse keys never go to a host that they were not given for: the header variables of OTLP count only when an
//! OTLP variable chose the destination, and keys found in them are withheld from a collector named by a flag.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::Url;

use super::shown::{Notes, Shown};
use super::sources::{Origin, Sourced, Sources};
use super::{keys, otel};
use crate::cli;
use crate::delivery::{OtlpEndpoint, Protocol};
use crate::failure::Failure;
use crate::http::TlsFiles;
use crate::http::url::{is_loopback, parse_http_url, secrets, shown};
use crate::langfuse::base;
use crate::langfuse::keys::sensitive;
use crate::langfuse::{Base, Keys};
use crate::sandbox;
use crate::secret::Secret;
use crate::trace::spans::Dialect;

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
    /// The base of links for people.
    pub ui: Base,
}

/// Why there is no destination.
#[derive(Debug)]
pub enum Unresolved {
    /// A Langfuse lacks a key, which `--best-effort` overlooks.
    NoKeys(Failure),
    /// A setting is malformed.
    Wrong(Failure),
}

impl From<Failure> for Unresolved {
    fn from(failure: Failure) -> Self {
        Self::Wrong(failure)
    }
}

impl From<Unresolved> for Failure {
    fn from(unresolved: Unresolved) -> Self {
        match unresolved {
            Unresolved::NoKeys(failure) | Unresolved::Wrong(failure) => failure,
        }
    }
}

/// Resolves the destination; `sandbox` is the port of the embedded one, in place of every other source.
///
/// # Errors
/// When a setting is malformed or a Langfuse lacks a key.
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
    notes.shown.push(Shown::new(
        "destination",
        shown(&chosen.url()),
        chosen.origin().clone(),
    ));
    notes.secrets.extend(secrets(&chosen.url()));
    let headers = if chosen.is_otlp_variable() || options.otlp_endpoint.is_some() {
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
    let wire = WireSettings::read(options, sources, &chosen, notes)?;
    let langfuse = match &chosen {
        Chosen::Plain(_) => None,
        Chosen::Langfuse {
            base, from_otlp, ..
        } => {
            let header = if *from_otlp {
                otel::authorization(&headers)
            } else {
                None
            };
            let keys = keys::resolve(sources, header, &header_origin, base, notes)?;
            Some(Langfuse {
                ui: ui(options, sources, base, notes)?,
                base: base.clone(),
                keys,
            })
        }
    };
    match (langfuse, wire.collector.clone()) {
        (langfuse, Some(url)) => Ok(collector(url, langfuse, headers, &wire, notes)),
        (Some(langfuse), None) => Ok(direct(langfuse, headers, &wire)),
        (None, None) => Ok(plain(chosen.url(), headers, &wire)),
    }
}

/// Which setting chose the destination.
enum Chosen {
    Langfuse {
        base: Base,
        origin: Origin,
        from_otlp: bool,
    },
    Plain(Sourced<Url>),
}

impl Chosen {
    fn origin(&self) -> &Origin {
        match self {
            Self::Langfuse { origin, .. } => origin,
            Self::Plain(url) => &url.origin,
        }
    }

    fn url(&self) -> Url {
        match self {
            Self::Langfuse { base, .. } => base.traces_url(),
            Self::Plain(url) => url.value.clone(),
        }
    }

    fn is_otlp_variable(&self) -> bool {
        match self {
            Self::Langfuse { from_otlp, .. } => *from_otlp,
            Self::Plain(_) => true,
        }
    }
}

/// The first setting that applies.
fn choose(options: &cli::DestinationArgs, sources: &Sources) -> Result<Chosen, Failure> {
    let names = ["LANGFUSE_BASE_URL", "LANGFUSE_HOST"];
    if let Some(found) = sources.flag_or(
        "--langfuse-base-url",
        options.langfuse_base_url.as_deref(),
        &names,
    )? {
        let base = Base::parse(&found.value).map_err(|error| {
            Failure::config(format!("{}: {error}", found.origin)).hint(format!(
                "set it to the URL of your Langfuse, as in {}",
                base::CLOUD
            ))
        })?;
        return Ok(Chosen::Langfuse {
            base,
            origin: found.origin,
            from_otlp: false,
        });
    }
    let has_keys = sources.get("LANGFUSE_PUBLIC_KEY").is_some()
        && sources.get("LANGFUSE_SECRET_KEY").is_some();
    let endpoint = match otel::endpoint(sources) {
        // Keys alone choose Langfuse Cloud, whatever a variable meant for another exporter holds.
        Err(_) if has_keys => None,
        endpoint => endpoint?,
    };
    match endpoint {
        Some(found) if Base::is_langfuse_path(&found.value) => {
            let base = Base::parse(found.value.as_str()).map_err(Failure::config)?;
            Ok(Chosen::Langfuse {
                base,
                origin: found.origin,
                from_otlp: true,
            })
        }
        Some(found) if !has_keys => Ok(Chosen::Plain(found)),
        _ if options.otlp_endpoint.is_some() && !has_keys => plain_collector(options),
        _ => cloud(),
    }
}

fn cloud() -> Result<Chosen, Failure> {
    let base = Base::parse(base::CLOUD).map_err(Failure::config)?;
    Ok(Chosen::Langfuse {
        base,
        origin: Origin::Default,
        from_otlp: false,
    })
}

/// A collector on the command line without any Langfuse: a plain OTLP backend.
fn plain_collector(options: &cli::DestinationArgs) -> Result<Chosen, Failure> {
    let url = options.otlp_endpoint.as_deref().unwrap_or_default();
    Ok(Chosen::Plain(Sourced::new(
        collector_url(url)?,
        Origin::Flag("--otlp-endpoint"),
    )))
}

/// `/v1/traces` is added only to an empty path.
fn collector_url(text: &str) -> Result<Url, Failure> {
    let mut url = parse_http_url(text).map_err(|error| {
        Failure::config(format!("--otlp-endpoint: {error}")).hint("as in http://localhost:4318")
    })?;
    if url.path() == "/" {
        url.set_path("/v1/traces");
    }
    Ok(url)
}

/// How requests are made, whoever receives them.
struct WireSettings {
    collector: Option<Url>,
    protocol: Protocol,
    gzip: bool,
    attempt_timeout: Duration,
}

impl WireSettings {
    fn read(
        options: &cli::DestinationArgs,
        sources: &Sources,
        chosen: &Chosen,
        notes: &mut Notes,
    ) -> Result<Self, Failure> {
        let collector = options
            .otlp_endpoint
            .as_deref()
            .map(collector_url)
            .transpose()?;
        if let Some(url) = &collector {
            notes.shown.push(Shown::new(
                "collector",
                shown(url),
                Origin::Flag("--otlp-endpoint"),
            ));
            notes.secrets.extend(secrets(url));
        }
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

    fn target(&self, url: Url, headers: HeaderMap) -> OtlpEndpoint {
        OtlpEndpoint {
            url,
            headers,
            protocol: self.protocol,
            gzip: self.gzip,
            attempt_timeout: self.attempt_timeout,
        }
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

fn collector(
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
    Ok(direct(Langfuse { base, keys, ui }, HeaderMap::new(), &wire))
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
    let mut ca_files: Vec<_> = options.ca_file.iter().cloned().collect();
    ca_files.extend(otel::certificate(sources, "CERTIFICATE"));
    TlsFiles {
        ca_files,
        client_certificate: otel::certificate(sources, "CLIENT_CERTIFICATE"),
        client_key: otel::certificate(sources, "CLIENT_KEY"),
    }
}
