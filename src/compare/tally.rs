//! Counts the expectations of the items that two runs share, and finds the items that changed.
//!
//! An item without an answer in B has regressed: each expectation that A judged counts as missed there.

use std::collections::BTreeMap;

use crate::compare::change::{ChangeKind, ExpectationChange, ItemChange, ItemPair};
use crate::compare::run::ComparedRun;

/// The counts so far.
#[derive(Debug)]
pub struct Tally<'a> {
    a: &'a ComparedRun,
    b: &'a ComparedRun,
    /// Of both runs; those of A come first.
    pub expectations: Vec<ExpectationChange>,
    /// The place of each expectation of a run among those of both.
    places_a: Vec<u32>,
    places_b: Vec<u32>,
    /// Items that A judged and B did not, although it knows the expectation: indices in A, by expectation.
    pub unjudged: BTreeMap<u32, Vec<u32>>,
    /// Whether an item with an answer in B was judged in A.
    is_any_judged: bool,
    /// Whether it was judged by the same in B.
    is_any_shared: bool,
}

impl<'a> Tally<'a> {
    pub fn new(a: &'a ComparedRun, b: &'a ComparedRun) -> Self {
        let mut expectations = Vec::new();
        Self {
            places_a: places(a, &mut expectations),
            places_b: places(b, &mut expectations),
            a,
            b,
            expectations,
            unjudged: BTreeMap::new(),
            is_any_judged: false,
            is_any_shared: false,
        }
    }

    /// Counts an item; returns what changed of it.
    pub fn add(&mut self, pair: ItemPair) -> Option<ItemChange> {
        let is_failed = self.b.cause(pair.b).is_some();
        let now = self.judged_now(pair, is_failed);
        let (mut missed, mut met) = (Vec::new(), Vec::new());
        for (own, was_met) in self.a.verdicts(pair.a) {
            let place = self.places_a[*own as usize];
            let is_met = now[place as usize];
            self.is_any_judged |= !is_failed;
            self.is_any_shared |= !is_failed && is_met.is_some();
            let change = &mut self.expectations[place as usize];
            change.a.count(*was_met);
            match (was_met, is_met) {
                (true, Some(false)) => {
                    change.regressed += 1;
                    missed.push(place);
                }
                (false, Some(true)) => {
                    change.fixed += 1;
                    met.push(place);
                }
                (_, None) if self.places_b.contains(&place) => {
                    self.unjudged.entry(place).or_default().push(pair.a);
                }
                _ => {}
            }
        }
        for (change, is_met) in self.expectations.iter_mut().zip(now) {
            if let Some(is_met) = is_met {
                change.b.count(is_met);
            }
        }
        let kind = match (is_failed || !missed.is_empty(), met.is_empty()) {
            (true, _) => ChangeKind::Regressed,
            (false, false) => ChangeKind::Fixed,
            (false, true) => return None,
        };
        Some(ItemChange {
            pair,
            kind,
            missed,
            met,
        })
    }

    /// Whether no expectation of A was judged in B.
    pub fn is_unrelated(&self) -> bool {
        self.is_any_judged && !self.is_any_shared
    }

    /// Whether each expectation was met in B, by its place among those of both runs; `None` if it was not judged.
    fn judged_now(&self, pair: ItemPair, is_failed: bool) -> Vec<Option<bool>> {
        let mut now = vec![None; self.expectations.len()];
        for (own, is_met) in self.b.verdicts(pair.b) {
            now[self.places_b[*own as usize] as usize] = Some(*is_met);
        }
        if is_failed {
            for (own, _) in self.a.verdicts(pair.a) {
                now[self.places_a[*own as usize] as usize] = Some(false);
            }
        }
        now
    }
}

/// The places of a run's expectations in `all`, where new ones are added.
fn places(run: &ComparedRun, all: &mut Vec<ExpectationChange>) -> Vec<u32> {
    let mut place = |name: &String| {
        let known = all.iter().position(|change| change.name == *name);
        let place = known.unwrap_or_else(|| {
            all.push(ExpectationChange {
                name: name.clone(),
                ..ExpectationChange::default()
            });
            all.len() - 1
        });
        u32::try_from(place).unwrap_or(u32::MAX)
    };
    run.expectations().iter().map(&mut place).collect()
}
