//! The headers in which an endpoint states its rate limits.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName};

use crate::http::LONGEST_WAIT;

/// For each limit, what remains of it and when it resets.
static LIMITS: [[HeaderName; 2]; 2] = [
    [
        HeaderName::from_static("x-ratelimit-remaining-requests"),
        HeaderName::from_static("x-ratelimit-reset-requests"),
    ],
    [
        HeaderName::from_static("x-ratelimit-remaining-tokens"),
        HeaderName::from_static("x-ratelimit-reset-tokens"),
    ],
];

/// The time until the limit of requests or tokens resets, if one is used up (`x-ratelimit-remaining-…` and
/// `x-ratelimit-reset-…`, as OpenAI documents them).
pub fn rate_limit_reset(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
    let resets = LIMITS.iter().filter_map(|[remaining, resets]| {
        let is_used_up = text(remaining)?.trim().parse::<f64>().ok()? < 1.0;
        is_used_up.then(|| reset(text(resets)?))?
    });
    resets.max().map(|reset| reset.min(LONGEST_WAIT))
}

/// Parses the time until a reset: `1s`, `6m0s`, `20ms`, `1h2m3.5s`, or plain seconds.
fn reset(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let letters = unit
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(unit.len());
        seconds += number
            * match &unit[..letters] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = &unit[letters..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn resets_are_read_as_providers_write_them() {
        let seconds = |text: &str| reset(text).map(|wait| wait.as_secs_f64());
        assert_eq!(seconds("1s"), Some(1.0));
        assert_eq!(seconds("6m0s"), Some(360.0));
        assert_eq!(seconds("20ms"), Some(0.02));
        assert_eq!(seconds("1h2m3.5s"), Some(3723.5));
        assert_eq!(seconds("7"), Some(7.0));
        for wrong in ["", "s", "1x", "5 minutes", "-1"] {
            assert_eq!(seconds(wrong).filter(|wait| *wait > 0.0), None, "{wrong}");
        }
    }

    #[test]
    fn only_a_used_up_limit_pauses() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
                .collect()
        };
        let left = [
            ("x-ratelimit-remaining-requests", "1"),
            ("x-ratelimit-reset-requests", "9s"),
        ];
        assert_eq!(rate_limit_reset(&headers(&left)), None);
        let used_up = [
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "2s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "150ms"),
        ];
        assert_eq!(
            rate_limit_reset(&headers(&used_up)),
            Some(Duration::from_secs(2))
        );
    }
}
