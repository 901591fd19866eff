//! The page of one session: its exchanges in order, each once.
//!
//! A trace often has the same content twice (on its root and on its generation), and a chat that sends its history has
//! every earlier turn again. So the page shows generations where a trace has any, and of their messages only the last
//! turn.

use maud::{Markup, html};

use super::summary::TraceSummary;
use super::trace::{fact, status};
use super::{content, duration, layout, level_badge, search, trace_path};
use crate::sandbox::observation::{Observation, ObservationType};
use crate::sandbox::time;
use crate::sort;

/// Traces that the page shows, at most.
const MOST_TRACES: usize = 500;

/// The page; `None` for a session without traces.
pub fn session(id: &str, traces: &[Vec<Observation>]) -> Option<String> {
    let mut traces: Vec<(TraceSummary, &[Observation])> = traces
        .iter()
        .filter_map(|rows| Some((TraceSummary::of(rows)?, &rows[..])))
        .collect();
    sort::sort_by_key(&mut traces, |(trace, _)| trace.start);
    let start = traces.first()?.0.start;
    let end = traces.iter().map(|(trace, _)| trace.end).max()?;
    let tokens: u64 = traces.iter().map(|(trace, _)| trace.tokens).sum();
    let costs: Vec<f64> = traces.iter().filter_map(|(trace, _)| trace.cost).collect();
    let body = html! {
        p.crumb { a href="/" { "Traces" } " / " "Session" }
        h1 { (id) }
        dl.facts {
            div { dt { "Traces" } dd { a href=(search::path("session", id)) { (traces.len()) } } }
            (fact("Started (UTC)", &time::readable(start)))
            (fact("Duration", &duration(time::seconds(start, end))))
            @if tokens > 0 { (fact("Tokens", &tokens.to_string())) }
            @if !costs.is_empty() { (fact("Stated cost", &format!("${}", costs.iter().sum::<f64>()))) }
        }
        @for (trace, rows) in traces.iter().take(MOST_TRACES) { (draw(trace, rows)) }
        @if traces.len() > MOST_TRACES {
            p.soft { "Only the first " (MOST_TRACES) " traces are shown." }
        }
    };
    Some(layout(&format!("Session {id}"), &body))
}

fn draw(trace: &TraceSummary, rows: &[Observation]) -> Markup {
    html! {
        section.card.observation {
            h2 {
                a href=(trace_path(trace.id)) { (if trace.name.is_empty() { trace.id } else { trace.name }) }
                (level_badge(trace.level))
                span.when { (time::readable(trace.start)) }
                @if !trace.user.is_empty() { span.when { (trace.user) } }
                span.took { (duration(trace.latency())) }
            }
            @for row in exchanges(rows) {
                (status(row))
                @if let Some(input) = &row.input { div.turn { (content::draw_turn(input)) } }
                @if let Some(output) = &row.output { div.turn.answer { (content::draw(output)) } }
            }
        }
    }
}

/// The observations that hold the content of a trace, by start: its generations, or else its root or first one.
fn exchanges(rows: &[Observation]) -> Vec<&Observation> {
    let mut exchanges: Vec<&Observation> = rows
        .iter()
        .filter(|row| row.kind == ObservationType::Generation)
        .collect();
    sort::sort_by_key(&mut exchanges, |row| row.start);
    if exchanges.is_empty() {
        exchanges.extend(rows.iter().find(|row| row.is_root).or(rows.first()));
    }
    exchanges
}
