//! One output that is merged: its lines, and its run according to its ack file. Neither file is changed.

use std::fs::File;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use tokio::task::yield_now;

use crate::batch::output::scan::{OutputScan, ScanError};
use crate::batch::output::stored::StoredOutput;
use crate::batch::plan;
use crate::batch::resume::acks::{AckFile, AckState, LineSet, RunIdentity};
use crate::batch::resume::stretches::Stretches;
use crate::failure::Failure;
use crate::settings::Shard;

/// The output of a shard, or of a run without shards.
#[derive(Debug)]
pub struct Part {
    /// The path, for messages.
    pub name: String,
    /// What its ack file says.
    pub origin: Result<PartOrigin, String>,
    pub stored: StoredOutput,
    /// Its lines in their order in the file.
    pub lines: Vec<PartLine>,
    /// The times in which its run had calls, and when each ended.
    pub worked: Vec<(Timestamp, Timestamp)>,
}

/// The run that a part belongs to, and the state of its lines.
#[derive(Debug)]
pub struct PartOrigin {
    pub run: RunIdentity,
    /// 1/1 for a run without shards.
    pub shard: Shard,
    pub acked: AckState,
    /// Lines with a trace in an outbox.
    pub spooled: LineSet,
}

/// Where an output line is in its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLine {
    /// The number of the input line.
    pub line: u64,
    pub offset: u64,
    pub length: u32,
    pub is_failed: bool,
}

/// One of all lines: the index of its part, and its index there.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub part: u32,
    pub index: u32,
}

/// The line at a place.
pub fn line_at(parts: &[Part], place: Place) -> PartLine {
    parts[place.part as usize].lines[place.index as usize]
}

/// The places of all lines, by line number. Of a line that occurs twice, an answer comes before a failure.
pub fn ordered(parts: &[Part]) -> Vec<Place> {
    let places = (0..).zip(parts).flat_map(|(part, found)| {
        let lines = (0..).zip(&found.lines);
        lines.map(move |(index, _)| Place { part, index })
    });
    let mut places: Vec<Place> = places.collect();
    places.sort_by_key(|place| {
        let found = line_at(parts, *place);
        (found.line, found.is_failed)
    });
    places
}

/// After this many lines, a signal may end the work.
const LINES_AT_ONCE: u64 = 4096;

impl Part {
    /// Reads the output at `path` and its ack file.
    ///
    /// # Errors
    /// When the output cannot be read, or `langspan batch` did not write it.
    pub async fn read(path: &Path) -> Result<Self, Failure> {
        let unreadable = |error: io::Error| {
            let failure = Failure::unreadable(path.display(), &error);
            match error.raw_os_error() {
                Some(TOO_MANY_OPEN) => failure.hint("raise the limit: ulimit -n 4096"),
                _ => failure,
            }
        };
        let stored = StoredOutput::open(path, File::options().read(true));
        let mut part = Self {
            name: path.display().to_string(),
            origin: PartOrigin::read(path),
            stored: stored.map_err(unreadable)?,
            lines: Vec::new(),
            worked: Vec::new(),
        };
        part.scan().await.map_err(|error| {
            let hint = "merge joins outputs that langspan batch wrote with --out";
            error.into_failure(path, unreadable, hint)
        })?;
        Ok(part)
    }

    async fn scan(&mut self) -> Result<(), ScanError> {
        let begun = match &self.origin {
            Ok(origin) => origin.acked.stretches.clone(),
            Err(_) => Vec::new(),
        };
        let mut stretches = Stretches::new(&begun);
        let mut scan = OutputScan::new(&self.stored)?;
        while let Some(found) = scan.next()? {
            let (number, metadata) = (found.number, &found.answer.langspan);
            let times = metadata.start_time.zip(metadata.end_time);
            if let Some((start, end)) = times {
                stretches.add(start, end);
            }
            let too_long = || ScanError::Foreign(number, "it is too long".to_owned());
            self.lines.push(PartLine {
                line: metadata.line,
                offset: found.offset,
                length: u32::try_from(found.length).map_err(|_| too_long())?,
                is_failed: found.answer.is_failed(),
            });
            if number % LINES_AT_ONCE == 0 {
                yield_now().await;
            }
        }
        self.worked = stretches.spans().collect();
        scan.check_rest(&self.stored)
    }
}

/// EMFILE on Linux, for which the standard library has no name.
const TOO_MANY_OPEN: i32 = 24;

impl PartOrigin {
    /// Reads the ack file of the output at `path`.
    ///
    /// # Errors
    /// Why nothing is known of the run.
    fn read(path: &Path) -> Result<Self, String> {
        let acks = plan::acks_path(path);
        let name = acks.display();
        let (run, acked) = match AckFile::inspect(&acks) {
            Ok(Some(found)) => found,
            Ok(None) => return Err(format!("{name} is empty, so its run is unknown")),
            Err(error) => {
                return Err(match error.kind() {
                    io::ErrorKind::NotFound => {
                        format!("{name} is missing, so its run is unknown")
                    }
                    io::ErrorKind::WouldBlock => {
                        format!("{} is being written by a run", path.display())
                    }
                    _ => format!("{name} cannot be read: {error}"),
                });
            }
        };
        let shard = match run.shard.as_deref() {
            None => Some(Shard { index: 1, count: 1 }),
            Some(shard) => Shard::parse(shard),
        };
        let shard = shard.ok_or_else(|| format!("{name} names no shard K/N"))?;
        let mut spooled = LineSet::default();
        for line in acked.spooled.values().flatten() {
            spooled.insert(*line);
        }
        Ok(Self {
            run,
            shard,
            acked,
            spooled,
        })
    }
}
