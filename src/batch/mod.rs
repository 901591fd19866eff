//! The engine of `langspan batch`: opens a run, catches up with an earlier one, works through the lines, reports.
//!
//! Bottom up: `stats`, `progress`, `summary`, `verify`, `links`, `costs`, `resume_command`; then `experiment::run`,
//! `input`, `output`, `plan`, `dry_run`, `resume` and the rest of `experiment`; then `pool`, `redeliver_failed`,
//! `catch_up`, `report`; then this file. `merge` joins the outputs of several runs.

mod catch_up;
mod costs;
pub mod dry_run;
pub mod experiment;
pub mod input;
pub mod links;
pub mod merge;
pub mod output;
pub mod plan;
pub mod pool;
pub mod progress;
mod redeliver_failed;
pub mod report;
pub mod resume;
pub mod resume_command;
pub mod stats;
pub mod summary;
pub mod verify;

use std::fs::File;
use std::mem;
use std::rc::Rc;

use crate::app::delayed_note::DelayedNote;
use crate::app::price_cache;
use crate::app::record_file::RecordFile;
use crate::app::setup::Setup;
use crate::app::signals::SignalListener;
use crate::batch::catch_up::CatchUp;
use crate::batch::costs::Costs;
use crate::batch::input::{Input, validate};
use crate::batch::links::Links;
use crate::batch::output::writer::Writer;
use crate::batch::plan::{Plan, Start};
use crate::batch::pool::trace_sender::TraceSender;
use crate::batch::pool::{Channels, Pool, PoolContext};
use crate::batch::report::RunReport;
use crate::batch::resume::checkpoint::Checkpoint;
use crate::batch::resume::compare::Comparison;
use crate::batch::resume::state::ResumeState;
use crate::console::Console;
use crate::failure::{Failure, Kind, Signal};
use crate::model::{RateLimiter, RateLimiters};
use crate::prices::PriceTable;

/// A run. Its methods are called in this order: `open`, `catch_up`, `work`.
pub struct Batch<'a> {
    plan: &'a Plan,
    setup: &'a Setup,
    console: &'a Console,
    input: Input,
    /// The file of `--record`.
    record: Option<RecordFile>,
    /// The file of `--summary`.
    summary: Option<File>,
    comparison: Comparison,
    traces: TraceSender<'a>,
}

impl<'a> Batch<'a> {
    /// Opens all files and checks everything that can be checked without sending anything.
    ///
    /// # Errors
    /// When the run cannot start.
    pub fn open(
        mut input: Input,
        plan: &'a mut Plan,
        setup: &'a mut Setup,
        console: &'a Console,
    ) -> Result<Self, Failure> {
        let record = setup.record.take();
        let setup = &*setup;
        let settings = &setup.settings;
        validate::check_keys(&input, plan, settings)?;
        if plan.reads_twice() {
            input = input.rewindable()?;
        }
        if plan.is_strict {
            validate::check(&input, plan, settings, console)?;
        }
        let summary = plan.summary.as_deref().map(report::open_summary);
        let summary = summary.transpose()?;
        let is_resumed = matches!(plan.start, Start::Resume { .. });
        let note = is_resumed
            .then(|| DelayedNote::new(console, "reading the output of the earlier run …"));
        let checkpoint =
            Checkpoint::open(plan, &settings.model.name.value, settings.delivery.sample)?;
        let plan = &*plan;
        let mut state = ResumeState::new(checkpoint);
        let comparison = Comparison::new(&input, plan, &state, settings)?;
        drop(note);
        state.begin_acks()?;
        let exporter = setup.clients.exporter.as_ref();
        let api = setup.clients.api.as_ref();
        let policy = plan.out.outbox_policy();
        let traces = TraceSender::new(settings, exporter, api, policy, state)?;
        Ok(Self {
            plan,
            setup,
            console,
            input,
            record,
            summary,
            comparison,
            traces,
        })
    }

    /// Delivers what an earlier run left behind. Does nothing for a new run.
    ///
    /// # Errors
    /// When a file cannot be read or written, or at a signal.
    pub async fn catch_up(&mut self, signals: &mut SignalListener) -> Result<(), Failure> {
        let catch_up = CatchUp {
            plan: self.plan,
            setup: self.setup,
            console: self.console,
            input: &self.input,
            comparison: &self.comparison,
            traces: &mut self.traces,
        };
        let _note = DelayedNote::new(
            self.console,
            "looking for the traces of the earlier run, to deliver those that are missing …",
        );
        tokio::select! {
            result = catch_up.run() => result,
            signal = signals.wait() => Err(interrupted(signal)),
        }
    }

    /// Sends the lines, writes the answers and delivers the traces.
    ///
    /// # Errors
    /// When the input or the output cannot be opened.
    pub async fn work(mut self, signals: &mut SignalListener) -> Result<RunReport<'a>, Failure> {
        let (settings, clients) = (&self.setup.settings, &self.setup.clients);
        self.traces.expected = self.expected_traces();
        let context = PoolContext {
            plan: self.plan,
            settings,
            http: &clients.http,
            uploads: &clients.uploads,
            console: self.console,
            rate_limiters: Rc::new(RateLimiters::new(self.rate_limiter(), self.rate_limiter())),
            is_traced: self.traces.is_on(),
            prices: self.prices().await.map(Rc::new),
        };
        let api = self.setup.clients.api.as_ref();
        let mut links = Links::start(&settings.tracing, api);
        let costs = Costs::start(api, self.plan.price_folder.clone(), links.project());
        self.wait_for_project(&mut links).await;
        let channels = Channels {
            links,
            lines: self.input.stream().map_err(anyhow::Error::from)?,
            writer: Writer::start(self.plan.out.open()?).map_err(anyhow::Error::from)?,
            record: self.record,
        };
        let total = self.input.count(self.plan.shard, self.plan.limit);
        let pool = Pool::new(context, channels, costs, self.traces);
        let result = pool.run(signals, &total).await;
        Ok(RunReport {
            plan: self.plan,
            settings,
            api: clients.api.as_ref(),
            exporter: clients.exporter.as_ref(),
            console: self.console,
            summary: self.summary,
            result,
        })
    }

    fn rate_limiter(&self) -> RateLimiter {
        let plan = self.plan;
        RateLimiter::new(plan.rpm, self.setup.settings.model.timeout)
            .with_tokens(plan.tpm)
            .with_outage_after(2 * plan.concurrency as u64)
    }

    /// The traces of earlier runs that `--verify` looks for, and the session that will hold only traces of this run.
    fn expected_traces(&mut self) -> verify::ExpectedTraces {
        let mut expected = mem::take(&mut self.comparison.expected);
        // A redone line has more traces than one.
        let own_session = self.plan.own_session();
        let own_session = own_session.filter(|_| !self.traces.state.has_redone());
        expected.own_session = own_session.map(str::to_owned);
        expected
    }

    /// The price table, or why there is none; `None` if no expectation needs it.
    async fn prices(&self) -> Option<Result<PriceTable, String>> {
        if !self.plan.judge.needs_cost() {
            return None;
        }
        let Some(api) = &self.setup.clients.api else {
            return Some(Err("there is no Langfuse to ask for prices".to_owned()));
        };
        let table = async {
            let project = api.project().await?;
            price_cache::load(api, self.plan.price_folder.as_deref(), &project.id).await
        };
        Some(table.await.map_err(|error| error.message))
    }

    async fn wait_for_project(&self, links: &mut Links) {
        if let Err(why) = links.wait_for_project().await {
            self.console.warn(&format!(
                "the project is unknown, so links may ask you to log in: {why}"
            ));
        }
    }
}

fn interrupted(signal: Signal) -> Failure {
    let message = "interrupted while delivering the traces of the earlier run";
    Failure::new(Kind::Interrupted(signal), message).hint("run the command again: no line was sent")
}
