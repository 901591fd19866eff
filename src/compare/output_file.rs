//! A run in an output file of `batch`, plain or compressed, read once from its start to its end: it may be a pipe.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::Path;

use crate::batch::output::line::OutputLine;
use crate::compare::run::{ComparedRun, FoundItem, RunKind, TokenCounts};
use crate::compression::{Compression, is_system_error};
use crate::failure::Failure;
use crate::trace::exchange::milliseconds;

/// Reads the run.
///
/// # Errors
/// When the file cannot be read, or is not a whole output of `batch`.
pub fn read(letter: char, path: &Path) -> Result<ComparedRun, Failure> {
    let name = path.display().to_string();
    let unreadable = |error: io::Error| Failure::unreadable(path.display(), &error);
    let file = File::open(path).map_err(unreadable)?;
    let reader = Compression::of_name(path).reader(BufReader::new(file));
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let mut run = ComparedRun::new(letter, &name, RunKind::File);
    let mut text = Vec::new();
    let mut number = 0;
    loop {
        text.clear();
        let read = reader.read_until(b'\n', &mut text);
        let length = read.map_err(|error| {
            if is_system_error(&error) {
                return unreadable(error);
            }
            let message = match error.kind() {
                ErrorKind::UnexpectedEof => format!("{name} is cut off"),
                _ => format!("{name}: {error}"),
            };
            unfinished(message)
        })?;
        if length == 0 {
            return Ok(run);
        }
        number += 1;
        add(&mut run, &text).map_err(|why| {
            if text.ends_with(b"\n") {
                Failure::input(format!("line {number} of {name} is not an output line: {why}"))
                    .hint("compare takes what langspan batch wrote with --out, or the name of an experiment")
            } else {
                unfinished(format!("line {number} of {name} is cut off"))
            }
        })?;
    }
}

fn unfinished(message: String) -> Failure {
    Failure::input(message).hint("finish the run: langspan batch … --resume")
}

/// Adds the item of an output line.
fn add(run: &mut ComparedRun, text: &[u8]) -> Result<(), String> {
    if text.trim_ascii().is_empty() {
        return Ok(());
    }
    let answer = OutputLine::read(text)?;
    let metadata = &answer.langspan;
    if metadata.line == 0 {
        return Err("it answers line 0".to_owned());
    }
    let by_line = format!("line-{}", metadata.line);
    let experiment = metadata.experiment.as_ref();
    if let Some(dataset) = experiment.and_then(|experiment| experiment.dataset_id.as_deref())
        && !run.datasets.contains(dataset)
    {
        run.datasets.insert(dataset.to_owned());
    }
    let item = experiment.map(|experiment| experiment.item_id.as_ref());
    let key = item.or(answer.custom_id.as_deref());
    let input = metadata.input_digest.as_deref().and_then(beginning);
    let findings = metadata.expectations.iter();
    let mut found = FoundItem {
        key: key.unwrap_or(&by_line),
        order: metadata.line,
        input: input.filter(|_| key.is_none_or(|key| key == by_line)),
        findings: findings
            .map(|finding| (finding.name.as_str(), finding.met))
            .collect(),
        trace_id: metadata.trace_id.as_deref(),
        trace_url: metadata.trace_url.as_deref(),
        cost: metadata.cost,
        ..FoundItem::default()
    };
    if answer.is_failed() {
        found.failure = Some(answer.cause());
    } else {
        let times = metadata.start_time.zip(metadata.end_time);
        let latency = times.map(|(start, end)| milliseconds(start, end));
        found.latency_ms = latency.and_then(|latency| u64::try_from(latency).ok());
        let completion = answer.bare_exchange().completion;
        found.tokens = completion.usage.as_ref().map(|usage| TokenCounts {
            input: usage.all_input(),
            output: usage.all_output(),
        });
        found.cost = found.cost.or(completion.cost);
    }
    run.push(found);
    Ok(())
}

/// The first 32 bits of a digest.
fn beginning(digest: &str) -> Option<u32> {
    u32::from_str_radix(digest.get(..8)?, 16).ok()
}
