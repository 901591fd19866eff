//! The output of a batch, line by line.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use serde_json::Value;

use crate::support::harness::Ended;
use crate::support::schema::assert_fits;

/// The lines of an output; the last one must be whole.
#[track_caller]
pub fn lines(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let lines = text.lines();
    lines
        .map(|line| {
            let document = serde_json::from_str(line);
            let document = document.unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_fits(&document);
            document
        })
        .collect()
}

/// The lines of an output file.
#[track_caller]
pub fn lines_in(path: &Path) -> Vec<Value> {
    lines(&text(path))
}

/// The lines that a run wrote with `-O out.jsonl`.
#[track_caller]
pub fn out(ended: &Ended) -> Vec<Value> {
    lines_in(&ended.home().join("out.jsonl"))
}

/// The only line of an output.
#[track_caller]
pub fn only(text: &str) -> Value {
    let mut lines = lines(text);
    assert_eq!(lines.len(), 1, "{text}");
    lines.remove(0)
}

/// The lines of an output by the number of their input line, each of which may occur only once.
#[track_caller]
pub fn by_number(text: &str) -> BTreeMap<u64, Value> {
    let mut found = BTreeMap::new();
    for line in lines(text) {
        let number = number(&line);
        assert!(
            found.insert(number, line).is_none(),
            "line {number} occurs twice"
        );
    }
    found
}

/// The lines of an output file by the number of their input line.
#[track_caller]
pub fn by_number_in(path: &Path) -> BTreeMap<u64, Value> {
    by_number(&text(path))
}

/// The number of the input line that an output line answers.
#[track_caller]
fn number(line: &Value) -> u64 {
    line["langspan"]["line"].as_u64().unwrap()
}

/// The numbers of output lines, sorted.
pub fn numbers(lines: &[Value]) -> Vec<u64> {
    let mut numbers: Vec<u64> = lines.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// The numbers of the whole lines of an output file that may end anywhere.
pub fn answered(path: &Path) -> Vec<u64> {
    let mut text = Vec::new();
    let _ = unpack(path, &mut text);
    let whole = text.iter().rposition(|byte| *byte == b'\n');
    let lines = text[..whole.unwrap_or(0)].split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| number(&serde_json::from_slice(line).unwrap()))
        .collect()
}

/// The trace ids of output lines, by the number of their input line.
#[track_caller]
pub fn trace_ids(lines: &[Value]) -> BTreeMap<u64, String> {
    let ids: BTreeMap<u64, String> = lines
        .iter()
        .map(|line| {
            let id = line["langspan"]["trace_id"].as_str().unwrap();
            (number(line), id.to_owned())
        })
        .collect();
    assert_eq!(ids.len(), lines.len(), "a line occurs twice: {lines:#?}");
    ids
}

/// The trace ids of an output file, by the number of their input line.
#[track_caller]
pub fn trace_ids_in(path: &Path) -> BTreeMap<u64, String> {
    trace_ids(&lines_in(path))
}

/// The text of the answer in an output line.
pub fn content(line: &Value) -> &str {
    line["response"]["body"]["choices"][0]["message"]["content"]
        .as_str()
        .unwrap_or_default()
}

/// The summary that a run wrote with `--summary summary.json`.
#[track_caller]
pub fn summary(ended: &Ended) -> Value {
    let text = fs::read_to_string(ended.home().join("summary.json")).unwrap();
    let summary = serde_json::from_str(&text).unwrap();
    assert_fits(&summary);
    summary
}

/// The text of an output file, decompressed according to its name.
#[track_caller]
pub fn text(path: &Path) -> String {
    let mut text = Vec::new();
    unpack(path, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Decompresses as much of a file as there is.
fn unpack(path: &Path, text: &mut Vec<u8>) -> io::Result<()> {
    let bytes = fs::read(path)?;
    match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("gz") => {
            MultiGzDecoder::new(bytes.as_slice()).read_to_end(text)?;
        }
        Some("zst") => {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let frame = StreamingDecoder::new(&mut rest).map_err(io::Error::other);
                frame?.read_to_end(text)?;
            }
        }
        _ => text.extend(bytes),
    }
    Ok(())
}
