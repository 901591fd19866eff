//! The scores of an experiment as a whole: the mean of each score of its items.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};
use tokio::time::Instant;

use crate::app::judge::Judge;
use crate::app::score_sender::PendingScores;
use crate::batch::plan::Plan;
use crate::batch::stats::{ExpectationStats, ScoreStats, Stats};
use crate::console::Console;
use crate::delivery::Exporter;
use crate::failure::{Failure, Kind, Signal};
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
    /// None of a shard: it knows the scores of its own items only. `interrupted` ends with a signal.
    pub async fn send(
        &self,
        plan: &Plan,
        stats: &Stats,
        interrupted: impl Future<Output = Signal>,
    ) -> (ScoreStats, Option<Failure>) {
        let mut counts = ScoreStats::default();
        let Some(experiment) = plan.experiment.as_ref().filter(|_| plan.shard.is_none()) else {
            return (counts, None);
        };
        let mut means = means_of_expectations(&stats.expectations);
        if stats.done + stats.skipped > 0 {
            means.extend(means_of_given(&plan.judge));
        }
        let scored = ExperimentScores {
            id: experiment.context.id.as_deref().unwrap_or_default(),
            run: &plan.name,
            environment: self.settings.trace.environment.as_deref(),
        };
        let bodies = scored.bodies(means);
        if bodies.is_empty() {
            return (counts, None);
        }
        let count = bodies.len() as u64;
        let pending = PendingScores::store(bodies, self.exporter, None, Vec::new());
        let is_kept = pending.is_kept();
        let deadline = Instant::now() + self.settings.delivery.export_timeout;
        let delivered = tokio::select! {
            delivered = pending.deliver(self.api, deadline, self.console) => delivered,
            signal = interrupted => {
                let message = "interrupted while the scores of the experiment were sent";
                let failure = Failure::new(Kind::Interrupted(signal), message);
                Err(failure.hint("to deliver them: langspan resend"))
            }
        };
        match delivered {
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

/// The share of the items that met each expectation, by its name.
pub fn means_of_expectations(stats: &ExpectationStats) -> Vec<(String, f64)> {
    let mut names: Vec<&String> = stats.met.keys().chain(stats.missed.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let shares = names.into_iter().map(|name| {
        let count = |counts: &BTreeMap<String, u64>| counts.get(name).copied().unwrap_or_default();
        let (met, missed) = (count(&stats.met), count(&stats.missed));
        (name.clone(), share(met, met + missed))
    });
    shares.collect()
}

/// The scores that options give to every item. Categories have no mean.
fn means_of_given(judge: &Judge) -> impl Iterator<Item = (String, f64)> {
    judge.given().iter().filter_map(|score| {
        let value = match &score.value {
            ScoreValue::Boolean(is_true) => f64::from(u8::from(*is_true)),
            ScoreValue::Numeric(number) => number.as_f64()?,
            ScoreValue::Categorical(_) => return None,
        };
        Some((score.name.clone(), value))
    })
}

#[expect(clippy::cast_precision_loss, reason = "a share of lines")]
fn share(met: u64, all: u64) -> f64 {
    met as f64 / all.max(1) as f64
}

/// What the scores are about.
#[derive(Clone, Copy, Debug)]
pub struct ExperimentScores<'a> {
    pub id: &'a str,
    /// The name of the run. It is part of the ids: a resumed run replaces its own scores, and another run with `--again`
    /// adds some.
    pub run: &'a str,
    /// `None` for the default one.
    pub environment: Option<&'a str>,
}

impl ExperimentScores<'_> {
    /// The bodies that create the scores with these names and values.
    pub fn bodies(&self, means: impl IntoIterator<Item = (String, f64)>) -> Vec<Value> {
        let bodies = means.into_iter();
        bodies
            .filter_map(|(name, mean)| self.body(&name, mean))
            .collect()
    }

    fn body(&self, name: &str, mean: f64) -> Option<Value> {
        let mut body = Map::new();
        let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
        set("id", experiment_score_id(self.id, self.run, name).into());
        set("datasetRunId", self.id.into());
        set("name", name.into());
        set("value", Value::Number(Number::from_f64(mean)?));
        set("dataType", "NUMERIC".into());
        if let Some(environment) = self.environment {
            set("environment", environment.into());
        }
        Some(Value::Object(body))
    }
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
        let means = means_of_expectations(&stats);
        assert_eq!(means, [("a".to_owned(), 0.75), ("b".to_owned(), 0.0)]);
    }
}
