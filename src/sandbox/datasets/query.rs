//! The lists of datasets and of items: their queries and their pages. No I/O.

use serde_json::{Value, json};

use crate::sandbox::reading::{bounded, timestamp};
use crate::sandbox::time::Millis;

const DEFAULT_LIMIT: usize = 50;
const MOST: usize = 100;

/// Which page of a list is asked for.
#[derive(Debug)]
pub struct Paging {
    page: usize,
    limit: usize,
}

impl Paging {
    /// Reads the parameters; the error is the body of a 400 answer.
    pub fn read(parameters: &[(String, String)]) -> Result<Self, Value> {
        let number = |name: &str, default: usize, most: usize| {
            named(parameters, name).map_or(Ok(default), |value| bounded(name, value, most))
        };
        Ok(Self {
            page: number("page", 1, usize::MAX)?,
            limit: number("limit", DEFAULT_LIMIT, MOST)?,
        })
    }

    /// The page of `found`, with the size of the whole.
    pub fn answer(&self, found: impl ExactSizeIterator<Item = Value>) -> Value {
        let total = found.len();
        let start = (self.page - 1).saturating_mul(self.limit);
        json!({
            "data": found.skip(start).take(self.limit).collect::<Value>(),
            "meta": {
                "page": self.page, "limit": self.limit, "totalItems": total, "totalPages": total.div_ceil(self.limit),
            },
        })
    }
}

/// A query of items.
#[derive(Debug)]
pub struct ItemsQuery {
    pub dataset_name: Option<String>,
    /// The items as they were at this time.
    pub version: Option<Millis>,
    pub source_trace_id: Option<String>,
    pub source_observation_id: Option<String>,
    pub paging: Paging,
}

impl ItemsQuery {
    /// Reads the parameters; the error is the body of a 400 answer.
    pub fn read(parameters: &[(String, String)]) -> Result<Self, Value> {
        let text = |name: &str| named(parameters, name).map(ToOwned::to_owned);
        let version = named(parameters, "version");
        Ok(Self {
            dataset_name: text("datasetName"),
            version: version
                .map(|value| timestamp("version", value))
                .transpose()?,
            source_trace_id: text("sourceTraceId"),
            source_observation_id: text("sourceObservationId"),
            paging: Paging::read(parameters)?,
        })
    }
}

fn named<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = parameters.iter().find(|(given, _)| given == name);
    found.map(|(_, value)| value.as_str())
}
