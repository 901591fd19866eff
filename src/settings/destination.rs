//! Where the spans go, with which credentials, and which Langfuse knows of them afterwards.
//!
//! Langfuse keys never go to a host that they were not given for: the header variables of OTLP count only when an
//! OTLP variable chose the destination, and keys found in them are withheld from a collector named by a flag.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::Url;

use super::keys::{PairOrigin, SourcedPair, Unresolved};
use super::shown::{Notes, Shown};
use super::sources::{Origin, Rank, Sourced, Sources, empty_flag};
use super::{keys, otel};
use crate::cli;
use crate::delivery::{OtlpEndpoint, Protocol};
use crate::failure::Failure;
use crate::http::TlsFiles;
use crate::http::url::{complete_http_url, is_loopback, secrets, shown};
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
        Chosen::Plain(_) => None,
        Chosen::Langfuse {
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

/// The first setting that applies: the option, then each source in its turn.
fn choose(options: &cli::DestinationArgs, sources: &Sources) -> Result<Chosen, Failure> {
    const FLAG: &str = "--langfuse-base-url";
    match options.langfuse_base_url.as_deref() {
        Some("") => return Err(empty_flag(FLAG)),
        Some(url) => return langfuse_at(Sourced::new(url.to_owned(), Origin::Flag(FLAG))),
        None => {}
    }
    let has_keys = keys::are_set(sources);
    for rank in Rank::ALL {
        if let Some(url) = sources.text(rank, "langfuse_base_url") {
            return langfuse_at(url);
        }
        if let Some(url) = sources.first_at(rank, &["LANGFUSE_BASE_URL", "LANGFUSE_HOST"]) {
            return langfuse_at(url);
        }
        let endpoint = match otel::endpoint_at(rank, sources) {
            // Keys alone choose Langfuse Cloud, whatever a variable meant for another exporter holds.
            Err(_) if has_keys => None,
            endpoint => endpoint?,
        };
        match endpoint {
            Some(found) if Base::is_langfuse_path(&found.value) => {
                let base = Base::parse(found.value.as_str()).map_err(Failure::config)?;
                return Ok(Chosen::Langfuse {
                    base,
                    origin: found.origin,
                    from_otlp: true,
                });
            }
            Some(found) if !has_keys => return Ok(Chosen::Plain(found)),
            Some(found) => keys::check_backend(sources, &found)?,
            None => {}
        }
    }
    match collector_setting(options, sources)? {
        Some(collector) if !has_keys => Ok(Chosen::Plain(collector)),
        _ => cloud(),
    }
}

/// A Langfuse that a setting names.
fn langfuse_at(found: Sourced<String>) -> Result<Chosen, Failure> {
    let base = Base::parse(&found.value).map_err(|error| {
        Failure::config(format!("{}: {error}", found.origin)).hint(format!(
            "set it to the URL of your Langfuse, as in {}",
            base::CLOUD
        ))
    })?;
    Ok(Chosen::Langfuse {
        base,
        origin: found.origin,
        from_otlp: false,
    })
}

fn cloud() -> Result<Chosen, Failure> {
    let base = Base::parse(base::CLOUD).map_err(Failure::config)?;
    Ok(Chosen::Langfuse {
        base,
        origin: Origin::Default,
        from_otlp: false,
    })
}

/// The collector that the spans go to, where one is named. `/v1/traces` is added only to an empty path.
fn collector_setting(
    options: &cli::DestinationArgs,
    sources: &Sources,
) -> Result<Option<Sourced<Url>>, Failure> {
    let found = sources.flag_or("--otlp-endpoint", options.otlp_endpoint.as_deref(), &[])?;
    let Some(found) = found else {
        return Ok(None);
    };
    let mut url = complete_http_url(&found.value).map_err(|error| {
        Failure::config(format!("{}: {error}", found.origin)).hint("as in http://localhost:4318")
    })?;
    if url.path() == "/" {
        url.set_path("/v1/traces");
    }
    Ok(Some(Sourced::new(url, found.origin)))
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
        collector: Option<Sourced<Url>>,
        sources: &Sources,
        chosen: &Chosen,
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
