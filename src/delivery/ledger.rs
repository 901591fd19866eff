//! `FILE.sent`, beside a file of spans that stays: what of it was sent where, so that a second run sends nothing twice.
//!
//! It holds one JSON object per line and is only appended to. A line with a destination is followed by notes that are
//! about this destination. An incomplete last line is dropped when it is read: every note is written before what it
//! announces is done, or after it was done, so losing one makes a run ask Langfuse, never send again.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::delivery::ambiguity::{Ambiguity, PROOF_OF_ABSENCE};
use crate::delivery::files::{self, Lock};
use crate::delivery::sent_key::SentKey;

/// Where the notes of a ledger say that something was sent to. Never with a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerDestination {
    pub endpoint: String,
    pub public_key: Option<String>,
}

/// What is known about a key at the current destination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Noted<'a> {
    /// It was never sent.
    Nothing,
    /// Every span was accepted.
    Sent,
    /// These spans were accepted, and whether the others may have arrived.
    InPart(&'a HashSet<String>, Option<Ambiguity>),
    /// It may have arrived.
    Open(Ambiguity),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Note {
    Destination(LedgerDestination),
    /// They are about to be sent.
    Begun(Vec<String>),
    /// Every span was accepted.
    Sent(Vec<String>),
    /// They did not arrive.
    Kept(Vec<String>),
    /// They may have arrived: since when, and how long after that absence proves nothing.
    Open {
        keys: Vec<String>,
        since: Timestamp,
        absence_proves_after_ms: u64,
    },
    /// Some spans of one key were accepted.
    Part {
        key: String,
        spans: HashSet<String>,
    },
}

/// An open ledger. Its lock keeps a second run from sending the same file; the lock ends with the process.
#[derive(Debug)]
pub struct Ledger {
    /// `None` if nothing is written, as for a dry run.
    file: Option<File>,
    sent: HashSet<SentKey>,
    open: HashMap<SentKey, Ambiguity>,
    parts: HashMap<SentKey, HashSet<String>>,
    /// The other destinations that the file was sent to.
    pub others: Vec<LedgerDestination>,
}

/// The ledger of a file: its name with `.sent` behind it.
pub fn path_beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".sent");
    name.into()
}

impl Ledger {
    /// Opens or creates a ledger, and locks it for this process.
    ///
    /// # Errors
    /// If it cannot be read or written; `WouldBlock` if another run has it open, `InvalidData` if it is not a ledger.
    pub fn open(path: &Path, to: &LedgerDestination) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        if files::lock(&file)? == Lock::HeldByOther {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (mut ledger, whole, last) = Self::read(&file, to)?;
        file.set_len(whole)?;
        ledger.file = Some(file);
        if last.as_ref() != Some(to) {
            ledger.append(&Note::Destination(to.clone()))?;
        }
        Ok(ledger)
    }

    /// What a ledger holds, without changing it; an absent one holds nothing.
    ///
    /// # Errors
    /// If it cannot be read; `InvalidData` if it is not a ledger.
    pub fn look(path: &Path, to: &LedgerDestination) -> io::Result<Self> {
        match File::open(path) {
            Ok(file) => Self::read(&file, to).map(|(ledger, ..)| ledger),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::empty()),
            Err(error) => Err(error),
        }
    }

    fn empty() -> Self {
        Self {
            file: None,
            sent: HashSet::new(),
            open: HashMap::new(),
            parts: HashMap::new(),
            others: Vec::new(),
        }
    }

    /// Returns the notes about `to`, the length of all whole lines, and the last destination.
    fn read(
        file: &File,
        to: &LedgerDestination,
    ) -> io::Result<(Self, u64, Option<LedgerDestination>)> {
        let mut reader = BufReader::new(file);
        let (mut ledger, mut whole, mut last) = (Self::empty(), 0, None);
        let mut line = String::new();
        loop {
            line.clear();
            let read = reader.read_line(&mut line)?;
            if !line.ends_with('\n') {
                break;
            }
            match serde_json::from_str(&line)? {
                Note::Destination(destination) => {
                    if destination != *to && !ledger.others.contains(&destination) {
                        ledger.others.push(destination.clone());
                    }
                    last = Some(destination);
                }
                note if last.as_ref() == Some(to) => ledger.apply(note)?,
                _ => {}
            }
            whole += read as u64;
        }
        Ok((ledger, whole, last))
    }

    fn apply(&mut self, note: Note) -> io::Result<()> {
        match note {
            Note::Destination(_) => {}
            Note::Begun(keys) => {
                // It is not known when the process was killed that wrote this.
                let begun = Ambiguity::at(Timestamp::now());
                for key in parsed(&keys)? {
                    self.open.insert(key, begun);
                }
            }
            Note::Sent(keys) => self.settle(&parsed(&keys)?),
            Note::Kept(keys) => {
                for key in parsed(&keys)? {
                    self.open.remove(&key);
                }
            }
            Note::Open {
                keys,
                since,
                absence_proves_after_ms,
            } => {
                let wait = Duration::from_millis(absence_proves_after_ms).max(PROOF_OF_ABSENCE);
                for key in parsed(&keys)? {
                    self.open.insert(key, Ambiguity { since, wait });
                }
            }
            Note::Part { key, spans } => {
                let key = parsed(std::slice::from_ref(&key))?[0];
                self.parts.entry(key).or_default().extend(spans);
            }
        }
        Ok(())
    }

    fn settle(&mut self, keys: &[SentKey]) {
        for key in keys {
            self.open.remove(key);
            self.parts.remove(key);
            self.sent.insert(*key);
        }
    }

    /// What is known about a key.
    pub fn noted(&self, key: SentKey) -> Noted<'_> {
        let open = self.open.get(&key).copied();
        match (self.parts.get(&key), open) {
            _ if self.sent.contains(&key) => Noted::Sent,
            (Some(spans), open) => Noted::InPart(spans, open),
            (None, Some(ambiguity)) => Noted::Open(ambiguity),
            (None, None) => Noted::Nothing,
        }
    }

    /// Notes that they are about to be sent: a process that is killed cannot note it any more. Synced to disk.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn begin(&mut self, keys: &[SentKey]) -> io::Result<()> {
        self.append(&Note::Begun(texts(keys)))?;
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// Notes that every span of these was accepted.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn sent(&mut self, keys: &[SentKey]) -> io::Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        self.settle(keys);
        self.append(&Note::Sent(texts(keys)))
    }

    /// Notes that these were not accepted, and whether they may have arrived all the same.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn unsent(&mut self, keys: &[SentKey], ambiguity: Option<Ambiguity>) -> io::Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        for key in keys {
            match ambiguity {
                Some(ambiguity) => self.open.insert(*key, ambiguity),
                None => self.open.remove(key),
            };
        }
        let keys = texts(keys);
        let note = match ambiguity {
            None => Note::Kept(keys),
            Some(Ambiguity { since, wait }) => Note::Open {
                keys,
                since,
                absence_proves_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            },
        };
        self.append(&note)
    }

    /// Notes that these spans of a key were accepted, and not all others.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn sent_in_part(&mut self, key: SentKey, spans: HashSet<String>) -> io::Result<()> {
        let known = self.parts.entry(key).or_default();
        known.extend(spans.iter().cloned());
        let key = key.to_string();
        self.append(&Note::Part { key, spans })
    }

    fn append(&mut self, note: &Note) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let before = file.metadata()?.len();
        let line = serde_json::to_string(note)?;
        let written = file.write_all(format!("{line}\n").as_bytes());
        if written.is_err() {
            // An incomplete line would make the next one unreadable.
            file.set_len(before)?;
        }
        written
    }
}

fn texts(keys: &[SentKey]) -> Vec<String> {
    keys.iter().map(SentKey::to_string).collect()
}

fn parsed(keys: &[String]) -> io::Result<Vec<SentKey>> {
    let keys = keys.iter().map(|key| key.parse());
    keys.collect::<Result<_, String>>()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(endpoint: &str) -> LedgerDestination {
        LedgerDestination {
            endpoint: endpoint.to_owned(),
            public_key: None,
        }
    }

    fn key(text: &str) -> SentKey {
        SentKey::of_line(text.as_bytes())
    }

    #[test]
    fn notes_are_read_back_for_their_destination_without_an_incomplete_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_beside(&dir.path().join("spans.jsonl"));
        assert!(path.ends_with("spans.jsonl.sent"));
        let mut ledger = Ledger::open(&path, &to("one")).unwrap();
        let all = ["sent", "refused", "unanswered", "killed", "part"].map(key);
        ledger.begin(&all).unwrap();
        ledger.sent(&all[..1]).unwrap();
        ledger.unsent(&all[1..2], None).unwrap();
        let doubt = Ambiguity {
            since: "2026-01-02T03:04:05Z".parse().unwrap(),
            wait: Duration::from_secs(50),
        };
        ledger.unsent(&all[2..3], Some(doubt)).unwrap();
        let spans = HashSet::from(["eee19b7ec3c1b174".to_owned()]);
        ledger.sent_in_part(all[4], spans.clone()).unwrap();
        ledger.unsent(&all[4..], None).unwrap();
        ledger
            .file
            .as_mut()
            .unwrap()
            .write_all(b"{\"sent\":[\"5b")
            .unwrap();
        assert_eq!(
            Ledger::open(&path, &to("one")).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        drop(ledger);

        for _ in 0..2 {
            let ledger = Ledger::open(&path, &to("one")).unwrap();
            assert_eq!(ledger.noted(all[0]), Noted::Sent);
            assert_eq!(ledger.noted(all[1]), Noted::Nothing);
            assert_eq!(ledger.noted(all[2]), Noted::Open(doubt));
            assert!(matches!(ledger.noted(all[3]), Noted::Open(_)));
            assert_eq!(ledger.noted(all[4]), Noted::InPart(&spans, None));
            drop(ledger);
            let other = Ledger::open(&path, &to("two")).unwrap();
            assert_eq!(other.noted(all[0]), Noted::Nothing);
            assert_eq!(other.others, [to("one")]);
        }
    }

    #[test]
    fn another_file_is_not_taken_for_a_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        std::fs::write(&path, "my notes\n").unwrap();
        let error = Ledger::open(&path, &to("one")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "my notes\n");
        assert!(Ledger::look(&dir.path().join("none"), &to("one")).is_ok());
        assert!(!dir.path().join("none").exists());
    }
}
