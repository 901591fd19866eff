//! How a run ends early: the reasons, and what each leaves to be done.
//!
//! Every reason ends the input; running calls complete. A first signal gives them [`GRACE`], a second one nothing.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::batch::pool::Pool;
use crate::batch::pool::call::UnansweredCall;
use crate::console::counted;
use crate::failure::{Failure, Signal};
use crate::model::Stopped;

/// After a signal, running calls have this long to complete.
const GRACE: Duration = Duration::from_secs(30);
/// After the calls are abandoned, finished lines have this long to be written.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// Why a run ends before its input does.
#[derive(Debug)]
pub enum StopReason {
    Signal(Signal),
    /// The endpoint would refuse every other line as well.
    Model(String),
    /// The endpoint is down, and has been for too long.
    Down(String),
    MaxErrors(u64),
    /// The run has cost at least as much as it may, in US dollars.
    MaxCost(f64),
    /// Traces can be neither delivered nor stored.
    Outbox(String),
    /// The reader of the output has closed it.
    Closed,
    /// A file cannot be read or written any more.
    File(Failure),
    /// The output of a run that can be resumed cannot be written any more.
    Output(Failure),
}

impl Pool<'_> {
    /// Ends the run early. The first reason counts.
    pub(super) fn stop(&mut self, reason: StopReason) {
        self.stop.get_or_insert(reason);
        self.start_no_more();
    }

    /// Starts no other call, not even one that waits for the rate limiter.
    fn start_no_more(&mut self) {
        self.context.rate_limiters.close();
        self.end_input();
        self.outage.give_up();
    }

    pub(super) fn call_stopped(&mut self, call: UnansweredCall) {
        match call.stopped {
            Stopped::Closed => {}
            Stopped::Down => self.hold(call),
            Stopped::LongPause(left) => {
                let seconds = left.as_secs();
                self.stop(StopReason::Model(format!(
                    "the model endpoint asked for a pause of {seconds} s, longer than --timeout"
                )));
            }
        }
    }

    pub(super) fn check_errors(&mut self) {
        let errors = self.stats.failed + self.traces.stats.failed();
        if let Some(most) = self.context.plan.max_errors
            && errors >= most
        {
            self.stop(StopReason::MaxErrors(most));
        }
    }

    pub(super) fn check_cost(&mut self) {
        if let (Some(most), Some(cost)) = (self.context.plan.max_cost, self.stats.cost)
            && cost >= most
        {
            self.stop(StopReason::MaxCost(most));
        }
    }

    pub(super) fn signalled(&mut self, signal: Signal) {
        let is_second = matches!(self.stop, Some(StopReason::Signal(_)));
        self.stop = Some(StopReason::Signal(signal));
        self.start_no_more();
        if !is_second {
            self.deadline = Some(Instant::now() + GRACE);
            let calls = counted(self.calls.len() as u64, "call");
            let message = format!("stopping: finishing {calls}; press Ctrl-C again to quit now");
            self.context.console.note(&message);
            return;
        }
        self.abandon_calls();
        self.abandon_uploads();
        self.traces.cancel();
        self.traces.store_scores();
    }

    /// At the deadline: abandons the calls, or, once none are left, an output that is not read.
    pub(super) fn deadline_passed(&mut self) {
        if self.calls.is_empty() && self.ended.is_empty() {
            self.close_output();
        } else {
            self.abandon_calls();
        }
    }

    fn abandon_calls(&mut self) {
        self.calls.clear();
        self.deadline = Some(Instant::now() + LAST_WRITES);
    }

    /// Traces images and files that are not uploaded yet as type and size.
    fn abandon_uploads(&mut self) {
        self.is_leaving = true;
        // Drops the other references to the traces.
        self.uploads.clear();
        for (line, upload) in std::mem::take(&mut self.uploading) {
            let pending = Rc::unwrap_or_clone(upload.pending).outlined();
            match upload.stored {
                Some(stored) => self.traces.push_stored(line, &pending, stored),
                None => self.push_trace(line, &pending),
            }
        }
    }

    /// Without an output, no call may be paid for. In a run that can be resumed, unwritten lines count as not
    /// answered, so they must not be traced.
    pub(super) fn output_failed(&mut self, error: &io::Error) {
        let mut failure = Failure::unwritable("the output", error);
        if self.context.plan.out.resumable().is_none() {
            let hint = "free some disk space; with --out FILE a run can be resumed";
            self.stop(StopReason::File(failure.hint(hint)));
            return self.close_output();
        }
        let held = self.reorder.drain().count();
        let lost = self.calls.len() + self.ended.len() + self.unwritten.len() + held;
        if lost > 0 {
            let answers = counted(lost as u64, "answer");
            let message = format!("; at most {answers} must be asked for again");
            failure.message.push_str(&message);
        }
        self.stop(StopReason::Output(failure));
        self.is_closed = true;
        self.calls.clear();
        self.unwritten.clear();
    }

    /// Writes nothing more. Answers that were paid for are still traced.
    pub(super) fn close_output(&mut self) {
        self.is_closed = true;
        self.follow_up(usize::MAX);
    }
}
