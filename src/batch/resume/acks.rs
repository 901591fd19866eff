//! `FILE.acks`, beside the output FILE: which lines have a trace that was delivered, so that a run can be resumed
//! after a kill at any time.
//!
//! It holds one JSON object per line: first the identity of the run, then acks for groups of lines. It is only
//! appended to; an incomplete last line is dropped when it is read.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::experiment::run::ExperimentIdentity;
use crate::batch::resume::input_note::InputNote;
use crate::delivery::Stored;

/// The identity of a run: `--resume` refuses to continue a run with another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunIdentity {
    #[serde(rename = "run")]
    pub name: String,
    /// The model of lines that do not set one.
    pub model: String,
    /// `K/N`; `None` without `--shard`.
    pub shard: Option<String>,
    /// The session of lines that do not set one.
    pub session: Option<String>,
    /// `NAME:VERSION` of the managed prompt of every line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentIdentity>,
    /// Whether the file notes which exports have begun. Older files do not.
    #[serde(default)]
    pub notes_begun: bool,
    /// The share of the traces that is sent, from 0 to 1.
    #[serde(default = "all_traces")]
    pub sample: f64,
}

fn all_traces() -> f64 {
    1.0
}

/// A state change of some lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// The export of their traces begins: from now on they may arrive.
    Begun(Vec<u64>),
    /// A stretch of the run begins: its first call starts.
    Started(Timestamp),
    /// Their traces were accepted, or none is sent.
    Accepted(Vec<u64>),
    /// Their traces are in an entry of the outbox.
    Spooled { entry: String, lines: Vec<u64> },
    /// They are sent again: each line with its redo number.
    Redone(Vec<(u64, u32)>),
    /// They are not in the output: earlier acks for them are void.
    Forgotten(Vec<u64>),
    /// The input was read to its end.
    Input(InputNote),
}

impl Ack {
    /// The ack for lines with traces that are stored like this; `None` for lost ones.
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

/// The ack file, open for appending. Its lock keeps a second run from writing the same output; the lock ends with
/// the process.
#[derive(Debug)]
pub struct AckFile {
    file: File,
}

/// The sum of the acks of earlier runs.
#[derive(Debug, Default)]
pub struct AckState {
    pub accepted: LineSet,
    /// Lines by the outbox entry that holds their traces.
    pub spooled: HashMap<String, Vec<u64>>,
    /// The latest redo number of each line that was sent again.
    pub redone: HashMap<u64, u32>,
    pub begun: LineSet,
    /// The name of the run, if version 0.1 may have begun it: then it is not known which exports have begun, and lines
    /// may have older trace ids.
    pub old_run: Option<String>,
    /// When each stretch of the run began.
    pub stretches: Vec<Timestamp>,
    /// The input; `None` until a stretch has read it to its end.
    pub input: Option<InputNote>,
}

/// A set of line numbers, one bit for each.
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

    /// The lines in ascending order.
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

impl AckFile {
    /// A second handle of the same open file.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn share(&self) -> io::Result<Self> {
        let file = self.file.try_clone()?;
        Ok(Self { file })
    }

    /// Opens or creates the file and locks it for this process.
    ///
    /// # Errors
    /// When it cannot be opened; `WouldBlock` when another run has it open.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(0o600);
        let file = options.open(path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            // Some file systems have no locks; run without one.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { file }),
        }
    }

    /// Deletes all acks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)
    }

    /// Starts the file of a run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&mut self, run: &RunIdentity) -> io::Result<()> {
        self.clear()?;
        self.append_line(&serde_json::to_string(run)?)
    }

    /// The run and the acks in the file; `None` if it does not hold a complete first line. Removes an incomplete last
    /// line.
    ///
    /// # Errors
    /// When it cannot be read or was not written by langspan.
    pub fn read(&mut self) -> io::Result<Option<(RunIdentity, AckState)>> {
        let Some((run, acked, size)) = parse(&self.file)? else {
            return Ok(None);
        };
        self.file.set_len(size)?;
        Ok(Some((run, acked)))
    }

    /// The run and the acks in the file at `path`, which is left as it is; `None` as in [`read`](Self::read).
    ///
    /// # Errors
    /// When it cannot be read or was not written by langspan; `WouldBlock` when a run is writing it.
    pub fn inspect(path: &Path) -> io::Result<Option<(RunIdentity, AckState)>> {
        let file = File::open(path)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let found = parse(&file)?;
        Ok(found.map(|(run, acked, _)| (run, acked)))
    }

    /// Appends an ack.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&mut self, ack: &Ack) -> io::Result<()> {
        self.append_line(&serde_json::to_string(ack)?)
    }

    fn append_line(&mut self, line: &str) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(format!("{line}\n").as_bytes());
        if written.is_err() {
            // An incomplete line would make the next one unreadable.
            self.file.set_len(before)?;
        }
        written
    }
}

/// The run and the acks in a file, and the size of its complete lines in bytes; `None` without a complete first line.
fn parse(file: &File) -> io::Result<Option<(RunIdentity, AckState, u64)>> {
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    let mut whole = reader.read_line(&mut line)? as u64;
    if !line.ends_with('\n') {
        // Killed before the first line was complete.
        return Ok(None);
    }
    let run: RunIdentity = serde_json::from_str(&line)?;
    let mut acked = AckState {
        old_run: (!run.notes_begun).then(|| run.name.clone()),
        ..AckState::default()
    };
    loop {
        line.clear();
        let read = reader.read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Ok(Some((run, acked, whole)));
        }
        acked.apply(serde_json::from_str(&line)?);
        whole += read as u64;
    }
}

impl AckState {
    /// Whether the trace of a line may have been sent.
    pub fn may_have_begun(&self, line: u64) -> bool {
        self.old_run.is_some() || self.begun.contains(line)
    }

    pub fn apply(&mut self, ack: Ack) {
        match ack {
            Ack::Started(at) => self.stretches.push(at),
            Ack::Input(note) => {
                if self.input.as_ref().is_none_or(|known| !known.covers(&note)) {
                    self.input = Some(note);
                }
            }
            Ack::Begun(lines) => {
                for line in lines {
                    self.begun.insert(line);
                }
            }
            Ack::Accepted(lines) => {
                // An outbox entry that held them is gone.
                self.forget(&lines);
                for line in lines {
                    self.accepted.insert(line);
                }
            }
            Ack::Spooled { entry, lines } => self.spooled.entry(entry).or_default().extend(lines),
            Ack::Redone(redone) => {
                // Earlier acks are about the replaced calls.
                self.forget(&redone.iter().map(|(line, _)| *line).collect::<Vec<_>>());
                self.redone.extend(redone);
            }
            Ack::Forgotten(lines) => self.forget(&lines),
        }
    }

    fn forget(&mut self, lines: &[u64]) {
        for line in lines {
            self.accepted.remove(*line);
            self.begun.remove(*line);
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
            prompt: None,
            experiment: None,
            shard: None,
            session: Some("r".to_owned()),
            notes_begun: true,
            sample: 1.0,
        }
    }

    #[test]
    fn acks_are_read_back_without_an_incomplete_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl.acks");
        let mut acks = AckFile::open(&path).unwrap();
        acks.begin(&run()).unwrap();
        acks.append(&Ack::Accepted(vec![1, 2, 200])).unwrap();
        let entry = "e".to_owned();
        acks.append(&Ack::Spooled {
            entry,
            lines: vec![3, 4],
        })
        .unwrap();
        acks.append(&Ack::Redone(vec![(2, 1), (4, 1)])).unwrap();
        acks.file.write_all(b"{\"accepted\":[5").unwrap();
        drop(acks);

        for _ in 0..2 {
            let (found, acked) = AckFile::open(&path).unwrap().read().unwrap().unwrap();
            assert_eq!(found, run());
            let accepted: Vec<u64> = (0..300)
                .filter(|line| acked.accepted.contains(*line))
                .collect();
            assert_eq!((accepted, acked.accepted.len()), (vec![1, 200], 2));
            assert_eq!(acked.spooled["e"], [3]);
            assert_eq!(acked.redone[&4], 1);
        }
    }

    #[test]
    fn a_foreign_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acks");
        assert!(AckFile::open(&path).unwrap().read().unwrap().is_none());
        std::fs::write(&path, "[1]\n").unwrap();
        assert!(AckFile::open(&path).unwrap().read().is_err());
    }

    #[test]
    fn a_second_run_cannot_open_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acks");
        let first = AckFile::open(&path).unwrap();
        let kind = AckFile::open(&path).unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::WouldBlock);
        drop(first);
        assert!(AckFile::open(&path).is_ok());
    }
}
