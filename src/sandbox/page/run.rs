//! The page of one experiment: its facts and scores, and each item with its input, expected output, output and scores.

use std::collections::{BTreeMap, HashSet};

use maud::{Markup, html};
use serde_json::Value;

use super::experiments::{dataset, name};
use super::trace::{fact, metadata, side, status};
use super::{dataset_path, duration, experiments_path, layout, level_badge, scores, trace_path};
use crate::sandbox::datasets::StoredDataset;
use crate::sandbox::experiments::{ExperimentItemRow, ExperimentOverview};
use crate::sandbox::observation::Observation;
use crate::sandbox::scores::{DataType, StoredScore};
use crate::sandbox::time;

/// Items that the page shows, at most.
const MOST_ITEMS: usize = 500;

/// An item with its scores.
pub type ScoredItem = (ExperimentItemRow, Vec<StoredScore>);

/// What the page shows.
#[derive(Debug)]
pub struct ExperimentPage {
    pub overview: ExperimentOverview,
    pub items: Vec<ScoredItem>,
    /// The scores of the whole.
    pub scores: Vec<StoredScore>,
    /// All that the sandbox has.
    pub datasets: Vec<StoredDataset>,
    pub tokens: u64,
    pub cost: Option<f64>,
}

/// Tokens and stated cost of all rows of an experiment.
pub fn consumption<'a>(rows: impl Iterator<Item = &'a Observation>) -> (u64, Option<f64>) {
    let (mut tokens, mut cost) = (0, None);
    for row in rows {
        tokens += row.usage.get("total").and_then(Value::as_u64).unwrap_or(0);
        if let Some(stated) = row.cost.get("total").and_then(Value::as_f64) {
            cost = Some(cost.unwrap_or(0.0) + stated);
        }
    }
    (tokens, cost)
}

impl ExperimentPage {
    pub fn draw(&self) -> String {
        let overview = &self.overview;
        let body = html! {
            p.crumb { a href=(experiments_path()) { "Experiments" } " / " code { (overview.id) } }
            h1 { (name(overview)) }
            @if !overview.description.is_empty() { p.description { (overview.description) } }
            (self.facts())
            (metadata("Metadata", &overview.metadata, true))
            (self.score_table())
            @for item in self.items.iter().take(MOST_ITEMS) { (draw_item(item)) }
            @if self.items.len() > MOST_ITEMS { p.soft { "Only the first " (MOST_ITEMS) " items are shown." } }
        };
        layout(name(overview), &body)
    }

    fn facts(&self) -> Markup {
        let overview = &self.overview;
        let ids: HashSet<&String> = self.items.iter().map(|((_, of), _)| &of.item_id).collect();
        let repeated = self.items.len() - ids.len();
        html! {
            dl.facts {
                div { dt { "Dataset" } dd { (dataset(&overview.dataset_id, &self.datasets)) } }
                div {
                    dt { "Items" }
                    dd { (overview.item_count) @if repeated > 0 { " (" (repeated) " repeated)" } }
                }
                (fact("Started (UTC)", &time::readable(overview.start)))
                (fact("Duration", &duration(time::seconds(overview.start, overview.end))))
                @if self.tokens > 0 { (fact("Tokens", &self.tokens.to_string())) }
                @if let Some(cost) = self.cost { (fact("Stated cost", &format!("${cost}"))) }
            }
        }
    }

    /// The scores of the whole, and what those of the items come to.
    fn score_table(&self) -> Markup {
        let of_items = self.items.iter().flat_map(|(_, scores)| scores);
        let mut by_name: BTreeMap<&str, Vec<&StoredScore>> = BTreeMap::new();
        for score in of_items {
            by_name.entry(&score.name).or_default().push(score);
        }
        html! {
            @if !self.scores.is_empty() || !by_name.is_empty() {
                section.card.scores.totals {
                    h2 { "Scores" }
                    table {
                        thead { tr { th { "Name" } th { "Value" } th { "On" } th { "Comment" } } }
                        tbody {
                            @for score in &self.scores {
                                tr {
                                    th { (score.name) } td { (scores::value(score)) }
                                    td { "experiment" } td { (score.comment.as_deref().unwrap_or_default()) }
                                }
                            }
                            @for (name, scores) in &by_name {
                                tr {
                                    th { (name) } td { (total(scores)) }
                                    td { (scores.len()) @if scores.len() == 1 { " item" } @else { " items" } } td {}
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What the scores of one name come to: how many are true, or their mean; texts are counted.
fn total(scores: &[&StoredScore]) -> String {
    let count = scores.len();
    let numbers: Vec<f64> = scores
        .iter()
        .filter_map(|score| score.value.as_f64())
        .collect();
    let sum: f64 = numbers.iter().sum();
    if scores
        .iter()
        .all(|score| score.data_type == DataType::Boolean)
    {
        format!("{sum} of {count}")
    } else if numbers.len() == count {
        #[expect(clippy::cast_precision_loss, reason = "far fewer scores than 2^52")]
        let mean = sum / count as f64;
        format!("mean {mean:.3}")
    } else {
        let texts: HashSet<&str> = scores
            .iter()
            .filter_map(|score| score.value.as_str())
            .collect();
        format!("{} different", texts.len())
    }
}

fn draw_item(((row, of), item_scores): &ScoredItem) -> Markup {
    html! {
        section.card.observation.item {
            h2 {
                @if of.dataset_id.is_empty() { span { (of.item_id) } } @else {
                    a href={ (dataset_path(&of.dataset_id)) "#item-" (super::url_encoded(&of.item_id)) } { (of.item_id) }
                }
                (level_badge(row.level))
                @for score in item_scores { (scores::chip(score)) }
                span.took { (duration(row.latency())) " · " a href=(trace_path(&row.trace_id)) { "trace" } }
            }
            (status(row))
            div.exchange.three {
                (side("Input", row.input.as_deref()))
                (side("Expected output", of.expected_output.as_deref()))
                (side("Output", row.output.as_deref()))
            }
        }
    }
}
