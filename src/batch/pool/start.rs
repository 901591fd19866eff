//! From the input to a call: which line starts next, and whether there is room for it.

use std::io;

use jiff::Timestamp;

use crate::batch::input::RawLine;
use crate::batch::input::line::ParsedLine;
use crate::batch::output::line::{self, INVALID};
use crate::batch::pool::call::LineCall;
use crate::batch::pool::events::{AfterWrite, FinishedLine};
use crate::batch::pool::{Pool, StopReason, tokens};
use crate::batch::resume::acks::Ack;
use crate::batch::resume::previous_output::UnconfirmedLine;
use crate::batch::resume::state::ArrivedSpans;
use crate::failure::Failure;

/// No call starts while more output than this waits for the disk, in bytes.
const MOST_UNWRITTEN: usize = 1 << 20;

impl Pool<'_> {
    pub(super) fn read(&mut self, lines: Option<io::Result<Vec<RawLine>>>) {
        match lines {
            Some(Ok(lines)) => self.lines.extend(lines),
            None => {
                if self.has_more_input {
                    self.note_input(None);
                }
                self.has_more_input = false;
            }
            Some(Err(error)) => {
                let failure = Failure::unreadable("the input", &error);
                self.stop(StopReason::File(
                    failure.hint("check the file; the lines before the error are processed"),
                ));
            }
        }
    }

    pub(super) fn end_input(&mut self) {
        self.channels.lines.close();
        self.has_more_input = false;
        self.lines.clear();
    }

    pub(super) fn start_calls(&mut self) {
        while self.may_start()
            && let Some(line) = self.outage.take_held()
        {
            self.call(line);
        }
        while self.may_start()
            && let Some(line) = self.lines.pop_front()
        {
            self.begun += 1;
            self.input.add(&line);
            self.start(&line);
            // Do not wait for input that --limit excludes.
            let limit = self.context.plan.limit;
            if limit.is_some_and(|limit| self.begun >= limit) {
                if self.has_more_input {
                    self.note_input(limit);
                }
                self.end_input();
            }
        }
    }

    /// Notes what was read of the input, now that nothing more is read; `limit` is `--limit`, if it ended the input.
    fn note_input(&mut self, limit: Option<u64>) {
        let note = self.input.note(limit);
        let known = self.traces.state.noted_input();
        if known.is_none_or(|known| !known.covers(&note)) {
            self.ack(&Ack::Input(note));
        }
    }

    /// Whether there is room for one more call and for everything that follows it.
    fn may_start(&self) -> bool {
        let concurrency = self.context.plan.concurrency;
        !self.outage.is_known()
            && self.calls.len() < concurrency
            && self.uploads.len() < concurrency
            // After a kill, an unwritten answer has to be paid for again.
            && self.unwritten.len() + self.unprocessed <= concurrency
            && self.reorder.held_with(self.unprocessed) <= 4 * concurrency
            && self.channels.writer.waiting_bytes() < MOST_UNWRITTEN
            && self.traces.has_room()
    }

    /// Does what is to be done for a line: nothing, its delivery, its call.
    fn start(&mut self, line: &RawLine) {
        let number = line.number;
        if !self.context.plan.includes(number) {
            return;
        }
        let work = self.traces.state.work(number);
        if work.send.is_none() {
            self.skip(number);
        }
        if work.is_empty() {
            return;
        }
        let parsed = ParsedLine::parse(line, &self.context.defaults());
        if let Ok(parsed) = &parsed {
            self.warn_of_unused(number, parsed);
        }
        if let (Some(unconfirmed), Ok(parsed)) = (&work.deliver, &parsed) {
            self.deliver_again(number, parsed, unconfirmed);
        }
        let Some(redo) = work.send else { return };
        self.reorder.expect(number);
        match parsed {
            Ok(parsed) => {
                self.note_first_call();
                self.warn_of_request(number, &parsed);
                self.call(LineCall {
                    number,
                    digest: line::digest(line),
                    parsed,
                    redo,
                    is_try: false,
                });
            }
            Err(why) => self.refuse_line(number, &why),
        }
    }

    pub(super) fn call(&mut self, line: LineCall) {
        // The one call that is tried while the endpoint is down waits for nothing.
        let is_limited = self.context.plan.tpm.is_some() && !line.is_try;
        let tokens = if is_limited {
            tokens::expected(&line.parsed.request, self.stats.mean_answer())
        } else {
            0
        };
        let call = self.context.clone().call(line, tokens);
        self.calls.push(Box::pin(call));
    }

    /// Warns once of variables that the managed prompt does not have: the lines of a data set often have more.
    fn warn_of_unused(&mut self, number: u64, parsed: &ParsedLine) {
        if self.has_warned_of_unused || parsed.unused.is_empty() {
            return;
        }
        self.has_warned_of_unused = true;
        let names = parsed.unused.join(", ");
        self.context.console.warn(&format!(
            "line {number} has variables that the prompt does not have: {names}; further lines are not named"
        ));
    }

    /// Warns once of what a dialect warns of before a request is sent.
    fn warn_of_request(&mut self, number: u64, parsed: &ParsedLine) {
        if self.has_warned_of_request {
            return;
        }
        if let Some(warning) = parsed.request.dialect().warning(&parsed.request) {
            self.has_warned_of_request = true;
            self.context.console.warn(&format!(
                "line {number}: {warning}; further lines are not named"
            ));
        }
    }

    /// Notes when this stretch of the run begins.
    fn note_first_call(&mut self) {
        if self.first_call.is_none() {
            let now = Timestamp::now();
            self.first_call = Some(now);
            self.ack(&Ack::Started(now));
        }
    }

    /// Counts the lines that an earlier run completed and that were not reached before the run stopped.
    pub(super) fn skip_unread(&mut self) {
        let read = self.input.last_line();
        let state = &self.traces.state;
        let answered = state.previous().map(|previous| previous.answered.iter());
        let unread = answered.into_iter().flatten().filter(|line| *line > read);
        let completed: Vec<u64> = unread
            .filter(|line| state.work(*line).send.is_none())
            .collect();
        for line in completed {
            self.skip(line);
        }
    }

    /// Counts a line that an earlier run completed.
    fn skip(&mut self, number: u64) {
        let previous = self.traces.state.previous();
        self.stats
            .skip(previous.and_then(|previous| previous.cause(number)));
        let is_accepted =
            previous.is_some_and(|previous| previous.accepted_failures.contains(number));
        self.traces.stats.accepted += u64::from(is_accepted);
    }

    /// Writes the error line of an invalid request.
    fn refuse_line(&mut self, number: u64, why: &str) {
        self.stats.add_invalid(INVALID);
        let console = self.context.console;
        self.stats.first_failed.take(number, || console.clean(why));
        let finished = FinishedLine {
            text: line::invalid(number, why),
            after_write: AfterWrite::Ack,
        };
        self.write(number, finished);
        self.check_errors();
    }

    /// Sends the spans of an answered line that have not arrived.
    fn deliver_again(&mut self, line: u64, parsed: &ParsedLine, unconfirmed: &UnconfirmedLine) {
        let pending = match self.traces.rebuild(parsed, unconfirmed) {
            Ok(Some(pending)) => pending,
            Ok(None) => return,
            Err(failure) => return self.stop(StopReason::File(failure)),
        };
        let expected = parsed.expected.as_ref();
        let findings = self
            .context
            .findings(&pending.exchange, &pending.trace, expected);
        let pending = self
            .traces
            .judged(pending, &findings, &self.context.plan.judge);
        if !self.traces.is_on() {
            // It stays unconfirmed, for a run with tracing.
        } else if !self.is_traced(&pending.exchange, &pending.context) {
            self.ack(&Ack::Accepted(vec![line]));
        } else if matches!(self.traces.state.arrived, ArrivedSpans::Unknown) {
            self.traces.stats.undecided += 1;
        } else if !self.traces.is_unproven(unconfirmed) {
            self.trace(line, pending);
        } else if let Err(failure) = self.traces.push_unproven(line, &pending.outlined()) {
            self.stop(StopReason::File(failure));
        }
    }
}
