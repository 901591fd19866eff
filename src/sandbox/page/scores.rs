//! The scores of a trace, as a table on its page.

use maud::{Markup, html};
use serde_json::Value;

use super::content;
use super::waterfall::WaterfallRow;
use crate::sandbox::scores::{DataType, StoredScore};
use crate::sandbox::time;
use crate::sort;

/// The scores by name; nothing if there are none. `nodes` are the observations of the page.
pub fn table(scores: &[StoredScore], nodes: &[WaterfallRow]) -> Markup {
    let mut scores: Vec<&StoredScore> = scores.iter().collect();
    sort::sort_by(&mut scores, |a, b| a.name.cmp(&b.name));
    html! {
        @if !scores.is_empty() {
            section.card.scores {
                h2 { "Scores " span.soft { (scores.len()) } }
                table {
                    thead { tr { th { "Name" } th { "Value" } th { "Comment" } th { "On" } th { "Set (UTC)" } } }
                    tbody { @for score in scores { (row(score, nodes)) } }
                }
            }
        }
    }
}

fn row(score: &StoredScore, nodes: &[WaterfallRow]) -> Markup {
    let id = score.subject.observation_id();
    let node = nodes.iter().find(|node| Some(node.row.id.as_str()) == id);
    html! {
        tr {
            th { (score.name) }
            td { (value(score)) }
            td { (score.comment.as_deref().unwrap_or_default()) }
            td {
                @match (node, id) {
                    (Some(node), _) => a href={ "#" (node.anchor) } { (node.row.name) },
                    (None, Some(id)) => code { (id) },
                    (None, None) => span.soft { "trace" },
                }
            }
            td.when { (time::readable(score.timestamp)) }
        }
    }
}

/// Name and value in one, the comment as its title.
pub fn chip(score: &StoredScore) -> Markup {
    html! {
        span.named title=[score.comment.as_deref()] { span.soft { (score.name) } " " (value(score)) }
    }
}

/// The value, coloured where it is true or false.
pub fn value(score: &StoredScore) -> Markup {
    let shown = score.shown_value();
    let class = match (score.data_type, &shown) {
        (DataType::Boolean, Value::Bool(true)) => "score yes",
        (DataType::Boolean, _) => "score no",
        _ => "score",
    };
    html! { span class=(class) { (content::plain(&shown)) } }
}
