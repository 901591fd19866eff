//! The comparison as a JSON document.

use serde::Serialize;

use crate::compare::change::{ChangeKind, ExpectationChange, ItemChange, Share};
use crate::compare::comparison::RunComparison;
use crate::compare::measures::{LatencyPercentiles, Measures};
use crate::compare::run::{ComparedRun, TokenCounts};
use crate::output::{ErrorReport, SCHEMA_VERSION};

/// The document of `compare -o json`.
#[derive(Debug, Serialize)]
pub struct ComparisonReport<'a> {
    schema_version: u32,
    ok: bool,
    command: &'static str,
    a: RunReport<'a>,
    b: RunReport<'a>,
    items: ItemCounts,
    expectations: Vec<ExpectationReport<'a>>,
    regressed: Vec<ChangedItem<'a>>,
    fixed: Vec<ChangedItem<'a>>,
    only_in_b: Vec<&'a str>,
    error: Option<ErrorReport>,
}

#[derive(Debug, Serialize)]
struct RunReport<'a> {
    name: &'a str,
    kind: &'static str,
    url: Option<&'a str>,
    dataset_id: Option<&'a str>,
    items: usize,
    latency_ms: Option<LatencyPercentiles>,
    tokens: Option<TokenReport>,
    cost: Option<f64>,
}

#[derive(Debug, Serialize)]
struct TokenReport {
    input: u64,
    output: u64,
}

#[derive(Debug, Serialize)]
struct ItemCounts {
    compared: usize,
    regressed: usize,
    fixed: usize,
    /// The regressed ones without an answer.
    failed: usize,
    only_in_b: usize,
}

#[derive(Debug, Serialize)]
struct ExpectationReport<'a> {
    name: &'a str,
    a: Option<ShareReport>,
    b: Option<ShareReport>,
    regressed: u64,
    fixed: u64,
}

#[derive(Debug, Serialize)]
struct ShareReport {
    met: u64,
    of: u64,
}

#[derive(Debug, Serialize)]
struct ChangedItem<'a> {
    id: &'a str,
    /// Met in A, missed in B.
    missed: Vec<&'a str>,
    /// Missed in A, met in B.
    met: Vec<&'a str>,
    /// Why B has no answer.
    failure: Option<&'a str>,
    a: TraceLinkReport,
    b: TraceLinkReport,
}

#[derive(Debug, Serialize)]
struct TraceLinkReport {
    trace_id: Option<String>,
    trace_url: Option<String>,
}

impl<'a> ComparisonReport<'a> {
    pub fn new(comparison: &'a RunComparison<'_>, error: Option<ErrorReport>) -> Self {
        let changed = |kind| -> Vec<ChangedItem<'a>> {
            let changes = comparison.changed(kind);
            changes
                .map(|change| ChangedItem::new(comparison, change))
                .collect()
        };
        let (regressed, fixed) = (changed(ChangeKind::Regressed), changed(ChangeKind::Fixed));
        let only_in_b = comparison.only_in_b.iter();
        Self {
            schema_version: SCHEMA_VERSION,
            ok: error.is_none(),
            command: "compare",
            a: RunReport::new(comparison.a, &comparison.measures_a),
            b: RunReport::new(comparison.b, &comparison.measures_b),
            items: ItemCounts {
                compared: comparison.pairs.len(),
                regressed: regressed.len(),
                fixed: fixed.len(),
                failed: regressed
                    .iter()
                    .filter(|item| item.failure.is_some())
                    .count(),
                only_in_b: comparison.only_in_b.len(),
            },
            expectations: comparison
                .expectations
                .iter()
                .map(ExpectationReport::new)
                .collect(),
            regressed,
            fixed,
            only_in_b: only_in_b.map(|index| comparison.b.key(*index)).collect(),
            error,
        }
    }
}

impl<'a> RunReport<'a> {
    fn new(run: &'a ComparedRun, measures: &Measures) -> Self {
        let tokens = measures.tokens;
        Self {
            name: &run.name,
            kind: run.kind.name(),
            url: run.url.as_deref(),
            dataset_id: run.datasets.first().map(String::as_str),
            items: run.len(),
            latency_ms: measures.latency,
            tokens: tokens.map(|TokenCounts { input, output }| TokenReport { input, output }),
            cost: measures.cost,
        }
    }
}

impl<'a> ExpectationReport<'a> {
    fn new(expectation: &'a ExpectationChange) -> Self {
        let share = |Share { met, of }| (of > 0).then_some(ShareReport { met, of });
        Self {
            name: &expectation.name,
            a: share(expectation.a),
            b: share(expectation.b),
            regressed: expectation.regressed,
            fixed: expectation.fixed,
        }
    }
}

impl<'a> ChangedItem<'a> {
    fn new(comparison: &'a RunComparison<'_>, change: &'a ItemChange) -> Self {
        let pair = change.pair;
        Self {
            id: comparison.a.key(pair.a),
            missed: comparison.names(&change.missed).collect(),
            met: comparison.names(&change.met).collect(),
            failure: comparison.b.cause(pair.b),
            a: TraceLinkReport::new(comparison.a, pair.a),
            b: TraceLinkReport::new(comparison.b, pair.b),
        }
    }
}

impl TraceLinkReport {
    fn new(run: &ComparedRun, index: u32) -> Self {
        Self {
            trace_id: run.trace_id(index).map(|id| id.to_string()),
            trace_url: run.trace_url(index),
        }
    }
}
