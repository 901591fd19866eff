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
use crate::model::{NullSink, Progress, RateLimiter, Stopped};
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
    pub rate_limiter: Rc<RateLimiter>,
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

    /// Calls the model. A failed call is a completed one; [`Stopped`] means that there was no call.
    pub async fn call(self, line: LineCall) -> Result<CompletedCall, Stopped> {
        let ParsedLine {
            custom_id,
            request,
            trace,
            expected,
            unused: _,
        } = line.parsed;
        let id = custom_id.as_deref();
        let trace_id = self.plan.trace_id(line.number, id, &line.digest, line.redo);
        let context = TraceContext::root(trace_id);
        self.rate_limiter.acquire().await?;
        let mut exchange = model_call::begin(&self.settings.model, request, Timestamp::now());
        let caller = Caller {
            http: self.http,
            model: &self.settings.model,
            console: self.console,
            rate_limiter: Some(&self.rate_limiter),
        };
        let mut progress = Progress::default();
        let is_sampled = ids::is_sampled(trace_id, self.settings.delivery.sample);
        let traceparent = (self.is_traced && is_sampled).then_some(&context);
        let no_interrupt = std::future::pending();
        // The failure is also in the exchange.
        let _ = model_call::complete(
            &mut exchange,
            traceparent,
            &caller,
            &mut NullSink,
            &mut progress,
            no_interrupt,
        )
        .await;
        if let Some(stopped) = progress.stopped {
            return Err(stopped);
        }
        Ok(CompletedCall {
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
        })
    }
}
