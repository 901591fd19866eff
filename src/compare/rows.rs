//! The rows of the comparison that people read: each expectation, then latency, tokens and cost.

use crate::compare::change::{ExpectationChange, Share};
use crate::compare::comparison::RunComparison;
use crate::compare::measures::Measures;
use crate::compare::run::TokenCounts;
use crate::output::units::{dollars, time};

/// Shown for an unknown value.
const UNKNOWN: &str = "-";
/// Shown if nothing changed.
const SAME: &str = "=";

/// One row.
#[derive(Debug)]
pub struct ComparedRow {
    pub name: String,
    /// The same in few columns.
    pub short_name: String,
    pub a: String,
    pub b: String,
    /// What changed from A to B.
    pub change: String,
    /// The same in few columns.
    pub short_change: String,
}

impl ComparedRow {
    /// A row of two numbers, where they are known.
    fn of_numbers(
        [name, short_name]: [&str; 2],
        values: [Option<f64>; 2],
        text: impl Fn(f64) -> String,
    ) -> Self {
        let [a, b] = values.map(|value| value.map_or_else(|| UNKNOWN.to_owned(), &text));
        let change = match values {
            [Some(a), Some(b)] => percentage(a, b),
            _ => String::new(),
        };
        Self {
            name: name.to_owned(),
            short_name: short_name.to_owned(),
            a,
            b,
            short_change: change.clone(),
            change,
        }
    }

    fn of_expectation(expectation: &ExpectationChange) -> Self {
        let ExpectationChange {
            name,
            a,
            b,
            regressed,
            fixed,
        } = expectation;
        let (change, short_change) = match (regressed, fixed) {
            _ if a.of == 0 => ("only in B".to_owned(), "new".to_owned()),
            _ if b.of == 0 => ("only in A".to_owned(), "gone".to_owned()),
            (0, 0) => (SAME.to_owned(), SAME.to_owned()),
            (missed, 0) => (format!("{missed} missed"), format!("-{missed}")),
            (0, met) => (format!("{met} met"), format!("+{met}")),
            (missed, met) => (
                format!("{missed} missed, {met} met"),
                format!("-{missed} +{met}"),
            ),
        };
        Self {
            name: name.clone(),
            short_name: name.clone(),
            a: percent_met(*a),
            b: percent_met(*b),
            change,
            short_change,
        }
    }
}

/// All rows.
pub fn rows(comparison: &RunComparison<'_>) -> Vec<ComparedRow> {
    let expectations = comparison.expectations.iter();
    let expectations = expectations.map(ComparedRow::of_expectation);
    let (a, b) = (&comparison.measures_a, &comparison.measures_b);
    expectations.chain(measures(a, b)).collect()
}

fn measures(a: &Measures, b: &Measures) -> Vec<ComparedRow> {
    let latencies = [a.latency, b.latency];
    let tokens = [a.tokens, b.tokens];
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "they were whole numbers"
    )]
    let of_latency = |milliseconds: f64| time(milliseconds as u64);
    #[expect(clippy::cast_precision_loss, reason = "numbers for people")]
    let of_tokens = |count: fn(TokenCounts) -> u64| {
        tokens.map(|tokens| tokens.map(|tokens| count(tokens) as f64))
    };
    let whole = |number: f64| format!("{number:.0}");
    vec![
        ComparedRow::of_numbers(
            ["latency p50", "p50"],
            latencies.map(|latency| latency.map(|times| times.p50.into())),
            of_latency,
        ),
        ComparedRow::of_numbers(
            ["latency p95", "p95"],
            latencies.map(|latency| latency.map(|times| times.p95.into())),
            of_latency,
        ),
        ComparedRow::of_numbers(["tokens in", "in"], of_tokens(|tokens| tokens.input), whole),
        ComparedRow::of_numbers(
            ["tokens out", "out"],
            of_tokens(|tokens| tokens.output),
            whole,
        ),
        ComparedRow::of_numbers(["cost", "cost"], [a.cost, b.cost], dollars),
    ]
}

/// The share as a percentage, rounded. It is only 100 % if all are met.
pub fn percent_met(share: Share) -> String {
    let Share { met, of } = share;
    let tenths = (met * 1000 + of / 2).checked_div(of);
    tenths.map_or_else(
        || UNKNOWN.to_owned(),
        |tenths| {
            let most = if met < of { 999 } else { 1000 };
            let tenths = tenths.min(most);
            format!("{}.{}%", tenths / 10, tenths % 10)
        },
    )
}

/// The change from `a` to `b` in percent.
fn percentage(a: f64, b: f64) -> String {
    if a.total_cmp(&b).is_eq() {
        return SAME.to_owned();
    }
    if a == 0.0 {
        return String::new();
    }
    format!("{:+.1}%", (b - a) / a * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_are_a_hundred_percent() {
        let text = |met, of| percent_met(Share { met, of });
        assert_eq!(text(1_000_000, 1_000_000), "100.0%");
        assert_eq!(text(999_999, 1_000_000), "99.9%");
        assert_eq!(text(114, 120), "95.0%");
        assert_eq!((text(4, 6), text(1, 3)), ("66.7%".into(), "33.3%".into()));
        assert_eq!(text(0, 0), "-");
    }

    #[test]
    fn a_change_has_its_sign() {
        assert_eq!(percentage(200.0, 150.0), "-25.0%");
        assert_eq!(percentage(0.001, 0.0011), "+10.0%");
        assert_eq!(percentage(3.0, 3.0), "=");
        assert_eq!(percentage(0.0, 3.0), "");
    }
}
