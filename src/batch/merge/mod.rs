//! `langspan merge`: joins the outputs of a run's shards into one file, ordered by line, and adds up their totals.
//!
//! The parts are only read. Each line is found again by its place in its part, so that no answer is held in memory: a
//! line takes about 32 bytes.

mod check;
mod part;
pub mod totals;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::batch::merge::part::{Part, Place, line_at, ordered};
use crate::batch::merge::totals::Totals;
use crate::batch::output::line::OutputLine;
use crate::batch::output::target::OutputTarget;
use crate::batch::output::temporary;
use crate::batch::output::writer::Writer;
use crate::batch::plan;
use crate::compression::Compression;
use crate::failure::{Failure, Kind};
use crate::json;

/// The parts of a run, and the order of their lines.
#[derive(Debug)]
pub struct Merge {
    parts: Vec<Part>,
    /// Where each line is, by line number.
    order: Vec<Place>,
    /// What keeps the parts from being one whole run.
    problems: Vec<String>,
}

/// Lines are written in pieces of about this size, in bytes.
const PIECE: usize = 1 << 20;
/// How much of the problems one message holds, in bytes.
const LONGEST_LIST: usize = 480;

impl Merge {
    /// Reads all parts and compares them.
    ///
    /// # Errors
    /// When a file cannot be read, or is no output.
    pub async fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut parts = Vec::new();
        for path in paths {
            parts.push(Part::read(path).await?);
        }
        let mut order = ordered(&parts);
        let problems = check::problems(&parts, &order);
        order.dedup_by_key(|place| line_at(&parts, *place).line);
        Ok(Self {
            parts,
            order,
            problems,
        })
    }

    /// What keeps the parts from being one whole run; empty if nothing does.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The problems as one failure; `None` if there are none.
    pub fn refusal(&self) -> Option<Failure> {
        let mut problems = self.problems.iter();
        let mut message = problems.next()?.clone();
        for problem in problems.by_ref() {
            if message.len() + problem.len() > LONGEST_LIST {
                message.push_str("; and more");
                break;
            }
            message.push_str("; ");
            message.push_str(problem);
        }
        let hint = "name every shard once, and resume the runs that lack lines; \
                    --partial merges all the same";
        Some(Failure::new(Kind::Incomplete, message).hint(hint))
    }

    /// The number of outputs.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Writes all lines to `out`, and adds up what they hold. A regular file appears once it is complete.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub async fn write(&self, out: &OutputTarget) -> Result<Totals, Failure> {
        let OutputTarget::Regular(path) = out else {
            let writer = Writer::start(out.open()?).map_err(anyhow::Error::from)?;
            return self.write_lines(writer, &"the output").await;
        };
        let unwritable = |error: io::Error| Failure::unwritable(path.display(), &error);
        let path = &fs::canonicalize(path)
            .or_else(|_| std::path::absolute(path))
            .map_err(unwritable)?;
        temporary::remove_left_behind(path);
        let copy = temporary::create(path).map_err(unwritable)?;
        let file = copy.as_file().try_clone().map_err(unwritable)?;
        let sink: Box<dyn Write + Send> = Box::new(file);
        let writer = Writer::start(Compression::of_name(path).writer(sink));
        let writer = writer.map_err(anyhow::Error::from)?;
        let totals = self.write_lines(writer, &path.display()).await?;
        replace(path, copy).map_err(unwritable)?;
        Ok(totals)
    }

    async fn write_lines(
        &self,
        mut writer: Writer,
        name: &dyn std::fmt::Display,
    ) -> Result<Totals, Failure> {
        let unwritable = |error: io::Error| Failure::unwritable(name, &error);
        let mut totals = Totals::new(&self.parts, self.problems.is_empty());
        let mut text = Vec::new();
        let mut has_reader = true;
        for place in &self.order {
            let part = &self.parts[place.part as usize];
            let line = line_at(&self.parts, *place);
            let read = part
                .stored
                .read(line.offset, line.length as usize, &mut text);
            let line = read.and_then(|()| totals_of(&text, part, &mut totals));
            let line = line.map_err(|error| Failure::unreadable(&part.name, &error))?;
            if has_reader {
                writer.push(line);
            }
            if writer.waiting_bytes() >= PIECE {
                has_reader = write_waiting(&mut writer).await.map_err(unwritable)?;
            }
        }
        if has_reader && write_waiting(&mut writer).await.map_err(unwritable)? {
            writer.finish().await.map_err(unwritable)?;
        }
        Ok(totals)
    }
}

/// Writes the lines that wait; false once the reader of the output has left.
async fn write_waiting(writer: &mut Writer) -> io::Result<bool> {
    writer.start_writing();
    if !writer.is_busy() {
        return Ok(true);
    }
    match writer.written().await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Counts the line in `text`; returns it without its line ending.
fn totals_of<'t>(text: &'t [u8], part: &Part, totals: &mut Totals) -> io::Result<&'t str> {
    let answer: OutputLine<'_> = json::from_slice(text)?;
    totals.add(part, &answer);
    let line = std::str::from_utf8(text).map_err(io::Error::other)?;
    Ok(line.trim_end())
}

/// Puts a complete copy in the place of the output. The acks of an output that was there before say nothing of the new
/// one.
fn replace(path: &Path, copy: NamedTempFile) -> io::Result<()> {
    if let Ok(found) = fs::metadata(path) {
        copy.as_file().set_permissions(found.permissions())?;
    }
    copy.as_file().sync_all()?;
    match fs::remove_file(plan::acks_path(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    copy.persist(path)?;
    Ok(())
}
