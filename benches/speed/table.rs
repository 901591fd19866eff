//! The table of figures and goals, in Markdown.

use crate::process::Run;
use crate::statistics::{ratio, wall};

/// A figure beside its goal.
#[derive(Clone, Debug)]
pub struct Row {
    figure: String,
    measured: String,
    reference: String,
    goal: String,
    is_met: bool,
}

impl Row {
    /// At most `most` in `unit`.
    pub fn at_most(figure: &str, value: f64, most: f64, unit: &str) -> Self {
        Self {
            figure: figure.to_owned(),
            measured: format!("{value:.1} {unit}"),
            reference: String::new(),
            goal: format!("≤ {most} {unit}"),
            is_met: value <= most,
        }
    }

    /// At least `least` in `unit`.
    pub fn at_least(figure: &str, value: f64, least: f64, unit: &str) -> Self {
        Self {
            figure: figure.to_owned(),
            measured: format!("{value:.2} {unit}"),
            reference: String::new(),
            goal: format!("≥ {least} {unit}"),
            is_met: value >= least,
        }
    }

    /// At most `most` times as long as the reference.
    pub fn ratio(figure: &str, ours: &[Run], reference: (&str, &[Run]), most: f64) -> Self {
        let (name, theirs) = reference;
        let ratio = ratio(ours, theirs);
        Self {
            figure: figure.to_owned(),
            measured: format!("{:.1} ms: {ratio:.2} ×", wall(ours)),
            reference: format!("{name}: {:.1} ms", wall(theirs)),
            goal: format!("≤ {most} ×"),
            is_met: ratio <= most,
        }
    }

    /// At least `least` times faster than the other.
    pub fn faster(figure: &str, ours: &[Run], theirs: &[Run], least: f64) -> Self {
        let faster = ratio(theirs, ours);
        Self {
            figure: figure.to_owned(),
            measured: format!("{:.1} ms: {faster:.0} × faster", wall(ours)),
            reference: format!("{:.0} ms", wall(theirs)),
            goal: format!("≥ {least} ×"),
            is_met: faster >= least,
        }
    }

    #[must_use]
    pub fn beside(mut self, reference: &str) -> Self {
        reference.clone_into(&mut self.reference);
        self
    }
}

pub fn print(rows: &[Row]) {
    println!("| figure | median | beside | goal | |");
    println!("|---|---|---|---|---|");
    for row in rows {
        let Row {
            figure,
            measured,
            reference,
            goal,
            is_met,
        } = row;
        let verdict = if *is_met { "met" } else { "MISSED" };
        println!("| {figure} | {measured} | {reference} | {goal} | {verdict} |");
    }
}
