//! The costs of a run (`--cost`): the price table is looked up beside the first model call.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::app::price_cache;
use crate::app::project_lookup::ProjectAnswer;
use crate::langfuse::Api;
use crate::prices::{Call, PriceTable};
use crate::trace::{Exchange, Trace, spans};

const NO_SERVER: &str = "there is no Langfuse to ask for prices";
const ENDED: &str = "the look-up of prices ended unexpectedly";
const TOO_LONG: &str = "the look-up of prices took too long";

/// The look-up of a run.
#[derive(Debug, Default)]
pub enum PriceLookup {
    /// Costs were not asked for.
    #[default]
    Off,
    /// Not begun. With the folder in which the table is kept, if it is.
    Wanted(Option<PathBuf>),
    Asked(JoinHandle<Result<PriceTable, String>>),
    /// The table, or why there is none.
    Answered(Result<PriceTable, String>),
}

impl PriceLookup {
    /// Whether costs were asked for, and the look-up has not begun.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Wanted(_))
    }

    /// Whether the look-up has begun and has no answer yet.
    pub fn is_asked(&self) -> bool {
        matches!(self, Self::Asked(_))
    }

    /// Waits for the answer of a look-up that has begun. Cancel safe.
    pub async fn answered(&mut self) {
        if let Self::Asked(asked) = self {
            let answer = asked.await;
            *self = Self::Answered(answer.unwrap_or_else(|_| Err(ENDED.to_owned())));
        }
    }

    /// Waits no longer for the answer.
    pub fn give_up(&mut self) {
        if let Self::Asked(asked) = self {
            asked.abort();
            *self = Self::Answered(Err(TOO_LONG.to_owned()));
        }
    }

    /// The table, once it is known.
    pub fn known(&self) -> Option<&PriceTable> {
        match self {
            Self::Answered(Ok(table)) => Some(table),
            _ => None,
        }
    }

    /// Why there is no table, once that is known.
    pub fn missing(&self) -> Option<&str> {
        match self {
            Self::Answered(Err(why)) => Some(why),
            Self::Wanted(_) => Some(NO_SERVER),
            _ => None,
        }
    }

    /// Begins the look-up, once the project is known.
    pub fn start(&mut self, api: &Api, project: ProjectAnswer) {
        if let Self::Wanted(folder) = self {
            let (api, folder) = (api.clone(), folder.take());
            *self = Self::Asked(tokio::spawn(async move {
                let project = project.await.map_err(|error| error.message)?;
                let table = price_cache::load(&api, folder.as_deref(), &project.id).await;
                table.map_err(|error| error.message)
            }));
        }
    }

    /// The cost of an exchange in US dollars, or why it is not known; `None` if costs were not asked for. What the
    /// provider states is the cost, else the price table is waited for at most `grace` from now.
    pub async fn cost(
        &mut self,
        exchange: &Exchange,
        trace: &Trace,
        grace: Duration,
    ) -> Option<Result<f64, String>> {
        if matches!(self, Self::Off) {
            return None;
        }
        if let Some(stated) = exchange.completion.cost.or(exchange.cost) {
            return Some(Ok(stated));
        }
        Some(match self.table(grace).await {
            Ok(table) => computed(table, exchange, trace),
            Err(why) => Err(why),
        })
    }

    /// The price table, waited for at most `grace` from now.
    ///
    /// # Errors
    /// Why there is none, in a few words.
    pub async fn table(&mut self, grace: Duration) -> Result<&PriceTable, String> {
        if timeout(grace, self.answered()).await.is_err() {
            self.give_up();
        }
        match self {
            Self::Answered(answer) => answer.as_ref().map_err(String::clone),
            _ => Err(NO_SERVER.to_owned()),
        }
    }
}

/// The cost by a price table, as Langfuse computes it from the span.
///
/// # Errors
/// Why it is not known, in a few words.
pub fn computed(table: &PriceTable, exchange: &Exchange, trace: &Trace) -> Result<f64, String> {
    priced(exchange, trace, |call| table.cost(call))
}

/// The cost of each usage type and their total by a price table, times `share`.
///
/// # Errors
/// Why it is not known, in a few words.
pub fn details(
    table: &PriceTable,
    exchange: &Exchange,
    trace: &Trace,
    share: f64,
) -> Result<Map<String, Value>, String> {
    priced(exchange, trace, |call| table.cost_details(call, share))
}

/// Applies `price` to what the span of an exchange states.
fn priced<T>(
    exchange: &Exchange,
    trace: &Trace,
    price: impl FnOnce(&Call<'_>) -> Result<T, String>,
) -> Result<T, String> {
    let usage = exchange.completion.usage.as_ref();
    let usage = usage.and_then(|_| spans::usage_details(exchange));
    let usage = usage.ok_or("the answer states no usage")?;
    let parameters = || {
        let parameters = spans::model_parameters(exchange);
        let parsed = parameters.and_then(|parameters| serde_json::from_str(&parameters).ok());
        parsed.unwrap_or_default()
    };
    price(&Call {
        model: &exchange.model(),
        usage: usage.as_slice(),
        parameters: &parameters,
        metadata: &trace.metadata,
    })
}
