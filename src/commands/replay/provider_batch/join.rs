//! The files of a batch, joined by `custom_id` and checked before anything is sent.

use std::path::PathBuf;

use jiff::Timestamp;

use super::batch_object::BatchObject;
use super::batch_result::BatchResult;
use super::request_index::{BatchRequest, RequestIndex};
use crate::app::jsonl::{JsonFile, JsonLines};
use crate::cli;
use crate::console::counted;
use crate::failure::{Failure, Kind};

/// How many lines without a partner are named.
const NAMED: usize = 5;

/// All files of a batch.
#[derive(Debug)]
pub struct BatchFiles {
    requests: RequestIndex,
    /// Output and error files.
    pub outputs: Vec<JsonFile>,
    object: Option<BatchObject>,
    /// Outputs without a request.
    unrequested: UnmatchedLines,
}

/// Lines without a partner in the other files.
#[derive(Debug, Default)]
struct UnmatchedLines {
    count: usize,
    /// The first of them.
    named: Vec<String>,
}

/// An output with its request.
#[derive(Debug)]
pub struct Pair {
    pub line: u64,
    pub result: BatchResult,
    pub request: BatchRequest,
    /// What the trace id is derived from.
    pub seed: String,
    pub begun: Timestamp,
    pub ended: Timestamp,
    pub batch_id: Option<String>,
}

impl BatchFiles {
    /// Reads all files, and checks every line.
    ///
    /// # Errors
    /// If a file cannot be read, a line is wrong, or an output has no time or no id.
    pub fn read(options: &cli::ReplayArgs) -> Result<Self, Failure> {
        let object = options.batch_object.as_deref();
        let object = object.map(BatchObject::read).transpose()?;
        let mut requests = RequestIndex::read(&options.batch_input)?;
        let mut unrequested = UnmatchedLines::default();
        let outputs = open(&options.batch_output)?;
        for output in &outputs {
            let mut results = Results::of(output);
            while let Some((line, result)) = results.next()? {
                let place = format!("{}, line {line}", output.path.display());
                check(&result, object.as_ref(), &place)?;
                if !requests.mark_answered(&result.custom_id) {
                    unrequested.add(|| format!("{place} (`{}`)", result.custom_id));
                }
            }
        }
        Ok(Self {
            requests,
            outputs,
            object,
            unrequested,
        })
    }

    /// The outputs of a file that have a request, in order.
    pub fn pairs<'a>(&'a self, output: &'a JsonFile) -> Pairs<'a> {
        Pairs {
            files: self,
            results: Results::of(output),
        }
    }

    /// The lines without a partner, if there are any.
    ///
    /// # Errors
    /// If an input file cannot be read again.
    pub fn unmatched(&self) -> Result<Vec<Failure>, Failure> {
        let (count, named) = self.requests.unanswered(NAMED)?;
        let unanswered = UnmatchedLines { count, named }.failure(
            "input line",
            "no output",
            "give the error file of the batch too: --batch-output is repeatable",
        );
        let unrequested = self.unrequested.failure(
            "output line",
            "no input",
            "give all input files of the batch: --batch-input is repeatable",
        );
        Ok(unanswered.into_iter().chain(unrequested).collect())
    }
}

impl UnmatchedLines {
    fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(name());
        }
    }

    /// The failure of these lines, if there are any: each is a `line` that has `nothing`.
    fn failure(&self, line: &str, nothing: &str, hint: &str) -> Option<Failure> {
        let lines = counted(self.count as u64, line);
        let verb = if self.count == 1 { "has" } else { "have" };
        let more = if self.count > NAMED { ", …" } else { "" };
        let named = self.named.join(", ");
        let message = format!("{lines} {verb} {nothing}: {named}{more}");
        (self.count > 0).then(|| Failure::new(Kind::Lines, message).hint(hint))
    }
}

fn open(paths: &[PathBuf]) -> Result<Vec<JsonFile>, Failure> {
    let mut files: Vec<JsonFile> = Vec::new();
    for path in paths {
        if files.iter().any(|known| known.path == *path) {
            let message = format!("{} is named twice", path.display());
            return Err(Failure::usage(message).hint("name it once"));
        }
        files.push(JsonFile::open(path)?);
    }
    Ok(files)
}

/// Checks that a trace can be made of an output.
fn check(result: &BatchResult, object: Option<&BatchObject>, place: &str) -> Result<(), Failure> {
    let wrong = |message: &str| Failure::input(format!("{place}: {message}"));
    if times(result, object).is_none() {
        return Err(wrong("nothing says when it was answered")
            .hint("add --batch-object FILE, the batch as the provider's API returns it"));
    }
    if seed(result, object).is_none() {
        return Err(wrong("there is no `id` to derive the trace id from")
            .hint("add --batch-object FILE with the `id` of the batch"));
    }
    Ok(())
}

/// When the batch ran, else when the answer was made.
fn times(result: &BatchResult, object: Option<&BatchObject>) -> Option<(Timestamp, Timestamp)> {
    let of_batch = object.map(|object| (object.begun, object.ended));
    of_batch.or_else(|| result.created.map(|created| (created, created)))
}

/// The output's own id, else that of the batch with the `custom_id`.
fn seed(result: &BatchResult, object: Option<&BatchObject>) -> Option<String> {
    let of_batch = || Some(format!("{}/{}", object?.id.as_ref()?, result.custom_id));
    result.id.clone().or_else(of_batch)
}

/// The lines of an output file.
struct Results<'a> {
    file: &'a JsonFile,
    lines: JsonLines<'a>,
}

impl<'a> Results<'a> {
    fn of(file: &'a JsonFile) -> Self {
        Self {
            file,
            lines: file.lines(),
        }
    }

    fn next(&mut self) -> Result<Option<(u64, BatchResult)>, Failure> {
        let line = self
            .lines
            .next_line()
            .map_err(|error| self.file.unreadable(&error))?;
        let Some(line) = line else {
            return Ok(None);
        };
        let result = BatchResult::parse(&line.bytes).map_err(|wrong| {
            let name = self.file.path.display();
            Failure::input(format!("{name}, line {}: {wrong}", line.number))
                .hint("expected the output of a batch: {\"custom_id\", \"response\", \"error\"} or {\"custom_id\", \"result\"}")
        })?;
        Ok(Some((line.number, result)))
    }
}

/// The outputs of a file with their requests.
pub struct Pairs<'a> {
    files: &'a BatchFiles,
    results: Results<'a>,
}

impl Pairs<'_> {
    /// The next output that has a request.
    ///
    /// # Errors
    /// If a file cannot be read again.
    pub fn next(&mut self) -> Result<Option<Pair>, Failure> {
        let object = self.files.object.as_ref();
        while let Some((line, result)) = self.results.next()? {
            let request = self.files.requests.find(&result.custom_id)?;
            let (times, seed) = (times(&result, object), seed(&result, object));
            if let (Some(request), Some((begun, ended)), Some(seed)) = (request, times, seed) {
                return Ok(Some(Pair {
                    line,
                    result,
                    request,
                    seed,
                    begun,
                    ended,
                    batch_id: object.and_then(|object| object.id.clone()),
                }));
            }
        }
        Ok(None)
    }
}
