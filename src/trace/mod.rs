//! One exchange and one trace make two spans: values and pure functions, no I/O.
//!
//! `exchange` is what happened, `Trace` what it is filed under, `ids` and `context` which trace it is, `spans`
//! how both look as OpenTelemetry spans, `recording` how they lie in a file, `media` what stands for megabytes,
//! `privacy` what is left out of either.

pub mod attributes;
pub mod context;
pub mod exchange;
pub mod genai;
pub mod ids;
pub mod media;
pub mod privacy;
pub mod recording;
pub mod spans;

pub use context::TraceContext;
pub use exchange::{Exchange, ExchangeError};
pub use privacy::Privacy;
pub use recording::Recording;

/// The name of a trace, and of its parent span, that was given none.
pub const DEFAULT_NAME: &str = "chat-completion";

/// What a trace is filed under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    pub name: Option<String>,
    pub user: Option<String>,
    /// Groups traces; carries no history.
    pub session: Option<String>,
    pub tags: Vec<String>,
    /// In the order they were given.
    pub metadata: Vec<(String, String)>,
    /// The version of the application that is traced.
    pub version: Option<String>,
    /// Whether anyone with the link may read the trace.
    pub public: bool,
}

impl Trace {
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(DEFAULT_NAME)
    }
}
