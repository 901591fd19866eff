//! Times as Langfuse stores and shows them: whole milliseconds since 1970, written as UTC.

use jiff::Timestamp;

/// Milliseconds since 1970.
pub type Millis = i64;

pub fn now() -> Millis {
    Timestamp::now().as_millisecond()
}

/// The form of every time in an API answer: `2026-11-22T07:14:03.883Z`.
pub fn iso(millis: Millis) -> String {
    format!("{:.3}", timestamp(millis))
}

/// The form for people: `2026-11-22 07:14:03`.
pub fn readable(millis: Millis) -> String {
    timestamp(millis).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// An ISO 8601 time with offset.
pub fn parse(text: &str) -> Option<Millis> {
    text.trim()
        .parse::<Timestamp>()
        .ok()
        .map(Timestamp::as_millisecond)
}

/// Seconds from `start` to `end`, the unit of every latency.
pub fn seconds(start: Millis, end: Millis) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact for any span shorter than 285,000 years"
    )]
    let millis = end.saturating_sub(start) as f64;
    millis / 1000.0
}

fn timestamp(millis: Millis) -> Timestamp {
    // A time beyond the calendar's range is shown as its last one.
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_three_decimals_and_read_any_offset() {
        assert_eq!(iso(1_795_331_643_000), "2026-11-22T07:14:03.000Z");
        assert_eq!(
            parse("2026-11-22T08:14:03.25+01:00"),
            Some(1_795_331_643_250)
        );
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn a_time_beyond_the_calendar_is_no_panic() {
        assert!(iso(i64::MAX).starts_with("9999-"));
    }
}
