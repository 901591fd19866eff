//! The web pages: the list of traces with its search, a trace, a session; experiments and datasets. Server-rendered,
//! without script; maud escapes all content of a trace.

mod content;
mod datasets;
mod experiments;
mod media;
mod run;
mod scores;
mod search;
mod session;
mod summary;
mod trace;
mod waterfall;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::observation::{Level, Observation};
use super::{PROJECT_ID, time};
use crate::sort;
pub use datasets::{dataset, datasets};
pub use experiments::{LISTED_EXPERIMENTS, experiment_path, experiments};
pub use run::{ExperimentPage, consumption};
pub use search::Search;
pub use session::session;
use summary::TraceSummary;
pub use trace::trace;

const STYLE: &str = include_str!("style.css");

/// Traces of the list, at most: more would only make it slower.
pub const LISTED_TRACES: usize = 200;

/// The path of the list of traces.
fn traces_path() -> String {
    format!("/project/{PROJECT_ID}/traces")
}

/// The path of a trace's page.
pub fn trace_path(trace_id: &str) -> String {
    format!("{}/{}", traces_path(), url_encoded(trace_id))
}

/// The path of a session's page.
fn session_path(session_id: &str) -> String {
    format!("/project/{PROJECT_ID}/sessions/{}", url_encoded(session_id))
}

/// The path of the list of experiments.
fn experiments_path() -> String {
    format!("/project/{PROJECT_ID}/experiments")
}

/// The path of the list of datasets.
fn datasets_path() -> String {
    format!("/project/{PROJECT_ID}/datasets")
}

/// The path of a dataset's page.
pub fn dataset_path(id: &str) -> String {
    format!("{}/{}", datasets_path(), url_encoded(id))
}

pub fn url_encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The list of `traces`, the newest first: those that the search found.
pub fn traces(search: &Search, traces: &[Vec<Observation>]) -> String {
    let mut traces: Vec<TraceSummary> = traces
        .iter()
        .filter_map(|rows| TraceSummary::of(rows))
        .collect();
    sort::sort_by_key(&mut traces, |trace| std::cmp::Reverse(trace.start));
    let body = html! {
        h1 { "Traces" }
        @if traces.is_empty() && search.is_empty() {
            (no_traces())
        } @else {
            (search.form())
            (list(&traces))
        }
        @if traces.len() == LISTED_TRACES {
            p.soft { "Only the newest " (LISTED_TRACES) " traces are listed. The pages of older ones still work." }
        }
    };
    layout("Traces", &body)
}

fn no_traces() -> Markup {
    html! {
        section.card.empty {
            p.big { "No traces yet." }
            p { "Create the first one, then reload this page:" }
            pre.command { "langspan chat --sandbox \"Hello\"" }
        }
    }
}

fn list(traces: &[TraceSummary]) -> Markup {
    html! {
        @if traces.is_empty() {
            section.card.empty { p.big { "No trace matches." } p { a href=(traces_path()) { "All traces" } } }
        } @else {
            section.card.list {
                div.row.head {
                    span { "Name" } span { "Input" } span { "Started (UTC)" } span { "User" } span { "Session" }
                    span { "Tags" } span.number { "Latency" } span.number { "Tokens" }
                }
                @for trace in traces { (list_row(trace)) }
            }
        }
    }
}

/// A row leads to its trace wherever one clicks, except on its session.
fn list_row(trace: &TraceSummary) -> Markup {
    let name = if trace.name.is_empty() {
        trace.id
    } else {
        trace.name
    };
    html! {
        div.row {
            span.name { a.whole href=(trace_path(trace.id)) { (name) } (level_badge(trace.level)) }
            span.input { (or_dash(&content::snippet(trace.input.unwrap_or_default()))) }
            span.when { (time::readable(trace.start)) }
            span.fact data-label="User" { span.cut title=(trace.user) { (or_dash(trace.user)) } }
            span.fact data-label="Session" {
                @if trace.session.is_empty() { (or_dash("")) } @else {
                    a.inner.cut href=(session_path(trace.session)) title=(trace.session) { (trace.session) }
                }
            }
            span.fact data-label="Tags" { (tags(trace.tags)) }
            span.fact.number data-label="Latency" { (duration(trace.latency())) }
            span.fact.number data-label="Tokens" { (trace.tokens) }
        }
    }
}

pub fn no_such_session(session_id: &str) -> String {
    nothing("session", session_id, "/", "All traces")
}

pub fn no_such_experiment(id: &str) -> String {
    nothing("experiment", id, &experiments_path(), "All experiments")
}

pub fn no_such_dataset(id: &str) -> String {
    nothing("dataset", id, &datasets_path(), "All datasets")
}

/// The page where there is nothing of this id, with a link to the list.
fn nothing(kind: &str, id: &str, list: &str, label: &str) -> String {
    layout(
        &format!("No such {kind}"),
        &html! {
            section.card.empty {
                p.big { "There is no " (kind) " " code { (id) } "." }
                p { a href=(list) { (label) } }
            }
        },
    )
}

pub fn no_such_trace(trace_id: &str) -> String {
    layout(
        "No such trace",
        &html! {
            section.card.empty {
                p.big { "There is no trace " code { (trace_id) } "." }
                p {
                    "It may not have arrived yet, or it may be in another folder. This sandbox reads "
                    code { "$XDG_STATE_HOME/langspan/sandbox" } "."
                }
                p { a href="/" { "All traces" } }
            }
        },
    )
}

pub fn no_such_page() -> String {
    layout(
        "Not found",
        &html! {
            section.card.empty {
                p.big { "404: this page could not be found." }
                p { a href="/" { "All traces" } }
            }
        },
    )
}

fn layout(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · langspan sandbox" }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                header.top {
                    a.brand href="/" { span.mark {} "langspan" span.soft { "sandbox" } }
                    nav {
                        a href=(traces_path()) { "Traces" } a href=(experiments_path()) { "Experiments" }
                        a href=(datasets_path()) { "Datasets" }
                    }
                    span.soft.aside { "a local stand-in for Langfuse; nothing leaves this machine" }
                }
                main { (body) }
            }
        }
    };
    page.into_string()
}

fn or_dash(text: &str) -> Markup {
    html! { @if text.is_empty() { span.soft { "–" } } @else { (text) } }
}

fn tags(tags: &[String]) -> Markup {
    html! {
        @if tags.is_empty() { span.soft { "–" } }
        @for tag in tags { span.tag { (tag) } " " }
    }
}

fn level_badge(level: Level) -> Markup {
    html! {
        @if level != Level::Default { " " span.level.(level.name().to_ascii_lowercase()) { (level.name()) } }
    }
}

/// A duration, rounded for reading.
fn duration(seconds: f64) -> String {
    if seconds.abs() < 0.9995 {
        format!("{:.0} ms", seconds * 1000.0)
    } else if seconds.abs() < 60.0 {
        format!("{seconds:.2} s")
    } else {
        format!(
            "{:.0} min {:02.0} s",
            (seconds / 60.0).floor(),
            (seconds % 60.0).floor()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_durations() {
        let shown = [0.0, 0.0804, 0.9994, 0.9996, 12.345, 754.9].map(duration);
        assert_eq!(
            shown,
            [
                "0 ms",
                "80 ms",
                "999 ms",
                "1.00 s",
                "12.35 s",
                "12 min 34 s"
            ]
        );
    }

    #[test]
    fn a_path_holds_any_trace_id() {
        assert_eq!(
            trace_path("a/b?<c>"),
            "/project/sandbox/traces/a%2Fb%3F%3Cc%3E"
        );
    }
}
