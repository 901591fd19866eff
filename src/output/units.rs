//! Amounts as people read them.

/// An amount of US dollars, with six significant digits at most.
pub fn dollars(amount: f64) -> String {
    const DIGITS: usize = 6;
    // As in `1.23457e-5`.
    let scientific = format!("{amount:.*e}", DIGITS - 1);
    let rounded: f64 = scientific.parse().unwrap_or(amount);
    format!("${rounded}")
}

/// A time in milliseconds, in the unit that suits it.
pub fn time(milliseconds: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded to a tenth")]
    let seconds = milliseconds as f64 / 1000.0;
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..100_000 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_six_significant_digits() {
        for (amount, text) in [
            (0.0, "$0"),
            (0.000_153, "$0.000153"),
            (0.1 + 0.2, "$0.3"),
            (0.000_001_234_567_8, "$0.00000123457"),
            (12.345_678_9, "$12.3457"),
            (1_234_567.0, "$1234570"),
        ] {
            assert_eq!(dollars(amount), text);
        }
    }
}
