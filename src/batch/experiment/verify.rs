//! `--verify` of an experiment: waits until Langfuse lists every item that was sent.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::batch::verify::SentTraces;
use crate::failure::{Failure, Kind};
use crate::http::Backoff;
use crate::langfuse::experiments::ExperimentItemFields;
use crate::langfuse::{Api, ApiError};

/// The waits between two looks.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Counts the traces of the run among the items of the experiment until all are there, or `wait` has passed. Returns the
/// number of the items.
///
/// # Errors
/// If some are missing, or they cannot be counted.
pub async fn count(
    api: &Api,
    experiment_id: &str,
    sent: &SentTraces,
    wait: Duration,
) -> Result<u64, Failure> {
    let deadline = Instant::now() + wait;
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let listed = timeout_at(deadline, list(api, experiment_id, sent)).await;
        let listed = listed.unwrap_or_else(|_| Err(ApiError::timeout()));
        let pause = backoff.next_wait();
        match listed {
            Ok(found) if found == sent.count() => return Ok(found),
            Err(error) if error.is_refusal() => return Err(uncounted(&error)),
            _ if Instant::now() + pause < deadline => sleep(pause).await,
            Ok(found) => return Err(missing(found, sent.count())),
            Err(error) => return Err(uncounted(&error)),
        }
    }
}

/// How many of the traces are items, or fewer while the server does not even have as many items.
async fn list(api: &Api, experiment_id: &str, sent: &SentTraces) -> Result<u64, ApiError> {
    let known = api.experiment(experiment_id, sent.from()).await?;
    let known = known.map_or(0, |known| known.item_count);
    if known < sent.count() {
        return Ok(known);
    }
    let mut is_found = vec![false; sent.traces.len()];
    let mut pages =
        api.experiment_item_pages(experiment_id, sent.from(), ExperimentItemFields::Core);
    while let Some(items) = pages.next().await? {
        for item in items {
            if let Some(place) = sent.place(&item.trace_id) {
                is_found[place] = true;
            }
        }
    }
    Ok(is_found.into_iter().filter(|found| *found).count() as u64)
}

fn missing(found: u64, sent: u64) -> Failure {
    let message = format!("the experiment has {found} of {sent} items");
    let hint = "the traces were accepted: raise --wait, or check that the server's worker runs";
    Failure::new(Kind::NotReadable, message).hint(hint)
}

fn uncounted(error: &ApiError) -> Failure {
    let message = format!(
        "the items of the experiment could not be counted: {}",
        error.message
    );
    Failure::new(Kind::NotReadable, message).status(error.status)
}
