//! What many values of a measure add up to.

use std::collections::HashSet;

use serde_json::Value;

use crate::sandbox::ingest::double;

/// Every aggregation that a query may name.
pub const AGGREGATIONS: [&str; 12] = [
    "sum",
    "avg",
    "count",
    "max",
    "min",
    "p50",
    "p75",
    "p90",
    "p95",
    "p99",
    "histogram",
    "uniq",
];

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregation {
    Count,
    Distinct,
    Sum,
    Mean,
    Least,
    Most,
    /// The value below which this share of all lies.
    Quantile(f64),
}

impl Aggregation {
    /// `None` for one that the sandbox lacks.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "count" => Self::Count,
            "uniq" => Self::Distinct,
            "sum" => Self::Sum,
            "avg" => Self::Mean,
            "min" => Self::Least,
            "max" => Self::Most,
            "p50" => Self::Quantile(0.5),
            "p75" => Self::Quantile(0.75),
            "p90" => Self::Quantile(0.9),
            "p95" => Self::Quantile(0.95),
            "p99" => Self::Quantile(0.99),
            _ => return None,
        })
    }

    /// Null when there is no value to tell from.
    pub fn of<'a>(self, values: impl Iterator<Item = &'a Value>) -> Value {
        let values = values.filter(|value| !value.is_null());
        match self {
            Self::Count => values.count().into(),
            Self::Distinct => values
                .map(Value::to_string)
                .collect::<HashSet<_>>()
                .len()
                .into(),
            _ => {
                let mut numbers: Vec<f64> = values.filter_map(Value::as_f64).collect();
                numbers.sort_by(f64::total_cmp);
                self.of_numbers(&numbers).map_or(Value::Null, double)
            }
        }
    }

    fn of_numbers(self, sorted: &[f64]) -> Option<f64> {
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let sum: f64 = sorted.iter().sum();
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact for any number of rows in memory"
        )]
        let count = sorted.len() as f64;
        Some(match self {
            Self::Mean => sum / count,
            Self::Least => least,
            Self::Most => most,
            Self::Quantile(share) => quantile(sorted, share * (count - 1.0)),
            Self::Count | Self::Distinct | Self::Sum => sum,
        })
    }
}

/// Between two values in proportion.
fn quantile(sorted: &[f64], place: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in the list"
    )]
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_aggregation_of_some_numbers() {
        let values = [json!(4), json!(1), Value::Null, json!(2.5), json!(1)];
        for (name, expected) in [
            ("count", json!(4)),
            ("uniq", json!(3)),
            ("sum", json!(8.5)),
            ("avg", json!(2.125)),
            ("min", json!(1)),
            ("max", json!(4)),
            ("p50", json!(1.75)),
            ("p99", json!(3.955)),
        ] {
            let aggregated = Aggregation::named(name).unwrap().of(values.iter());
            let (got, expected) = (aggregated.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!((got - expected).abs() < 1e-9, "{name}: {got}");
        }
    }

    #[test]
    fn nothing_adds_up_to_nothing() {
        let none = |name| Aggregation::named(name).unwrap().of([Value::Null].iter());
        assert_eq!(none("count"), 0);
        assert_eq!(none("uniq"), 0);
        assert_eq!(none("avg"), Value::Null);
    }
}
