//! The order of the output lines: as calls complete, or with `--ordered` that of the input.

use std::collections::{BTreeMap, VecDeque};

/// Output lines that wait for an earlier line. Without `--ordered` none ever does.
#[derive(Debug)]
pub struct ReorderBuffer<T> {
    /// Line numbers in input order; `None` without `--ordered`.
    expected: Option<VecDeque<u64>>,
    /// Lines that completed before an earlier one.
    held: BTreeMap<u64, T>,
}

impl<T> ReorderBuffer<T> {
    pub fn new(is_ordered: bool) -> Self {
        Self {
            expected: is_ordered.then(VecDeque::new),
            held: BTreeMap::new(),
        }
    }

    /// Registers a line behind all earlier ones.
    pub fn expect(&mut self, line: u64) {
        if let Some(expected) = &mut self.expected {
            expected.push_back(line);
        }
    }

    /// Takes a completed line; `out` is called for each line that can be written now.
    pub fn push(&mut self, line: u64, completed: T, mut out: impl FnMut(u64, T)) {
        let Some(expected) = &mut self.expected else {
            out(line, completed);
            return;
        };
        self.held.insert(line, completed);
        while let Some(first) = expected.front()
            && let Some(completed) = self.held.remove(first)
        {
            out(*first, completed);
            expected.pop_front();
        }
    }

    /// The most lines that can wait for an earlier one after `more` calls have completed.
    pub fn held_with(&self, more: usize) -> usize {
        match self.expected {
            Some(_) => self.held.len() + more,
            None => 0,
        }
    }

    /// Gives out the held lines: the lines that they wait for will not complete any more.
    pub fn drain(&mut self) -> impl Iterator<Item = (u64, T)> {
        self.expected = None;
        std::mem::take(&mut self.held).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(is_ordered: bool, completions: &[u64]) -> Vec<u64> {
        let mut order = ReorderBuffer::new(is_ordered);
        for line in [1, 4, 9] {
            order.expect(line);
        }
        let mut out = Vec::new();
        for line in completions {
            order.push(*line, (), |line, ()| out.push(line));
        }
        out
    }

    #[test]
    fn ordered_lines_follow_the_input() {
        assert_eq!(order(true, &[9, 1, 4]), [1, 4, 9]);
        assert_eq!(order(true, &[4, 1]), [1, 4]);
        assert!(order(true, &[9, 4]).is_empty());
        assert_eq!(order(false, &[9, 1, 4]), [9, 1, 4]);
    }
}
