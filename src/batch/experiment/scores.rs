//! The scores of an experiment as a whole: the mean of each score of its items.

use serde_json::{Map, Number, Value};
use tokio::time::Instant;

use crate::app::judge::Judge;
use crate::app::score_sender::PendingScores;
use crate::batch::experiment::run::RunExperiment;
use crate::batch::plan::Plan;
use crate::batch::stats::{ExpectationStats, ScoreStats, Stats};
use crate::console::Console;
use crate::delivery::Exporter;
use crate::failure::Failure;
use crate::langfuse::Api;
use crate::langfuse::scores::{ScoreValue, experiment_score_id};
use crate::settings::Settings;

/// Where the scores go.
#[derive(Clone, Copy, Debug)]
pub struct ScoreTarget<'a> {
    pub api: &'a Api,
    pub exporter: &'a Exporter,
    pub settings: &'a Settings,
    pub console: &'a Console,
}

impl ScoreTarget<'_> {
    /// Sends the scores of the experiment of `plan`, and counts them; with the failure of those that were not accepted.
    /// None of a shard: it knows the scores of its own items only.
    pub async fn send(&self, plan: &Plan, stats: &Stats) -> (ScoreStats, Option<Failure>) {
        let mut counts = ScoreStats::default();
        let Some(experiment) = plan.experiment.as_ref().filter(|_| plan.shard.is_none()) else {
            return (counts, None);
        };
        let environment = self.settings.trace.environment.as_deref();
        let means = means(&stats.expectations, &plan.judge, stats.done + stats.skipped);
        let bodies = means
            .into_iter()
            .filter_map(|(name, mean)| body(experiment, &plan.name, &name, mean, environment));
        let bodies: Vec<Value> = bodies.collect();
        if bodies.is_empty() {
            return (counts, None);
        }
        let count = bodies.len() as u64;
        let pending = PendingScores::store(bodies, self.exporter, None, Vec::new());
        let is_kept = pending.is_kept();
        let deadline = Instant::now() + self.settings.delivery.export_timeout;
        match pending.deliver(self.api, deadline, self.console).await {
            Ok(()) => {
                counts.accepted = count;
                (counts, None)
            }
            Err(failure) => {
                let place = if is_kept {
                    &mut counts.spooled
                } else {
                    &mut counts.lost
                };
                *place = count;
                (counts, Some(failure))
            }
        }
    }
}

/// The mean of each score of the items, by name. Categories have none.
fn means(stats: &ExpectationStats, judge: &Judge, lines: u64) -> Vec<(String, f64)> {
    let mut names: Vec<&String> = stats.met.keys().chain(stats.missed.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let judged = names.into_iter().map(|name| {
        let count = |counts: &std::collections::BTreeMap<String, u64>| {
            counts.get(name).copied().unwrap_or_default()
        };
        let (met, missed) = (count(&stats.met), count(&stats.missed));
        (name.clone(), share(met, met + missed))
    });
    let given = judge.given().iter().filter(|_| lines > 0);
    let given = given.filter_map(|score| {
        let value = match &score.value {
            ScoreValue::Boolean(is_true) => f64::from(u8::from(*is_true)),
            ScoreValue::Numeric(number) => number.as_f64()?,
            ScoreValue::Categorical(_) => return None,
        };
        Some((score.name.clone(), value))
    });
    judged.chain(given).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a share of lines")]
fn share(met: u64, all: u64) -> f64 {
    met as f64 / all.max(1) as f64
}

/// The body that creates a score of an experiment. The run is part of its id: a resumed run replaces its own scores, and
/// another run with `--again` adds some.
fn body(
    experiment: &RunExperiment,
    run: &str,
    name: &str,
    mean: f64,
    environment: Option<&str>,
) -> Option<Value> {
    let id = experiment.context.id.as_deref()?;
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    set("id", experiment_score_id(id, run, name).into());
    set("datasetRunId", id.into());
    set("name", name.into());
    set("value", Value::Number(Number::from_f64(mean)?));
    set("dataType", "NUMERIC".into());
    if let Some(environment) = environment {
        set("environment", environment.into());
    }
    Some(Value::Object(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_the_share_of_lines_that_met_an_expectation() {
        let mut stats = ExpectationStats::default();
        stats.met.insert("a".to_owned(), 3);
        stats.missed.insert("a".to_owned(), 1);
        stats.missed.insert("b".to_owned(), 2);
        let means = means(&stats, &Judge::default(), 4);
        assert_eq!(means, [("a".to_owned(), 0.75), ("b".to_owned(), 0.0)]);
    }
}
