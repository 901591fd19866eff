//! Several attempts of one call: joined by the counter of the SDK, or by the span in whose time they lie.

use std::collections::{HashMap, VecDeque};

use super::{CallKey, Chain, SpanKey, TOLERANCE, encloses, is_same_model};
use crate::sort;

/// Joins the attempts of one call by the retry counter of its SDK.
pub fn joined(calls: &[CallKey]) -> Vec<Chain> {
    let mut order: Vec<usize> = (0..calls.len()).collect();
    sort::sort_by_key(&mut order, |&place| calls[place].start);
    let mut chains: Vec<Chain> = Vec::new();
    // The chains whose last attempt failed, by their request and the number that the next attempt will have.
    let mut open: HashMap<(u64, u32), VecDeque<usize>> = HashMap::new();
    for place in order {
        let call = &calls[place];
        let continued = call.retry.filter(|retry| *retry > 0).and_then(|retry| {
            let waiting = open.get_mut(&(call.request, retry))?;
            let ended = waiting
                .iter()
                .rposition(|&chain| calls[chains[chain].last()].end <= call.start + TOLERANCE)?;
            waiting.remove(ended)
        });
        let chain = continued.unwrap_or_else(|| {
            chains.push(Chain {
                attempts: Vec::new(),
                span: None,
            });
            chains.len() - 1
        });
        chains[chain].attempts.push(place);
        if let Some(retry) = call.retry.filter(|_| call.is_failed) {
            let next = (call.request, retry.saturating_add(1));
            open.entry(next).or_default().push_back(chain);
        }
    }
    chains
}

/// A failed attempt without a span of its own belongs to the matched span with the same model in whose time it lies.
pub fn absorb_failures(spans: &[SpanKey], calls: &[CallKey], chains: Vec<Chain>) -> Vec<Chain> {
    let (mut kept, failed): (Vec<Chain>, Vec<Chain>) = chains
        .into_iter()
        .partition(|chain| chain.span.is_some() || !calls[chain.last()].is_failed);
    let mut alone = Vec::new();
    for chain in failed {
        let call = &calls[chain.attempts[0]];
        let is_owner = |owner: &&mut Chain| {
            let is_around = |span: usize| {
                encloses(&spans[span], &calls[chain.last()]) && is_same_model(&spans[span], call)
            };
            let last = &calls[owner.last()];
            // A call that had ended, or was under way, is not repeated.
            let is_before = calls[chain.last()].end <= last.start + TOLERANCE;
            is_before && owner.span.is_some_and(is_around)
        };
        let distance = |owner: &&mut Chain| {
            let last = &calls[owner.last()];
            (
                last.request != call.request,
                last.start.abs_diff(call.start),
            )
        };
        match kept.iter_mut().filter(is_owner).min_by_key(distance) {
            Some(owner) => {
                owner.attempts.splice(0..0, chain.attempts);
                sort::sort_by_key(&mut owner.attempts, |&attempt| calls[attempt].start);
            }
            None => alone.push(chain),
        }
    }
    kept.extend(alone);
    sort::sort_by_key(&mut kept, |chain| calls[chain.attempts[0]].start);
    kept
}
