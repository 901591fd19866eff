//! Values that differ between commands.

use std::time::Duration;

/// Values that differ between commands where no option gives one.
#[derive(Clone, Copy, Debug)]
pub struct CommandDefaults {
    /// Further attempts of a model call after the first.
    pub retries: u32,
    /// Time for one export request with its retries.
    pub export_timeout: Duration,
    /// The environment of the traces.
    pub environment: Option<&'static str>,
}

impl CommandDefaults {
    /// Of a command that a person or a script waits for.
    pub const CALL: Self = Self {
        retries: 2,
        export_timeout: Duration::from_secs(10),
        environment: None,
    };
    /// Of a long run.
    pub const BATCH: Self = Self {
        retries: 5,
        export_timeout: Duration::from_secs(30),
        environment: None,
    };
    /// Of a long run that is an experiment.
    pub const EXPERIMENT: Self = Self {
        environment: Some("experiment"),
        ..Self::BATCH
    };
}
