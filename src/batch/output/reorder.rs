//! The order of the output lines: that of their ends, or that of the input.

use std::collections::{BTreeMap, VecDeque};

/// Output lines on their way to the writer.
#[derive(Debug)]
pub struct ReorderBuffer<T> {
    /// None when lines go out as they end.
    expected: Option<VecDeque<u64>>,
    /// What has ended before an earlier line did.
    held: BTreeMap<u64, T>,
}

impl<T> ReorderBuffer<T> {
    pub fn new(is_ordered: bool) -> Self {
        Self {
            expected: is_ordered.then(VecDeque::new),
            held: BTreeMap::new(),
        }
    }

    /// A line has begun, behind all that began before.
    pub fn expect(&mut self, line: u64) {
        if let Some(expected) = &mut self.expected {
            expected.push_back(line);
        }
    }

    /// A line has ended; `out` takes what can go out now.
    pub fn push(&mut self, line: u64, ended: T, mut out: impl FnMut(u64, T)) {
        let Some(expected) = &mut self.expected else {
            out(line, ended);
            return;
        };
        self.held.insert(line, ended);
        while let Some(first) = expected.front()
            && let Some(ended) = self.held.remove(first)
        {
            out(*first, ended);
            expected.pop_front();
        }
    }

    /// How many lines wait for an earlier one at most, when `more` have ended.
    pub fn held_with(&self, more: usize) -> usize {
        match self.expected {
            Some(_) => self.held.len() + more,
            None => 0,
        }
    }

    /// What has ended, although an earlier line has not: nothing more will.
    pub fn drain(&mut self) -> impl Iterator<Item = (u64, T)> {
        self.expected = None;
        std::mem::take(&mut self.held).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(is_ordered: bool, ends: &[u64]) -> Vec<u64> {
        let mut order = ReorderBuffer::new(is_ordered);
        for line in [1, 4, 9] {
            order.expect(line);
        }
        let mut out = Vec::new();
        for line in ends {
            order.push(*line, (), |line, ()| out.push(line));
        }
        out
    }

    #[test]
    fn lines_go_out_in_the_order_of_the_input_when_asked() {
        assert_eq!(order(true, &[9, 1, 4]), [1, 4, 9]);
        assert_eq!(order(true, &[4, 1]), [1, 4]);
        assert!(order(true, &[9, 4]).is_empty());
        assert_eq!(order(false, &[9, 1, 4]), [9, 1, 4]);
    }
}
