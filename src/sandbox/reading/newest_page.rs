//! One page of a list that begins with the newest entry.

use serde_json::{Value, json};

/// The first `limit` entries, newest first, of those behind the place `after`, and the `meta` of the answer: the cursor of
/// the last entry if more follow.
pub fn newest_page<P: Ord, T>(
    mut found: Vec<(P, T)>,
    after: Option<&P>,
    limit: usize,
    cursor: impl Fn(&P) -> String,
) -> (Vec<T>, Value) {
    found.retain(|(place, _)| after.is_none_or(|after| place < after));
    found.sort_by(|(a, _), (b, _)| b.cmp(a));
    let more = found.len() > limit;
    found.truncate(limit);
    let meta = match found.last() {
        Some((last, _)) if more => json!({"cursor": cursor(last)}),
        _ => json!({}),
    };
    (found.into_iter().map(|(_, entry)| entry).collect(), meta)
}
