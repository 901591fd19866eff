//! The settings of `exec`. It asks no model itself, and the switches that silence a child do not concern it.

use super::{
    CommandDefaults, Notes, Settings, Sources, TraceSettings, Tracing, delivery, privacy,
    tls_files, tracing,
};
use crate::cli;
use crate::console::OutputFormat;
use crate::failure::Failure;
use crate::secret::Secret;
use crate::settings::ModelSettings;

/// Keys of model endpoints that the child may hold, and must not be traced.
const MODEL_KEYS: [&str; 3] = [
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "AZURE_OPENAI_API_KEY",
];

/// Resolves the settings of a run; `sandbox` is the port of the embedded one.
///
/// # Errors
/// If a setting is missing or malformed.
pub fn exec(
    options: &cli::ExecArgs,
    sources: &Sources,
    sandbox: Option<u16>,
) -> Result<Settings, Failure> {
    let mut notes = Notes::default();
    let mut delivery = delivery::resolve(
        &options.delivery,
        &CommandDefaults::BATCH,
        sources,
        &mut notes,
    )?;
    if options.delivery.sample.is_none() && delivery.sample == 0.0 {
        // It silences the child. To trace nothing at all there is the option.
        delivery.sample = 1.0;
    }
    let trace = TraceSettings::resolve(&options.trace, sources, &mut notes)?;
    let tracing: Tracing = tracing::destination_of(
        &options.destination,
        sources,
        sandbox,
        &delivery,
        &mut notes,
    )?;
    for name in MODEL_KEYS {
        notes.secrets.extend(
            sources
                .get(name)
                .map(|found| Secret::new(found.value.trim())),
        );
    }
    Ok(Settings {
        privacy: privacy::resolve(&options.privacy, sources, &mut notes)?,
        uploads_media: privacy::uploads_media(&options.privacy, sources, &mut notes)?,
        tls: tls_files(&options.destination, sources, sandbox),
        record: None,
        model: model(sources)?,
        trace,
        tracing,
        delivery,
        form: OutputFormat::Text,
        notes,
    })
}

/// The model settings of a run that asks no model: nothing of the environment is in them.
fn model(sources: &Sources) -> Result<ModelSettings, Failure> {
    let nowhere = cli::EndpointArgs {
        model: None,
        api: None,
        openai_base_url: Some("http://localhost/v1".to_owned()),
        anthropic_base_url: Some("http://localhost".to_owned()),
        headers: Vec::new(),
    };
    ModelSettings::resolve(&nowhere, sources, None, &mut Notes::default())
}
