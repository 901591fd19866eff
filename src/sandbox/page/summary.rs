//! A trace as a whole: names, times, tokens and cost over all its observations.

use serde_json::Value;

use crate::sandbox::ingest::Attributes;
use crate::sandbox::observation::{Level, Observation};
use crate::sandbox::time::{self, Millis};

#[derive(Debug)]
pub struct TraceSummary<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub user: &'a str,
    pub session: &'a str,
    pub environment: &'a str,
    pub release: &'a str,
    pub version: &'a str,
    pub tags: &'a [String],
    pub public: bool,
    /// The root's input, or the first one of its spans.
    pub input: Option<&'a str>,
    pub level: Level,
    pub start: Millis,
    pub end: Millis,
    pub tokens: u64,
    pub cost: Option<f64>,
    /// The metadata that the user set on the trace, from all its spans.
    pub metadata: Attributes,
}

impl<'a> TraceSummary<'a> {
    /// `None` without an observation. Where spans disagree, the root wins.
    pub fn of(rows: &'a [Observation]) -> Option<Self> {
        let root = rows.iter().find(|row| row.is_root).or(rows.first())?;
        let pick = |field: fn(&Observation) -> &str| -> &'a str {
            std::iter::once(root)
                .chain(rows)
                .map(field)
                .find(|text| !text.is_empty())
                .unwrap_or_default()
        };
        let costs: Vec<f64> = rows
            .iter()
            .filter_map(|row| row.cost.get("total")?.as_f64())
            .collect();
        Some(Self {
            id: &root.trace_id,
            name: Some(pick(|row| row.trace_name.as_deref().unwrap_or_default()))
                .filter(|name| !name.is_empty())
                .unwrap_or(&root.name),
            user: pick(|row| &row.user_id),
            session: pick(|row| &row.session_id),
            environment: pick(|row| &row.environment),
            release: pick(|row| &row.release),
            version: pick(|row| &row.version),
            tags: std::iter::once(root)
                .chain(rows)
                .map(|row| &row.tags[..])
                .find(|tags| !tags.is_empty())
                .unwrap_or(&[]),
            input: std::iter::once(root)
                .chain(rows)
                .find_map(|row| row.input.as_deref()),
            public: rows.iter().any(|row| row.public),
            level: rows.iter().map(|row| row.level).max()?,
            start: rows.iter().map(|row| row.start).min()?,
            end: rows.iter().map(|row| row.end).max()?,
            tokens: rows
                .iter()
                .filter_map(|row| row.usage.get("total").and_then(Value::as_u64))
                .sum(),
            cost: (!costs.is_empty()).then(|| costs.iter().sum()),
            metadata: rows
                .iter()
                .flat_map(|row| row.metadata.trace.clone())
                .collect(),
        })
    }

    pub fn latency(&self) -> f64 {
        time::seconds(self.start, self.end)
    }
}
