//! Langfuse: the forms of its URL, its keys, and the parts of its public API that langspan uses.

pub mod api;
pub mod api_error;
pub mod base;
pub mod datasets;
pub mod experiments;
mod generations;
pub mod keys;
pub mod media;
mod models;
mod pages;
pub mod prompts;
pub mod readback;
pub mod row;
pub mod scores;
mod session;
mod session_rows;
pub mod stored;
pub mod template;
pub mod trace_rows;

pub use api::Api;
pub use api_error::ApiError;
pub use base::Base;
pub use datasets::{Dataset, DatasetItem, DatasetReference};
pub use experiments::{Experiment, ExperimentItem};
pub use keys::Keys;
pub use prompts::{ManagedPrompt, PromptReference};
pub use readback::{Readback, Wanted};
pub use row::Row;
pub use scores::{Score, ScoreValue};
pub use session::SessionCount;
pub use stored::stored_environment;
