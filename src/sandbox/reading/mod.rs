//! How traces are read back: v2 observations and metrics, and the interfaces of older servers.

mod condition;
pub mod legacy;
mod metrics;
mod newest_page;
mod observations;
mod refusal;
mod row;
mod traces;

use serde_json::Value;

use super::observation::Observation;
pub use condition::Condition;
pub use metrics::MetricsQuery;
pub use newest_page::newest_page;
pub use observations::ObservationsQuery;
pub use refusal::{
    bounded, expected, field_groups, invalid, not_one_of, refused, text_field, timestamp, type_name,
};
pub use traces::TracesQuery;

/// A query over stored traces.
pub trait ReadQuery {
    /// The only trace that the query is about, if it names one.
    fn trace_id(&self) -> Option<&str> {
        None
    }

    /// The answer over `traces`, which are all that the query is about.
    fn answer(&self, traces: impl Iterator<Item = Vec<Observation>>) -> Value;
}
