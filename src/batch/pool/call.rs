//! One line is asked.

use jiff::Timestamp;

use crate::app::model_call::{self, Caller};
use crate::app::uploads::Uploads;
use crate::batch::input::line::{Line, LineDefaults};
use crate::batch::output::answer::Called;
use crate::batch::plan::Plan;
use crate::console::Console;
use crate::model::{NullSink, Progress, RateLimiter, Stopped};
use crate::settings::Settings;
use crate::trace::spans::Dialect;
use crate::trace::{TraceContext, ids};

/// What a run works with.
#[derive(Clone, Copy, Debug)]
pub struct PoolContext<'a> {
    pub plan: &'a Plan,
    pub settings: &'a Settings,
    pub http: &'a reqwest::Client,
    pub uploads: &'a Uploads,
    pub console: &'a Console,
    pub pace: &'a RateLimiter,
    pub dialect: Dialect,
    pub is_traced: bool,
    /// How many calls are under way at once.
    pub concurrency: usize,
    pub max_errors: Option<u64>,
}

impl<'a> PoolContext<'a> {
    pub fn defaults(&self) -> LineDefaults<'a> {
        LineDefaults {
            model: &self.settings.model,
            trace: &self.plan.trace,
        }
    }

    /// Asks a line; whatever comes of it is in the answer.
    pub async fn call(
        self,
        line: u64,
        digest: String,
        parsed: Line,
        redo: u32,
    ) -> Result<Called, Stopped> {
        let Line {
            custom_id,
            request,
            trace,
        } = parsed;
        let trace_id = self.plan.trace_id(line, custom_id.as_deref(), redo);
        let context = TraceContext::root(trace_id);
        self.pace.acquire().await?;
        let mut exchange = model_call::begin(&self.settings.model, request, Timestamp::now());
        let caller = Caller {
            http: self.http,
            model: &self.settings.model,
            console: self.console,
            rate_limiter: Some(self.pace),
        };
        let mut progress = Progress::default();
        let is_sampled = ids::is_sampled(trace_id, self.settings.delivery.sample);
        let context_sent = (self.is_traced && is_sampled).then_some(&context);
        let never = std::future::pending();
        // A failure is part of the exchange.
        let _ = model_call::complete(
            &mut exchange,
            context_sent,
            &caller,
            &mut NullSink,
            &mut progress,
            never,
        )
        .await;
        if let Some(halt) = progress.stopped {
            return Err(halt);
        }
        Ok(Called {
            line,
            custom_id,
            digest,
            redo,
            exchange,
            trace,
            context,
            progress,
        })
    }
}
