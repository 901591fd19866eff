//! The comparison as JUnit XML: a test case for each item.

use std::io::{self, Write};

use crate::compare::change::{ChangeKind, ItemPair};
use crate::compare::comparison::RunComparison;
use crate::compare::table::how;
use crate::failure::Failure;
use crate::output::junit::{CaseOutcome, SuiteTotals, TestSuite};

/// Writes a case for each item of A, which fails if the item has regressed, and a skipped one for each that only B has.
/// A case takes the latency of B.
///
/// # Errors
/// When it cannot be written.
pub fn write(comparison: &RunComparison<'_>, sink: impl Write) -> io::Result<()> {
    let (pairs, new) = (&comparison.pairs, &comparison.only_in_b);
    let latency =
        |pair: &ItemPair| u64::from(comparison.b.item(pair.b).latency_ms.unwrap_or_default());
    let totals = SuiteTotals {
        tests: (pairs.len() + new.len()) as u64,
        failures: comparison.count(ChangeKind::Regressed),
        errors: 0,
        skipped: new.len() as u64,
        ms: pairs.iter().map(latency).sum(),
    };
    let mut suite = TestSuite::begin(sink, "compare", totals)?;
    // In the order of the pairs.
    let mut changes = comparison.changes.iter().peekable();
    for pair in pairs {
        let change = changes.next_if(|change| change.pair == *pair);
        let text = change.map(|change| how(comparison, change));
        let text = text.unwrap_or_default();
        let traces = traces(comparison, *pair);
        let outcome = match change.map(|change| change.kind) {
            Some(ChangeKind::Regressed) => CaseOutcome::Failed {
                message: &text,
                text: &traces,
            },
            Some(ChangeKind::Fixed) | None => CaseOutcome::Passed(&text),
        };
        suite.case(comparison.a.key(pair.a), latency(pair), outcome)?;
    }
    for index in new {
        let key = comparison.b.key(*index);
        suite.case(key, 0, CaseOutcome::Skipped("only in B"))?;
    }
    suite.end()
}

/// Writes the one case of runs that cannot be compared.
///
/// # Errors
/// When it cannot be written.
pub fn write_refusal(failure: &Failure, sink: impl Write) -> io::Result<()> {
    let totals = SuiteTotals {
        tests: 1,
        errors: 1,
        ..SuiteTotals::default()
    };
    let mut suite = TestSuite::begin(sink, "compare", totals)?;
    let outcome = CaseOutcome::Error {
        message: &failure.message,
        text: failure.hint.as_deref().unwrap_or_default(),
    };
    suite.case("comparable", 0, outcome)?;
    suite.end()
}

/// The links to both traces, each on its line.
fn traces(comparison: &RunComparison<'_>, pair: ItemPair) -> String {
    let urls = [
        ("A", comparison.a.trace_url(pair.a)),
        ("B", comparison.b.trace_url(pair.b)),
    ];
    let lines = urls
        .into_iter()
        .filter_map(|(letter, url)| Some(format!("{letter}: {}", url?)));
    lines.collect::<Vec<_>>().join("\n")
}
