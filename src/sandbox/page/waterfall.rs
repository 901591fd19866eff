//! The waterfall: when each observation of a trace ran, nested by parent and drawn to one scale.

use std::collections::{HashMap, HashSet};

use maud::{Markup, html};

use super::summary::TraceSummary;
use super::{duration, level_badge};
use crate::sandbox::observation::{Level, Observation};
use crate::sandbox::time::{self, Millis};
use crate::sort;

/// Deeper nesting is drawn at this depth, so that names stay on the page.
const DEEPEST_INDENT: usize = 8;

/// An observation at its place in the tree.
#[derive(Debug)]
pub struct WaterfallRow<'a> {
    pub row: &'a Observation,
    pub depth: usize,
    /// Its anchor on the page; ids may repeat.
    pub anchor: String,
}

/// Parents before their children, siblings by start. An observation without a parent in this trace is at the top, and
/// so is one of a cycle.
pub fn tree(rows: &[Observation]) -> Vec<WaterfallRow<'_>> {
    let mut by_start: Vec<usize> = (0..rows.len()).collect();
    sort::sort_by_key(&mut by_start, |index| rows[*index].start);
    let known: HashSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let mut children: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut tops = Vec::new();
    for index in &by_start {
        match rows[*index]
            .parent_id
            .as_deref()
            .filter(|parent| known.contains(parent))
        {
            Some(parent) => children.entry(parent).or_default().push(*index),
            None => tops.push(*index),
        }
    }

    let mut nodes = Vec::new();
    let mut seen = HashSet::new();
    for top in tops.into_iter().chain(by_start) {
        let mut open = vec![(top, 0)];
        while let Some((index, depth)) = open.pop() {
            if !seen.insert(index) {
                continue;
            }
            let row = &rows[index];
            nodes.push(WaterfallRow {
                row,
                depth,
                anchor: format!("observation-{}", nodes.len() + 1),
            });
            let below = children.get(row.id.as_str()).into_iter().flatten().rev();
            open.extend(below.map(|child| (*child, depth + 1)));
        }
    }
    nodes
}

pub fn draw(trace: &TraceSummary, nodes: &[WaterfallRow]) -> Markup {
    let scale = Scale {
        start: trace.start,
        length: (trace.end - trace.start).max(1),
    };
    let latency = trace.latency();
    html! {
        section.card.waterfall {
            div.lane.axis {
                span {}
                span.scale { span { "0" } span { (duration(latency / 2.0)) } span { (duration(latency)) } }
                span {}
            }
            @for node in nodes { (lane(node, &scale)) }
        }
    }
}

fn lane(node: &WaterfallRow, scale: &Scale) -> Markup {
    let WaterfallRow { row, depth, anchor } = node;
    let kind = row.kind.name().to_ascii_lowercase();
    let left = scale.percent(row.start);
    let width = (scale.percent(row.end) - left).max(0.0);
    let first_token = row.completion_start.map(|first| scale.percent(first));
    let failed = (row.level == Level::Error).then_some("failed");
    html! {
        a.lane href={ "#" (anchor) } {
            span.label style={ "--depth:" ((*depth).min(DEEPEST_INDENT)) } {
                span.dot.(kind) title=(row.kind.name()) {}
                span.text { (row.name) }
                (level_badge(row.level))
            }
            span.track {
                span.bar.(kind).(failed.unwrap_or("fine")) style=(format!("left:{left:.3}%;width:{width:.3}%")) {}
                @if let Some(first) = first_token {
                    span.first-token style=(format!("left:{first:.3}%"))
                        title={ "first token after " (duration(time::seconds(row.start, row.completion_start.unwrap_or(row.start)))) } {}
                }
            }
            span.took { (duration(row.latency())) }
        }
    }
}

/// The trace's time span as 100 percent.
struct Scale {
    start: Millis,
    length: Millis,
}

impl Scale {
    fn percent(&self, at: Millis) -> f64 {
        let share = time::seconds(self.start, at) / time::seconds(0, self.length);
        (share * 100.0).clamp(0.0, 100.0)
    }
}
