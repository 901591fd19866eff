//! The stretches of a run: each from its beginning to the end of its last call.

use std::time::Duration;

use jiff::Timestamp;

/// Collects the calls of a run by stretch.
#[derive(Debug)]
pub struct Stretches<'a> {
    /// Sorted.
    begun: &'a [Timestamp],
    /// The first start and the last end of the calls before the first stretch, then of each stretch.
    calls: Vec<Option<(Timestamp, Timestamp)>>,
}

impl<'a> Stretches<'a> {
    /// `begun` says when each stretch began, in order.
    pub fn new(begun: &'a [Timestamp]) -> Self {
        Self {
            begun,
            calls: vec![None; begun.len() + 1],
        }
    }

    /// Adds a call.
    pub fn add(&mut self, start: Timestamp, end: Timestamp) {
        let index = self.begun.partition_point(|begun| *begun <= start);
        let (first, last) = self.calls[index].unwrap_or((start, end));
        self.calls[index] = Some((first.min(start), last.max(end)));
    }

    /// The beginning and the end of each stretch with a call, in order.
    pub fn spans(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let begun = std::iter::once(None).chain(self.begun.iter().copied().map(Some));
        begun.zip(&self.calls).filter_map(|(begun, calls)| {
            let (first, last) = (*calls)?;
            Some((begun.unwrap_or(first), last))
        })
    }
}

/// The time that spans of time cover together; where they overlap, it counts once.
pub fn covered(spans: impl IntoIterator<Item = (Timestamp, Timestamp)>) -> Duration {
    let mut spans: Vec<(Timestamp, Timestamp)> = spans.into_iter().collect();
    spans.sort_unstable();
    let mut until: Option<Timestamp> = None;
    let mut sum = Duration::ZERO;
    for (start, end) in spans {
        let start = until.map_or(start, |until| until.max(start));
        sum += Duration::try_from(end.duration_since(start)).unwrap_or_default();
        until = until.max(Some(end));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn pauses_do_not_count() {
        let begun = [at(10), at(100)];
        let mut stretches = Stretches::new(&begun);
        for (start, end) in [(2, 4), (3, 5), (11, 20), (102, 105), (101, 103)] {
            stretches.add(at(start), at(end));
        }
        let spans: Vec<_> = stretches.spans().collect();
        assert_eq!(
            spans,
            [(at(2), at(5)), (at(10), at(20)), (at(100), at(105))]
        );
        assert_eq!(covered(spans), Duration::from_secs(18));
    }

    #[test]
    fn time_counts_once_where_shards_ran_beside_each_other() {
        let spans = [(5, 15), (0, 10), (7, 8), (20, 21)];
        let spans = spans.map(|(start, end)| (at(start), at(end)));
        assert_eq!(covered(spans), Duration::from_secs(16));
        assert_eq!(covered([]), Duration::ZERO);
    }
}
