//! One call: a line is sent to the model.

use std::rc::Rc;

use jiff::Timestamp;

use crate::app::model_call::{self, Caller};
use crate::app::price_lookup;
use crate::app::uploads::Uploads;
use crate::batch::input::line::{LineDefaults, ParsedLine};
use crate::batch::output::line::CompletedCall;
use crate::batch::plan::Plan;
use crate::console::Console;
use crate::expect::{Expected, Finding};
use crate::failure::Failure;
use crate::model::{NullSink, Progress, RateLimiters, Stopped};
use crate::prices::PriceTable;
use crate::settings::Settings;
use crate::trace::{Exchange, Trace, TraceContext, ids};

/// What every call of a run uses.
#[derive(Clone, Debug)]
pub struct PoolContext<'a> {
    pub plan: &'a Plan,
    pub settings: &'a Settings,
    pub http: &'a reqwest::Client,
    pub uploads: &'a Uploads,
    pub console: &'a Console,
    pub rate_limiters: Rc<RateLimiters>,
    /// Whether traces are sent.
    pub is_traced: bool,
    /// The price table, if an expectation needs it.
    pub prices: Option<Rc<Result<PriceTable, String>>>,
}

/// A line on its way to the model.
#[derive(Debug)]
pub struct LineCall {
    pub number: u64,
    /// The digest of the input line.
    pub digest: String,
    pub parsed: ParsedLine,
    /// 0 for the first time.
    pub redo: u32,
    /// Whether it is the one call that is tried after a pause, while the endpoint is down.
    pub is_try: bool,
}

/// A call without an outcome.
#[derive(Debug)]
pub struct UnansweredCall {
    pub line: LineCall,
    pub stopped: Stopped,
    /// The error of the last attempt.
    pub why: String,
}

impl LineCall {
    /// The line of a call, to be asked again.
    pub fn again(call: CompletedCall) -> Self {
        Self {
            number: call.line,
            digest: call.digest,
            parsed: ParsedLine {
                custom_id: call.custom_id,
                request: call.exchange.request,
                trace: call.trace,
                expected: call.expected,
                unused: Vec::new(),
            },
            redo: call.redo,
            is_try: false,
        }
    }
}

impl UnansweredCall {
    /// A call that was stopped before a further attempt.
    fn stopped(
        call: CompletedCall,
        is_try: bool,
        stopped: Stopped,
        ended: Result<(), Failure>,
    ) -> Self {
        let why = ended.err().map(|failure| failure.message);
        Self {
            why: why.unwrap_or_default(),
            line: LineCall {
                is_try,
                ..LineCall::again(call)
            },
            stopped,
        }
    }

    /// A call that has failed because the endpoint is down.
    pub fn of_outage(call: CompletedCall) -> Self {
        let error = call.exchange.error.as_ref();
        Self {
            why: error.map(|error| error.message.clone()).unwrap_or_default(),
            line: LineCall::again(call),
            stopped: Stopped::Down,
        }
    }
}

impl<'a> PoolContext<'a> {
    pub fn defaults(&self) -> LineDefaults<'a> {
        self.plan.line_defaults(&self.settings.model)
    }

    /// What became of the expectations about an answer.
    pub fn findings(
        &self,
        exchange: &Exchange,
        trace: &Trace,
        expected: Option<&Expected>,
    ) -> Vec<Finding> {
        let stated = exchange.completion.cost.or(exchange.cost);
        let cost = self.prices.as_deref().map(|table| match (stated, table) {
            (Some(stated), _) => Ok(stated),
            (None, Ok(table)) => price_lookup::computed(table, exchange, trace),
            (None, Err(why)) => Err(why.clone()),
        });
        self.plan.judge.findings(exchange, cost.as_ref(), expected)
    }

    /// Calls the model; `tokens` are those that the call is expected to use, 0 without a limit. A failed call is a
    /// completed one; an [`UnansweredCall`] may be asked again.
    pub async fn call(self, line: LineCall, tokens: u64) -> Result<CompletedCall, UnansweredCall> {
        let vendor = line.parsed.request.dialect().vendor();
        let rate_limiter = self.rate_limiters.of(vendor);
        if !line.is_try
            && let Err(stopped) = rate_limiter.acquire_with(tokens).await
        {
            let why = String::new();
            return Err(UnansweredCall { line, stopped, why });
        }
        let ParsedLine {
            custom_id,
            request,
            trace,
            expected,
            unused: _,
        } = line.parsed;
        let id = custom_id.as_deref();
        let trace_id = self.plan.trace_id(line.number, id, &line.digest, line.redo);
        let mut exchange = model_call::begin(&self.settings.model, request, Timestamp::now());
        let context = TraceContext::root(trace_id).of_exchange(exchange.start);
        let caller = Caller {
            http: self.http,
            model: &self.settings.model,
            console: self.console,
            rate_limiter: Some(rate_limiter),
        };
        let mut progress = Progress::default();
        let is_sampled = ids::is_sampled(trace_id, self.settings.delivery.sample);
        let traceparent = (self.is_traced && is_sampled).then_some(&context);
        let ended = model_call::complete(
            &mut exchange,
            traceparent,
            &caller,
            &mut NullSink,
            &mut progress,
            std::future::pending(),
        )
        .await;
        rate_limiter.correct_tokens(tokens, used_tokens(&exchange, tokens));
        let stopped = progress.stopped;
        let call = CompletedCall {
            line: line.number,
            custom_id,
            digest: line.digest,
            redo: line.redo,
            exchange,
            trace,
            context,
            progress,
            expected,
            findings: Vec::new(),
        };
        // Without `stopped`, the failure is in the exchange.
        match stopped {
            None => Ok(call),
            Some(stopped) => Err(UnansweredCall::stopped(call, line.is_try, stopped, ended)),
        }
    }
}

/// The tokens that a call used, as far as the endpoint says; `expected` for an answer that does not.
fn used_tokens(exchange: &Exchange, expected: u64) -> u64 {
    match (&exchange.completion.usage, &exchange.error) {
        (Some(usage), _) => usage.all_input() + usage.all_output(),
        (None, Some(_)) => 0,
        (None, None) => expected,
    }
}
