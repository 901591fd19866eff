//! A run in Langfuse: the items of an experiment, with their scores.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::app::experiment_reference::ExperimentReference;
use crate::app::langfuse_server::LangfuseServer;
use crate::app::unread;
use crate::compare::run::{ComparedRun, FoundItem, RunKind};
use crate::failure::{Failure, Kind};
use crate::langfuse::experiments::ExperimentItemFields;
use crate::langfuse::trace_rows::TraceQuery;
use crate::langfuse::{ApiError, Experiment, ExperimentItem};

/// The most experiments that a message lists.
const LISTED: usize = 4;

/// The Langfuse that has the experiments.
#[derive(Debug)]
pub struct ExperimentReader {
    pub server: LangfuseServer,
    /// The project of the keys.
    pub project: String,
}

/// An experiment that was read.
#[derive(Debug)]
pub struct ExperimentRun {
    pub run: ComparedRun,
    /// What finds the trace of each item.
    pub traces: Vec<TraceQuery>,
}

impl ExperimentReader {
    /// Reads the items of an experiment. The failure is retryable if the server may not have the experiment yet.
    ///
    /// # Errors
    /// If there is no such experiment, or there are several, or the server does not answer.
    pub async fn read(&self, letter: char, name: &str) -> Result<ExperimentRun, Failure> {
        let reference = ExperimentReference::new(name, &self.server.destination)?;
        let experiment = self.find(&reference, name).await?;
        let mut run = ComparedRun::new(letter, name, RunKind::Experiment);
        run.url = Some(self.page(&experiment));
        run.datasets.extend(experiment.dataset_id.clone());
        let fields = ExperimentItemFields::All;
        let mut pages =
            self.server
                .api
                .experiment_item_pages(&experiment.id, experiment.start, fields);
        let mut known: HashSet<(String, String)> = HashSet::new();
        let mut traces = Vec::new();
        while let Some(items) = pages.next().await.map_err(|error| self.unread(error))? {
            for item in items {
                // A row that the server has not merged yet may be listed twice.
                if known.insert((item.trace_id.clone(), item.span_id.clone())) {
                    self.add(&mut run, &item);
                    traces.push(TraceQuery {
                        window: item.start.zip(item.end),
                        trace_id: item.trace_id,
                        with_metadata: false,
                    });
                }
            }
        }
        Ok(ExperimentRun { run, traces })
    }

    async fn find(
        &self,
        reference: &ExperimentReference,
        name: &str,
    ) -> Result<Experiment, Failure> {
        let found = match reference {
            ExperimentReference::Id(id) => {
                let found = self.server.api.experiment(id, None).await;
                found.map(|found| found.into_iter().collect())
            }
            ExperimentReference::Name(name) => self.server.api.experiments_named(name).await,
        };
        let mut found: Vec<Experiment> = match found {
            Ok(found) => found,
            Err(error) if error.is_unserved() => {
                let failure = unread::no_experiments(&self.server.api, &error).await;
                return Err(failure.hint("upgrade the server, or compare output files of batch"));
            }
            Err(error) => return Err(self.unread(error)),
        };
        match (found.pop(), found.len()) {
            (Some(experiment), 0) => Ok(experiment),
            (Some(last), _) => {
                found.push(last);
                Err(self.several(name, &found))
            }
            (None, _) => Err(absent(reference, name)),
        }
    }

    fn several(&self, name: &str, found: &[Experiment]) -> Failure {
        let pages: Vec<String> = found
            .iter()
            .take(LISTED)
            .map(|experiment| self.page(experiment))
            .collect();
        let more = match found.len().saturating_sub(LISTED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = format!("{} experiments have the name `{name}`", found.len());
        Failure::input(message).hint(format!("give the URL of one: {}{more}", pages.join(" ")))
    }

    fn add(&self, run: &mut ComparedRun, item: &ExperimentItem) {
        let times = item.start.zip(item.end);
        let latency = times.map(|(start, end)| end.as_millisecond() - start.as_millisecond());
        let url = self
            .server
            .ui
            .trace_page(Some(&self.project), &item.trace_id);
        run.push(FoundItem {
            key: &item.item_id,
            failure: item.is_error.then(|| "error".to_owned()),
            findings: findings(&item.scores),
            trace_id: Some(&item.trace_id),
            trace_url: Some(&url),
            latency_ms: latency
                .and_then(|latency| u64::try_from(latency).ok())
                .filter(|_| !item.is_error),
            ..FoundItem::default()
        });
    }

    fn page(&self, experiment: &Experiment) -> String {
        self.server
            .ui
            .experiment_page(&self.project, &experiment.id)
    }

    fn unread(&self, error: ApiError) -> Failure {
        let failure = self.server.reader().failure(error);
        // The client has tried again already.
        failure.retryable(false)
    }
}

/// The failure of an experiment that the server does not have.
fn absent(reference: &ExperimentReference, name: &str) -> Failure {
    let message = match reference {
        ExperimentReference::Id(id) => format!("there is no experiment with the id {id}"),
        ExperimentReference::Name(_) => {
            format!("there is neither a file nor an experiment with the name `{name}`")
        }
    };
    Failure::new(Kind::NotReadable, message)
        .retryable(true)
        .hint("check the name; a new experiment takes some seconds to appear: --wait SECS")
}

/// The scores that are true or false, by name; of several with one name, the latest.
fn findings(scores: &[Value]) -> Vec<(&str, bool)> {
    let mut latest: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
    for score in scores.iter().filter(|score| score["dataType"] == "BOOLEAN") {
        let is_met = score["value"] == true || score["value"].as_f64() == Some(1.0);
        let time = score["timestamp"].as_str().unwrap_or_default();
        if let Some(name) = score["name"].as_str()
            && latest.get(name).is_none_or(|(known, _)| *known <= time)
        {
            latest.insert(name, (time, is_met));
        }
    }
    latest
        .into_iter()
        .map(|(name, (_, is_met))| (name, is_met))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_latest_score_of_a_name_counts() {
        let score = |name: &str, value: Value, second: u8| json!({"name": name, "dataType": "BOOLEAN", "value": value, "timestamp": format!("2026-01-01T00:00:0{second}Z")});
        let scores = [
            score("json", json!(true), 2),
            score("json", json!(false), 1),
            score("contains", json!(0), 1),
            score("contains", json!(1), 2),
            json!({"name": "rank", "dataType": "NUMERIC", "value": 1}),
        ];
        assert_eq!(findings(&scores), [("contains", true), ("json", true)]);
    }
}
