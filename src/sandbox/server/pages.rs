//! The web pages: which handler answers which path. They show what has arrived at once, whatever the delay of the read
//! interfaces.

use std::io;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::response::{Redirect, Response};
use http::StatusCode;

use super::{Parameters, Sandbox};
use crate::sandbox::experiments::{ExperimentOverview, item_of, of_item};
use crate::sandbox::observation::Observation;
use crate::sandbox::page::{self, ExperimentPage, Search};
use crate::sandbox::response::{StoreError, disk, html_response};
use crate::sandbox::routes::Routes;
use crate::sandbox::scores::StoredScore;
use crate::sandbox::time;

pub(super) fn routes(sandbox: Sandbox) -> Router {
    Routes::new(sandbox)
        .get("/", traces_page)
        .get("/project/sandbox/traces", traces_page)
        .get("/project/sandbox/traces/{id}", trace_page)
        .get("/project/sandbox/sessions/{id}", session_page)
        .get("/trace/{id}", async |Path(id): Path<String>| {
            Redirect::to(&page::trace_path(&id))
        })
        .get("/project/sandbox/experiments", experiments_page)
        .get("/project/sandbox/experiments/results", experiment_page)
        .get("/project/sandbox/datasets", datasets_page)
        .get("/project/sandbox/datasets/{id}", dataset_page)
        .get(
            "/project/sandbox/datasets/{id}/runs/{run}",
            async |Path((_, run)): Path<(String, String)>| {
                Redirect::to(&page::experiment_path(&run))
            },
        )
        .get(
            "/project/sandbox/datasets/{id}/items/{item}",
            async |Path((id, item)): Path<(String, String)>| {
                Redirect::to(&format!(
                    "{}#item-{}",
                    page::dataset_path(&id),
                    page::url_encoded(&item)
                ))
            },
        )
        .into_router()
}

async fn traces_page(
    State(sandbox): State<Sandbox>,
    Query(parameters): Query<Parameters>,
) -> Result<Response, StoreError> {
    let search = Search::read(parameters);
    let page = sandbox.with_store(move |store| {
        let found = store.traces()?.filter(|trace| search.matches(trace));
        let traces: Vec<_> = found.take(page::LISTED_TRACES).collect();
        Ok(page::traces(&search, &traces))
    });
    Ok(html_response(StatusCode::OK, page.await?))
}

async fn session_page(
    State(sandbox): State<Sandbox>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, StoreError> {
    let Ok(Path(id)) = id else {
        return Ok(html_response(StatusCode::NOT_FOUND, page::no_such_page()));
    };
    let page = sandbox.with_store(move |store| {
        let is_in = |trace: &Vec<Observation>| trace.iter().any(|row| row.session_id == id);
        let traces: Vec<_> = store.traces()?.filter(is_in).collect();
        Ok(page::session(&id, &traces).ok_or_else(|| page::no_such_session(&id)))
    });
    Ok(match page.await? {
        Ok(page) => html_response(StatusCode::OK, page),
        Err(page) => html_response(StatusCode::NOT_FOUND, page),
    })
}

async fn trace_page(
    State(sandbox): State<Sandbox>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, StoreError> {
    let Ok(Path(id)) = id else {
        return Ok(html_response(StatusCode::NOT_FOUND, page::no_such_page()));
    };
    let wanted = id.clone();
    let observations = sandbox
        .with_store(move |store| store.trace(&wanted))
        .await?;
    let scores = sandbox.scores(id.clone(), time::now()).await?;
    Ok(match page::trace(&id, &observations, &scores) {
        Some(page) => html_response(StatusCode::OK, page),
        None => html_response(StatusCode::NOT_FOUND, page::no_such_trace(&id)),
    })
}

async fn experiments_page(State(sandbox): State<Sandbox>) -> Result<Response, StoreError> {
    let page = disk(move || {
        let mut found = sandbox.experiments()?;
        found.truncate(page::LISTED_EXPERIMENTS);
        let scored = sandbox.scored(found)?;
        Ok(page::experiments(&scored, &sandbox.datasets.datasets()?))
    });
    Ok(html_response(StatusCode::OK, page.await?))
}

async fn experiment_page(
    State(sandbox): State<Sandbox>,
    Query(parameters): Query<Parameters>,
) -> Result<Response, StoreError> {
    let given = parameters.into_iter().find(|(name, _)| name == "baseline");
    let Some((_, id)) = given else {
        return Ok(html_response(StatusCode::NOT_FOUND, page::no_such_page()));
    };
    let page = disk(move || {
        let rows = sandbox.rows(&|fields| fields == id)?;
        let Some(overview) = ExperimentOverview::all(rows.iter()).pop() else {
            return Ok(Err(page::no_such_experiment(&id)));
        };
        let now = time::now();
        let (tokens, cost) = page::consumption(rows.iter());
        let mut items = Vec::new();
        for item in rows.into_iter().filter_map(item_of) {
            let scores = sandbox.scores.of_trace(&item.0.trace_id, now)?;
            let mut scores = of_item(scores, &item.0.id);
            scores.sort_by(|a, b| a.name.cmp(&b.name));
            items.push((item, scores));
        }
        items.sort_by(|((a, _), _), ((b, _), _)| (a.start, &a.id).cmp(&(b.start, &b.id)));
        let mut scores = sandbox.scores.of_experiment(&id, now)?;
        scores.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Ok(ExperimentPage {
            overview,
            items,
            scores,
            datasets: sandbox.datasets.datasets()?,
            tokens,
            cost,
        }
        .draw()))
    });
    Ok(found(page.await?))
}

async fn datasets_page(State(sandbox): State<Sandbox>) -> Result<Response, StoreError> {
    let page = disk(move || {
        let experiments = sandbox.experiments()?;
        let mut listed = Vec::new();
        for dataset in sandbox.datasets.datasets()? {
            let items = sandbox.datasets.items(Some(&dataset.id), None)?.len();
            let runs = experiments.iter();
            let runs = runs.filter(|run| run.dataset_id == dataset.id).count();
            listed.push((dataset, items, runs));
        }
        Ok(page::datasets(&listed))
    });
    Ok(html_response(StatusCode::OK, page.await?))
}

async fn dataset_page(
    State(sandbox): State<Sandbox>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, StoreError> {
    let Ok(Path(id)) = id else {
        return Ok(html_response(StatusCode::NOT_FOUND, page::no_such_page()));
    };
    let page = disk(move || {
        let mut datasets = sandbox.datasets.datasets()?.into_iter();
        let Some(dataset) = datasets.find(|dataset| dataset.id == id) else {
            return Ok(Err(page::no_such_dataset(&id)));
        };
        let items = sandbox.datasets.items(Some(&id), None)?.into_iter();
        let items: Vec<_> = items.map(|(item, _)| item).collect();
        let mut runs = sandbox.experiments()?;
        runs.retain(|run| run.dataset_id == id);
        let runs = sandbox.scored(runs)?;
        Ok(Ok(page::dataset(&dataset, &items, &runs)))
    });
    Ok(found(page.await?))
}

/// A page, or the page for something that was not found.
fn found(page: Result<String, String>) -> Response {
    match page {
        Ok(page) => html_response(StatusCode::OK, page),
        Err(page) => html_response(StatusCode::NOT_FOUND, page),
    }
}

impl Sandbox {
    /// The rows of the experiments that `is_wanted`, by their id.
    fn rows(&self, is_wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<Observation>> {
        let rows = self.store.traces()?.flatten();
        Ok(rows
            .filter(|row| {
                let experiment = row.experiment.as_ref();
                experiment.is_some_and(|experiment| is_wanted(&experiment.id))
            })
            .collect())
    }

    /// All experiments, newest first.
    fn experiments(&self) -> io::Result<Vec<ExperimentOverview>> {
        let rows = self.rows(&|_| true)?;
        let mut found = ExperimentOverview::all(rows.iter());
        found.sort_by(|a, b| b.place.cmp(&a.place));
        Ok(found)
    }

    fn scored(
        &self,
        experiments: Vec<ExperimentOverview>,
    ) -> io::Result<Vec<(ExperimentOverview, Vec<StoredScore>)>> {
        let now = time::now();
        let scored = experiments.into_iter().map(|experiment| {
            let scores = self.scores.of_experiment(&experiment.id, now)?;
            Ok((experiment, scores))
        });
        scored.collect()
    }
}
