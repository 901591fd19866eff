//! The list of datasets, and the page of one with its items and its experiments.

use maud::{Markup, html};
use serde_json::Value;

use super::experiments::{ListedExperiment, list};
use super::trace::{fact, metadata, side};
use super::{content, dataset_path, datasets_path, layout, or_dash};
use crate::sandbox::datasets::{StoredDataset, StoredItem};
use crate::sandbox::time;

/// Items that the page shows, at most.
const MOST_ITEMS: usize = 500;

/// The list: each dataset with the number of its items and of its experiments.
pub fn datasets(datasets: &[(StoredDataset, usize, usize)]) -> String {
    let body = html! {
        h1 { "Datasets" }
        section.card.list {
            div.row.head.datasets {
                span { "Name" } span { "Description" } span { "Created (UTC)" } span.number { "Items" }
                span.number { "Experiments" }
            }
            @for (dataset, items, experiments) in datasets {
                div.row.datasets {
                    span.name { a.whole href=(dataset_path(&dataset.id)) { (dataset.name) } }
                    span.input { (or_dash(dataset.description.as_deref().unwrap_or_default())) }
                    span.when { (time::readable(dataset.created)) }
                    span.fact.number data-label="Items" { (items) }
                    span.fact.number data-label="Experiments" { (experiments) }
                }
            }
        }
        p.soft { "How to create one: " code { "langspan help experiments" } }
    };
    layout("Datasets", &body)
}

/// One dataset.
pub fn dataset(
    dataset: &StoredDataset,
    items: &[StoredItem],
    experiments: &[ListedExperiment],
) -> String {
    let body = html! {
        p.crumb { a href=(datasets_path()) { "Datasets" } " / " code { (dataset.id) } }
        h1 { (dataset.name) }
        @if let Some(description) = &dataset.description { p.description { (description) } }
        dl.facts {
            (fact("Items", &items.len().to_string()))
            (fact("Created (UTC)", &time::readable(dataset.created)))
        }
        @if let Value::Object(entries) = &dataset.metadata { (metadata("Metadata", entries, true)) }
        @if !experiments.is_empty() {
            h2.part { "Experiments" }
            (list(experiments, std::slice::from_ref(dataset)))
        }
        h2.part { "Items" }
        @if items.is_empty() { section.card.empty { p.big { "No items." } } }
        @for item in items.iter().take(MOST_ITEMS) { (draw(item)) }
        @if items.len() > MOST_ITEMS { p.soft { "Only the newest " (MOST_ITEMS) " items are shown." } }
    };
    layout(&dataset.name, &body)
}

fn draw(item: &StoredItem) -> Markup {
    let text = |value: &Value| (!value.is_null()).then(|| content::plain(value));
    html! {
        section.card.observation.item id={ "item-" (item.id) } {
            h2 { span { (item.id) } span.when { (time::readable(item.valid_from)) } }
            div.exchange {
                (side("Input", text(&item.input).as_deref()))
                (side("Expected output", text(&item.expected_output).as_deref()))
            }
            @if let Value::Object(entries) = &item.metadata { (metadata("Metadata", entries, false)) }
        }
    }
}
