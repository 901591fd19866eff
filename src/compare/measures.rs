//! Latency, tokens and cost of two runs, over the same items.

use serde::Serialize;

use crate::compare::change::ItemPair;
use crate::compare::run::{ComparedRun, Item, TokenCounts};

/// What the items of a run took.
#[derive(Clone, Debug, Default)]
pub struct Measures {
    /// `None` if no latency is known.
    pub latency: Option<LatencyPercentiles>,
    /// `None` if no usage is known.
    pub tokens: Option<TokenCounts>,
    /// In US dollars; `None` if no cost is known.
    pub cost: Option<f64>,
}

/// In milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LatencyPercentiles {
    pub p50: u32,
    pub p95: u32,
}

impl Measures {
    /// The measures of both runs, over the items that both answered and for which both know the value. Where there are
    /// no such items, over those that the one run knows.
    pub fn of_both(a: &ComparedRun, b: &ComparedRun, pairs: &[ItemPair]) -> (Self, Self) {
        let answered = pairs.iter().filter(|pair| b.cause(pair.b).is_none());
        let items: Vec<(&Item, &Item)> = answered
            .map(|pair| (a.item(pair.a), b.item(pair.b)))
            .collect();
        let latencies = known_in_both(&items, |item| item.latency_ms);
        let tokens = known_in_both(&items, |item| item.tokens);
        let costs = known_in_both(&items, |item| item.cost);
        (
            Self::of(latencies.0, &tokens.0, &costs.0),
            Self::of(latencies.1, &tokens.1, &costs.1),
        )
    }

    fn of(mut latencies: Vec<u32>, tokens: &[TokenCounts], costs: &[f64]) -> Self {
        latencies.sort_unstable();
        let sum = |counts: TokenCounts, next: &TokenCounts| TokenCounts {
            input: counts.input.saturating_add(next.input),
            output: counts.output.saturating_add(next.output),
        };
        Self {
            latency: LatencyPercentiles::of(&latencies),
            tokens: (!tokens.is_empty()).then(|| tokens.iter().fold(TokenCounts::default(), sum)),
            cost: (!costs.is_empty()).then(|| costs.iter().sum()),
        }
    }
}

/// The values of the items for which both runs know them. If there are no such items, all values that each run knows.
fn known_in_both<T>(
    items: &[(&Item, &Item)],
    value: impl Fn(&Item) -> Option<T>,
) -> (Vec<T>, Vec<T>) {
    let both = items.iter().filter_map(|(a, b)| value(a).zip(value(b)));
    let (of_a, of_b): (Vec<T>, Vec<T>) = both.unzip();
    if !of_a.is_empty() {
        return (of_a, of_b);
    }
    (
        items.iter().filter_map(|(a, _)| value(a)).collect(),
        items.iter().filter_map(|(_, b)| value(b)).collect(),
    )
}

impl LatencyPercentiles {
    /// By the nearest rank; `sorted` is in ascending order.
    fn of(sorted: &[u32]) -> Option<Self> {
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            sorted.get(rank.checked_sub(1)?).copied()
        };
        Some(Self {
            p50: at(50)?,
            p95: at(95)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let of = |count: u32| {
            let times: Vec<u32> = (1..=count).collect();
            LatencyPercentiles::of(&times).map(|times| (times.p50, times.p95))
        };
        assert_eq!(of(0), None);
        assert_eq!(of(1), Some((1, 1)));
        assert_eq!(of(4), Some((2, 4)));
        assert_eq!(of(100), Some((50, 95)));
    }
}
