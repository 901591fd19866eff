//! One of the two runs: of each item only what a comparison needs, so that a million items take some hundred megabytes.

use std::collections::BTreeSet;

use opentelemetry::trace::TraceId;

use crate::compare::interner::Interner;
use crate::trace::ids;

/// A run that is compared.
#[derive(Debug)]
pub struct ComparedRun {
    /// A or B.
    pub letter: char,
    /// As it was given.
    pub name: String,
    pub kind: RunKind,
    /// The page of an experiment.
    pub url: Option<String>,
    /// The ids of the datasets that its items are of; empty for items that are of none.
    pub datasets: BTreeSet<String>,
    items: Vec<Item>,
    /// The keys of all items, one after the other.
    keys: String,
    expectations: Interner<String>,
    verdicts: Interner<Vec<Verdict>>,
    causes: Interner<String>,
    links: Interner<LinkForm>,
}

/// Where a run was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// An output file of `batch`.
    File,
    Experiment,
}

/// What was found of one item.
#[derive(Clone, Debug, Default)]
pub struct FoundItem<'a> {
    /// Identifies it in both runs.
    pub key: &'a str,
    /// The number of its line; 0 if there are no lines.
    pub order: u64,
    /// Of an item that only its line number identifies: the beginning of the digest of its input line.
    pub input: Option<u32>,
    /// Why it has no answer.
    pub failure: Option<String>,
    /// The expectations that were judged, and whether they were met.
    pub findings: Vec<(&'a str, bool)>,
    pub trace_id: Option<&'a str>,
    pub trace_url: Option<&'a str>,
    pub latency_ms: Option<u64>,
    pub tokens: Option<TokenCounts>,
    /// In US dollars.
    pub cost: Option<f64>,
}

/// The tokens of an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounts {
    pub input: u64,
    pub output: u64,
}

/// An expectation, by its place in the run's list, and whether it was met.
type Verdict = (u32, bool);

/// What is kept of one item.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Where its key begins.
    key_start: usize,
    key_length: u32,
    verdicts: u32,
    pub order: u64,
    pub input: Option<u32>,
    cause: Option<u32>,
    trace_id: Option<TraceId>,
    link: Option<u32>,
    pub latency_ms: Option<u32>,
    pub tokens: Option<TokenCounts>,
    pub cost: Option<f64>,
}

/// A link to a trace, without the id of the trace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LinkForm {
    before: String,
    /// What follows the id; `None` if the link does not hold it.
    after: Option<String>,
}

impl RunKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Experiment => "experiment",
        }
    }
}

impl ComparedRun {
    /// A run without items.
    pub fn new(letter: char, name: &str, kind: RunKind) -> Self {
        Self {
            letter,
            name: name.to_owned(),
            kind,
            url: None,
            datasets: BTreeSet::new(),
            items: Vec::new(),
            keys: String::new(),
            expectations: Interner::default(),
            verdicts: Interner::default(),
            causes: Interner::default(),
            links: Interner::default(),
        }
    }

    pub fn push(&mut self, found: FoundItem<'_>) {
        let findings = found.findings.into_iter();
        let verdicts: Vec<Verdict> = findings
            .map(|(name, is_met)| (self.expectations.place(name.to_owned()), is_met))
            .collect();
        let key_start = self.keys.len();
        self.keys.push_str(found.key);
        let trace_id = found.trace_id.and_then(|id| ids::parse_trace_id(id).ok());
        let form = found.trace_url.map(|url| LinkForm::of(url, trace_id));
        let item = Item {
            key_start,
            key_length: narrow(found.key.len() as u64),
            verdicts: self.verdicts.place(verdicts),
            order: found.order,
            input: found.input,
            cause: found.failure.map(|cause| self.causes.place(cause)),
            trace_id,
            link: form.map(|form| self.links.place(form)),
            latency_ms: found.latency_ms.map(narrow),
            tokens: found.tokens,
            cost: found.cost,
        };
        self.items.push(item);
    }

    /// Sets what an item took.
    pub fn set_usage(&mut self, index: u32, tokens: Option<TokenCounts>, cost: Option<f64>) {
        let item = &mut self.items[index as usize];
        item.tokens = tokens;
        item.cost = cost;
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn item(&self, index: u32) -> &Item {
        &self.items[index as usize]
    }

    pub fn key(&self, index: u32) -> &str {
        let item = self.item(index);
        &self.keys[item.key_start..item.key_start + item.key_length as usize]
    }

    /// Why the item failed.
    pub fn cause(&self, index: u32) -> Option<&str> {
        let cause = self.item(index).cause?;
        Some(self.causes.get(cause))
    }

    /// The names of all expectations, in the order in which they were found.
    pub fn expectations(&self) -> &[String] {
        self.expectations.values()
    }

    /// What became of the item's expectations, each by its place in [`expectations`](Self::expectations).
    pub fn verdicts(&self, index: u32) -> &[(u32, bool)] {
        self.verdicts.get(self.item(index).verdicts)
    }

    pub fn trace_id(&self, index: u32) -> Option<TraceId> {
        self.item(index).trace_id
    }

    /// The link to the item's trace.
    pub fn trace_url(&self, index: u32) -> Option<String> {
        let item = self.item(index);
        let LinkForm { before, after } = self.links.get(item.link?);
        Some(match (after, item.trace_id) {
            (Some(after), Some(id)) => format!("{before}{id}{after}"),
            _ => before.clone(),
        })
    }

    /// All items, by key.
    pub fn by_key(&self) -> Vec<u32> {
        let mut indices: Vec<u32> = (0..narrow(self.items.len() as u64)).collect();
        indices.sort_by(|one, other| self.key(*one).cmp(self.key(*other)));
        indices
    }

    /// What the items are listed by: their line, then their key.
    pub fn place(&self, index: u32) -> (u64, &str) {
        (self.item(index).order, self.key(index))
    }

    /// Sorts items as they are listed.
    pub fn sort(&self, indices: &mut [u32]) {
        indices.sort_by(|one, other| self.place(*one).cmp(&self.place(*other)));
    }

    /// How messages name the run.
    pub fn label(&self) -> String {
        format!("{} ({})", self.letter, self.name)
    }
}

impl LinkForm {
    fn of(url: &str, trace_id: Option<TraceId>) -> Self {
        let parts = trace_id.and_then(|id| url.split_once(&id.to_string()));
        match parts {
            Some((before, after)) => Self {
                before: before.to_owned(),
                after: Some(after.to_owned()),
            },
            None => Self {
                before: url.to_owned(),
                after: None,
            },
        }
    }
}

/// The number, or the largest that is kept.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
