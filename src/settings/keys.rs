//! Where the key pair of a Langfuse comes from, and whether it can be one.

use super::destination::Unresolved;
use super::shown::{Notes, Shown};
use super::sources::{Origin, Sources};
use crate::failure::Failure;
use crate::langfuse::{Base, Keys};
use crate::secret::Secret;

/// The key pair of the `LANGFUSE_` variables, else that of the OTLP header that came with the destination.
pub fn resolve(
    sources: &Sources,
    header: Option<&str>,
    header_origin: &Origin,
    base: &Base,
    notes: &mut Notes,
) -> Result<Keys, Unresolved> {
    let public = sources.get("LANGFUSE_PUBLIC_KEY");
    let secret = sources.get("LANGFUSE_SECRET_KEY");
    let keys = match (public, secret, header.and_then(Keys::from_basic)) {
        (Some(public), Some(secret), _) => {
            notes
                .shown
                .push(Shown::new("public key", public.value.trim(), public.origin));
            notes
                .shown
                .push(Shown::new("secret key", "(set)", secret.origin));
            Keys {
                public: public.value.trim().to_owned(),
                secret: Secret::new(secret.value.trim()),
            }
        }
        (_, _, Some(keys)) => {
            let origin = header_origin.clone();
            notes
                .shown
                .push(Shown::new("public key", &keys.public, origin.clone()));
            notes.shown.push(Shown::new("secret key", "(set)", origin));
            keys
        }
        (public, secret, None) => {
            return Err(Unresolved::NoKeys(match header {
                Some(_) if public.is_none() && secret.is_none() => garbled(header_origin, base),
                _ => missing(public.is_some(), secret.is_some(), base),
            }));
        }
    };
    notes.secrets.push(keys.secret.clone());
    notes.secrets.push(Secret::new(
        keys.authorization().expose().trim_start_matches("Basic "),
    ));
    if keys.are_swapped() {
        return Err(Failure::config("the Langfuse keys are swapped: the public key begins with sk-lf- or the secret key with pk-lf-")
            .hint("LANGFUSE_PUBLIC_KEY takes the pk-lf-… key, LANGFUSE_SECRET_KEY the sk-lf-… key")
            .into());
    }
    if !keys.look_right() {
        notes.warnings.push(
            "the Langfuse keys do not begin with pk-lf- and sk-lf-, as keys usually do".to_owned(),
        );
    }
    if base.is_exposed() {
        notes.warnings.push(format!(
            "the keys travel unencrypted to {}: use https",
            base.host()
        ));
    }
    Ok(keys)
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
        .hint("export the keys of the project's settings page; chat --sandbox needs no keys")
}
