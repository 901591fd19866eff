//! Where the key pair of a Langfuse comes from, and whether it can be one.
//!
//! A pair of the settings file is used only for the Langfuse of the same table: a variable or an option that names
//! another server must not redirect it.

use std::fmt;

use reqwest::Url;

use super::file::SecretPlace;
use super::shown::{Notes, Shown};
use super::sources::{Origin, Rank, Sourced, Sources};
use crate::failure::Failure;
use crate::http::url::is_in_quotes;
use crate::langfuse::keys::{PUBLIC_PREFIX, SECRET_PREFIX};
use crate::langfuse::{Base, Keys, base};
use crate::secret::Secret;

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

/// A key pair, and where it came from.
#[derive(Debug)]
pub struct SourcedPair {
    pub keys: Keys,
    pub origin: PairOrigin,
}

/// Where a key pair came from, as hints name it: `A and B`, or one name if both came from the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairOrigin(String);

impl PairOrigin {
    pub fn new(public: &Origin, secret: &Origin) -> Self {
        if public == secret {
            return Self(public.to_string());
        }
        Self(format!("{public} and {secret}"))
    }
}

impl fmt::Display for PairOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Keys of the settings file.
const SECRET: &str = "secret_key";
const URL: &str = "langfuse_base_url";

/// The key pair of a profile named by `--profile`, of the `LANGFUSE_` variables, of the OTLP header that came with the
/// destination, or of the settings file.
pub fn resolve(
    sources: &Sources,
    header: Option<&str>,
    header_origin: &Origin,
    (base, base_origin): (&Base, &Origin),
    notes: &mut Notes,
) -> Result<SourcedPair, Unresolved> {
    let header_keys = header.and_then(Keys::from_basic);
    let pair = match chosen_table(sources, header_keys.is_some()) {
        Some(rank) => of_file(sources, rank, base, base_origin, notes)?,
        None => match (of_variables(sources, notes), header_keys) {
            (Some(pair), _) => pair,
            (None, Some(keys)) => {
                noted(keys, [header_origin.clone(), header_origin.clone()], notes)
            }
            (None, None) => return Err(none(sources, header, header_origin, base)),
        },
    };
    notes.secrets.push(pair.keys.secret.clone());
    let authorization = pair.keys.authorization();
    notes.secrets.push(Secret::new(
        authorization.expose().trim_start_matches("Basic "),
    ));
    check(&pair.keys, base, notes)?;
    Ok(pair)
}

/// The table of the settings file that the pair is taken from; none where another source has one that is stronger.
fn chosen_table(sources: &Sources, has_header: bool) -> Option<Rank> {
    if has_pair(sources, Rank::NamedProfile) {
        return Some(Rank::NamedProfile);
    }
    let variables = ["LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"];
    let in_variables = variables.iter().all(|name| sources.get(name).is_some());
    let tables = [Rank::Profile, Rank::TopLevel].into_iter();
    let mut tables = tables.filter(|rank| has_pair(sources, *rank));
    tables.next().filter(|_| !in_variables && !has_header)
}

/// The pair of the `LANGFUSE_` variables.
fn of_variables(sources: &Sources, notes: &mut Notes) -> Option<SourcedPair> {
    let public = sources.get("LANGFUSE_PUBLIC_KEY")?;
    let secret = sources.get("LANGFUSE_SECRET_KEY")?;
    let keys = Keys {
        public: public.value.trim().to_owned(),
        secret: Secret::new(secret.value.trim()),
    };
    Some(noted(keys, [public.origin, secret.origin], notes))
}

/// The pair, after a note of where its public and its secret key came from.
fn noted(keys: Keys, [public, secret]: [Origin; 2], notes: &mut Notes) -> SourcedPair {
    let origin = PairOrigin::new(&public, &secret);
    let rows = [
        Shown::new("public key", &keys.public, public),
        Shown::new("secret key", "(set)", secret),
    ];
    notes.shown.extend(rows);
    SourcedPair { keys, origin }
}

/// Refuses a pair that cannot be one, and warns of what is unusual.
fn check(keys: &Keys, base: &Base, notes: &mut Notes) -> Result<(), Failure> {
    let public_is_secret = keys.public.starts_with(SECRET_PREFIX);
    let secret_is_public = keys.secret.expose().starts_with(PUBLIC_PREFIX);
    let mistaken = match (public_is_secret, secret_is_public) {
        (true, true) => Some("the Langfuse keys are swapped"),
        (true, false) => {
            Some("the public key of Langfuse begins with sk-lf-, so it is a secret key")
        }
        (false, true) => {
            Some("the secret key of Langfuse begins with pk-lf-, so it is a public key")
        }
        (false, false) => None,
    };
    if let Some(message) = mistaken {
        return Err(Failure::config(message).hint(
            "LANGFUSE_PUBLIC_KEY takes the pk-lf-… key, LANGFUSE_SECRET_KEY the sk-lf-… key",
        ));
    }
    let unusual = [
        ("public key", keys.public.as_str(), PUBLIC_PREFIX),
        ("secret key", keys.secret.expose(), SECRET_PREFIX),
    ]
    .into_iter()
    .filter(|(_, value, prefix)| !value.starts_with(prefix));
    for (name, value, prefix) in unusual {
        let shown = notes.shown.iter().find(|shown| shown.name == name);
        let origin = shown.map_or_else(String::new, |shown| format!(" ({})", shown.origin));
        notes.warnings.push(if is_in_quotes(value) {
            format!("the {name}{origin} is in quotes, which count as a part of it: remove them")
        } else {
            format!("the {name}{origin} does not begin with {prefix}, as keys usually do")
        });
    }
    if base.is_exposed() {
        notes.warnings.push(format!(
            "the keys travel unencrypted to {}: use https",
            base.host()
        ));
    }
    Ok(())
}

/// The failure when no source has a pair.
fn none(
    sources: &Sources,
    header: Option<&str>,
    header_origin: &Origin,
    base: &Base,
) -> Unresolved {
    let is_set = |name| sources.get(name).is_some();
    let (public, secret) = (is_set("LANGFUSE_PUBLIC_KEY"), is_set("LANGFUSE_SECRET_KEY"));
    Unresolved::NoKeys(match header {
        Some(_) if !public && !secret => garbled(header_origin, base),
        _ => missing(public, secret, base),
    })
}

/// Whether the settings file has a key of a Langfuse at this rank: one of a pair is enough to mean that pair.
fn has_pair(sources: &Sources, rank: Rank) -> bool {
    sources.entry(rank, "public_key").is_some() || sources.secret_place(rank, SECRET).is_some()
}

/// Whether the settings in force name a key pair, in variables or in the settings file.
pub fn are_set(sources: &Sources) -> bool {
    let variables = ["LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"];
    let in_variables = variables.iter().all(|name| sources.get(name).is_some());
    in_variables || in_file(sources).is_some()
}

/// The line of the settings file in force that names a key of a Langfuse.
pub fn in_file(sources: &Sources) -> Option<Origin> {
    Rank::ALL.into_iter().find_map(|rank| {
        let public = sources.entry(rank, "public_key");
        let secret = || Some(sources.secret_place(rank, SECRET)?.origin);
        public.map(|public| public.origin).or_else(secret)
    })
}

/// Whether the keys in force leave a plain OTLP backend aside that a variable names. Keys of variables and of a named
/// profile do, as the stronger setting; others of the settings file would be for another server than the variable.
///
/// # Errors
/// If they do not.
pub fn check_backend(sources: &Sources, backend: &Sourced<Url>) -> Result<(), Failure> {
    let variables = ["LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"];
    if has_pair(sources, Rank::NamedProfile)
        || variables.iter().all(|name| sources.get(name).is_some())
    {
        return Ok(());
    }
    let Some(keys) = in_file(sources) else {
        return Ok(());
    };
    let Sourced { value, origin } = backend;
    Err(Failure::config(format!(
        "{origin} names {value}, which is not the Langfuse of the keys at {keys}; they are not used"
    ))
    .hint(format!(
        "unset {origin}, name the Langfuse in LANGFUSE_BASE_URL too, or choose a profile with --profile"
    )))
}

/// The pair of one table of the settings file, when the Langfuse is the one of that table.
fn of_file(
    sources: &Sources,
    rank: Rank,
    base: &Base,
    base_origin: &Origin,
    notes: &mut Notes,
) -> Result<SourcedPair, Unresolved> {
    let public = sources.text(rank, "public_key");
    let secret = sources.secret_place(rank, SECRET);
    let (Some(public), Some(secret)) = (&public, &secret) else {
        return Err(Unresolved::NoKeys(half(public, secret, base)));
    };
    let own = own_base(sources, rank);
    if own.as_ref().is_none_or(|own| !own.is_same_server(base)) {
        let failure = of_another(&public.origin, own.as_ref(), base, base_origin);
        return Err(Unresolved::NoKeys(failure));
    }
    let keys = Keys {
        public: public.value.trim().to_owned(),
        secret: sources.read_secret(secret)?,
    };
    let origins = [public.origin.clone(), secret.origin.clone()];
    Ok(noted(keys, origins, notes))
}

/// The Langfuse that the keys of a table are for: of its own URL, or Langfuse Cloud where no table names one.
fn own_base(sources: &Sources, rank: Rank) -> Option<Base> {
    let url = match sources.text(rank, URL) {
        Some(url) => url.value,
        None if in_force(sources, URL) => return None,
        None => base::CLOUD.to_owned(),
    };
    Base::parse(&url).ok()
}

/// Whether a table in force has the key.
fn in_force(sources: &Sources, key: &str) -> bool {
    let mut ranks = Rank::ALL.into_iter();
    ranks.any(|rank| sources.entry(rank, key).is_some())
}

/// The failure when the keys of the settings file are for another server than the one that was chosen.
fn of_another(keys: &Origin, own: Option<&Base>, base: &Base, base_origin: &Origin) -> Failure {
    let Some(own) = own else {
        return Failure::config(format!(
            "no keys for {base}: those at {keys} have no langfuse_base_url in the same table, so they are not sent there"
        ))
        .hint("add langfuse_base_url to the table of the keys, or keys to the table of the URL");
    };
    Failure::config(format!(
        "no keys for {base} ({base_origin}): those at {keys} are for {own} and are not sent to another server"
    ))
    .hint(if base_origin.is_named() {
        format!(
            "omit {base_origin}, export LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY of {base}, or name its profile with --profile"
        )
    } else {
        "add keys to the table of the URL".to_owned()
    })
}

/// The failure when a table has one key of a pair.
fn half(
    public: Option<Sourced<String>>,
    secret: Option<Sourced<&SecretPlace>>,
    base: &Base,
) -> Failure {
    let (missing, origin) = match (public, secret) {
        (Some(public), _) => ("secret_key_file or secret_key_command", public.origin),
        (_, Some(secret)) => ("public_key", secret.origin),
        (None, None) => ("public_key", Origin::Default),
    };
    Failure::config(format!(
        "no keys for {base}: the table of {origin} lacks {missing}"
    ))
    .hint(format!("add {missing} beside it"))
}

/// The failure when the OTLP header that came with the destination does not hold a key pair.
fn garbled(origin: &Origin, base: &Base) -> Failure {
    Failure::config(format!(
        "no keys for {base}: the Authorization in {origin} is not `Basic` and the base64 of PUBLIC_KEY:SECRET_KEY"
    ))
    .hint("encode it again with `base64 -w0`, which does not wrap lines, or export LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY")
}

fn missing(has_public: bool, has_secret: bool, base: &Base) -> Failure {
    let what = match (has_public, has_secret) {
        (true, _) => "LANGFUSE_SECRET_KEY is not set",
        (_, true) => "LANGFUSE_PUBLIC_KEY is not set",
        _ => "LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are not set",
    };
    Failure::config(format!("no keys for {base}: {what}"))
        .hint("export the keys of the project's settings page, or run langspan config init; chat --sandbox needs no keys")
}
