//! The page of one trace: its facts, its scores, its waterfall, and each observation with its input and output.

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::summary::TraceSummary;
use super::waterfall::{self, WaterfallRow};
use super::{
    content, duration, experiment_path, layout, level_badge, scores, search, session_path, tags,
};
use crate::sandbox::observation::{ExperimentFields, Observation, parsed};
use crate::sandbox::scores::StoredScore;
use crate::sandbox::time;

/// The page; `None` for a trace without observations.
pub fn trace(trace_id: &str, rows: &[Observation], all_scores: &[StoredScore]) -> Option<String> {
    let trace = TraceSummary::of(rows)?;
    let nodes = waterfall::tree(rows);
    let title = if trace.name.is_empty() {
        trace_id
    } else {
        trace.name
    };
    let body = html! {
        p.crumb { a href="/" { "Traces" } " / " code { (trace_id) } }
        h1 { (title) (level_badge(trace.level)) }
        (facts(&trace, rows.iter().find_map(|row| row.experiment.as_ref())))
        (metadata("Metadata", &trace.metadata, true))
        (scores::table(all_scores, &nodes))
        (waterfall::draw(&trace, &nodes))
        @for node in &nodes { (observation(node)) }
    };
    Some(layout(title, &body))
}

fn facts(trace: &TraceSummary, experiment: Option<&ExperimentFields>) -> Markup {
    html! {
        dl.facts {
            (fact("Started (UTC)", &time::readable(trace.start)))
            (fact("Latency", &duration(trace.latency())))
            @if !trace.user.is_empty() {
                div { dt { "User" } dd { a href=(search::path("user", trace.user)) { (trace.user) } } }
            }
            @if !trace.session.is_empty() {
                div { dt { "Session" } dd { a href=(session_path(trace.session)) { (trace.session) } } }
            }
            @if !trace.tags.is_empty() { div { dt { "Tags" } dd { (tags(trace.tags)) } } }
            @if let Some(of) = experiment {
                div {
                    dt { "Experiment" }
                    dd { a href=(experiment_path(&of.id)) { (if of.name.is_empty() { &of.id } else { &of.name }) } }
                }
            }
            (fact("Environment", trace.environment))
            (fact("Release", trace.release))
            (fact("Version", trace.version))
            @if trace.tokens > 0 { (fact("Tokens", &trace.tokens.to_string())) }
            @if let Some(cost) = trace.cost { (fact("Stated cost", &format!("${cost}"))) }
            @if trace.public { (fact("Visibility", "public")) }
        }
    }
}

pub fn fact(name: &str, value: &str) -> Markup {
    html! { @if !value.is_empty() { div { dt { (name) } dd { (value) } } } }
}

fn observation(node: &WaterfallRow) -> Markup {
    let WaterfallRow { row, anchor, .. } = node;
    let kind = row.kind.name();
    html! {
        section.card.observation id=(anchor) {
            h2 {
                span.kind.(kind.to_ascii_lowercase()) { (kind) }
                span { (row.name) }
                (level_badge(row.level))
                span.took { (duration(row.latency())) }
            }
            (status(row))
            (numbers(row))
            div.exchange {
                (side("Input", row.input.as_deref()))
                (side("Output", row.output.as_deref()))
            }
            (metadata("All attributes", &all_metadata(row), false))
        }
    }
}

pub fn status(row: &Observation) -> Markup {
    html! {
        @if !row.status_message.is_empty() {
            p.status.(row.level.name().to_ascii_lowercase()) { (row.status_message) }
        }
    }
}

/// Model, parameters, usage and times, as far as there are any.
fn numbers(row: &Observation) -> Markup {
    html! {
        dl.facts.small {
            (fact("Model", &row.model))
            @for (name, value) in &row.model_parameters { (fact(name, &content::plain(value))) }
            @if let Some(seconds) = row.time_to_first_token() { (fact("First token after", &duration(seconds))) }
            @for (bucket, count) in &row.usage { (fact(&token_label(bucket), &content::plain(count))) }
            @if let Some(total) = row.cost.get("total") { (fact("Stated cost", &format!("${total}"))) }
            @if !row.prompt_name.is_empty() {
                (fact("Prompt", &format!("{} v{}", row.prompt_name, row.prompt_version.unwrap_or_default())))
            }
        }
    }
}

/// `input_cached_tokens` reads "input cached tokens", `total` "total tokens".
fn token_label(bucket: &str) -> String {
    let words = bucket.replace('_', " ");
    if words.ends_with(" tokens") {
        words
    } else {
        format!("{words} tokens")
    }
}

pub fn side(name: &str, text: Option<&str>) -> Markup {
    html! {
        @if let Some(text) = text {
            div.side { h3 { (name) } (content::draw(text)) }
        }
    }
}

fn all_metadata(row: &Observation) -> Map<String, Value> {
    let flat = row.metadata.flat();
    flat.into_iter()
        .rev()
        .map(|(key, text)| (key, parsed(text.as_str().unwrap_or_default())))
        .collect()
}

pub fn metadata(title: &str, entries: &Map<String, Value>, open: bool) -> Markup {
    html! {
        @if !entries.is_empty() {
            details.metadata open[open] {
                summary { (title) " " span.soft { (entries.len()) } }
                table {
                    @for (key, value) in entries { tr { th { (key) } td { (content::plain(value)) } } }
                }
            }
        }
    }
}
