//! The settings in force, one by one, for `langspan config`.

use std::fmt::Display;

use serde::Serialize;

use super::file::is_secret_header;
use super::file::key::{KEYS, Key, Shape};
use super::sources::{Origin, Rank, Sources};
use super::{Settings, Shown, Tracing};
use crate::secret::{REDACTED, Secret};

/// A setting as people read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub name: &'static str,
    /// Of a secret, only its ends.
    pub value: String,
    /// The option, the variable, `FILE:LINE`, or `default`.
    pub origin: String,
}

/// The row with the path of the settings file.
pub const SETTINGS_FILE: &str = "settings_file";

/// Fields of the command line with another name than their option.
const FIELDS: [(&str, &str); 3] = [("tag", "tags"), ("header", "headers"), ("wait", "seconds")];

/// Lists the settings in force. `typed` are the fields that the command line holds; `settings` is what they come to,
/// when they are valid.
pub fn of(
    typed: &[(String, Vec<String>)],
    sources: &Sources,
    settings: Option<&Settings>,
) -> Vec<Listed> {
    let mut listed = files(sources);
    for key in KEYS {
        let found = resolved(key, settings).or_else(|| listed_key(key, typed, sources));
        let is_refused = settings.is_none();
        listed.extend(found.or_else(|| found_secret(key, sources).filter(|_| is_refused)));
    }
    let off = settings.and_then(|settings| match &settings.tracing {
        Tracing::Off(switch) => Some(row("tracing", "off", switch)),
        _ => None,
    });
    listed.extend(off);
    listed
}

fn row(name: &'static str, value: impl Into<String>, origin: &dyn Display) -> Listed {
    Listed {
        name,
        value: value.into(),
        origin: origin.to_string(),
    }
}

/// The settings file and the profile.
fn files(sources: &Sources) -> Vec<Listed> {
    let file = sources.settings_file();
    let path = file.map(|file| row(SETTINGS_FILE, file.path.display().to_string(), &"found"));
    let profile = sources.profile();
    let profile = profile.map(|found| row("profile", &found.value, &&found.origin));
    path.into_iter().chain(profile).collect()
}

/// URLs and keys as they were chosen and completed.
fn resolved(key: &Key, settings: Option<&Settings>) -> Option<Listed> {
    let settings = settings?;
    let langfuse = settings
        .tracing
        .destination()
        .and_then(|destination| destination.langfuse.as_ref());
    let shown = |name: &str| settings.notes.shown.iter().find(|shown| shown.name == name);
    let with = |shown: Option<&Shown>, value: String| {
        shown.map(|shown| row(key.name, value, &shown.origin))
    };
    let endpoint = &settings.model.endpoint;
    match key.name {
        "langfuse_base_url" => with(shown("destination"), langfuse?.base.to_string()),
        "public_key" => with(shown("public key"), langfuse?.keys.public.clone()),
        "secret_key" => with(shown("secret key"), masked(&langfuse?.keys.secret)),
        "openai_base_url" => with(shown("model endpoint"), endpoint.base.to_string()),
        "openai_api_key" => with(shown("model key"), masked(endpoint.key.as_ref()?)),
        "anthropic_base_url" => {
            let base = settings.model.anthropic.base.to_string();
            with(shown("anthropic endpoint"), base)
        }
        "anthropic_api_key" => {
            let key = settings.model.anthropic.key.as_ref()?;
            with(shown("anthropic key"), masked(key))
        }
        "otlp_endpoint" => with(shown("collector"), shown("collector")?.value.clone()),
        _ => None,
    }
}

/// A secret of settings that a call would refuse. Files and commands with secrets are left alone.
fn found_secret(key: &Key, sources: &Sources) -> Option<Listed> {
    let is_secret = key.shape == Shape::Secret;
    let found = is_secret.then(|| sources.setting(key.name, key.variables));
    let found = found.flatten()?;
    let value = masked(&Secret::new(&found.value));
    Some(row(key.name, value, &found.origin))
}

/// A value as it is typed or found, else the default.
fn listed_key(key: &Key, typed: &[(String, Vec<String>)], sources: &Sources) -> Option<Listed> {
    if matches!(
        key.shape,
        Shape::Alias { .. } | Shape::Secret | Shape::SecretFile | Shape::SecretCommand
    ) {
        return None;
    }
    let field = FIELDS.iter().find(|(name, _)| *name == key.name);
    let field = field.map_or(key.name, |(_, field)| field);
    let of_field = |field: &str| typed.iter().find(|(name, _)| name == field);
    if let Some((_, texts)) = of_field(field) {
        let flag = format!("--{}", key.name.replace('_', "-"));
        let value = match key.name {
            "verbose" => texts.len().max(1).to_string(),
            _ => joined(key, texts),
        };
        return Some(row(key.name, value, &flag));
    }
    for (field, name, value, flag) in [
        ("json", "output", "json", "--json"),
        ("no_stream", "stream", "false", "--no-stream"),
    ] {
        if name == key.name && of_field(field).is_some() {
            return Some(row(key.name, value, &flag));
        }
    }
    for rank in Rank::ALL {
        if let Some(found) = sources.entry(rank, key.name) {
            return Some(row(
                key.name,
                joined(key, &found.value.texts),
                &found.origin,
            ));
        }
        if let Some(found) = sources.first_at(rank, key.variables) {
            return Some(row(key.name, found.value, &found.origin));
        }
    }
    (!key.default.is_empty()).then(|| row(key.name, key.default, &Origin::Default))
}

fn joined(key: &Key, texts: &[String]) -> String {
    let shown = texts.iter().map(|text| match text.split_once(':') {
        Some((name, _)) if key.shape == Shape::Headers && is_secret_header(name) => {
            format!("{name}: {REDACTED}")
        }
        _ => text.clone(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// The well-known beginning of a secret and its last characters, so that people recognise it: `sk-lf-…1234`.
fn masked(secret: &Secret) -> String {
    const SHOWN: usize = 4;
    // Of a shorter one, four characters would be too much.
    const SHORTEST: usize = 16;
    let secret = secret.expose();
    let prefixes = [
        "sk-lf-", "pk-lf-", "sk-proj-", "sk-or-", "sk-ant-", "sk-", "gsk_",
    ];
    let prefix = prefixes.iter().find(|prefix| secret.starts_with(**prefix));
    let prefix = prefix.copied().unwrap_or_default();
    let count = secret.chars().count();
    if count < prefix.len() + SHORTEST {
        return format!("{prefix}…");
    }
    let end: String = secret.chars().skip(count - SHOWN).collect();
    format!("{prefix}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_its_ends_alone() {
        for (secret, shown) in [
            ("sk-lf-11112222-3333-4444", "sk-lf-…4444"),
            ("sk-lf-sandbox", "sk-lf-…"),
            ("0123456789abcdef", "…cdef"),
            ("short", "…"),
        ] {
            assert_eq!(masked(&Secret::new(secret)), shown);
        }
    }
}
