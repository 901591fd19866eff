//! `GET /api/public/v3/scores`: its query and its pages. Pure functions over the stored scores.

use serde_json::{Value, json};

use super::score::{ScoreSubject, StoredScore};
use crate::sandbox::reading::{bounded, field_groups, refused};

/// The groups of fields.
const GROUPS: [&str; 4] = ["core", "details", "subject", "annotation"];
const DEFAULT_LIMIT: usize = 50;
const MOST: usize = 100;

/// A query of v3 scores.
#[derive(Debug, Default)]
pub struct ScoresQuery {
    pub id: Option<String>,
    pub trace_id: Option<String>,
    observation_id: Option<String>,
    session_id: Option<String>,
    experiment_id: Option<String>,
    name: Option<String>,
    limit: usize,
    /// The number of scores on earlier pages.
    start: usize,
    groups: Vec<String>,
}

impl ScoresQuery {
    /// Reads the parameters; the error is the body of a 400 answer.
    pub fn read(parameters: Vec<(String, String)>) -> Result<Self, Value> {
        let mut query = Self {
            limit: DEFAULT_LIMIT,
            ..Self::default()
        };
        let mut unknown = Vec::new();
        for (name, value) in parameters {
            match name.as_str() {
                "id" => query.id = Some(value),
                "traceId" => query.trace_id = Some(value),
                "observationId" => query.observation_id = Some(value),
                "sessionId" => query.session_id = Some(value),
                "experimentId" => query.experiment_id = Some(value),
                "name" => query.name = Some(value),
                "limit" => query.limit = bounded(&name, &value, MOST)?,
                "cursor" => {
                    query.start = value.parse().map_err(|_| {
                        refused(&json!({"code": "custom", "path": ["cursor"], "message": "Invalid cursor"}))
                    })?;
                }
                "fields" => query.groups = field_groups(&value, &GROUPS)?,
                _ => unknown.push(name),
            }
        }
        if let Some(first) = unknown.first() {
            return Err(refused(&json!({
                "code": "unrecognized_keys", "keys": unknown, "path": [],
                "message": format!("Unrecognized key: \"{first}\""),
            })));
        }
        if query.observation_id.is_some() && query.trace_id.is_none() {
            return Err(refused(&json!({
                "code": "custom", "path": ["observationId"], "message": "observationId requires traceId",
            })));
        }
        Ok(query)
    }

    /// The page of the scores that fit.
    pub fn answer(&self, scores: &[StoredScore]) -> Value {
        let found: Vec<&StoredScore> = scores.iter().filter(|score| self.fits(score)).collect();
        let end = self.start.saturating_add(self.limit);
        let page = found.iter().skip(self.start).take(self.limit);
        let data: Value = page.map(|score| score.document(&self.groups)).collect();
        let mut meta = json!({"limit": self.limit});
        if found.len() > end {
            meta["cursor"] = end.to_string().into();
        }
        json!({"data": data, "meta": meta})
    }

    fn fits(&self, score: &StoredScore) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        let (session, experiment) = match &score.subject {
            ScoreSubject::Session { id } => (Some(id.as_str()), None),
            ScoreSubject::Experiment { id } => (None, Some(id.as_str())),
            _ => (None, None),
        };
        is(&self.id, Some(&score.id))
            && is(&self.name, Some(&score.name))
            && is(&self.trace_id, score.subject.trace_id())
            && is(&self.observation_id, score.subject.observation_id())
            && is(&self.session_id, session)
            && is(&self.experiment_id, experiment)
    }
}
