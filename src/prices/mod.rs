//! The cost of a call, computed from the price table of a Langfuse project as the server computes it.
//!
//! Pure functions. `langfuse` fetches the table, `app` keeps it on disk. The rules are those that Langfuse 4.16 follows:
//! the project's own models before the server's, then those with the latest start date, which is not compared with the
//! time of the call; the first pattern that matches; the first pricing tier with all conditions met, else the default
//! one; then the sum over all usage types that have a price, unless `total` has one.

mod pattern;
mod tier;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::OnceLock;

use regex_lite::Regex;
use serde_json::{Map, Value};

use pattern::postgres_regex;
use tier::Tier;

/// The parts of a call that its cost depends on.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The model as it is on the span.
    pub model: &'a str,
    /// The number of tokens of each usage type, as they are on the span.
    pub usage: &'a [(&'a str, u64)],
    /// Gives the model parameters, as they are on the span. Few models have prices that depend on them.
    pub parameters: &'a dyn Fn() -> Map<String, Value>,
    pub metadata: &'a [(String, String)],
}

/// The models of a project with their prices, in the order in which they are tried.
#[derive(Debug)]
pub struct PriceTable {
    models: Vec<Model>,
    /// The place in `models` of each name that was looked up, or why it has none.
    found: RefCell<HashMap<String, Result<usize, String>>>,
}

/// The most names whose place is remembered.
const MOST_NAMES: usize = 1000;

#[derive(Debug)]
struct Model {
    name: String,
    pattern: String,
    /// Compiled when it is first needed.
    regex: OnceLock<Result<Regex, String>>,
    tiers: Vec<Tier>,
}

impl PriceTable {
    /// Reads the rows of `GET /api/public/models`. A row without a pattern is skipped.
    pub fn from_rows(rows: &[Value]) -> Self {
        let mut rows: Vec<&Value> = rows.iter().collect();
        // The sort is stable: models that are equal here stay in the server's order.
        rows.sort_by_key(|row| {
            let is_managed = row["isLangfuseManaged"] == true;
            let start = row["startDate"].as_str().unwrap_or_default();
            (is_managed, std::cmp::Reverse(start.to_owned()))
        });
        let models = rows.into_iter().filter_map(Model::from_row);
        Self {
            models: models.collect(),
            found: RefCell::default(),
        }
    }

    /// The cost of a call, in US dollars.
    ///
    /// # Errors
    /// Why the cost is not known, in a few words.
    pub fn cost(&self, call: &Call<'_>) -> Result<f64, String> {
        let (model, tier) = self.tier(call)?;
        let cost = tier.cost(call.usage);
        cost.map(without_noise).ok_or_else(|| model.no_price())
    }

    /// The cost of each usage type of a call and their total, in US dollars, times `share`.
    ///
    /// # Errors
    /// Why the cost is not known, in a few words.
    pub fn cost_details(&self, call: &Call<'_>, share: f64) -> Result<Map<String, Value>, String> {
        let (model, tier) = self.tier(call)?;
        let mut costs = tier.costs(call.usage);
        if costs.is_empty() {
            return Err(model.no_price());
        }
        let total = costs.iter().map(|(_, cost)| cost).sum();
        costs.retain(|(name, _)| *name != "total");
        costs.push(("total", total));
        let details = costs.into_iter();
        Ok(details
            .map(|(name, cost)| (name.to_owned(), without_noise(cost * share).into()))
            .collect())
    }

    fn tier(&self, call: &Call<'_>) -> Result<(&Model, &Tier), String> {
        let model = self.model(call.model)?;
        match tier::matching(&model.tiers, call)? {
            Some(tier) => Ok((model, tier)),
            None => Err(format!("the model {} has no prices", model.name)),
        }
    }

    fn model(&self, name: &str) -> Result<&Model, String> {
        let known = self.found.borrow().get(name).cloned();
        let place = known.unwrap_or_else(|| {
            let place = self.place(name);
            let mut found = self.found.borrow_mut();
            if found.len() < MOST_NAMES {
                found.insert(name.to_owned(), place.clone());
            }
            place
        })?;
        Ok(&self.models[place])
    }

    /// The place of the first model with a pattern that matches `name`.
    fn place(&self, name: &str) -> Result<usize, String> {
        for (place, model) in self.models.iter().enumerate() {
            if model.matches(name)? {
                return Ok(place);
            }
        }
        Err(format!("the price table has no model {name}"))
    }
}

impl Model {
    fn no_price(&self) -> String {
        format!("the model {} has no price for this usage", self.name)
    }

    fn from_row(row: &Value) -> Option<Self> {
        Some(Self {
            name: row["modelName"].as_str().unwrap_or_default().to_owned(),
            pattern: row["matchPattern"].as_str()?.to_owned(),
            regex: OnceLock::new(),
            tiers: Tier::of_model(row),
        })
    }

    /// Fails if the pattern is not supported: the next model that matches could have other prices.
    fn matches(&self, model: &str) -> Result<bool, String> {
        let regex = self.regex.get_or_init(|| postgres_regex(&self.pattern));
        match regex {
            Ok(regex) => Ok(regex.is_match(model)),
            Err(error) => Err(format!(
                "the pattern of the model {} is not supported: {error}",
                self.name
            )),
        }
    }
}

/// A cost without the digits that binary fractions add: to a millionth of a millionth of a dollar.
fn without_noise(cost: f64) -> f64 {
    const STEPS: f64 = 1e12;
    (cost * STEPS).round() / STEPS
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn counts(usage: &Value) -> Vec<(&str, u64)> {
        let usage = usage.as_object().unwrap().iter();
        usage
            .map(|(name, count)| (name.as_str(), count.as_u64().unwrap()))
            .collect()
    }

    fn cost_of(table: &PriceTable, model: &str, usage: &Value) -> Result<f64, String> {
        cost_with(table, model, usage, &json!({}))
    }

    fn cost_with(
        table: &PriceTable,
        model: &str,
        usage: &Value,
        parameters: &Value,
    ) -> Result<f64, String> {
        table.cost(&Call {
            model,
            usage: &counts(usage),
            parameters: &|| parameters.as_object().unwrap().clone(),
            metadata: &[("team".to_owned(), "blue".to_owned())],
        })
    }

    fn model(name: &str, pattern: &str, input: f64) -> Value {
        json!({"modelName": name, "matchPattern": pattern, "isLangfuseManaged": true, "prices": {"input": {"price": input}}})
    }

    fn fixture(name: &str) -> Value {
        let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/");
        let text = std::fs::read_to_string(format!("{tests}{name}")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Rows as a Langfuse 4.16 computed them, with its own price table.
    #[test]
    fn costs_equal_those_of_langfuse() {
        let table = PriceTable::from_rows(
            fixture("langfuse-prices.json")["models"]
                .as_array()
                .unwrap(),
        );
        let costs = fixture("langfuse-costs.json");
        let costs = costs["costs"].as_array().unwrap();
        assert!(costs.len() >= 8, "{}", costs.len());
        for case in costs {
            let cost = cost_of(
                &table,
                case["model"].as_str().unwrap(),
                &case["usageDetails"],
            );
            match case["totalCost"].as_f64().filter(|cost| *cost > 0.0) {
                Some(expected) => {
                    let cost = cost.unwrap();
                    assert!((cost / expected - 1.0).abs() < 1e-6, "{case}: {cost}");
                }
                None => assert!(cost.is_err(), "{case}: {cost:?}"),
            }
        }
    }

    #[test]
    fn every_pattern_of_the_server_is_supported() {
        let fixture = fixture("langfuse-prices.json");
        let rows = fixture["models"].as_array().unwrap();
        let table = PriceTable::from_rows(rows);
        let error = table.model("no pattern matches this").unwrap_err();
        assert_eq!(
            error,
            "the price table has no model no pattern matches this"
        );
    }

    #[test]
    fn own_models_come_first_then_the_latest_start() {
        let mut own = model("own", "^m$", 3.0);
        own["isLangfuseManaged"] = false.into();
        let mut later = model("later", "^(m|n)$", 4.0);
        later["startDate"] = "2025-01-01T00:00:00.000Z".into();
        let rows = [
            model("a", "^(m|n|o)$", 1.0),
            model("b", "^o$", 2.0),
            later,
            own,
        ];
        let table = PriceTable::from_rows(&rows);
        for (model, expected) in [("m", 3.0), ("n", 4.0), ("o", 1.0)] {
            let cost = cost_of(&table, model, &json!({"input": 1}));
            assert_eq!(cost, Ok(expected), "{model}");
        }
    }

    #[test]
    fn an_unknown_price_is_not_zero() {
        let mut empty = model("empty", "^empty$", 0.0);
        empty["prices"] = json!({});
        let rows = [
            model("own", "^own$", 1.0),
            empty,
            model("strange", "(?!x)", 1.0),
        ];
        let table = PriceTable::from_rows(&rows);
        let usage = json!({"output": 5, "total": 5});
        for (model, why) in [
            ("own", "no price for this usage"),
            ("empty", "no price"),
            ("other", "look-around"),
        ] {
            let error = cost_of(&table, model, &usage).unwrap_err();
            assert!(error.contains(why), "{model}: {error}");
        }
        assert_eq!(cost_of(&table, "own", &json!({"input": 0})), Ok(0.0));
    }

    #[test]
    fn a_price_of_the_total_excludes_all_others() {
        let mut row = model("m", "m", 1.0);
        row["prices"] = json!({"input": 1, "total": "0.5"});
        let table = PriceTable::from_rows(&[row]);
        let cost = cost_of(&table, "m", &json!({"input": 3, "total": 4}));
        assert_eq!(cost, Ok(2.0));
    }

    #[test]
    fn details_are_the_shares_of_each_usage_type() {
        let mut row = model("m", "^m$", 1.0);
        row["prices"] = json!({"input": 2, "input_cached_tokens": 1, "output": 8});
        let mut whole = model("t", "^t$", 1.0);
        whole["prices"] = json!({"input": 1, "total": 0.5});
        let table = PriceTable::from_rows(&[row, whole]);
        let details = |model: &str, usage: Value| {
            let call = Call {
                model,
                usage: &counts(&usage),
                parameters: &Map::new,
                metadata: &[],
            };
            table.cost_details(&call, 0.5).map(Value::from)
        };
        let usage = json!({"input": 3, "input_cached_tokens": 4, "output": 5, "total": 12});
        assert_eq!(
            details("m", usage.clone()),
            Ok(json!({"input": 3.0, "input_cached_tokens": 2.0, "output": 20.0, "total": 25.0}))
        );
        assert_eq!(details("t", usage.clone()), Ok(json!({"total": 3.0})));
        assert!(details("m", json!({"audio": 1})).is_err());
        assert!(details("x", usage).is_err());
    }

    #[test]
    fn tiers_apply_when_all_their_conditions_are_met() {
        let tier = |name: &str, priority: u64, price: f64, conditions: Value| json!({"name": name, "isDefault": priority == 0, "priority": priority, "conditions": conditions, "prices": {"input": price}});
        let flex = json!({"key": "service_tier", "source": "model_parameters", "values": ["flex"], "operator": "in"});
        let large = json!({"usageDetailPattern": "(INPUT|cached)", "operator": "gt", "value": 1000, "caseSensitive": false});
        let team = json!({"key": "team", "source": "metadata", "values": ["red", "green"]});
        let blue = json!({"key": "team", "source": "metadata", "values": ["blue"]});
        let exact = json!({"usageDetailPattern": "^INPUT$", "operator": "gte", "value": 1, "caseSensitive": true});
        let mut row = model("m", "m", 9.0);
        row["pricingTiers"] = json!([
            tier("red", 5, 7.0, json!([team])),
            tier("large", 4, 4.0, json!([large])),
            tier("flex", 3, 3.0, json!([flex])),
            tier("default", 0, 1.0, json!([])),
            tier("both", 1, 2.0, json!([flex, large])),
            tier("exact", 2, 8.0, json!([exact])),
            tier("none", 6, 6.0, json!([])),
            tier(
                "blue",
                7,
                5.0,
                json!([blue, {"usageDetailPattern": "input", "operator": "eq", "value": 7}])
            ),
        ]);
        let table = PriceTable::from_rows(&[row]);
        for (input, service_tier, price) in [
            (1000_u32, None, 1.0),
            (1001, None, 4.0),
            (1001, Some("flex"), 2.0),
            (10, Some("flex"), 3.0),
            (10, Some("priority"), 1.0),
            (7, None, 5.0),
        ] {
            let usage = json!({"input": input, "total": input});
            let parameters = json!({"service_tier": service_tier});
            let cost = cost_with(&table, "m", &usage, &parameters);
            assert_eq!(
                cost,
                Ok(price * f64::from(input)),
                "{input} {service_tier:?}"
            );
        }
    }
}
