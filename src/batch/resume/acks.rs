//! `FILE.acks`, beside the output FILE: which lines have their trace delivered, so that a run can be continued after
//! a kill at any instant.
//!
//! A JSON object a line: the first says which run it is, each other what became of some lines. It is appended to,
//! and read leniently: a last line that was cut off is dropped.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::batch::resume::previous_output::PreviousOutput;
use crate::delivery::Stored;

/// Which run a file is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIdentity {
    #[serde(rename = "run")]
    pub name: String,
    /// The model of lines that name none.
    pub model: String,
    /// `K/N`; none of a run that is not divided.
    pub shard: Option<String>,
    /// Of lines that name none: where Langfuse is asked what of the run has arrived.
    pub session: Option<String>,
}

/// What became of lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// Their traces were accepted, or were not to be sent.
    Accepted(Vec<u64>),
    /// Their traces wait in an entry of the outbox.
    Spooled { entry: String, lines: Vec<u64> },
    /// They are asked again: each with the number of the redo.
    Redone(Vec<(u64, u32)>),
    /// The output does not have them: they are asked as if nothing were known.
    Forgotten(Vec<u64>),
}

impl Note {
    /// What is to be noted of lines whose traces were delivered or kept so; nothing of what is nowhere.
    pub fn of(lines: &[u64], stored: &Stored) -> Option<Self> {
        let lines = lines.to_vec();
        match stored {
            Stored::NotNeeded => Some(Self::Accepted(lines)),
            Stored::Kept { entry, .. } => Some(Self::Spooled {
                entry: entry.clone(),
                lines,
            }),
            Stored::Lost(_) => None,
        }
    }
}

/// The file, open for more. It is locked, so that no two runs write one output; the lock ends with its process.
#[derive(Debug)]
pub struct Acks {
    file: File,
}

/// What an earlier run noted.
#[derive(Debug, Default)]
pub struct AckState {
    pub accepted: LineSet,
    /// Lines by the entry that holds their traces.
    pub spooled: HashMap<String, Vec<u64>>,
    /// How often a line was redone.
    pub redone: HashMap<u64, u32>,
}

/// What an earlier run left behind, and the file that tells how far this one comes.
#[derive(Debug, Default)]
pub struct Checkpoint {
    pub acks: Option<Acks>,
    /// What the notes are still to begin with.
    pub beginning: Option<RunIdentity>,
    pub noted: AckState,
    pub past: Option<PreviousOutput>,
}

/// A set of line numbers, a bit for each.
#[derive(Clone, Debug, Default)]
pub struct LineSet {
    bits: Vec<u64>,
    count: u64,
}

impl LineSet {
    pub fn insert(&mut self, line: u64) {
        let (place, bit) = Self::place(line);
        if place >= self.bits.len() {
            self.bits.resize(place + 1, 0);
        }
        if self.bits[place] & bit == 0 {
            self.bits[place] |= bit;
            self.count += 1;
        }
    }

    pub fn remove(&mut self, line: u64) {
        let (place, bit) = Self::place(line);
        if let Some(bits) = self.bits.get_mut(place)
            && *bits & bit != 0
        {
            *bits &= !bit;
            self.count -= 1;
        }
    }

    pub fn contains(&self, line: u64) -> bool {
        let (place, bit) = Self::place(line);
        self.bits.get(place).is_some_and(|bits| bits & bit != 0)
    }

    pub fn len(&self) -> u64 {
        self.count
    }

    /// The lines in their order.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        let bits = self.bits.iter().zip(0_u64..);
        bits.flat_map(|(bits, place)| {
            (0..64)
                .filter(move |bit| bits & (1 << bit) != 0)
                .map(move |bit| place * 64 + bit)
        })
    }

    fn place(line: u64) -> (usize, u64) {
        (
            usize::try_from(line / 64).unwrap_or(usize::MAX),
            1 << (line % 64),
        )
    }
}

impl Acks {
    /// The file that belongs to an output file.
    pub fn path(out: &Path) -> PathBuf {
        let mut name = out.as_os_str().to_owned();
        name.push(".acks");
        name.into()
    }

    /// Opens the file, which need not be there yet, for this process alone.
    ///
    /// # Errors
    /// When it cannot be opened; `WouldBlock` when another run has it open.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(0o600);
        let file = options.open(path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            // A file system without locks is no reason not to run.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { file }),
        }
    }

    /// Drops what an older run noted.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)
    }

    /// Begins the notes of a run.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn begin(&mut self, run: &RunIdentity) -> io::Result<()> {
        self.clear()?;
        self.append(&serde_json::to_string(run)?)
    }

    /// What an earlier run noted; none when it came to nothing.
    ///
    /// # Errors
    /// When it cannot be read, or is none of ours.
    pub fn read(&mut self) -> io::Result<Option<(RunIdentity, AckState)>> {
        let mut reader = BufReader::new(&self.file);
        let mut line = String::new();
        let mut whole = reader.read_line(&mut line)? as u64;
        if !line.ends_with('\n') {
            // Killed before anything was noted.
            return Ok(None);
        }
        let run: RunIdentity = serde_json::from_str(&line)?;
        let mut noted = AckState::default();
        loop {
            line.clear();
            let read = reader.read_line(&mut line)?;
            if !line.ends_with('\n') {
                break;
            }
            noted.take(serde_json::from_str(&line)?);
            whole += read as u64;
        }
        self.file.set_len(whole)?;
        Ok(Some((run, noted)))
    }

    /// Notes what became of lines.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note(&mut self, note: &Note) -> io::Result<()> {
        self.append(&serde_json::to_string(note)?)
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(format!("{line}\n").as_bytes());
        if written.is_err() {
            // Half a note would spoil the next one.
            self.file.set_len(before)?;
        }
        written
    }
}

impl AckState {
    pub fn take(&mut self, note: Note) {
        match note {
            Note::Accepted(lines) => {
                // An entry that held them is gone.
                self.forget(&lines);
                for line in lines {
                    self.accepted.insert(line);
                }
            }
            Note::Spooled { entry, lines } => self.spooled.entry(entry).or_default().extend(lines),
            Note::Redone(redone) => {
                // What was noted of them is of the calls before.
                self.forget(&redone.iter().map(|(line, _)| *line).collect::<Vec<_>>());
                self.redone.extend(redone);
            }
            Note::Forgotten(lines) => self.forget(&lines),
        }
    }

    fn forget(&mut self, lines: &[u64]) {
        for line in lines {
            self.accepted.remove(*line);
        }
        if self.spooled.is_empty() {
            return;
        }
        let forgotten: HashSet<u64> = lines.iter().copied().collect();
        for spooled in self.spooled.values_mut() {
            spooled.retain(|line| !forgotten.contains(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunIdentity {
        RunIdentity {
            name: "r".to_owned(),
            model: "m".to_owned(),
            shard: None,
            session: Some("r".to_owned()),
        }
    }

    #[test]
    fn what_was_noted_is_read_again_without_a_line_that_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl.acks");
        let mut acks = Acks::open(&path).unwrap();
        acks.begin(&run()).unwrap();
        acks.note(&Note::Accepted(vec![1, 2, 200])).unwrap();
        let entry = "e".to_owned();
        acks.note(&Note::Spooled {
            entry,
            lines: vec![3, 4],
        })
        .unwrap();
        acks.note(&Note::Redone(vec![(2, 1), (4, 1)])).unwrap();
        acks.file.write_all(b"{\"accepted\":[5").unwrap();
        drop(acks);

        for _ in 0..2 {
            let (found, noted) = Acks::open(&path).unwrap().read().unwrap().unwrap();
            assert_eq!(found, run());
            let accepted: Vec<u64> = (0..300)
                .filter(|line| noted.accepted.contains(*line))
                .collect();
            assert_eq!((accepted, noted.accepted.len()), (vec![1, 200], 2));
            assert_eq!(noted.spooled["e"], [3]);
            assert_eq!(noted.redone[&4], 1);
        }
    }

    #[test]
    fn a_file_of_another_kind_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acks");
        assert!(Acks::open(&path).unwrap().read().unwrap().is_none());
        std::fs::write(&path, "[1]\n").unwrap();
        assert!(Acks::open(&path).unwrap().read().is_err());
    }

    #[test]
    fn a_file_is_one_runs_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acks");
        let first = Acks::open(&path).unwrap();
        let kind = Acks::open(&path).unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::WouldBlock);
        drop(first);
        assert!(Acks::open(&path).is_ok());
    }
}
