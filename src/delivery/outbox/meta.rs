//! What is known about an entry besides its spans.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::delivery::ambiguity::{Ambiguity, PROOF_OF_ABSENCE};
use crate::delivery::payload::Payload;

/// What is known about an entry besides its spans. It never contains a secret.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EntryMeta {
    /// Where the spans were sent to; information only.
    pub endpoint: String,
    /// The public key of the project that the spans are for.
    pub public_key: Option<String>,
    /// Why the spans were not delivered; `None` during the first delivery.
    pub cause: Option<String>,
    /// Since when spans may have arrived all the same: a request was sent, and there was no answer.
    #[serde(default)]
    pub ambiguous_since: Option<Timestamp>,
    /// How long after that the absence of spans proves nothing, in milliseconds.
    #[serde(default)]
    pub absence_proves_after_ms: Option<u64>,
    /// Whether `resend` was sending the spans: if no process holds the entry, that process was killed.
    #[serde(default)]
    pub under_way: bool,
    /// When the first delivery began.
    pub time: Timestamp,
    pub spans: usize,
    /// Of an entry of scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<usize>,
    pub trace_ids: Vec<String>,
}

impl EntryMeta {
    /// Whether spans may have arrived all the same.
    pub fn ambiguity(&self) -> Option<Ambiguity> {
        let since = self.ambiguous_since?;
        let wait = self.absence_proves_after_ms.map(Duration::from_millis);
        let wait = wait.unwrap_or_default().max(PROOF_OF_ABSENCE);
        Some(Ambiguity { since, wait })
    }

    pub(super) fn set_ambiguity(&mut self, ambiguity: Option<Ambiguity>) {
        self.ambiguous_since = ambiguity.map(|ambiguity| ambiguity.since);
        let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.absence_proves_after_ms = ambiguity.map(|ambiguity| millis(ambiguity.wait));
    }

    /// Describes the spans of `payloads`; returns whether their number differs from before.
    pub fn describe(&mut self, payloads: &[Payload]) -> bool {
        let spans = payloads.iter().map(Payload::span_count).sum();
        let differs = self.spans != spans;
        self.spans = spans;
        let ids = payloads
            .iter()
            .flat_map(Payload::traces)
            .map(|trace| trace.trace_id);
        self.trace_ids = ids.collect();
        self.trace_ids.dedup();
        differs
    }
}
