//! The object of a batch (`--batch-object`), as a provider's API returns it: its id, and when the batch ran.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use crate::failure::Failure;

/// Where providers say when a batch began to run, the best first. OpenAI gives Unix seconds, Anthropic RFC 3339.
const BEGUN: [&str; 2] = ["in_progress_at", "created_at"];
/// Where they say when it ended.
const ENDED: [&str; 5] = [
    "completed_at",
    "ended_at",
    "expired_at",
    "cancelled_at",
    "failed_at",
];

/// The latest second of a span: its nanoseconds have 64 bits.
const LATEST: i64 = 18_446_744_073;

/// What is known of a whole batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchObject {
    pub id: Option<String>,
    pub begun: Timestamp,
    pub ended: Timestamp,
}

impl BatchObject {
    /// # Errors
    /// If the file cannot be read, or does not say when the batch ran.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::unreadable(path.display(), &error))?;
        Self::parse(&text).map_err(|wrong| {
            Failure::input(format!("{}: {wrong}", path.display()))
                .hint("expected the batch as the API returns it, as in GET /v1/batches/ID")
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let object: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let found = |names: &[&str]| names.iter().find_map(|name| time(&object[*name]));
        let missing = |names: &[&str]| format!("there is no time in `{}`", names.join("`, `"));
        let begun = found(&BEGUN).ok_or_else(|| missing(&BEGUN))?;
        let ended = found(&ENDED).ok_or_else(|| match object["status"].as_str() {
            Some(status) => format!("the batch has not ended: its status is `{status}`"),
            None => missing(&ENDED),
        })?;
        if ended < begun {
            return Err("the batch ended before it began".to_owned());
        }
        Ok(Self {
            id: object["id"].as_str().map(str::to_owned),
            begun,
            ended,
        })
    }
}

/// A time in Unix seconds or RFC 3339.
pub fn time(value: &Value) -> Option<Timestamp> {
    const NANOS: f64 = 1e9;
    let time = match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => match number.as_i64() {
            Some(seconds) => Timestamp::from_second(seconds).ok(),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a number that is too large for a time is refused below"
            )]
            None => Timestamp::from_nanosecond((number.as_f64()? * NANOS) as i128).ok(),
        },
        _ => None,
    };
    // Spans have neither earlier nor later times.
    let latest = Timestamp::from_second(LATEST).ok()?;
    time.filter(|time| {
        (Timestamp::UNIX_EPOCH..latest).contains(time) && *time != Timestamp::UNIX_EPOCH
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(Option<String>, String, String), String> {
        let object = BatchObject::parse(text)?;
        Ok((
            object.id,
            object.begun.to_string(),
            object.ended.to_string(),
        ))
    }

    #[test]
    fn both_providers_objects_are_read() {
        let openai = r#"{"id":"batch_1","status":"completed","created_at":1760000000,"in_progress_at":1760000060,"expires_at":1760086400,"finalizing_at":1760003600,"completed_at":1760003660,"failed_at":null}"#;
        assert_eq!(
            parse(openai),
            Ok((
                Some("batch_1".to_owned()),
                "2025-10-09T08:54:20Z".to_owned(),
                "2025-10-09T09:54:20Z".to_owned()
            ))
        );
        let anthropic = r#"{"id":"msgbatch_1","type":"message_batch","processing_status":"ended","created_at":"2026-01-02T03:04:05.5Z","ended_at":"2026-01-02T03:34:05Z","cancel_initiated_at":null}"#;
        assert_eq!(
            parse(anthropic),
            Ok((
                Some("msgbatch_1".to_owned()),
                "2026-01-02T03:04:05.5Z".to_owned(),
                "2026-01-02T03:34:05Z".to_owned()
            ))
        );
    }

    #[test]
    fn a_batch_that_expired_ended_then() {
        let expired = r#"{"status":"expired","in_progress_at":1760000060,"completed_at":null,"expired_at":1760086400}"#;
        assert!(parse(expired).is_ok());
    }

    #[test]
    fn what_is_missing_is_said() {
        let wrong = |text: &str| parse(text).unwrap_err();
        assert!(wrong(r#"{"status":"in_progress","in_progress_at":1}"#).contains("`in_progress`"));
        assert!(wrong(r#"{"completed_at":1}"#).contains("`in_progress_at`"));
        assert!(wrong(r#"{"in_progress_at":2,"completed_at":1}"#).contains("before"));
        assert!(parse("[]").is_err() && parse("x").is_err());
    }
}
