//! Medians, quantiles and ratios.

use std::time::Duration;

use crate::process::Run;

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The value that the share `q` of the values does not exceed.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an index among a few thousand values"
    )]
    let index = ((sorted.len() - 1) as f64 * q).round() as usize;
    sorted[index]
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Median wall time in milliseconds.
pub fn wall(runs: &[Run]) -> f64 {
    median(&runs.iter().map(|run| ms(run.wall)).collect::<Vec<_>>())
}

/// Median CPU time in milliseconds.
pub fn cpu(runs: &[Run]) -> f64 {
    median(&runs.iter().map(|run| ms(run.cpu)).collect::<Vec<_>>())
}

/// The median of the rounds' ratios of wall time: what disturbs one round disturbs both of its runs.
pub fn ratio(ours: &[Run], theirs: &[Run]) -> f64 {
    let pairs = ours.iter().zip(theirs);
    let ratios = pairs.map(|(ours, theirs)| ours.wall.as_secs_f64() / theirs.wall.as_secs_f64());
    median(&ratios.collect::<Vec<_>>())
}
