//! `langspan replay --batch-input IN --batch-output OUT`: the files of a provider's Batch API become one trace for each
//! output, without a model call.
//!
//! Everything is read and checked before anything is sent. Then the outputs are read once more, in their order, and
//! each request is found again by its offset: a batch may be larger than memory.

mod batch_object;
mod batch_result;
mod join;
mod report;
mod request_index;
mod trace_maker;

use tokio::time::Instant;

use crate::app::jsonl::JsonFile;
use crate::app::ledgered::{self, LedgeredDelivery, Shipment};
use crate::app::price_lookup::{self, PriceLookup};
use crate::app::project_lookup::ProjectLookup;
use crate::app::redeliver::Redelivery;
use crate::app::setup::Setup;
use crate::app::signals::SignalListener;
use crate::app::{delivery_report, verify};
use crate::cli;
use crate::console::Console;
use crate::delivery::ledger::{self, Ledger, Noted};
use crate::failure::{Failure, Kind, Verdict};
use crate::http::url::shown;
use crate::langfuse::readback;
use crate::output::Printer;
use crate::settings::{self, CommandDefaults, Settings, Sources, Tracing};
use join::BatchFiles;
use report::{Imported, ImportedFile};
use trace_maker::{BatchTrace, TraceMaker};

/// # Errors
/// If something is wrong before anything was sent.
pub async fn run(
    options: &cli::ReplayArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let files = BatchFiles::read(options)?;
    let form = settings::text_or_json(&options.run.output, sources)?;
    let setup = Setup::open(&options.run, &CommandDefaults::BATCH, sources, console).await?;
    check(&setup.settings)?;
    let mut import = Import {
        files: &files,
        setup: &setup,
        console,
        again: options.again,
        prices: prices(&setup, sources),
        has_warned: false,
    };
    let mut imported = Imported::default();
    if setup.is_dry {
        import.count(&mut imported)?;
    } else {
        import.deliver(&mut imported).await?;
    }
    for failure in files.unmatched()? {
        console.error(&failure);
        imported.add(failure);
    }
    Ok(imported.report(
        Printer::new(form),
        setup.is_dry,
        endpoint(&setup.settings),
        console,
    ))
}

fn endpoint(settings: &Settings) -> Option<String> {
    let destination = settings.tracing.destination()?;
    Some(shown(&destination.target.url))
}

/// Checks what can be known before anything is sent.
fn check(settings: &Settings) -> Result<(), Failure> {
    if let Some(named) = &settings.trace.named {
        let message = format!(
            "{} names one trace, but each line of a batch has its own",
            named.origin
        );
        return Err(Failure::usage(message).hint("leave it out"));
    }
    if !settings.model.attachments.is_empty() {
        let message = "--image and --file attach to a request, and these were sent already";
        return Err(Failure::usage(message).hint("leave them out"));
    }
    match &settings.tracing {
        Tracing::Off(switch) => Err(Failure::config(format!(
            "tracing is off ({switch}): a batch has nothing else to do"
        ))
        .hint("unset it to make the traces")),
        Tracing::Unreachable(failure) => {
            Err(Failure::config(failure.message.clone()).hints([failure.hint.clone()]))
        }
        Tracing::On(_) => Ok(()),
    }
}

/// The look-up of prices, where there is a Langfuse that has them.
fn prices(setup: &Setup, sources: &Sources) -> PriceLookup {
    if setup.is_dry || setup.clients.api.is_none() {
        return PriceLookup::Off;
    }
    // The embedded sandbox has another port each time.
    let cache = settings::cache_dir(sources).filter(|_| !setup.is_sandbox);
    PriceLookup::Wanted(cache.map(|cache| cache.join("prices")))
}

/// The delivery of the outputs of a batch.
struct Import<'a> {
    files: &'a BatchFiles,
    setup: &'a Setup,
    console: &'a Console,
    again: bool,
    prices: PriceLookup,
    /// Whether it was said that a price is not known.
    has_warned: bool,
}

impl Import<'_> {
    /// Counts what would be sent.
    fn count(&self, imported: &mut Imported) -> Result<(), Failure> {
        let maker = TraceMaker::new(self.setup);
        let Some(destination) = self.setup.settings.tracing.destination() else {
            return Ok(());
        };
        for file in &self.files.outputs {
            let mut counted = ImportedFile::new(file, self.console);
            let path = ledger::path_beside(&file.path);
            let ledger = Ledger::look(&path, &ledgered::destination(destination))
                .map_err(|error| ledgered::unusable(&file.path, &error))?;
            let mut pairs = self.files.pairs(file);
            while let Some(pair) = pairs.next()? {
                let made = maker.make(pair)?;
                if ledger.noted(made.key()) == Noted::Sent {
                    counted.sent_before += 1;
                } else if maker.is_sampled(&made) {
                    counted.plan(&made, maker.spans(&made).len());
                } else {
                    counted.left_out += 1;
                }
            }
            imported.files.push(counted);
        }
        Ok(())
    }

    /// Delivers all files, one after the other.
    async fn deliver(&mut self, imported: &mut Imported) -> Result<(), Failure> {
        let clients = &self.setup.clients;
        let settings = &self.setup.settings;
        let (Some(client), Some(destination)) = (&clients.otlp, settings.tracing.destination())
        else {
            return Err(anyhow::anyhow!("there is no destination").into());
        };
        let redelivery = Redelivery {
            client,
            destination,
            budget: settings.delivery.export_timeout,
            again: self.again,
            console: self.console,
        };
        if !client.is_direct() {
            self.console.warn(&format!(
                "{} cannot be asked for earlier copies: a trace that another run sent counts twice",
                shown(&destination.target.url)
            ));
        }
        let mut deliveries = Vec::new();
        for file in &self.files.outputs {
            let delivery = LedgeredDelivery::open(&file.path, redelivery)?.asking_first();
            let delivery = delivery.forgiving(settings.delivery.best_effort);
            deliveries.push(match settings.delivery.verify {
                Some(_) if clients.api.is_some() => delivery.keeping_accepted(),
                _ => delivery,
            });
        }
        self.start_price_lookup();
        let mut interrupt = SignalListener::listen().map_err(anyhow::Error::from)?;
        for (file, mut delivery) in self.files.outputs.iter().zip(deliveries) {
            let mut line = ImportedFile::new(file, self.console);
            let ended = tokio::select! {
                ended = self.deliver_file(file, &mut delivery, &mut line) => ended,
                signal = interrupt.wait() => {
                    // The ledger says what was under way: the next run asks before it sends.
                    let message = "replay was interrupted";
                    Err(Failure::new(Kind::Interrupted(signal), message).hint("run it again"))
                }
            };
            line.settle(
                &delivery.counts,
                ended.is_err() || !delivery.failures.is_empty(),
            );
            imported.files.push(line);
            for failure in delivery.failures {
                imported.add(failure);
            }
            if let Err(failure) = ended {
                self.console.error(&failure);
                imported.add(failure);
                break;
            }
        }
        Ok(())
    }

    fn start_price_lookup(&mut self) {
        if let Some(api) = self
            .setup
            .clients
            .api
            .as_ref()
            .filter(|_| self.prices.is_waiting())
        {
            let mut project = ProjectLookup::default();
            project.start(api);
            self.prices.start(api, project.answer());
        }
    }

    async fn deliver_file(
        &mut self,
        file: &JsonFile,
        delivery: &mut LedgeredDelivery<'_>,
        line: &mut ImportedFile,
    ) -> Result<(), Failure> {
        let maker = TraceMaker::new(self.setup);
        let mut pairs = self.files.pairs(file);
        while let Some(pair) = pairs.next()? {
            let number = pair.line;
            let mut made = maker.make(pair)?;
            if delivery.is_sent(made.key()) {
                continue;
            }
            if !maker.is_sampled(&made) {
                line.left_out += 1;
                continue;
            }
            self.price(&mut made).await;
            let payload = maker.payload(&made).await?;
            let shipment = Shipment {
                key: made.key(),
                line: number,
                payload,
                earlier: None,
                is_failed_call: made.exchange.error.is_some(),
            };
            delivery.add(shipment).await?;
            self.verify(delivery).await;
        }
        delivery.flush().await?;
        self.verify(delivery).await;
        Ok(())
    }

    /// States the cost of an answer: a batch costs half.
    async fn price(&mut self, made: &mut BatchTrace) {
        const SHARE: f64 = 0.5;
        let grace = self.setup.settings.delivery.export_timeout;
        if matches!(self.prices, PriceLookup::Off) || made.exchange.error.is_some() {
            return;
        }
        let table = match self.prices.table(grace).await {
            Ok(table) => table,
            Err(why) => {
                if !std::mem::replace(&mut self.has_warned, true) {
                    let why = self.console.clean(&why);
                    self.console.warn(&format!(
                        "the prices are not known ({why}): Langfuse counts what the calls cost outside of a batch, twice as much"
                    ));
                }
                return;
            }
        };
        // Without a price, the server knows none either.
        made.exchange.cost_details =
            price_lookup::details(table, &made.exchange, &made.trace, SHARE).ok();
    }

    /// Reads what was accepted back, if that was asked for.
    async fn verify(&self, delivery: &mut LedgeredDelivery<'_>) {
        let settings = &self.setup.settings;
        let (Some(api), Some(wait)) = (&self.setup.clients.api, settings.delivery.verify) else {
            return;
        };
        let deadline = Instant::now() + wait;
        let (mut unreadable, mut first) = (0_u64, None);
        for wanted in delivery.take_accepted() {
            let readback = readback::wait(api, &wanted, deadline).await;
            if let Err(failure) = verify::whole(readback, wanted.span_ids.len(), wait) {
                unreadable += 1;
                first.get_or_insert((wanted.trace_id, failure));
            }
        }
        if let Some((trace_id, mut failure)) = first {
            let more = match unreadable {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            failure.message = format!("{trace_id}{more}: {}", failure.message);
            let best_effort = settings.delivery.best_effort;
            delivery_report::print(&failure, best_effort, self.console);
            if !delivery_report::is_forgiven(&failure, best_effort) {
                delivery.failures.push(failure);
            }
        }
    }
}
