//! Which setting chooses the destination: the order in which options, variables and keys count.

use reqwest::Url;

use crate::cli;
use crate::failure::Failure;
use crate::http::url::complete_http_url;
use crate::langfuse::{Base, base};
use crate::settings::sources::{Origin, Rank, Sourced, Sources, empty_flag};
use crate::settings::{keys, otel};

/// Which setting chose the destination.
pub enum ChosenDestination {
    Langfuse {
        base: Base,
        origin: Origin,
        from_otlp: bool,
    },
    Plain(Sourced<Url>),
}

impl ChosenDestination {
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Langfuse { origin, .. } => origin,
            Self::Plain(url) => &url.origin,
        }
    }

    pub fn url(&self) -> Url {
        match self {
            Self::Langfuse { base, .. } => base.traces_url(),
            Self::Plain(url) => url.value.clone(),
        }
    }

    pub fn is_otlp_variable(&self) -> bool {
        match self {
            Self::Langfuse { from_otlp, .. } => *from_otlp,
            Self::Plain(_) => true,
        }
    }
}

/// The first setting that applies: the option, then each source in its turn.
pub fn choose(
    options: &cli::DestinationArgs,
    sources: &Sources,
) -> Result<ChosenDestination, Failure> {
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
                return Ok(ChosenDestination::Langfuse {
                    base,
                    origin: found.origin,
                    from_otlp: true,
                });
            }
            Some(found) if !has_keys => return Ok(ChosenDestination::Plain(found)),
            Some(found) => keys::check_backend(sources, &found)?,
            None => {}
        }
    }
    match collector_setting(options, sources)? {
        Some(collector) if !has_keys => Ok(ChosenDestination::Plain(collector)),
        _ => cloud(),
    }
}

/// A Langfuse that a setting names.
fn langfuse_at(found: Sourced<String>) -> Result<ChosenDestination, Failure> {
    let base = Base::parse(&found.value).map_err(|error| {
        Failure::config(format!("{}: {error}", found.origin)).hint(format!(
            "set it to the URL of your Langfuse, as in {}",
            base::CLOUD
        ))
    })?;
    Ok(ChosenDestination::Langfuse {
        base,
        origin: found.origin,
        from_otlp: false,
    })
}

fn cloud() -> Result<ChosenDestination, Failure> {
    let base = Base::parse(base::CLOUD).map_err(Failure::config)?;
    Ok(ChosenDestination::Langfuse {
        base,
        origin: Origin::Default,
        from_otlp: false,
    })
}

/// The collector that the spans go to, where one is named. `/v1/traces` is added only to an empty path.
pub fn collector_setting(
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
