//! The comparison: the items of both runs joined by key, and what changed between them.

use std::cmp::Ordering;

use crate::compare::change::{ChangeKind, ExpectationChange, ItemChange, ItemPair};
use crate::compare::measures::Measures;
use crate::compare::run::{ComparedRun, RunKind};
use crate::compare::tally::Tally;
use crate::failure::Failure;

/// The most items that a message names.
const NAMED: usize = 5;
/// The most characters of a name in a message.
const NAME_CHARS: usize = 60;

/// Two runs that were compared. All lists are in the order of the items in A; items are named by their index there.
#[derive(Debug)]
pub struct RunComparison<'a> {
    pub a: &'a ComparedRun,
    pub b: &'a ComparedRun,
    pub pairs: Vec<ItemPair>,
    /// Indices in B.
    pub only_in_b: Vec<u32>,
    pub expectations: Vec<ExpectationChange>,
    /// The items that changed.
    pub changes: Vec<ItemChange>,
    pub measures_a: Measures,
    pub measures_b: Measures,
    /// Items that only their line number joins, though their input lines differ.
    pub differing_inputs: u64,
}

impl<'a> RunComparison<'a> {
    /// # Errors
    /// When the runs cannot be compared. The failure is retryable if a server may not have all of a run yet.
    pub fn new(a: &'a ComparedRun, b: &'a ComparedRun) -> Result<Self, Failure> {
        for run in [a, b] {
            if run.is_empty() {
                let message = format!("{} has no items", run.label());
                return Err(refused(run, message).hint("name a run that has answers"));
            }
        }
        check_datasets(a, b)?;
        let (pairs, only_in_b) = joined(a, b)?;
        let differing = pairs.iter().filter(|pair| {
            let inputs = a.item(pair.a).input.zip(b.item(pair.b).input);
            inputs.is_some_and(|(one, other)| one != other)
        });
        let (measures_a, measures_b) = Measures::of_both(a, b, &pairs);
        let mut comparison = Self {
            a,
            b,
            measures_a,
            measures_b,
            differing_inputs: differing.count() as u64,
            pairs,
            only_in_b,
            expectations: Vec::new(),
            changes: Vec::new(),
        };
        comparison.judge()?;
        Ok(comparison)
    }

    /// The items of one kind of change.
    pub fn changed(&self, kind: ChangeKind) -> impl Iterator<Item = &ItemChange> {
        self.changes
            .iter()
            .filter(move |change| change.kind == kind)
    }

    pub fn count(&self, kind: ChangeKind) -> u64 {
        self.changed(kind).count() as u64
    }

    /// The names of expectations, in their order.
    pub fn names<'b>(&'b self, places: &'b [u32]) -> impl Iterator<Item = &'b str> {
        let name = |place: &u32| self.expectations[*place as usize].name.as_str();
        places.iter().map(name)
    }

    /// The names of expectations that A has and B has not.
    pub fn dropped(&self) -> Vec<&str> {
        let known = self.b.expectations();
        let names = self.a.expectations().iter();
        names
            .filter(|name| !known.contains(name))
            .map(String::as_str)
            .collect()
    }

    /// Counts what was met, and finds the items that changed.
    fn judge(&mut self) -> Result<(), Failure> {
        let mut tally = Tally::new(self.a, self.b);
        for pair in &self.pairs {
            self.changes.extend(tally.add(*pair));
        }
        let is_unrelated = tally.is_unrelated();
        let unjudged = tally.unjudged.into_iter().next();
        self.expectations = tally.expectations;
        if is_unrelated {
            return Err(self.nothing_shared());
        }
        unjudged.map_or(Ok(()), |(place, items)| Err(self.not_judged(place, &items)))
    }

    fn nothing_shared(&self) -> Failure {
        let (a, b) = (self.a.label(), self.b.label());
        let names = self.a.expectations().join(", ");
        let message = format!("B has no expectation of A: {a} was judged by {names}; {b} was not");
        refused(self.b, message).hint("run B with the expectations of A")
    }

    fn not_judged(&self, place: u32, items: &[u32]) -> Failure {
        let name = &self.expectations[place as usize].name;
        let b = self.b.label();
        let named = few(self.a, items);
        let message = format!("{b} lacks the result of the expectation {name} for {named}");
        refused(self.b, message).hint("run B with the expectations of A")
    }
}

/// A failure that waiting may cure if the run is read from a server.
fn refused(run: &ComparedRun, message: String) -> Failure {
    Failure::input(message).retryable(run.kind == RunKind::Experiment)
}

/// Refuses runs of different datasets.
fn check_datasets(a: &ComparedRun, b: &ComparedRun) -> Result<(), Failure> {
    let listed = |run: &ComparedRun| {
        let ids: Vec<&str> = run.datasets.iter().map(String::as_str).collect();
        ids.join(", ")
    };
    for run in [a, b] {
        if run.datasets.len() > 1 {
            let (label, ids) = (run.label(), listed(run));
            let message = format!("{label} has items of several datasets: {ids}");
            return Err(Failure::input(message).hint("compare one run with another"));
        }
    }
    if a.datasets != b.datasets && !a.datasets.is_empty() && !b.datasets.is_empty() {
        let message = format!(
            "{} and {} are runs of different datasets: {} and {}",
            a.label(),
            b.label(),
            listed(a),
            listed(b)
        );
        return Err(Failure::input(message).hint("compare two runs of one dataset"));
    }
    Ok(())
}

/// The items that both runs have, in the order of A, and those that only B has.
fn joined(a: &ComparedRun, b: &ComparedRun) -> Result<(Vec<ItemPair>, Vec<u32>), Failure> {
    let (in_a, in_b) = (a.by_key(), b.by_key());
    for (run, sorted) in [(a, &in_a), (b, &in_b)] {
        check_duplicates(run, sorted)?;
    }
    check_failed(a)?;
    let (mut pairs, mut only_in_a, mut only_in_b) = (Vec::new(), Vec::new(), Vec::new());
    let (mut left, mut right) = (in_a.iter().peekable(), in_b.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some(one), Some(other)) => a.key(**one).cmp(b.key(**other)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        match order {
            Ordering::Less => only_in_a.extend(left.next()),
            Ordering::Greater => only_in_b.extend(right.next()),
            Ordering::Equal => {
                let both = left.next().zip(right.next());
                pairs.extend(both.map(|(one, other)| ItemPair { a: *one, b: *other }));
            }
        }
    }
    if !only_in_a.is_empty() {
        let (first, second) = (a.label(), b.label());
        a.sort(&mut only_in_a);
        let message = format!("{second} lacks {} of {first}", few(a, &only_in_a));
        return Err(refused(b, message).hint(
            "compare two runs of the same items; an unfinished one goes on with batch --resume",
        ));
    }
    pairs.sort_by(|one, other| a.place(one.a).cmp(&a.place(other.a)));
    b.sort(&mut only_in_b);
    Ok((pairs, only_in_b))
}

/// Refuses a run that has an item more than once.
fn check_duplicates(run: &ComparedRun, sorted: &[u32]) -> Result<(), Failure> {
    let groups = sorted.chunk_by(|one, other| run.key(*one) == run.key(*other));
    let mut twice: Vec<u32> = groups
        .filter(|group| group.len() > 1)
        .filter_map(|group| group.first().copied())
        .collect();
    if twice.is_empty() {
        return Ok(());
    }
    run.sort(&mut twice);
    let message = format!("{} has {} more than once", run.label(), few(run, &twice));
    Err(Failure::input(message).hint(match run.kind {
        RunKind::File => "an item is compared by its id: give each one its own, and run it once",
        RunKind::Experiment => {
            "compare the output files of its runs, or run it once under another name"
        }
    }))
}

/// Refuses an A with failed items: there is nothing to compare them with.
fn check_failed(a: &ComparedRun) -> Result<(), Failure> {
    let mut failed: Vec<u32> = (0..)
        .take(a.len())
        .filter(|index| a.cause(*index).is_some())
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    a.sort(&mut failed);
    let message = format!("{} failed in {}", few(a, &failed), a.label());
    Err(Failure::input(message)
        .hint("ask again with batch --resume --retry-errors, or compare with another run"))
}

/// The items by their names: the first ones, and how many more there are.
fn few(run: &ComparedRun, items: &[u32]) -> String {
    let names: Vec<String> = items
        .iter()
        .take(NAMED)
        .map(|index| shortened(run.key(*index)))
        .collect();
    let names = names.join(", ");
    match items {
        [_] => format!("the item {names}"),
        items if items.len() <= NAMED => format!("{} items ({names})", items.len()),
        items => {
            let more = items.len() - NAMED;
            format!("{} items ({names} and {more} more)", items.len())
        }
    }
}

fn shortened(key: &str) -> String {
    match key.char_indices().nth(NAME_CHARS) {
        Some((end, _)) => format!("{}…", &key[..end]),
        None => key.to_owned(),
    }
}
