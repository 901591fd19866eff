//! `GET /api/public/traces` of servers before v4: the traces of a session, page by page. Pure functions over the stored
//! traces. What else a real server takes (other filters, other orders) is refused by name.

use serde_json::{Value, json};

use super::refusal::{bounded, timestamp, unsupported};
use super::{ReadQuery, legacy};
use crate::sandbox::observation::Observation;
use crate::sandbox::time::{self, Millis};

/// Traces of one page, at most.
const MOST: usize = 100;
const PARAMETERS: &[&str] = &[
    "sessionId",
    "fromTimestamp",
    "toTimestamp",
    "fields",
    "orderBy",
    "page",
    "limit",
];

/// A query for a page of traces.
#[derive(Debug)]
pub struct TracesQuery {
    session_id: Option<String>,
    from: Option<Millis>,
    to: Option<Millis>,
    oldest_first: bool,
    page: usize,
    limit: usize,
    /// The groups of fields to return; `None`: all.
    groups: Option<Vec<String>>,
}

impl TracesQuery {
    /// Reads the parameters; the error is the body of a 400 answer.
    pub fn read(parameters: Vec<(String, String)>) -> Result<Self, Value> {
        let mut query = Self {
            session_id: None,
            from: None,
            to: None,
            oldest_first: false,
            page: 1,
            limit: 50,
            groups: None,
        };
        for (name, value) in parameters {
            query.set(&name, value)?;
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Value> {
        match name {
            "sessionId" => self.session_id = Some(value),
            "fromTimestamp" => self.from = Some(timestamp(name, &value)?),
            "toTimestamp" => self.to = Some(timestamp(name, &value)?),
            "page" => self.page = bounded(name, &value, usize::MAX)?,
            "limit" => self.limit = bounded(name, &value, MOST)?,
            "fields" => {
                let groups = value.split(',').map(|group| group.trim().to_owned());
                self.groups = Some(groups.collect());
            }
            "orderBy" => {
                self.oldest_first = match value.as_str() {
                    "timestamp.asc" => true,
                    "timestamp.desc" => false,
                    order => {
                        let supported = &["timestamp.asc", "timestamp.desc"];
                        return Err(unsupported("the order", order, supported));
                    }
                };
            }
            _ => return Err(unsupported("the parameter", name, PARAMETERS)),
        }
        Ok(())
    }

    fn matches(&self, trace: &Value) -> bool {
        let start = time::parse(text(trace, "timestamp")).unwrap_or_default();
        let session = self.session_id.as_ref();
        session.is_none_or(|session| trace["sessionId"] == **session)
            && self.from.is_none_or(|from| start >= from)
            && self.to.is_none_or(|to| start < to)
    }

    /// A trace as lists show it: its observations by id only, without the groups of fields that were not requested.
    fn listed(&self, mut trace: Value) -> Value {
        let wants = |group: &str| {
            let groups = self.groups.as_ref();
            groups.is_none_or(|groups| groups.iter().any(|wanted| wanted == group))
        };
        trace["observations"] = match trace["observations"].take() {
            Value::Array(observations) if wants("observations") => observations
                .into_iter()
                .map(|mut row| row["id"].take())
                .collect(),
            _ => json!([]),
        };
        if let (Value::Object(fields), false) = (&mut trace, wants("io")) {
            fields.retain(|name, _| !["input", "output", "metadata"].contains(&name.as_str()));
        }
        if !wants("metrics") {
            (trace["latency"], trace["totalCost"]) = (json!(-1), json!(-1));
        }
        trace
    }
}

impl ReadQuery for TracesQuery {
    /// One page of the matching traces, and how many there are in all.
    fn answer(&self, traces: impl Iterator<Item = Vec<Observation>>) -> Value {
        let mut found: Vec<Value> = traces
            .filter_map(legacy::trace)
            .filter(|trace| self.matches(trace))
            .collect();
        found.sort_by(|a, b| {
            let by = |field| text(a, field).cmp(text(b, field));
            by("timestamp").then_with(|| by("id"))
        });
        if !self.oldest_first {
            found.reverse();
        }
        let total = found.len();
        let start = (self.page - 1).saturating_mul(self.limit);
        let page = found.into_iter().skip(start).take(self.limit);
        json!({
            "data": page.map(|trace| self.listed(trace)).collect::<Value>(),
            "meta": {
                "page": self.page, "limit": self.limit, "totalItems": total, "totalPages": total.div_ceil(self.limit),
            },
        })
    }
}

fn text<'a>(trace: &'a Value, field: &str) -> &'a str {
    trace[field].as_str().unwrap_or_default()
}
