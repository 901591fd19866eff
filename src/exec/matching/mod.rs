//! Which model call of the proxy is which span of the child.
//!
//! Pure functions over numbers: who reported what is found by response id, then by the `traceparent` of the request,
//! then by time, model and text. In each step as many calls as possible find a span, and among such matchings the one
//! whose start times are nearest is chosen. Nothing here knows OTLP or HTTP.

mod assignment;
mod attempts;

use std::collections::HashSet;

use crate::exec::matching::assignment::matching;
use crate::exec::matching::attempts::{absorb_failures, joined};
use crate::sort;

/// A span of the child that represents a model call.
#[derive(Clone, Debug, Default)]
pub struct SpanKey {
    /// Unix time in nanoseconds.
    pub start: i64,
    pub end: i64,
    /// The model names that the span states.
    pub models: Vec<String>,
    /// The calls whose response id the span states, by their numbers in the journal.
    pub ids: Vec<usize>,
    /// Fingerprints of the texts that the span holds.
    pub texts: Vec<u64>,
    /// Whether the span holds an answer at all.
    pub has_text: bool,
    pub is_error: bool,
    /// The other spans that enclose it, by their places in the list.
    pub ancestors: Vec<usize>,
}

/// A request that passed the proxy.
#[derive(Clone, Debug, Default)]
pub struct CallKey {
    pub start: i64,
    /// When the first byte of the response arrived, or the request failed.
    pub first_byte: i64,
    pub end: i64,
    /// The model that was asked, and the one that answered.
    pub models: Vec<String>,
    /// The span that the `traceparent` of the request names, by its place among the spans.
    pub parent: Option<usize>,
    /// Fingerprints of its answer (of embeddings: of its input); one that a span holds is enough.
    pub texts: Vec<u64>,
    pub is_failed: bool,
    /// `x-stainless-retry-count`: how many attempts the SDK made before this one.
    pub retry: Option<u32>,
    /// Fingerprint of method, path and body: equal for the attempts of one call.
    pub request: u64,
}

/// A model call with all its attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Places among the calls, in order; the last one decides.
    pub attempts: Vec<usize>,
    /// The span that reports it, by its place among the spans.
    pub span: Option<usize>,
}

impl Chain {
    /// The attempt that decides what became of the call.
    pub fn last(&self) -> usize {
        self.attempts.last().copied().unwrap_or_default()
    }
}

/// Whether a span, with its place, reports a call, with the places of all its attempts.
type IsMatch = fn(&SpanKey, usize, &CallKey, &[usize]) -> bool;

/// Clocks of other runtimes are rounded to milliseconds, and adjusted.
const TOLERANCE: i64 = 5_000_000;
/// How many spans are looked at for each call when very many are alike.
const MOST_CANDIDATES: usize = 64;

/// The model calls among `calls`, in the order of their first attempts, each with the span that reports it.
pub fn chains(spans: &[SpanKey], calls: &[CallKey]) -> Vec<Chain> {
    let mut chains = joined(calls);
    let steps: [IsMatch; 5] = [
        by_id,
        by_traceparent,
        by_text,
        by_time_where_no_text_can_be_compared,
        by_failure,
    ];
    for is_match in steps {
        assign(spans, calls, &mut chains, is_match);
    }
    absorb_failures(spans, calls, chains)
}

fn by_id(span: &SpanKey, _: usize, _: &CallKey, attempts: &[usize]) -> bool {
    attempts.iter().any(|attempt| span.ids.contains(attempt))
}

fn by_traceparent(_: &SpanKey, place: usize, call: &CallKey, _: &[usize]) -> bool {
    call.parent == Some(place)
}

fn by_text(span: &SpanKey, _: usize, call: &CallKey, _: &[usize]) -> bool {
    let is_same = || call.texts.iter().any(|text| span.texts.contains(text));
    !call.is_failed && encloses(span, call) && is_same_model(span, call) && is_same()
}

/// A span without content (the child may mask it), or an answer without any text.
fn by_time_where_no_text_can_be_compared(
    span: &SpanKey,
    _: usize,
    call: &CallKey,
    _: &[usize],
) -> bool {
    let is_comparable = span.has_text && !call.texts.is_empty();
    !call.is_failed && !is_comparable && encloses(span, call) && is_same_model(span, call)
}

fn by_failure(span: &SpanKey, _: usize, call: &CallKey, _: &[usize]) -> bool {
    call.is_failed && span.is_error && encloses(span, call) && is_same_model(span, call)
}

fn encloses(span: &SpanKey, call: &CallKey) -> bool {
    span.start <= call.start + TOLERANCE && span.end + TOLERANCE >= call.first_byte
}

/// Whether a span may be about the model of a call: names may carry a provider before them, or a date behind them.
fn is_same_model(span: &SpanKey, call: &CallKey) -> bool {
    let is_same = |left: &String, right: &String| {
        let (left, right) = (bare(left), bare(right));
        left == right || extends(left, right) || extends(right, left)
    };
    let mut pairs = span
        .models
        .iter()
        .flat_map(|left| call.models.iter().map(move |right| (left, right)));
    span.models.is_empty()
        || call.models.is_empty()
        || pairs.any(|(left, right)| is_same(left, right))
}

fn bare(model: &str) -> &str {
    model.rsplit('/').next().unwrap_or(model)
}

fn extends(long: &str, short: &str) -> bool {
    let rest = long.strip_prefix(short);
    rest.and_then(|rest| rest.strip_prefix(['-', ':', '@']))
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// One step: gives spans that are free to chains that are free.
fn assign(
    spans: &[SpanKey],
    calls: &[CallKey],
    chains: &mut [Chain],
    is_match: impl Fn(&SpanKey, usize, &CallKey, &[usize]) -> bool,
) {
    let mut is_taken = vec![false; spans.len()];
    for span in chains.iter().filter_map(|chain| chain.span) {
        is_taken[span] = true;
    }
    let free: Vec<usize> = (0..chains.len())
        .filter(|&chain| chains[chain].span.is_none())
        .collect();
    let edges = free.iter().map(|&chain| {
        let attempts = &chains[chain].attempts;
        let (first, last) = (&calls[attempts[0]], &calls[chains[chain].last()]);
        let fits = (0..spans.len())
            .filter(|&place| !is_taken[place] && is_match(&spans[place], place, last, attempts));
        let fits: Vec<usize> = fits.collect();
        let distance = |place: usize| spans[place].start.abs_diff(first.start);
        let mut fits: Vec<(usize, u64)> = innermost(spans, &fits)
            .map(|place| (place, distance(place)))
            .collect();
        sort::sort_by_key(&mut fits, |&(_, distance)| distance);
        fits.truncate(MOST_CANDIDATES);
        fits
    });
    let edges: Vec<_> = edges.collect();
    for (row, span) in matching(&edges).into_iter().enumerate() {
        chains[free[row]].span = span;
    }
}

/// Those of `places` that enclose no other of them.
fn innermost(spans: &[SpanKey], places: &[usize]) -> impl Iterator<Item = usize> {
    let enclosing = places.iter().flat_map(|&place| &spans[place].ancestors);
    let enclosing: HashSet<usize> = enclosing.copied().collect();
    places
        .iter()
        .copied()
        .filter(move |place| !enclosing.contains(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn span(start: i64, end: i64) -> SpanKey {
        SpanKey {
            start: start * MS,
            end: end * MS,
            models: vec!["gpt-4o-mini".to_owned()],
            texts: vec![1],
            has_text: true,
            ..SpanKey::default()
        }
    }

    fn call(start: i64, end: i64) -> CallKey {
        CallKey {
            start: start * MS,
            first_byte: end * MS,
            end: end * MS,
            models: vec!["gpt-4o-mini-2024-07-18".to_owned()],
            texts: vec![1],
            ..CallKey::default()
        }
    }

    fn failed(start: i64, end: i64, retry: u32) -> CallKey {
        CallKey {
            is_failed: true,
            retry: Some(retry),
            texts: Vec::new(),
            ..call(start, end)
        }
    }

    fn pairs(spans: &[SpanKey], calls: &[CallKey]) -> Vec<(Vec<usize>, Option<usize>)> {
        let chains = chains(spans, calls);
        chains
            .into_iter()
            .map(|chain| (chain.attempts, chain.span))
            .collect()
    }

    #[test]
    fn an_id_wins_over_time_and_text() {
        let mut spans = [span(0, 100), span(0, 100)];
        spans[1].ids = vec![0];
        assert_eq!(
            pairs(&spans, &[call(10, 50), call(11, 50)]),
            [(vec![0], Some(1)), (vec![1], Some(0))]
        );
    }

    #[test]
    fn a_traceparent_wins_over_text_but_only_of_a_model_span() {
        let spans = [span(0, 100), span(0, 100)];
        let mut calls = [call(10, 50), call(11, 50)];
        calls[0].parent = Some(1);
        assert_eq!(
            pairs(&spans, &calls),
            [(vec![0], Some(1)), (vec![1], Some(0))]
        );
    }

    #[test]
    fn text_counts_only_inside_the_time_of_a_span_with_the_same_model() {
        let late = span(60, 100);
        let early_end = span(0, 20);
        let mut other_model = span(0, 100);
        other_model.models = vec!["gpt-4o".to_owned()];
        let mut other_text = span(0, 100);
        other_text.texts = vec![2];
        for wrong in [late, early_end, other_model, other_text] {
            assert_eq!(pairs(&[wrong], &[call(10, 50)]), [(vec![0], None)]);
        }
        let mut prefixed = span(0, 100);
        prefixed.models = vec!["openai/gpt-4o-mini".to_owned()];
        assert_eq!(pairs(&[prefixed], &[call(10, 50)]), [(vec![0], Some(0))]);
    }

    #[test]
    fn without_a_text_to_compare_time_and_model_decide() {
        let mut masked = span(0, 100);
        masked.has_text = false;
        masked.texts = Vec::new();
        assert_eq!(pairs(&[masked], &[call(10, 50)]), [(vec![0], Some(0))]);
    }

    #[test]
    fn of_nested_spans_the_innermost_is_the_call() {
        let mut inner = span(5, 90);
        inner.ancestors = vec![0];
        assert_eq!(
            pairs(&[span(0, 100), inner], &[call(10, 50)]),
            [(vec![0], Some(1))]
        );
    }

    #[test]
    fn equal_calls_in_threads_go_to_the_nearest_spans() {
        let spans = [span(0, 100), span(1, 100), span(2, 100)];
        let calls = [call(4, 50), call(3, 50), call(5, 50), call(6, 50)];
        let pairs = pairs(&spans, &calls);
        let matched = pairs.iter().filter(|(_, span)| span.is_some()).count();
        assert_eq!(matched, 3);
        assert_eq!(pairs[3], (vec![3], None), "the farthest stays alone");
    }

    #[test]
    fn attempts_are_joined_by_the_retry_counter() {
        let calls = [failed(10, 20, 0), failed(30, 40, 1), {
            let mut last = call(50, 60);
            last.retry = Some(2);
            last
        }];
        assert_eq!(pairs(&[span(0, 100)], &calls), [(vec![0, 1, 2], Some(0))]);
        assert_eq!(pairs(&[], &calls), [(vec![0, 1, 2], None)]);
        let mut uncounted = calls.clone();
        for call in &mut uncounted {
            call.retry = None;
        }
        assert_eq!(
            pairs(&[span(0, 100)], &uncounted),
            [(vec![0, 1, 2], Some(0))],
            "the span's time joins them"
        );
        assert_eq!(pairs(&[], &uncounted).len(), 3, "one each");
    }

    #[test]
    fn a_failed_call_belongs_to_the_failed_span() {
        let mut error = span(0, 100);
        error.is_error = true;
        error.has_text = false;
        error.texts = Vec::new();
        let calls = [failed(10, 20, 0), failed(30, 40, 1)];
        assert_eq!(pairs(&[error], &calls), [(vec![0, 1], Some(0))]);
    }

    #[test]
    fn attempts_of_other_requests_are_not_joined() {
        let mut calls = [failed(10, 20, 0), failed(30, 40, 1)];
        calls[1].request = 7;
        assert_eq!(pairs(&[], &calls).len(), 2);
    }
}
