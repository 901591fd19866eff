//! What a series of kills came to.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::iter::Sum;

/// Kills, and the answers that were printed before and after them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Processes that SIGKILL ended.
    pub kills: usize,
    /// Answers that were printed whole.
    pub printed: usize,
    /// Printed answers whose trace is not whole in the end.
    pub lost: usize,
    /// Traces of which a span was taken more than once.
    pub doubled: usize,
}

impl Tally {
    /// One kill, after which `printed` answers were printed, and how often each span of each trace was taken in the end.
    pub fn of(is_killed: bool, printed: usize, counts: &HashMap<String, Vec<usize>>) -> Self {
        let whole = counts.values().filter(|spans| spans.len() == 2).count();
        let is_doubled = |spans: &&Vec<usize>| spans.iter().any(|count| *count > 1);
        Self {
            kills: usize::from(is_killed),
            printed,
            lost: printed.saturating_sub(whole),
            doubled: counts.values().filter(is_doubled).count(),
        }
    }

    /// Prints the closing line, even if the test passes: the standard macros would be captured.
    pub fn print(&self, commands: &str) {
        let Self {
            kills,
            printed,
            lost,
            doubled,
        } = self;
        let line = format!(
            "kills of {commands}: {kills}; answers printed: {printed}; traces lost: {lost}; doubled: {doubled}\n"
        );
        io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |sum, next| Self {
            kills: sum.kills + next.kills,
            printed: sum.printed + next.printed,
            lost: sum.lost + next.lost,
            doubled: sum.doubled + next.doubled,
        })
    }
}
