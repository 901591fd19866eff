//! What changed between two runs: of an expectation, and of an item.

/// An item: its index in A and in B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemPair {
    pub a: u32,
    pub b: u32,
}

/// One expectation in both runs.
#[derive(Clone, Debug, Default)]
pub struct ExpectationChange {
    pub name: String,
    pub a: Share,
    pub b: Share,
    /// Items that met it in A and miss it in B.
    pub regressed: u64,
    /// Items that missed it in A and meet it in B.
    pub fixed: u64,
}

/// How many of the judged items met an expectation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub met: u64,
    pub of: u64,
}

/// An item that changed; the expectations by their place in the `expectations` of the comparison.
#[derive(Clone, Debug)]
pub struct ItemChange {
    pub pair: ItemPair,
    pub kind: ChangeKind,
    /// Met in A, missed in B.
    pub missed: Vec<u32>,
    /// Missed in A, met in B.
    pub met: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// An expectation is missed that was met, or there is no answer.
    Regressed,
    /// An expectation is met that was missed, and none the other way round.
    Fixed,
}

impl Share {
    pub fn count(&mut self, is_met: bool) {
        self.of += 1;
        self.met += u64::from(is_met);
    }
}
