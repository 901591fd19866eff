//! The list of experiments.

use maud::{Markup, html};

use super::{content, dataset_path, layout, or_dash, scores, url_encoded};
use crate::sandbox::datasets::StoredDataset;
use crate::sandbox::experiments::ExperimentOverview;
use crate::sandbox::scores::StoredScore;
use crate::sandbox::{PROJECT_ID, time};

/// Experiments of the list, at most.
pub const LISTED_EXPERIMENTS: usize = 200;

/// An experiment with the scores of the whole.
pub type ListedExperiment = (ExperimentOverview, Vec<StoredScore>);

/// The path of an experiment's page.
pub fn experiment_path(id: &str) -> String {
    format!(
        "/project/{PROJECT_ID}/experiments/results?baseline={}",
        url_encoded(id)
    )
}

/// The list, newest first.
pub fn experiments(experiments: &[ListedExperiment], datasets: &[StoredDataset]) -> String {
    let body = html! {
        h1 { "Experiments" }
        @if experiments.is_empty() {
            section.card.empty {
                p.big { "No experiments yet." }
                p { "Run the first one over the dataset that is there from the start:" }
                pre.command { "langspan batch --sandbox --dataset faq --prompt answer --experiment first" }
            }
        } @else {
            (list(experiments, datasets))
        }
        @if experiments.len() == LISTED_EXPERIMENTS {
            p.soft { "Only the newest " (LISTED_EXPERIMENTS) " experiments are listed." }
        }
    };
    layout("Experiments", &body)
}

/// The experiments as rows, each with a link to its page and to its dataset.
pub fn list(experiments: &[ListedExperiment], datasets: &[StoredDataset]) -> Markup {
    html! {
        section.card.list {
            div.row.head.experiments {
                span { "Name" } span { "Dataset" } span { "Started (UTC)" } span.number { "Items" } span { "Scores" }
            }
            @for (experiment, scores) in experiments {
                div.row.experiments {
                    span.name { a.whole href=(experiment_path(&experiment.id)) { (name(experiment)) } }
                    span.fact data-label="Dataset" { (dataset(&experiment.dataset_id, datasets)) }
                    span.when { (time::readable(experiment.start)) }
                    span.fact.number data-label="Items" { (experiment.item_count) }
                    span.fact.wide data-label="Scores" {
                        @if scores.is_empty() { (or_dash("")) }
                        @for score in scores { (scores::chip(score)) " " }
                    }
                }
            }
        }
    }
}

/// Its name, or else its id.
pub fn name(experiment: &ExperimentOverview) -> &str {
    if experiment.name.is_empty() {
        &experiment.id
    } else {
        &experiment.name
    }
}

/// A link to a dataset, as far as the sandbox knows it.
pub fn dataset(id: &str, datasets: &[StoredDataset]) -> Markup {
    let known = datasets.iter().find(|dataset| dataset.id == id);
    html! {
        @match known {
            Some(dataset) => a.inner href=(dataset_path(id)) { (dataset.name) },
            None if id.is_empty() => span.soft { "local data" },
            None => code { (content::snippet(id)) },
        }
    }
}
