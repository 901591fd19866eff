//! Turns one exchange and its trace attributes into two spans. Values and pure functions, no I/O.
//!
//! `exchange` holds a request and its outcome, `Trace` the trace's name, user, session and tags, `experiment` the experiment
//! that it is an item of, `ids` and `context` the ids; `spans` builds OpenTelemetry spans, `conventions` and `genai` what other readers than Langfuse get of them,
//! `recording` the JSON form, `media` replaces base64 content, `privacy` removes
//! what must not be stored.

mod attribute_list;
pub mod attributes;
pub mod context;
mod conventions;
pub mod exchange;
pub mod experiment;
pub mod genai;
pub mod ids;
pub mod media;
pub mod privacy;
pub mod recording;
pub mod spans;

pub use context::TraceContext;
pub use exchange::{Exchange, ExchangeError};
pub use experiment::{ExperimentContext, ItemContext};
pub use privacy::Privacy;
pub use recording::Recording;

use serde::{Deserialize, Serialize};

/// The default name of a trace and its parent span.
pub const DEFAULT_NAME: &str = "chat-completion";

/// The attributes of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    pub name: Option<String>,
    pub user: Option<String>,
    /// Groups traces; carries no history.
    pub session: Option<String>,
    pub tags: Vec<String>,
    /// In the given order.
    pub metadata: Vec<(String, String)>,
    /// The version of the traced application.
    pub version: Option<String>,
    /// Whether anyone with the link may read the trace.
    pub public: bool,
    /// The managed prompt that the request was made of: Langfuse links the generation to it.
    pub prompt: Option<PromptLink>,
    /// The item of an experiment that the trace is.
    pub item: Option<Box<ItemContext>>,
}

/// A version of a prompt that Langfuse manages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptLink {
    pub name: String,
    pub version: u64,
}

impl Trace {
    /// The name, or the default name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(DEFAULT_NAME)
    }
}
