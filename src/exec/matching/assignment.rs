//! The largest matching between rows and columns, and of these the nearest. Numbers only.

use std::collections::{HashMap, VecDeque};

/// For each row its column, or none: as many pairs as possible, and of these matchings the one with the smallest sum of
/// distances. `edges` are the columns of each row with their distances.
///
/// Successive shortest paths: each round adds one pair, by the path that costs least.
pub fn matching(edges: &[Vec<(usize, u64)>]) -> Vec<Option<usize>> {
    let mut pairs = Pairs {
        columns: vec![None; edges.len()],
        rows: HashMap::new(),
    };
    while let Some(path) = pairs.cheapest_path(edges) {
        for (row, column) in path {
            pairs.columns[row] = Some(column);
            pairs.rows.insert(column, row);
        }
    }
    pairs.columns
}

/// A matching in the making.
struct Pairs {
    /// The column of each row.
    columns: Vec<Option<usize>>,
    /// The row of each column that has one.
    rows: HashMap<usize, usize>,
}

impl Pairs {
    /// The pairs that change so that one more row gets a column, at the least cost.
    fn cheapest_path(&self, edges: &[Vec<(usize, u64)>]) -> Option<Vec<(usize, usize)>> {
        let reached = self.reach(edges);
        let free = reached
            .iter()
            .filter(|(column, _)| !self.rows.contains_key(column));
        let (&last, _) = free.min_by_key(|(column, (cost, _))| (*cost, **column))?;
        let mut path = Vec::new();
        let mut column = last;
        loop {
            let (_, row) = *reached.get(&column)?;
            path.push((row, column));
            match self.columns[row] {
                None => return Some(path),
                Some(given_up) => column = given_up,
            }
        }
    }

    /// For each column that a free row can reach: the least cost, and the row before it.
    fn reach(&self, edges: &[Vec<(usize, u64)>]) -> HashMap<usize, (i128, usize)> {
        let free = (0..edges.len()).filter(|&row| self.columns[row].is_none());
        let mut queue: VecDeque<usize> = free.collect();
        let mut costs: HashMap<usize, i128> = queue.iter().map(|&row| (row, 0)).collect();
        let mut reached: HashMap<usize, (i128, usize)> = HashMap::new();
        while let Some(row) = queue.pop_front() {
            let base = costs.get(&row).copied().unwrap_or_default();
            let others = edges[row]
                .iter()
                .filter(|(column, _)| self.columns[row] != Some(*column));
            for &(column, distance) in others {
                let cost = base + i128::from(distance);
                let known = reached.get(&column).map(|(known, _)| *known);
                if known.is_some_and(|known| known <= cost) {
                    continue;
                }
                reached.insert(column, (cost, row));
                // Its owner would give it up, and need another.
                if let Some(&owner) = self.rows.get(&column) {
                    let cost = cost - distance_of(edges, owner, column);
                    if costs.get(&owner).is_none_or(|known| cost < *known) {
                        costs.insert(owner, cost);
                        queue.push_back(owner);
                    }
                }
            }
        }
        reached
    }
}

fn distance_of(edges: &[Vec<(usize, u64)>], row: usize, column: usize) -> i128 {
    let found = edges[row].iter().find(|(other, _)| *other == column);
    found.map_or(0, |(_, distance)| i128::from(*distance))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The best cardinality and cost by trying everything.
    fn by_force(edges: &[Vec<(usize, u64)>]) -> (usize, u64) {
        fn go(edges: &[Vec<(usize, u64)>], row: usize, used: &mut Vec<usize>) -> (usize, u64) {
            let Some(choices) = edges.get(row) else {
                return (0, 0);
            };
            let mut best = go(edges, row + 1, used);
            for &(column, distance) in choices {
                if used.contains(&column) {
                    continue;
                }
                used.push(column);
                let (count, cost) = go(edges, row + 1, used);
                used.pop();
                let found = (count + 1, cost + distance);
                if found.0 > best.0 || (found.0 == best.0 && found.1 < best.1) {
                    best = found;
                }
            }
            best
        }
        go(edges, 0, &mut Vec::new())
    }

    proptest! {
        #[test]
        fn a_matching_is_the_largest_and_then_the_nearest(
            distances in prop::collection::vec(prop::collection::vec(prop::option::of(0..50_u64), 5), 0..6)
        ) {
            let edges: Vec<Vec<(usize, u64)>> = distances
                .iter()
                .map(|row| row.iter().enumerate().filter_map(|(column, distance)| Some((column, (*distance)?))).collect())
                .collect();
            let matched = matching(&edges);
            let mut used = Vec::new();
            let mut cost = 0;
            for (row, column) in matched.iter().enumerate() {
                let Some(column) = column else { continue };
                prop_assert!(!used.contains(column));
                used.push(*column);
                cost += edges[row].iter().find(|(other, _)| other == column).unwrap().1;
            }
            prop_assert_eq!((used.len(), cost), by_force(&edges));
        }
    }
}
