//! One model call that fills an exchange, complete or not.
//!
//! Building the request and delivering the trace are done elsewhere.

use jiff::Timestamp;

use crate::console::Console;
use crate::failure::{Failure, Kind, Signal};
use crate::model::{Client, Progress, RateLimiter, Request, Sink};
use crate::model::{dialect, models};
use crate::settings::ModelSettings;
use crate::trace::exchange::Server;
use crate::trace::{Exchange, ExchangeError, TraceContext};

/// Starts an exchange.
pub fn begin(model: &ModelSettings, request: Request, start: Timestamp) -> Exchange {
    let endpoint = model.endpoint_of(request.dialect());
    let mut exchange = Exchange::new(request, start, start);
    exchange.server = Some(Server {
        provider: endpoint.provider,
        address: endpoint.address().to_owned(),
        port: endpoint.base.port_or_known_default(),
    });
    exchange
}

/// What a call needs from its run.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    pub http: &'a reqwest::Client,
    pub model: &'a ModelSettings,
    pub console: &'a Console,
    /// Shared by the calls of a pool.
    pub rate_limiter: Option<&'a RateLimiter>,
}

/// Calls the model and completes `exchange`. The model endpoint gets `context` in `traceparent`, if the call is traced.
/// `interrupt` ends the call; `progress` is updated along the way.
///
/// # Errors
/// If there is no complete response. The exchange then has the part received.
pub async fn complete(
    exchange: &mut Exchange,
    context: Option<&TraceContext>,
    caller: &Caller<'_>,
    sink: &mut dyn Sink,
    progress: &mut Progress,
    interrupt: impl Future<Output = Signal>,
) -> Result<(), Failure> {
    let start = exchange.start;
    let traceparent =
        context.map(|context| context.traceparent(context.span_ids(start).generation));
    let client = Client {
        http: caller.http,
        endpoint: caller.model.endpoint_of(exchange.request.dialect()),
        retries: caller.model.retries,
        timeout: caller.model.timeout,
        console: caller.console,
        rate_limiter: caller.rate_limiter,
    };
    let result = tokio::select! {
        result = client.complete(&exchange.request, traceparent.as_deref(), sink, progress) => Ok(result),
        signal = interrupt => Err(signal),
    };
    exchange.end = Timestamp::now().max(exchange.start);
    exchange.attempts = Some(progress.attempts);
    exchange.retried = std::mem::take(&mut progress.retried);
    exchange.completion_start = progress.first_token;
    let failure = match result {
        Ok(Ok(response)) => {
            exchange.set_response(response.body, response.completion);
            exchange.status = Some(response.status);
            exchange.cost = response.cost;
            return Ok(());
        }
        Ok(Err(error)) => {
            let failure = with_proposal(Failure::from(error), &exchange.request, caller);
            failure.await
        }
        Err(signal) => Failure::new(Kind::Interrupted(signal), "interrupted")
            .hint("the part received is in the trace"),
    };
    if let Some(partial) = progress.take_partial() {
        exchange.set_parsed(partial.to_string(), partial);
    }
    exchange.error = Some(ExchangeError {
        kind: failure.kind.name().to_owned(),
        message: failure.message.clone(),
        status: failure.status,
    });
    Err(failure)
}

/// Adds the base URL that may have been meant to the remedy of a 404. A pool has too many calls to ask for each.
/// A body of which only the shape told its dialect may be one of another.
async fn with_proposal(mut failure: Failure, request: &Request, caller: &Caller<'_>) -> Failure {
    const NOT_FOUND: u16 = 404;
    if failure.status == Some(NOT_FOUND) && caller.rate_limiter.is_none() {
        if request.is_guess() && request.dialect() == dialect::RESPONSES {
            return failure.hint(
                "a body with `input` is sent to the Responses API: for embeddings give --api embeddings",
            );
        }
        let endpoint = caller.model.endpoint_of(request.dialect());
        let hint = failure.hint.take().unwrap_or_default();
        failure.hint =
            Some(models::with_proposal(hint, caller.http, endpoint, caller.console).await);
    }
    failure
}
