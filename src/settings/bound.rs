//! Secrets of the settings file for the model endpoint: its key, and headers that hold one. They stay with the endpoint
//! of their table: an option or a variable that names another must not redirect them.

use http::HeaderMap;
use reqwest::Url;

use super::file::{FileEntry, is_secret_header};
use super::header::header_of;
use super::sources::{Origin, Rank, Sourced, Sources};
use crate::cli;
use crate::failure::Failure;
use crate::http::url::complete_http_url;
use crate::secret::Secret;

/// The names of what an endpoint of one vendor needs, and its default.
#[derive(Debug)]
pub struct EndpointNames {
    /// The default base URL.
    pub base: &'static str,
    /// The variable of the key.
    pub variable: &'static str,
    /// The keys of the settings file.
    key: &'static str,
    url: &'static str,
}

pub const OPENAI: EndpointNames = EndpointNames {
    base: "https://api.openai.com/v1",
    variable: "OPENAI_API_KEY",
    key: "openai_api_key",
    url: "openai_base_url",
};
pub const ANTHROPIC: EndpointNames = EndpointNames {
    base: "https://api.anthropic.com",
    variable: "ANTHROPIC_API_KEY",
    key: "anthropic_api_key",
    url: "anthropic_base_url",
};

/// Why there is no key for the model endpoint.
#[derive(Clone, Debug)]
pub enum MissingKey {
    /// This variable is not set.
    Unset(&'static str),
    /// The key of the settings file is for another endpoint.
    OfAnother { message: String, hint: String },
}

/// The secrets that may be sent to the chosen endpoint.
#[derive(Debug)]
pub struct BoundSecrets<'a> {
    names: &'static EndpointNames,
    sources: &'a Sources,
    chosen: &'a Sourced<Url>,
}

impl<'a> BoundSecrets<'a> {
    pub fn new(
        names: &'static EndpointNames,
        sources: &'a Sources,
        chosen: &'a Sourced<Url>,
    ) -> Self {
        Self {
            names,
            sources,
            chosen,
        }
    }

    /// The key in a variable.
    pub fn variable(&self, name: &str) -> Option<Sourced<Secret>> {
        let found = self.sources.get(name)?;
        Some(found.map(|value| Secret::new(value.trim())))
    }

    /// The key, of the strongest source that has one. Without it, why the one of the settings file is not used.
    ///
    /// # Errors
    /// If the settings file keeps the key in a place that cannot be read.
    pub fn key(&self) -> Result<(Option<Sourced<Secret>>, Option<MissingKey>), Failure> {
        for rank in Rank::ALL {
            if let Some(found) = self.sources.variable(rank, self.names.variable) {
                return Ok((Some(found.map(|key| Secret::new(key.trim()))), None));
            }
            let Some(place) = self.sources.secret_place(rank, self.names.key) else {
                continue;
            };
            if !self.is_own(rank) {
                return Ok((None, self.of_another("key", &place.origin, rank)));
            }
            let key = self.sources.read_secret(&place)?;
            return Ok((Some(Sourced::new(key, place.origin)), None));
        }
        Ok((None, None))
    }

    /// The headers of the settings file that no option and no stronger table sets.
    ///
    /// # Errors
    /// If one is malformed.
    pub fn headers(
        &self,
        options: &cli::EndpointArgs,
    ) -> Result<(HeaderMap, Option<MissingKey>), Failure> {
        let mut headers = HeaderMap::new();
        let mut of_another = None;
        let mut known: Vec<String> = options.headers.iter().map(|text| name_of(text)).collect();
        for rank in Rank::ALL {
            let Some(entry) = self.sources.entry(rank, "header") else {
                continue;
            };
            let Sourced {
                value: FileEntry { texts, .. },
                origin,
            } = &entry;
            let new = texts.iter().filter(|text| !known.contains(&name_of(text)));
            let new: Vec<&String> = new.collect();
            for text in &new {
                if is_secret_header(text) && !self.is_own(rank) {
                    let what = format!("header {}", name_of(text));
                    of_another = of_another.or_else(|| self.of_another(&what, origin, rank));
                    continue;
                }
                let (name, value) = header_of(text, origin).map_err(|failure| Failure {
                    kind: crate::failure::Kind::Config,
                    ..failure
                })?;
                headers.append(name, value);
            }
            known.extend(new.iter().map(|text| name_of(text)));
        }
        Ok((headers, of_another))
    }

    /// Whether the chosen endpoint is on the server that the secrets of this rank are for.
    fn is_own(&self, rank: Rank) -> bool {
        let own = self.own(rank);
        own.is_some_and(|own| own.origin() == self.chosen.value.origin())
    }

    /// The endpoint that the secrets of a table are for: its own URL, or OpenAI's where no table names one.
    fn own(&self, rank: Rank) -> Option<Url> {
        let in_force = || {
            let mut ranks = Rank::ALL.into_iter();
            ranks.any(|rank| self.sources.entry(rank, self.names.url).is_some())
        };
        let url = match self.sources.text(rank, self.names.url) {
            Some(url) => url.value,
            None if in_force() => return None,
            None => self.names.base.to_owned(),
        };
        complete_http_url(&url).ok()
    }

    /// Why a secret is not sent. Where the settings file itself names another endpoint, that one just has no key.
    fn of_another(&self, what: &str, secret: &Origin, rank: Rank) -> Option<MissingKey> {
        let Sourced { value, origin } = self.chosen;
        if !origin.is_named() {
            return None;
        }
        let host = value.host_str().unwrap_or_default();
        let own = self.own(rank).map_or_else(
            || "no endpoint of its table".to_owned(),
            |own| own.host_str().unwrap_or_default().to_owned(),
        );
        Some(MissingKey::OfAnother {
            message: format!(
                "{origin} names the model endpoint {host}, but the {what} at {secret} is for {own} and is not sent there"
            ),
            hint: format!(
                "omit {origin}, export {} for {host}, or name a profile of it with --profile",
                self.names.variable
            ),
        })
    }
}

fn name_of(header: &str) -> String {
    let name = header.split(':').next().unwrap_or_default();
    name.trim().to_ascii_lowercase()
}
