//! How many spans an OTLP/JSON answer says were rejected. Whether it is an answer at all is judged in `outcome`.
//!
//! A reader of proto-JSON takes a field under its JSON name and under its proto name, and servers differ in how they
//! write 64-bit integers. A count that is present and not plainly zero must never be taken for acceptance, so nothing
//! is converted here that could turn it into zero.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json;

/// What `partialSuccess` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialSuccess {
    pub rejected: Rejected,
    /// The message of the server; empty if there is none.
    pub message: String,
}

/// How many spans were rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    None,
    Some(i64),
    /// There is a count, but it is not a number of spans.
    Unreadable,
}

/// The members of a JSON object in order. A key can occur more than once.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfObject;
        impl<'de> Visitor<'de> for OfObject {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(OfObject)
    }
}

impl Members {
    /// The values of a field under either name, without those that are null.
    fn values(&self, names: [&str; 2]) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(name, _)| names.contains(&name.as_str()))
            .map(|(_, value)| value.get())
            .filter(|value| *value != "null")
    }
}

impl PartialSuccess {
    /// Reads an answer; `None` if it is not a JSON object.
    pub fn of_json(body: &[u8]) -> Option<Self> {
        let answer: Members = json::from_slice(body).ok()?;
        let mut found = Self {
            rejected: Rejected::None,
            message: String::new(),
        };
        for partial in answer.values(["partialSuccess", "partial_success"]) {
            found.add(partial);
        }
        Some(found)
    }

    /// Takes a `partialSuccess` into account.
    fn add(&mut self, partial: &str) {
        let Ok(members) = serde_json::from_str::<Members>(partial) else {
            self.rejected = self.rejected.and(Rejected::Unreadable);
            return;
        };
        for count in members.values(["rejectedSpans", "rejected_spans"]) {
            self.rejected = self.rejected.and(Rejected::of_json(count));
        }
        for message in members.values(["errorMessage", "error_message"]) {
            self.message = serde_json::from_str(message).unwrap_or_default();
        }
    }
}

impl Rejected {
    /// A count as proto-JSON has it: an integer, or a string of digits.
    fn of_json(text: &str) -> Self {
        let digits: String = if text.starts_with('"') {
            serde_json::from_str(text).unwrap_or_default()
        } else {
            text.to_owned()
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::Unreadable;
        }
        digits.parse().map_or(Self::Unreadable, Self::of_count)
    }

    pub fn of_count(count: i64) -> Self {
        match count {
            0 => Self::None,
            1.. => Self::Some(count),
            _ => Self::Unreadable,
        }
    }

    /// Both counts as one: none only if both are.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (known, Self::None) | (Self::None, known) => known,
            (Self::Some(one), Self::Some(two)) => Self::Some(one.max(two)),
            _ => Self::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(body: &str) -> Rejected {
        PartialSuccess::of_json(body.as_bytes()).unwrap().rejected
    }

    #[test]
    fn a_missing_null_or_zero_count_rejects_nothing() {
        for body in [
            "{}",
            r#"{"partialSuccess":null}"#,
            r#"{"partial_success":null}"#,
            r#"{"partialSuccess":{}}"#,
            r#"{"partialSuccess":{"rejectedSpans":null}}"#,
            r#"{"partial_success":{"rejected_spans":"000"}}"#,
            r#"{"partialSuccess":{"rejectedSpans":0,"rejected_spans":"0"}}"#,
        ] {
            assert_eq!(rejected(body), Rejected::None, "{body}");
        }
    }

    #[test]
    fn any_other_count_is_never_none() {
        for count in [
            "2",
            r#""2""#,
            "2.0",
            "2e0",
            "0.0",
            "-1",
            r#""2.0""#,
            r#"" 2 ""#,
            r#"" 0""#,
            r#""two""#,
            r#""""#,
            "18446744073709551616",
            r#""99999999999999999999""#,
            "true",
            "[]",
            "{}",
        ] {
            for (outer, inner) in [
                ("partialSuccess", "rejectedSpans"),
                ("partial_success", "rejected_spans"),
                ("partialSuccess", "rejected_spans"),
            ] {
                let body = format!(r#"{{"{outer}":{{"{inner}":{count}}}}}"#);
                assert_ne!(rejected(&body), Rejected::None, "{body}");
            }
        }
        for partial in ["0", "[]", r#""""#, "false"] {
            let body = format!(r#"{{"partialSuccess":{partial}}}"#);
            assert_eq!(rejected(&body), Rejected::Unreadable, "{body}");
        }
    }

    #[test]
    fn each_of_repeated_members_counts() {
        for body in [
            r#"{"partialSuccess":{"rejectedSpans":2},"partialSuccess":{}}"#,
            r#"{"partialSuccess":{"rejectedSpans":2,"rejectedSpans":0}}"#,
            r#"{"partialSuccess":{"rejectedSpans":0,"rejected_spans":2}}"#,
            r#"{"partialSuccess":{},"partial_success":{"rejectedSpans":"2"}}"#,
            r#"{"partialSuccess":{"rejected\u0053pans":2}}"#,
        ] {
            assert_eq!(rejected(body), Rejected::Some(2), "{body}");
        }
    }
}
