//! The scores of a trace, as text for a terminal.

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::columns::{cut, pad, plain};

/// The widest column of names, in columns.
const WIDEST_NAME: usize = 24;

/// One line for each score, by name, with its comment behind it, cut at `width` columns if that is given; nothing without
/// scores.
pub fn score_lines(scores: &[Value], width: Option<usize>) -> String {
    let mut rows: Vec<(String, String)> = scores
        .iter()
        .map(|score| {
            let value = match &score["value"] {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            let text = match score["comment"]
                .as_str()
                .filter(|comment| !comment.is_empty())
            {
                Some(comment) => format!("{value}  {comment}"),
                None => value,
            };
            (
                plain(score["name"].as_str().unwrap_or_default()),
                plain(&text),
            )
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    rows.sort_by(Ord::cmp);
    let widths = rows.iter().map(|(name, _)| name.width());
    let widest = widths.max().unwrap_or_default().min(WIDEST_NAME);
    let lines = rows.iter().map(|(name, text)| {
        let line = format!("  {}  {text}", pad(name, widest));
        format!(
            "{}\n",
            width.map_or(line.clone(), |width| cut(&line, width))
        )
    });
    format!("scores\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scores_are_aligned_and_without_control_characters() {
        let scores = [
            json!({"name": "tone", "value": "kind", "comment": "a\u{1b}[31m\nb"}),
            json!({"name": "contains", "value": true, "comment": null}),
        ];
        let text = "scores\n  contains  true\n  tone      kind  a [31m b\n";
        assert_eq!(score_lines(&scores, None), text);
        let cut = "scores\n  contains  true\n  tone      kind  …\n";
        assert_eq!(score_lines(&scores, Some(19)), cut);
        assert_eq!(score_lines(&[], None), "");
    }
}
