//! The pricing tiers of a model, and the conditions under which each applies.

use std::collections::BTreeMap;

use regex_lite::RegexBuilder;
use serde_json::Value;

use super::Call;

/// Prices, and when they apply.
#[derive(Debug)]
pub struct Tier {
    is_default: bool,
    priority: i64,
    conditions: Vec<Condition>,
    /// US dollars for each unit of a usage type.
    prices: BTreeMap<String, f64>,
}

#[derive(Debug)]
enum Condition {
    /// The sum of all usage types with a name that matches the pattern.
    Usage {
        pattern: String,
        is_case_sensitive: bool,
        operator: String,
        value: f64,
    },
    /// A top-level field of the model parameters or the metadata has one of the values.
    Field {
        is_metadata: bool,
        key: String,
        values: Vec<String>,
    },
}

/// The tier that applies to a call: by priority the first one that has conditions and meets all of them, else the
/// default one.
///
/// # Errors
/// If a condition has a pattern that is not supported.
pub fn matching<'a>(tiers: &'a [Tier], call: &Call<'_>) -> Result<Option<&'a Tier>, String> {
    let mut special: Vec<&Tier> = tiers.iter().filter(|tier| !tier.is_default).collect();
    special.sort_by_key(|tier| tier.priority);
    for tier in special {
        if tier.applies_to(call)? {
            return Ok(Some(tier));
        }
    }
    Ok(tiers.iter().find(|tier| tier.is_default))
}

impl Tier {
    /// The tiers of a row of the price table. Servers without tiers have one list of prices.
    pub fn of_model(row: &Value) -> Vec<Self> {
        match row["pricingTiers"].as_array() {
            Some(tiers) => tiers.iter().map(Self::from_json).collect(),
            None => vec![Self {
                is_default: true,
                priority: 0,
                conditions: Vec::new(),
                prices: prices(&row["prices"]),
            }],
        }
    }

    fn from_json(tier: &Value) -> Self {
        let conditions = tier["conditions"].as_array();
        Self {
            is_default: tier["isDefault"] == true,
            priority: tier["priority"].as_i64().unwrap_or_default(),
            conditions: conditions
                .into_iter()
                .flatten()
                .map(Condition::from_json)
                .collect(),
            prices: prices(&tier["prices"]),
        }
    }

    fn applies_to(&self, call: &Call<'_>) -> Result<bool, String> {
        for condition in &self.conditions {
            if !condition.is_met(call)? {
                return Ok(false);
            }
        }
        Ok(!self.conditions.is_empty())
    }

    /// The price of the total if there is one, else the sum over all usage types with a price; `None` if there are none.
    pub fn cost(&self, usage: &[(&str, u64)]) -> Option<f64> {
        let costs = self.costs(usage);
        (!costs.is_empty()).then(|| costs.iter().map(|(_, cost)| cost).sum())
    }

    /// The price of the total alone if there is one, else of each usage type that has a price.
    pub fn costs<'a>(&self, usage: &[(&'a str, u64)]) -> Vec<(&'a str, f64)> {
        let costs = usage.iter().filter_map(|(name, count)| {
            let price = self.prices.get(*name)?;
            Some((*name, price * as_number(*count)))
        });
        let costs: Vec<(&str, f64)> = costs.collect();
        match costs.iter().find(|(name, _)| *name == "total") {
            Some(total) => vec![*total],
            None => costs,
        }
    }
}

impl Condition {
    fn from_json(condition: &Value) -> Self {
        let text = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
        if let Some(source) = condition["source"].as_str() {
            let values = condition["values"].as_array().into_iter().flatten();
            return Self::Field {
                is_metadata: source != "model_parameters",
                key: text("key"),
                values: values
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
            };
        }
        Self::Usage {
            pattern: text("usageDetailPattern"),
            is_case_sensitive: condition["caseSensitive"] == true,
            operator: text("operator"),
            value: condition["value"].as_f64().unwrap_or_default(),
        }
    }

    fn is_met(&self, call: &Call<'_>) -> Result<bool, String> {
        match self {
            Self::Usage {
                pattern,
                is_case_sensitive,
                operator,
                value,
            } => {
                let sum = sum_of_matching(call.usage, pattern, *is_case_sensitive)?;
                Ok(compare(sum, operator, *value))
            }
            Self::Field {
                is_metadata,
                key,
                values,
            } => {
                let found = if *is_metadata {
                    let found = call.metadata.iter().find(|(name, _)| name == key);
                    found.map(|(_, value)| value.clone())
                } else {
                    (call.parameters)().get(key).map(plain_text)
                };
                Ok(found.is_some_and(|found| values.contains(&found)))
            }
        }
    }
}

fn sum_of_matching(
    usage: &[(&str, u64)],
    pattern: &str,
    is_case_sensitive: bool,
) -> Result<f64, String> {
    let regex = RegexBuilder::new(pattern)
        .case_insensitive(!is_case_sensitive)
        .build()
        .map_err(|error| format!("the pattern `{pattern}` is not supported: {error}"))?;
    let matching = usage.iter().filter(|(name, _)| regex.is_match(name));
    Ok(as_number(matching.map(|(_, count)| count).sum()))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no call has more tokens than a float holds"
)]
fn as_number(tokens: u64) -> f64 {
    tokens as f64
}

/// An unknown operator is never met, as in Langfuse.
#[expect(clippy::float_cmp, reason = "both are counts")]
fn compare(sum: f64, operator: &str, value: f64) -> bool {
    match operator {
        "gt" => sum > value,
        "gte" => sum >= value,
        "lt" => sum < value,
        "lte" => sum <= value,
        "eq" => sum == value,
        "neq" => sum != value,
        _ => false,
    }
}

/// A value as text, a string without its quotes.
fn plain_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Prices are numbers, numbers as text, or objects such as `{"price": 1.5e-07}`.
fn prices(prices: &Value) -> BTreeMap<String, f64> {
    let number = |price: &Value| price.as_f64().or_else(|| price.as_str()?.parse().ok());
    let prices = prices.as_object().into_iter().flatten();
    prices
        .filter_map(|(name, price)| {
            let price = number(price).or_else(|| number(price.get("price")?))?;
            Some((name.clone(), price))
        })
        .collect()
}
