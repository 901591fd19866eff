//! The lines of an input, read one by one or counted.

use std::io::{self, BufRead, BufReader, Read};

/// The size of the pieces that the reader hands over, in bytes, unless a single line is longer.
pub const PIECE: usize = 64 << 10;
/// The longest line that is accepted, in bytes.
const LONGEST_LINE: usize = 100_000_000;

/// A line that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawLine {
    /// Counted from 1, blank lines included.
    pub number: u64,
    /// Without the line ending; only the beginning of a line that is too long.
    pub text: Vec<u8>,
}

impl RawLine {
    pub fn is_too_long(&self) -> bool {
        self.text.len() > LONGEST_LINE
    }
}

/// The lines in order. Blank lines are skipped, but counted.
pub struct LineReader {
    reader: BufReader<Box<dyn Read + Send>>,
    number: u64,
}

impl LineReader {
    pub fn new(decompressed: Box<dyn Read + Send>) -> Self {
        Self {
            reader: BufReader::with_capacity(PIECE, decompressed),
            number: 0,
        }
    }

    /// The next line and those that are already buffered; `None` at the end.
    pub fn piece(&mut self) -> io::Result<Option<Vec<RawLine>>> {
        let Some(first) = self.next().transpose()? else {
            return Ok(None);
        };
        let mut size = first.text.len();
        let mut piece = vec![first];
        // Waiting for more could take long.
        while size < PIECE && self.reader.buffer().contains(&b'\n') {
            let Some(text) = self.read()? else { break };
            size += text.len();
            piece.extend(self.line(text));
        }
        Ok(Some(piece))
    }

    /// The next line with its line ending; `None` at the end of the input.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        let limit = LONGEST_LINE as u64 + 2;
        let mut limited = self.reader.by_ref().take(limit);
        if limited.read_until(b'\n', &mut text)? == 0 {
            return Ok(None);
        }
        if text.len() > LONGEST_LINE && text.last() != Some(&b'\n') {
            self.reader.skip_until(b'\n')?;
        }
        self.number += 1;
        Ok(Some(text))
    }

    /// The line, unless it is blank.
    fn line(&self, mut text: Vec<u8>) -> Option<RawLine> {
        const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
        if self.number == 1 && text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len());
        }
        text.truncate(text.trim_ascii_end().len());
        (!text.is_empty()).then_some(RawLine {
            number: self.number,
            text,
        })
    }
}

impl Iterator for LineReader {
    type Item = io::Result<RawLine>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.read().transpose()? {
                Ok(text) => {
                    if let Some(line) = self.line(text) {
                        return Some(Ok(line));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The number of lines that are not blank and included, among the first `limit` that are not blank.
pub fn count_lines(
    mut reader: impl BufRead,
    is_included: impl Fn(u64) -> bool,
    limit: Option<u64>,
) -> io::Result<u64> {
    let (mut number, mut seen, mut count) = (1, 0, 0);
    let mut is_blank = true;
    loop {
        let bytes = reader.fill_buf()?;
        let is_end = bytes.is_empty();
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        is_blank = is_blank && part.iter().all(u8::is_ascii_whitespace);
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_none() && !is_end {
            continue;
        }
        if !is_blank {
            seen += 1;
            count += u64::from(is_included(number));
        }
        if is_end || limit == Some(seen) {
            return Ok(count);
        }
        number += 1;
        is_blank = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(u64, String)> {
        let reader: Box<dyn Read + Send> = Box::new(io::Cursor::new(text.to_owned()));
        LineReader::new(reader)
            .map(|line| line.unwrap())
            .map(|line| (line.number, String::from_utf8(line.text).unwrap()))
            .collect()
    }

    #[test]
    fn blank_lines_are_skipped_but_counted() {
        let text = "\u{feff}{1}\r\n\n  \r\n{2} \n{3}";
        let expected = [(1, "{1}"), (4, "{2}"), (5, "{3}")];
        assert_eq!(
            lines(text),
            expected.map(|(number, text)| (number, text.to_owned()))
        );
        assert!(lines("").is_empty());
        assert!(lines("\n\n").is_empty());
    }

    #[test]
    fn lines_are_counted_as_they_are_read() {
        let count = |text: &str, limit| {
            let reader = BufReader::with_capacity(3, text.as_bytes());
            count_lines(reader, |line| line % 2 == 1, limit).unwrap()
        };
        let text = "{1}\r\n\n  \r\n{4444} \n{5}\n{6}\n{7}";
        assert_eq!(count(text, None), 3);
        assert_eq!(count(text, Some(3)), 2);
        assert_eq!(count(text, Some(9)), 3);
        assert_eq!((count("", None), count("{1}\n", None)), (0, 1));
    }
}
