//! `GET /api/public/models`: the price table, page by page. A real Langfuse has some 170 models; the sandbox has one of
//! its own and a few of the server's, with plain prices, pricing tiers and a price by `total`.
//!
//! No cost is computed from them here.

use serde_json::{Value, json};

use super::reading::bounded;

/// Models in the API's form, US dollars for each unit; the project's own come first, as in Langfuse.
const MODELS: &str = include_str!("prices.json");
/// Models of one page, at most, and unless the query says otherwise.
const MOST: usize = 100;
const DEFAULT: usize = 50;

/// One page of the models; the error is the body of a 400 answer.
pub fn page(parameters: &[(String, String)]) -> Result<Value, Value> {
    let number = |name: &str, default: usize, most: usize| {
        let given = parameters.iter().find(|(given, _)| given == name);
        given.map_or(Ok(default), |(_, value)| bounded(name, value, most))
    };
    let page = number("page", 1, usize::MAX)?;
    let limit = number("limit", DEFAULT, MOST)?;
    let models: Vec<Value> = serde_json::from_str(MODELS).unwrap_or_default();
    let total = models.len();
    let start = (page - 1).saturating_mul(limit);
    Ok(json!({
        "data": models.into_iter().skip(start).take(limit).collect::<Value>(),
        "meta": {"page": page, "limit": limit, "totalItems": total, "totalPages": total.div_ceil(limit)},
    }))
}
