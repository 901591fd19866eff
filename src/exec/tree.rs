//! The spans of a run as one tree: which are there, what is above each, and the ids that they are delivered with.
//!
//! It holds a few numbers for each span, not its content.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::trace::ids;

/// A span id as a number.
pub type SpanNumber = u64;

/// A span of the child.
#[derive(Clone, Debug)]
pub struct TreeNode {
    trace: u32,
    parent_id: SpanNumber,
    /// The id that it is delivered with: its own, unless another trace of the run has a span of the same id.
    pub new_id: SpanNumber,
    /// The span above it; `None` below the command.
    pub parent: Option<usize>,
    /// Which of the copies of a span that came several times is delivered, by its place among all spans.
    pub copy: u64,
    /// Unix time in nanoseconds.
    end: i64,
    /// The number of what it says of its identity.
    pub identity: Option<u32>,
    /// Its place among the spans that report model calls.
    pub model_call: Option<usize>,
}

/// All spans of a run.
#[derive(Debug, Default)]
pub struct Tree {
    traces: HashMap<Vec<u8>, u32>,
    trace_ids: Vec<Vec<u8>>,
    pub nodes: Vec<TreeNode>,
    places: HashMap<(u32, SpanNumber), usize>,
    by_id: HashMap<SpanNumber, usize>,
}

/// The place in the tree that a span states.
#[derive(Clone, Copy, Debug)]
pub struct TreePosition<'a> {
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    pub parent_id: &'a [u8],
    /// Unix time in nanoseconds.
    pub end: i64,
}

impl Tree {
    /// Adds a span, which is the `copy`-th that was read. Of one that came before, the copy that ends later stays.
    /// Returns its place, if this copy is the one that stays.
    pub fn add(&mut self, position: TreePosition<'_>, copy: u64) -> Option<usize> {
        let trace = self.trace(position.trace_id);
        let id = number(position.span_id);
        let node = TreeNode {
            trace,
            parent_id: number(position.parent_id),
            new_id: id,
            parent: None,
            copy,
            end: position.end,
            identity: None,
            model_call: None,
        };
        if let Some(&place) = self.places.get(&(trace, id)) {
            let known = &mut self.nodes[place];
            if known.end >= node.end {
                return None;
            }
            // What it reports is the same call, with the same number.
            let model_call = known.model_call;
            *known = TreeNode {
                new_id: known.new_id,
                model_call,
                ..node
            };
            return Some(place);
        }
        let place = self.nodes.len();
        self.nodes.push(node);
        self.places.insert((trace, id), place);
        if let Entry::Vacant(free) = self.by_id.entry(id) {
            free.insert(place);
        } else {
            let name = format!(
                "{}/{id:016x}",
                crate::exec::recorder::hex(position.trace_id)
            );
            self.nodes[place].new_id = ids::digest64(name);
        }
        Some(place)
    }

    fn trace(&mut self, id: &[u8]) -> u32 {
        if let Some(&number) = self.traces.get(id) {
            return number;
        }
        let number = u32::try_from(self.trace_ids.len()).unwrap_or(u32::MAX);
        self.traces.insert(id.to_owned(), number);
        self.trace_ids.push(id.to_owned());
        number
    }

    /// The id of the first trace.
    pub fn first_trace(&self) -> Option<&[u8]> {
        self.trace_ids.first().map(Vec::as_slice)
    }

    /// Whether spans of a trace came.
    pub fn has_trace(&self, id: &[u8]) -> bool {
        self.traces.contains_key(id)
    }

    /// The place of a span.
    pub fn find(&self, trace_id: &[u8], span_id: &[u8]) -> Option<usize> {
        let trace = self.traces.get(trace_id)?;
        self.places.get(&(*trace, number(span_id))).copied()
    }

    /// Finds the parents, once all spans are there. A parent may be in another trace; a circle is cut.
    pub fn link(&mut self) {
        for place in 0..self.nodes.len() {
            let node = &self.nodes[place];
            let parent = self
                .places
                .get(&(node.trace, node.parent_id))
                .or_else(|| self.by_id.get(&node.parent_id))
                .copied()
                .filter(|&parent| node.parent_id != 0 && parent != place);
            self.nodes[place].parent = parent;
        }
        self.cut_circles();
    }

    fn cut_circles(&mut self) {
        // 0: not visited, 1: on the present path, 2: known to end at the command.
        let mut state = vec![0_u8; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut path = Vec::new();
            let mut at = start;
            loop {
                state[at] = 1;
                path.push(at);
                match self.nodes[at].parent {
                    Some(parent) if state[parent] == 0 => at = parent,
                    Some(parent) if state[parent] == 1 => {
                        self.nodes[at].parent = None;
                        break;
                    }
                    _ => break,
                }
            }
            for place in path {
                state[place] = 2;
            }
        }
    }

    /// The spans above one, the nearest first.
    pub fn ancestors(&self, place: usize) -> impl Iterator<Item = usize> {
        let parent = |place: &usize| self.nodes[*place].parent;
        std::iter::successors(parent(&place), parent)
    }
}

/// An id as a number; zero for one that is absent.
pub fn number(id: &[u8]) -> SpanNumber {
    let bytes: Option<[u8; 8]> = id.try_into().ok();
    bytes.map_or(0, u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(tree: &mut Tree, trace: u8, id: u8, parent: u8, end: i64) -> Option<usize> {
        let wide = |id: u8| {
            if id == 0 {
                Vec::new()
            } else {
                vec![0, 0, 0, 0, 0, 0, 0, id]
            }
        };
        let copy = tree.nodes.len() as u64;
        let position = TreePosition {
            trace_id: &[trace; 16],
            span_id: &wide(id),
            parent_id: &wide(parent),
            end,
        };
        tree.add(position, copy)
    }

    #[test]
    fn parents_are_found_and_orphans_hang_below_the_command() {
        let mut tree = Tree::default();
        for (trace, id, parent) in [(1, 2, 1), (1, 1, 0), (1, 3, 9), (2, 4, 1), (1, 5, 2)] {
            add(&mut tree, trace, id, parent, 1);
        }
        tree.link();
        let parents: Vec<Option<usize>> = tree.nodes.iter().map(|node| node.parent).collect();
        assert_eq!(parents, [Some(1), None, None, Some(1), Some(0)]);
        assert_eq!(tree.ancestors(4).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(tree.first_trace(), Some(&[1; 16][..]));
    }

    #[test]
    fn a_span_that_comes_twice_is_there_once() {
        let mut tree = Tree::default();
        assert_eq!(add(&mut tree, 1, 1, 0, 5), Some(0));
        assert_eq!(add(&mut tree, 1, 1, 0, 5), None);
        assert_eq!(
            add(&mut tree, 1, 1, 0, 6),
            Some(0),
            "the later one is the whole one"
        );
        assert_eq!(tree.nodes.len(), 1);
    }

    #[test]
    fn equal_ids_of_two_traces_become_two_ids() {
        let mut tree = Tree::default();
        add(&mut tree, 1, 1, 0, 1);
        add(&mut tree, 2, 1, 0, 1);
        add(&mut tree, 2, 2, 1, 1);
        tree.link();
        assert_ne!(tree.nodes[0].new_id, tree.nodes[1].new_id);
        assert_eq!(tree.nodes[2].parent, Some(1), "its own trace first");
    }

    #[test]
    fn a_circle_is_cut() {
        let mut tree = Tree::default();
        for (id, parent) in [(1, 2), (2, 3), (3, 1), (4, 4), (5, 1)] {
            add(&mut tree, 1, id, parent, 1);
        }
        tree.link();
        for place in 0..5 {
            assert!(tree.ancestors(place).count() < 5);
        }
    }
}
