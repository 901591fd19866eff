//! The experiments API of v4: an experiment is what the attributes of its spans say, so there is nothing to write. Answers
//! and refusals are those of a Langfuse 4.16.

mod overview;
mod query;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::auth::Authorized;
use super::observation::Observation;
use super::response::{StoreError, disk, json_response};
use super::scores::{ScoreStore, StoredScore};
use super::store::TraceStore;
use super::time::{self, Millis};
use crate::sandbox::routes::Routes;
pub use overview::{ExperimentItemRow, ExperimentOverview, item_of};
use query::{EXPERIMENTS, ExperimentsQuery, ITEMS, Interface, ListPlace};

/// What the handlers use.
#[derive(Debug, Clone)]
struct Experiments {
    store: TraceStore,
    scores: ScoreStore,
    /// How long a row or a score stays invisible.
    delay: Millis,
}

/// The API; rows and scores become readable `delay` milliseconds after they arrived.
pub fn routes(store: TraceStore, scores: ScoreStore, delay: Millis) -> Router {
    Routes::new(Experiments {
        store,
        scores,
        delay,
    })
    .get("/api/public/experiments", list)
    .get("/api/public/experiment-items", list_items)
    .into_router()
}

async fn list(
    State(experiments): State<Experiments>,
    _: Authorized,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, StoreError> {
    answer(parameters, &EXPERIMENTS, move |query| {
        let until = experiments.until();
        let rows = experiments.rows(query, until)?;
        let found = ExperimentOverview::all(rows.iter()).into_iter();
        let found = found.filter(|found| {
            query.holds(&[
                ("id", &found.id),
                ("name", &found.name),
                ("datasetId", &found.dataset_id),
            ])
        });
        let (page, meta) = query.page(found.map(|found| (found.place.clone(), found)).collect());
        let mut data = Vec::new();
        for found in page {
            let mut document = found.document();
            if query.wants("metadata") {
                document["metadata"] = json!(found.metadata);
            }
            if query.wants("scores") {
                let scores = experiments.scores.of_experiment(&found.id, until)?;
                document["scores"] = documents(&scores, query.score_limit);
            }
            data.push(document);
        }
        Ok(json!({"data": data, "meta": meta}))
    })
    .await
}

async fn list_items(
    State(experiments): State<Experiments>,
    _: Authorized,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, StoreError> {
    answer(parameters, &ITEMS, move |query| {
        let until = experiments.until();
        let rows = experiments.rows(query, until)?.into_iter();
        let items = rows.filter_map(item_of).filter(|(_, fields)| {
            query.holds(&[
                ("experimentId", &fields.id),
                ("experimentName", &fields.name),
                ("experimentItemId", &fields.item_id),
                ("datasetId", &fields.dataset_id),
            ])
        });
        let items = items.map(|item| (ListPlace::of(&item.0, &item.1), item));
        let (page, meta) = query.page(items.collect());
        let mut data = Vec::new();
        for item in page {
            let mut document = overview::item_document(&item, |group| query.wants(group));
            if query.wants("scores") {
                let scores = experiments.scores.of_trace(&item.0.trace_id, until)?;
                document["scores"] = documents(&of_item(scores, &item.0.id), query.score_limit);
            }
            data.push(document);
        }
        Ok(json!({"data": data, "meta": meta}))
    })
    .await
}

/// The scores of an item, out of those of its trace: those of its root, then those of the trace as a whole.
pub fn of_item(scores: Vec<StoredScore>, root_id: &str) -> Vec<StoredScore> {
    let (mut of_root, others): (Vec<_>, Vec<_>) = scores
        .into_iter()
        .partition(|score| score.subject.observation_id() == Some(root_id));
    let of_trace = others
        .into_iter()
        .filter(|score| score.subject.observation_id().is_none());
    of_root.extend(of_trace);
    of_root
}

fn documents(scores: &[StoredScore], most: usize) -> Value {
    let groups = ["core".to_owned(), "subject".to_owned()];
    let scores = scores.iter().take(most);
    scores.map(|score| score.document(&groups)).collect()
}

/// The answer to a query, or the refusal of one that cannot be answered.
async fn answer(
    parameters: Vec<(String, String)>,
    interface: &'static Interface,
    find: impl FnOnce(&ExperimentsQuery) -> std::io::Result<Value> + Send + 'static,
) -> Result<Response, StoreError> {
    let query = match ExperimentsQuery::read(parameters, interface) {
        Err(body) => return Ok(json_response(StatusCode::BAD_REQUEST, &body)),
        Ok(query) => query,
    };
    let found = disk(move || find(&query)).await?;
    Ok(json_response(StatusCode::OK, &found))
}

impl Experiments {
    /// What arrived later cannot be read yet.
    fn until(&self) -> Millis {
        time::now().saturating_sub(self.delay)
    }

    /// The rows of all experiments in the query's window of time.
    fn rows(&self, query: &ExperimentsQuery, until: Millis) -> std::io::Result<Vec<Observation>> {
        let rows = self.store.traces()?.flatten();
        Ok(rows
            .filter(|row| row.experiment.is_some() && row.arrived <= until && query.covers(row))
            .collect())
    }
}
