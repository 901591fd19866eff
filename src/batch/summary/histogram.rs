//! Times drawn as a histogram, with a bar for each range.

use unicode_width::UnicodeWidthStr;

use crate::batch::stats::TimeHistogram;
use crate::output::units::time;

/// A histogram as text: a bar for each of up to eight ranges, which grow by the same factor.
pub fn histogram(times: &TimeHistogram, width: usize) -> Vec<String> {
    const ROWS: i32 = 8;
    const LONGEST_BAR: usize = 40;
    const FEWEST_TIMES: u64 = 20;
    let (low, high) = (times.min(), times.max());
    if times.count() < FEWEST_TIMES || low == high {
        return Vec::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "the edges are rounded anyway")]
    let (first, ratio) = (low.max(1) as f64, high as f64 / low.max(1) as f64);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an edge is between two positive times"
    )]
    let edge = |row: i32| (first * ratio.powf(f64::from(row) / f64::from(ROWS))).round() as u64;
    let mut rows = Vec::new();
    let mut start = low;
    for row in 1..=ROWS {
        let end = if row == ROWS { high } else { edge(row) };
        if end >= start {
            let within = times
                .counts()
                .filter(|(time, _)| (start..=end).contains(time));
            rows.push((end, within.map(|(_, count)| count).sum::<u64>()));
            start = end + 1;
        }
    }
    let most = rows
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(1)
        .max(1);
    let label = |end: u64| format!("≤ {}", time(end));
    let label_width = rows
        .iter()
        .map(|(end, _)| label(*end).width())
        .max()
        .unwrap_or(0);
    let count_width = most.to_string().len();
    let bar_width = width
        .saturating_sub(label_width + count_width + 5)
        .clamp(1, LONGEST_BAR);
    rows.iter()
        .map(|(end, count)| {
            let label = label(*end);
            let pad = " ".repeat(label_width - label.width());
            let bar = bar(*count, most, bar_width);
            format!("  {pad}{label} {bar} {count}")
        })
        .collect()
}

/// A bar for `count`; `most` fills `width` columns, and any count above zero shows.
fn bar(count: u64, most: u64, width: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = u128::from(count) * 8 * width as u128;
    let eighths = usize::try_from(eighths.div_ceil(u128::from(most))).unwrap_or_default();
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bars_add_up_to_the_calls() {
        // Zeros, and times closer than the resolution of the histogram.
        for all in [
            [0, 0, 5].repeat(10),
            [0, 1].repeat(10),
            (0..2000).collect(),
            (300..330).collect(),
        ] {
            let mut times = TimeHistogram::new();
            for time in &all {
                times.add(*time);
            }
            let bars = histogram(&times, 80);
            let counts = bars.iter().map(|bar| bar.rsplit(' ').next().unwrap());
            let sum: usize = counts.map(|count| count.parse::<usize>().unwrap()).sum();
            assert_eq!(sum, all.len(), "{bars:#?}");
        }
    }
}
