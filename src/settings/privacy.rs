//! What traces and recordings leave out.

use super::shown::{Notes, Shown};
use super::sources::{Origin, Rank, Sourced, Sources};
use crate::cli;
use crate::failure::Failure;
use crate::trace::Privacy;
use crate::trace::privacy::Capture;

/// What traces and recordings leave out. The known keys are part of it, so this comes after all secrets are found.
pub(super) fn resolve(
    options: &cli::PrivacyArgs,
    sources: &Sources,
    notes: &mut Notes,
) -> Result<Privacy, Failure> {
    let capture = sources
        .parsed("--capture", options.capture, &[], cli::capture)?
        .unwrap_or_else(|| Sourced::new(Capture::Full, Origin::Default));
    let shown = capture
        .value
        .level()
        .map(|shown| Shown::new("capture", shown, capture.origin));
    notes.shown.extend(shown);
    let patterns = patterns(options, sources);
    for (pattern, origin) in &patterns {
        let shown = Shown::new("redact", pattern, origin.clone());
        notes.shown.push(shown);
    }
    let (patterns, origins): (Vec<String>, Vec<Origin>) = patterns.into_iter().unzip();
    Privacy::new(capture.value, &patterns, &notes.secrets).map_err(|(message, hint)| {
        let is_file = |origin: &&Origin| matches!(origin, Origin::SettingsFile { .. });
        match origins.iter().find(is_file) {
            Some(origin) => Failure::config(format!("redact ({origin}): {message}")),
            None => Failure::usage(format!("--redact: {message}")),
        }
        .hint(hint)
    })
}

/// The patterns of all ranks: one that is added never shows more.
fn patterns(options: &cli::PrivacyArgs, sources: &Sources) -> Vec<(String, Origin)> {
    let typed = options.redact.iter().cloned();
    let typed = typed.map(|pattern| (pattern, Origin::Flag("--redact")));
    let found = Rank::ALL
        .into_iter()
        .filter_map(|rank| sources.entry(rank, "redact"));
    let found = found.flat_map(|entry| {
        let texts = entry.value.texts.iter().cloned();
        texts.map(move |text| (text, entry.origin.clone()))
    });
    typed.chain(found).collect()
}

/// Whether media is uploaded: unless the option or the variable of the Langfuse SDKs forbids it.
pub(super) fn uploads_media(
    options: &cli::PrivacyArgs,
    sources: &Sources,
    notes: &mut Notes,
) -> Result<bool, Failure> {
    const VARIABLE: &str = "LANGFUSE_MEDIA_UPLOAD_ENABLED";
    let switch = sources.switch("--no-media", options.no_media, &[])?;
    let forbidden = match switch.filter(|switch| switch.value) {
        Some(switch) => Some(switch.origin),
        None => match sources.get(VARIABLE) {
            Some(found) if !sources.is_on(VARIABLE)? => Some(found.origin),
            _ => None,
        },
    };
    let is_forbidden = forbidden.is_some();
    notes
        .shown
        .extend(forbidden.map(|origin| Shown::new("media", "not uploaded", origin)));
    Ok(!is_forbidden)
}
