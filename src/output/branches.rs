//! The order in which the rows of a trace are drawn: as a tree, each row under its parent, siblings by start.
//!
//! A trace may have ten thousand rows and more, as a chain too, so each step here takes time in proportion to their
//! number.

use std::collections::{HashMap, HashSet};

use crate::langfuse::Row;

/// A row in its place.
#[derive(Debug)]
pub struct Branch<'a> {
    pub row: &'a Row,
    /// The text before the name.
    pub prefix: String,
    /// The text before the lines below the name.
    pub below: String,
}

/// A row that is to be placed.
struct Pending<'a> {
    row: &'a Row,
    depth: usize,
    prefix: String,
    /// The text before the names of its children, without their knees.
    below: String,
}

/// The rows in the order of a tree. Below `deepest` levels, the depth is stated as a number instead of indentation.
pub fn branches(rows: &[Row], deepest: usize) -> Vec<Branch<'_>> {
    let rows = unique(rows);
    let ids: HashSet<&str> = rows.iter().map(|row| row.id()).collect();
    let mut roots = Vec::new();
    let mut children: HashMap<&str, Vec<&Row>> = HashMap::new();
    for &row in &rows {
        match row.parent().filter(|parent| ids.contains(parent)) {
            Some(parent) => children.entry(parent).or_default().push(row),
            None => roots.push(row),
        }
    }
    let mut branches = Vec::with_capacity(rows.len());
    let mut placed = HashSet::new();
    // Rows that are their own ancestors have no root; they are drawn last.
    for root in roots.into_iter().chain(rows.iter().copied()) {
        if placed.insert(root.id()) {
            grow(root, &children, deepest, &mut placed, &mut branches);
        }
    }
    branches
}

/// Each row once, by start. A row that was stored twice comes twice until the server merges it.
fn unique(rows: &[Row]) -> Vec<&Row> {
    let mut known = HashSet::new();
    let unique = rows.iter().filter(|row| known.insert(row.id()));
    let mut timed: Vec<_> = unique.map(|row| (row.time("startTime"), row)).collect();
    timed.sort_by_key(|(start, _)| *start);
    timed.into_iter().map(|(_, row)| row).collect()
}

/// Places a row and all rows below it.
fn grow<'a>(
    root: &'a Row,
    children: &HashMap<&str, Vec<&'a Row>>,
    deepest: usize,
    placed: &mut HashSet<&'a str>,
    branches: &mut Vec<Branch<'a>>,
) {
    let mut stack = vec![Pending {
        row: root,
        depth: 0,
        prefix: String::new(),
        below: String::new(),
    }];
    while let Some(pending) = stack.pop() {
        let below = children
            .get(pending.row.id())
            .map_or(&[][..], Vec::as_slice);
        let below: Vec<&Row> = below
            .iter()
            .copied()
            .filter(|child| placed.insert(child.id()))
            .collect();
        let count = below.len();
        // The stack gives the last one first.
        for (index, child) in below.into_iter().enumerate().rev() {
            stack.push(pending.child(child, index + 1 == count, deepest));
        }
        let trunk = match count {
            0 => "   ",
            _ if pending.depth >= deepest => "",
            _ => "│  ",
        };
        branches.push(Branch {
            row: pending.row,
            below: format!("{}{trunk}", pending.below),
            prefix: pending.prefix,
        });
    }
}

impl<'a> Pending<'a> {
    fn child(&self, row: &'a Row, is_last: bool, deepest: usize) -> Self {
        let depth = self.depth + 1;
        if depth > deepest {
            return Self {
                row,
                depth,
                prefix: format!("{}⋯ {depth}: ", self.below),
                below: self.below.clone(),
            };
        }
        let (knee, trunk) = if is_last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        Self {
            row,
            depth,
            prefix: format!("{}{knee}", self.below),
            below: format!("{}{trunk}", self.below),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rows(parents: &[(&str, &str)]) -> Vec<Row> {
        let rows = parents.iter().map(|(id, parent)| json!({"id": id, "parentObservationId": parent, "startTime": "2026-01-01T00:00:00Z"}));
        Row::of_observations(&mut rows.collect::<Value>())
    }

    fn drawn(parents: &[(&str, &str)], deepest: usize) -> Vec<String> {
        let rows = rows(parents);
        let branches = branches(&rows, deepest);
        let line = |branch: &Branch<'_>| format!("{}{}", branch.prefix, branch.row.id());
        branches.iter().map(line).collect()
    }

    #[test]
    fn rows_are_below_their_parents() {
        let parents = [("d", "b"), ("a", ""), ("b", "a"), ("c", "a"), ("x", "gone")];
        assert_eq!(drawn(&parents, 9), ["a", "├─ b", "│  └─ d", "└─ c", "x"]);
    }

    #[test]
    fn deep_rows_state_their_depth() {
        let parents = [("a", ""), ("b", "a"), ("c", "b"), ("d", "c"), ("e", "b")];
        assert_eq!(
            drawn(&parents, 1),
            ["a", "└─ b", "   ⋯ 2: c", "   ⋯ 3: d", "   ⋯ 2: e"]
        );
    }

    #[test]
    fn rows_that_are_their_own_ancestors_end() {
        assert_eq!(drawn(&[("a", "b"), ("b", "a")], 9), ["a", "└─ b"]);
        assert_eq!(drawn(&[("a", "a")], 9), ["a"]);
    }
}
