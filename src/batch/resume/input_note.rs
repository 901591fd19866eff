//! What a run has read of its input: the number of lines, which of them are blank, and a checksum. By it `merge` knows
//! that shards were made of one input, and that they lack none of its lines.

use flate2::Crc;
use serde::{Deserialize, Serialize};

use crate::batch::input::RawLine;

/// The input of a run that has read it to its end, or as far as `--limit` allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputNote {
    /// The number of the last line that is not blank.
    pub lines: u64,
    /// CRC-32 of the lines that are not blank, each with a line feed, in 8 hex digits.
    pub checksum: String,
    /// The first and the last line of each group of blank lines.
    pub blank: Vec<(u64, u64)>,
    /// `--limit`, if it ended the input: the lines behind `lines` are skipped.
    pub limit: Option<u64>,
}

/// Collects the note while the lines are read.
#[derive(Debug, Default)]
pub struct InputTracker {
    lines: u64,
    checksum: Crc,
    blank: Vec<(u64, u64)>,
}

impl InputTracker {
    /// Takes the next line, in the order of the input. Lines between two that are not blank are blank.
    pub fn add(&mut self, line: &RawLine) {
        if line.number > self.lines + 1 {
            self.blank.push((self.lines + 1, line.number - 1));
        }
        self.lines = line.number;
        self.checksum.update(&line.text);
        self.checksum.update(b"\n");
    }

    /// The number of the last line that was taken; 0 if there is none.
    pub fn last_line(&self) -> u64 {
        self.lines
    }

    /// The note of what was read; `limit` is `--limit` if nothing more is read for it.
    pub fn note(&self, limit: Option<u64>) -> InputNote {
        InputNote {
            lines: self.lines,
            checksum: format!("{:08x}", self.checksum.sum()),
            blank: self.blank.clone(),
            limit,
        }
    }
}

impl InputNote {
    /// Whether `other` says nothing new: it is the same, or `--limit` kept it from reading as far.
    pub fn covers(&self, other: &Self) -> bool {
        self == other || (other.limit.is_some() && other.lines < self.lines)
    }

    /// Whether both are of the same input, as far as it was read.
    pub fn is_same_input(&self, other: &Self) -> bool {
        (self.lines, &self.checksum, &self.blank) == (other.lines, &other.checksum, &other.blank)
    }

    /// Whether a line is blank.
    pub fn is_blank(&self, line: u64) -> bool {
        let after = self.blank.partition_point(|(first, _)| *first <= line);
        let group = after.checked_sub(1).map(|index| self.blank[index]);
        group.is_some_and(|(_, last)| line <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(lines: &[(u64, &str)], limit: Option<u64>) -> InputNote {
        let mut tracker = InputTracker::default();
        for (number, text) in lines {
            tracker.add(&RawLine {
                number: *number,
                text: text.as_bytes().to_vec(),
            });
        }
        tracker.note(limit)
    }

    #[test]
    fn gaps_are_blank_lines() {
        let found = note(&[(2, "a"), (3, "b"), (7, "c")], None);
        assert_eq!((found.lines, &found.blank[..]), (7, &[(1, 1), (4, 6)][..]));
        let blank: Vec<u64> = (1..9).filter(|line| found.is_blank(*line)).collect();
        assert_eq!(blank, [1, 4, 5, 6]);
        // The CRC-32 that other tools compute of the same bytes.
        assert_eq!(note(&[(1, "12345678")], None).checksum, "74245830");
    }

    #[test]
    fn a_limit_does_not_replace_what_was_read_before() {
        let whole = note(&[(1, "a"), (2, "b")], None);
        let limited = note(&[(1, "a")], Some(1));
        assert!(whole.covers(&limited) && whole.covers(&whole) && !limited.covers(&whole));
        assert!(!whole.is_same_input(&limited));
        assert!(whole.is_same_input(&note(&[(1, "a"), (2, "b")], Some(2))));
        assert!(!whole.is_same_input(&note(&[(1, "a"), (2, "c")], None)));
    }
}
