//! `GET /api/public/traces` as servers before v4 answer it: traces page by page. Pure functions over what the store
//! gave.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::legacy;
use super::part::{Part, bounded, invalid};
use crate::sandbox::observation::Observation;
use crate::sandbox::time::{self, Millis};

/// The most traces of one page.
const MOST: usize = 100;
/// The fields by which the list can be ordered.
const ORDERED_BY: [&str; 9] = [
    "id",
    "timestamp",
    "name",
    "userId",
    "release",
    "version",
    "public",
    "bookmarked",
    "sessionId",
];

/// A query that was understood.
#[derive(Debug)]
pub struct Query {
    /// Field and wanted value.
    equal: Vec<(&'static str, String)>,
    environments: Vec<String>,
    /// A trace has all of them.
    tags: Vec<String>,
    from: Option<Millis>,
    to: Option<Millis>,
    order: (String, bool),
    page: usize,
    limit: usize,
    /// The groups of fields to give; all when none is named.
    groups: Option<Vec<String>>,
}

impl Query {
    /// Reads the parameters; the error is the body of a 400 answer.
    pub fn read(parameters: &[(String, String)]) -> Result<Self, Value> {
        let mut query = Self {
            equal: Vec::new(),
            environments: Vec::new(),
            tags: Vec::new(),
            from: None,
            to: None,
            order: ("timestamp".to_owned(), true),
            page: 1,
            limit: 50,
            groups: None,
        };
        for (name, value) in parameters {
            query.set(name, value)?;
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Value> {
        const PLAIN: [&str; 5] = ["userId", "name", "sessionId", "version", "release"];
        let text = Value::from(value);
        let part = Part::of_parameter(name, &text);
        match name {
            "page" => self.page = bounded(name, value, usize::MAX)?,
            "limit" => self.limit = bounded(name, value, MOST)?,
            "fromTimestamp" => self.from = Some(part.time()?),
            "toTimestamp" => self.to = Some(part.time()?),
            "environment" => self.environments.push(value.to_owned()),
            "tags" => self.tags.push(value.to_owned()),
            "fields" => {
                self.groups = Some(
                    value
                        .split(',')
                        .map(|group| group.trim().to_owned())
                        .collect(),
                );
            }
            "orderBy" => self.order = order(value)?,
            "filter" => return Err(part.unsupported()),
            _ => {
                let plain = PLAIN.into_iter().find(|plain| *plain == name);
                self.equal
                    .extend(plain.map(|plain| (plain, value.to_owned())));
            }
        }
        Ok(())
    }

    /// One page of those of `traces` that match, and how many there are in all.
    pub fn answer(&self, traces: impl Iterator<Item = Vec<Observation>>) -> Value {
        let mut found: Vec<Value> = traces
            .filter_map(legacy::trace)
            .filter(|trace| self.matches(trace))
            .collect();
        found.sort_by(|a, b| self.compare(a, b));
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

    fn matches(&self, trace: &Value) -> bool {
        let time = trace["timestamp"]
            .as_str()
            .and_then(time::parse)
            .unwrap_or_default();
        let has = |tag: &String| {
            trace["tags"]
                .as_array()
                .is_some_and(|tags| tags.contains(&tag.as_str().into()))
        };
        let environment = trace["environment"].as_str().unwrap_or_default();
        self.equal
            .iter()
            .all(|(field, wanted)| trace[*field] == **wanted)
            && (self.environments.is_empty()
                || self.environments.iter().any(|wanted| wanted == environment))
            && self.tags.iter().all(has)
            && self.from.is_none_or(|from| time >= from)
            && self.to.is_none_or(|to| time < to)
    }

    fn compare(&self, a: &Value, b: &Value) -> Ordering {
        let (field, descends) = &self.order;
        let key = |trace: &Value| trace[field].as_str().map(str::to_owned);
        // Pages need one order of all.
        let order = key(a)
            .cmp(&key(b))
            .then_with(|| a["id"].as_str().cmp(&b["id"].as_str()));
        if *descends { order.reverse() } else { order }
    }

    /// A trace as lists give it: what else belongs to it by id alone, and nothing of the groups that were not asked for.
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

/// A field and whether it descends.
fn order(value: &str) -> Result<(String, bool), Value> {
    let (field, direction) = value
        .split_once('.')
        .ok_or_else(|| invalid("Invalid order by format. Use the format [field].[asc/desc]"))?;
    let text = (Value::from(field), Value::from(direction));
    let field = Part::of_parameter("orderBy", &text.0)
        .one_of(&ORDERED_BY)?
        .to_owned();
    let direction = Part::of_parameter("orderBy", &text.1).one_of(&["asc", "desc"])?;
    Ok((field, direction == "desc"))
}
