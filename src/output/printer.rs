//! Writes results to stdout. A closed stdout is not an error: the rest of the answer is still read, so that its trace
//! is whole.

use std::io::{self, ErrorKind};

use serde::Serialize;

use super::report::Report;
use crate::console::OutputFormat;
use crate::failure::Failure;
use crate::model::Sink;
use crate::stdio;
use crate::trace::Exchange;

/// Stdout, and the output format.
#[derive(Debug)]
pub struct Printer {
    form: OutputFormat,
    /// Whether the text of a stream is written as it arrives.
    live: bool,
    /// Whether any text of the present answer was written.
    has_written: bool,
    /// Line ends that are only written when more text follows, since the answer ends in exactly one.
    held_line_ends: String,
    /// The last event of a raw stream, or as much of it as has arrived: it is written once the trace is stored.
    held_event: Vec<u8>,
    failure: Option<io::Error>,
}

impl Printer {
    pub fn new(form: OutputFormat) -> Self {
        Self {
            form,
            live: false,
            has_written: false,
            held_line_ends: String::new(),
            held_event: Vec::new(),
            failure: None,
        }
    }

    /// Sets whether the coming answer's text is written while it arrives: only of a single choice, since several
    /// come interleaved.
    pub fn set_live(&mut self, live: bool) {
        self.live = live;
    }

    /// Writes the answer of an exchange, or what is still held back of one that was written while it arrived. Before
    /// this call, the last byte of an answer is not on stdout.
    pub fn answer(&mut self, exchange: &Exchange) {
        let has_written = std::mem::take(&mut self.has_written);
        match self.form {
            OutputFormat::Text if has_written => self.end_line(),
            OutputFormat::Text if exchange.request.dialect().prints_body() => {
                if let Some(response) = &exchange.response {
                    self.write(response.get().trim_end());
                    self.write("\n");
                }
            }
            OutputFormat::Text if has_answer(exchange) => {
                let answer = exchange.completion.answer();
                self.write(&format!("{}\n", answer.trim_end_matches(['\r', '\n'])));
            }
            OutputFormat::Raw if has_written => {
                let event = std::mem::take(&mut self.held_event);
                self.write_bytes(&event);
            }
            OutputFormat::Raw => {
                if let Some(response) = &exchange.response {
                    self.write(response.get());
                    self.write("\n");
                }
            }
            _ => {}
        }
        self.held_line_ends.clear();
    }

    /// Writes the parts that depend on the delivery of the trace.
    pub fn report(&mut self, report: &Report) {
        match self.form {
            OutputFormat::Json => self.document(report),
            OutputFormat::Url => {
                let delivered = report
                    .trace
                    .as_ref()
                    .filter(|trace| trace.delivery.is_delivered());
                if let Some(url) = delivered.and_then(|trace| trace.url.as_deref()) {
                    self.write(&format!("{url}\n"));
                }
            }
            OutputFormat::Text | OutputFormat::Raw | OutputFormat::Jsonl => {}
        }
    }

    /// Writes a JSON document on one line.
    pub fn document(&mut self, document: &impl Serialize) {
        match serde_json::to_string(document) {
            Ok(text) => self.write(&format!("{text}\n")),
            Err(error) => self.failure = Some(error.into()),
        }
    }

    /// Writes lines as they are.
    pub fn text(&mut self, text: &str) {
        self.write(text);
    }

    pub fn form(&self) -> OutputFormat {
        self.form
    }

    /// The error of stdout, unless its reader left.
    pub fn take_failure(&mut self) -> Option<Failure> {
        let error = self
            .failure
            .take()
            .filter(|error| error.kind() != ErrorKind::BrokenPipe)?;
        Some(Failure::unwritable("stdout", &error))
    }

    /// Ends the line of an answer, unless a message on the same terminal has ended it.
    fn end_line(&mut self) {
        if stdio::stdout().is_mid_line() {
            self.write("\n");
        }
    }

    fn write(&mut self, text: &str) {
        self.write_bytes(text.as_bytes());
    }

    fn write_bytes(&mut self, bytes: &[u8]) {
        if self.failure.is_none() {
            self.failure = stdio::stdout().write_all(bytes).err();
        }
    }
}

/// Whether there is an answer to print. The response of a failed call may have no message.
fn has_answer(exchange: &Exchange) -> bool {
    let is_empty = exchange.completion.messages.is_empty();
    exchange.response.is_some() && (exchange.error.is_none() || !is_empty)
}

impl Sink for Printer {
    fn text(&mut self, text: &str) {
        if self.form != OutputFormat::Text || !self.live {
            return;
        }
        let kept = text.trim_end_matches(['\r', '\n']);
        if kept.is_empty() {
            self.held_line_ends.push_str(text);
            return;
        }
        let held = std::mem::replace(&mut self.held_line_ends, text[kept.len()..].to_owned());
        self.write(&held);
        self.write(kept);
        self.has_written = true;
    }

    fn raw(&mut self, bytes: &[u8]) {
        if self.form != OutputFormat::Raw {
            return;
        }
        self.has_written = true;
        let known = self.held_event.len();
        self.held_event.extend_from_slice(bytes);
        if let Some(start) = last_event(&self.held_event, known) {
            let event = self.held_event.split_off(start);
            let earlier = std::mem::replace(&mut self.held_event, event);
            self.write_bytes(&earlier);
        }
    }
}

/// Where the last event of a stream of server-sent events begins, if it does so in the bytes from `new` on: after a
/// blank line. Line ends behind an event belong to it.
fn last_event(bytes: &[u8], new: usize) -> Option<usize> {
    let is_start = |&at: &usize| {
        let blank_lines: [&[u8]; 3] = [b"\n\n", b"\n\r\n", b"\r\r"];
        !matches!(bytes[at], b'\r' | b'\n')
            && blank_lines.iter().any(|line| bytes[..at].ends_with(line))
    };
    (new..bytes.len()).rev().find(is_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_event_begins_after_a_blank_line() {
        for (text, start) in [
            ("data: 1", None),
            ("data: 1\n\n", None),
            ("data: 1\n\ndata: 2\n\n", Some(9)),
            ("data: 1\r\n\r\ndata: 2\r\n", Some(11)),
            ("data: 1\r\rdata: 2", Some(9)),
            ("data: 1\ndata: 2", None),
            ("data: 1\n\n\n\ndata: 2\n\ndata: 3", Some(20)),
        ] {
            assert_eq!(last_event(text.as_bytes(), 0), start, "{text:?}");
        }
        assert_eq!(last_event(b"a\n\nb\n\nc", 6), Some(6));
        assert_eq!(last_event(b"a\n\nb\n\nc", 7), None);
    }
}
