//! What a run does while the model endpoint is down: it pauses, tries one call after each pause, and gives up in the end.
//!
//! A line whose call met the outage is held and asked again; it never becomes an error line. While an outage is only
//! suspected, a call that has used up its attempts waits here until it is known whether there is one.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::batch::output::line::CompletedCall;
use crate::batch::pool::call::{LineCall, UnansweredCall};
use crate::batch::pool::{Pool, StopReason};

/// The pause before the first call is tried.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The lines that wait for the endpoint, and the pauses.
#[derive(Debug, Default)]
pub struct Outage {
    /// `None` while the endpoint is not known to be down.
    pause: Option<Pause>,
    /// Lines to be asked again.
    held: VecDeque<LineCall>,
    /// Calls that have failed as in an outage.
    undecided: Vec<CompletedCall>,
}

#[derive(Debug)]
struct Pause {
    /// When the endpoint was found to be down.
    since: Instant,
    length: Duration,
    /// Its end; `None` while a call is tried.
    end: Option<Instant>,
}

impl Pause {
    fn first(give_up: Duration) -> Self {
        Self::begin(Instant::now(), FIRST_PAUSE.min(give_up))
    }

    /// The pause after a call that was tried after this one; `None` once `give_up` has passed.
    fn next(&self, give_up: Duration) -> Option<Self> {
        let left = give_up.saturating_sub(self.since.elapsed());
        let length = (2 * self.length).min(LONGEST_PAUSE).min(left);
        (!left.is_zero()).then(|| Self::begin(self.since, length))
    }

    fn begin(since: Instant, length: Duration) -> Self {
        Self {
            since,
            length,
            end: Some(Instant::now() + length),
        }
    }
}

impl Outage {
    /// Whether no line waits.
    pub fn is_over(&self) -> bool {
        self.held.is_empty() && self.undecided.is_empty()
    }

    pub fn is_known(&self) -> bool {
        self.pause.is_some()
    }

    /// The end of the current pause.
    pub fn next_try(&self) -> Option<Instant> {
        self.pause.as_ref()?.end
    }

    /// The next line that is asked again.
    pub fn take_held(&mut self) -> Option<LineCall> {
        self.held.pop_front()
    }

    /// Forgets the lines: a later run asks for them.
    pub fn give_up(&mut self) {
        *self = Self::default();
    }
}

impl Pool<'_> {
    /// Keeps the line of a call that met the outage.
    pub(super) fn hold(&mut self, call: UnansweredCall) {
        if self.stop.is_some() {
            return;
        }
        let (is_try, why) = (call.line.is_try, call.why);
        // What was tried first is tried first again.
        let held = LineCall {
            is_try: false,
            ..call.line
        };
        if is_try {
            self.outage.held.push_front(held);
        } else {
            self.outage.held.push_back(held);
        }
        let give_up = self.context.plan.give_up;
        let pause = match &self.outage.pause {
            None if self.context.rate_limiters.is_down() => Pause::first(give_up),
            Some(pause) if is_try => match pause.next(give_up) {
                Some(pause) => pause,
                None => {
                    let seconds = give_up.as_secs_f64();
                    let why = format!("the model endpoint has been down for {seconds} s: {why}");
                    return self.stop(StopReason::Down(why));
                }
            },
            // Another call has shown the outage, or the end of it.
            _ => return,
        };
        let seconds = (pause.length.as_secs_f64() * 10.0).round() / 10.0;
        let console = self.context.console;
        console.note(&format!(
            "the model endpoint is down, trying again in {seconds} s: {}",
            console.clean(&why)
        ));
        self.outage.pause = Some(pause);
    }

    /// After a pause: asks for one line.
    pub(super) fn try_endpoint(&mut self) {
        if let Some(pause) = &mut self.outage.pause {
            pause.end = None;
        }
        if let Some(line) = self.outage.take_held() {
            let is_try = true;
            self.call(LineCall { is_try, ..line });
        }
    }

    /// Whether a call failed in a way that may turn out to be an outage.
    pub(super) fn may_be_outage(&self, call: &CompletedCall) -> bool {
        self.stop.is_none()
            && call.progress.met_outage()
            && self.context.rate_limiters.is_outage_suspected()
    }

    /// Keeps a failed call until it is known whether the endpoint is down.
    pub(super) fn leave_undecided(&mut self, call: CompletedCall) {
        self.outage.undecided.push(call);
    }

    /// Takes note of what the latest attempts show about the endpoint.
    pub(super) fn settle_outage(&mut self) {
        let limiter = &self.context.rate_limiters;
        if self.outage.is_known() && !limiter.is_down() {
            self.outage.pause = None;
            self.context
                .console
                .note("the model endpoint answers again");
        }
        if self.outage.undecided.is_empty() {
            return;
        }
        let (is_down, is_suspected) = (limiter.is_down(), limiter.is_outage_suspected());
        let is_last = self.calls.is_empty()
            && self.ended.is_empty()
            && self.outage.held.is_empty()
            && self.lines.is_empty()
            && !self.has_more_input;
        if !is_down && is_suspected && !is_last {
            return;
        }
        for call in std::mem::take(&mut self.outage.undecided) {
            if is_down {
                self.hold(UnansweredCall::of_outage(call));
            } else {
                self.answered(call);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep_until;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_a_minute_and_end_when_the_time_is_up() {
        let give_up = Duration::from_secs(300);
        let mut lengths = Vec::new();
        let mut pause = Some(Pause::first(give_up));
        while let Some(current) = pause {
            lengths.push(current.length.as_secs());
            sleep_until(current.end.unwrap()).await;
            pause = current.next(give_up);
        }
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 60, 60, 60, 57]);
        assert_eq!(lengths.iter().sum::<u64>(), 300);
    }
}
