//! An observation as a Langfuse gives it, from whichever of its interfaces.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// The row of one observation, in the fields of v2 observations.
#[derive(Clone, Debug, PartialEq)]
pub struct Row(Value);

impl Row {
    /// The rows of a page of v2 observations.
    pub fn of_observations(data: &mut Value) -> Vec<Self> {
        match data.take() {
            Value::Array(rows) => rows.into_iter().map(Self).collect(),
            _ => Vec::new(),
        }
    }

    /// The rows of a legacy trace, which states user, session and tags once for all of them.
    pub fn of_legacy_trace(trace: &mut Value) -> Vec<Self> {
        let shared = ["userId", "sessionId", "tags", "release", "public"]
            .map(|field| (field, trace[field].take()));
        let name = trace["name"].take();
        let mut rows = Self::of_observations(&mut trace["observations"]);
        for Self(row) in &mut rows {
            for (field, value) in &shared {
                row[*field] = value.clone();
            }
            row["traceName"] = name.clone();
            let cost = row["calculatedTotalCost"].take();
            row["totalCost"] = cost;
        }
        rows
    }

    /// Whether the server made the row up.
    pub fn is_synthetic(&self) -> bool {
        self.id().starts_with("t-")
    }

    pub fn id(&self) -> &str {
        self.0["id"].as_str().unwrap_or_default()
    }

    pub fn parent(&self) -> Option<&str> {
        self.text("parentObservationId")
    }

    /// A field that holds text; empty text is none.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.0[field].as_str().filter(|text| !text.is_empty())
    }

    pub fn number(&self, field: &str) -> Option<f64> {
        self.0[field].as_f64()
    }

    pub fn time(&self, field: &str) -> Option<Timestamp> {
        self.0[field].as_str()?.parse().ok()
    }

    pub fn usage(&self) -> Map<String, Value> {
        self.0["usageDetails"]
            .as_object()
            .cloned()
            .unwrap_or_default()
    }

    /// A field as it came.
    pub fn field(&self, field: &str) -> &Value {
        &self.0[field]
    }

    pub fn json(&self) -> &Value {
        &self.0
    }
}
