//! How `resend` shows the entries of the outbox, as text and as JSON.

use serde::Serialize;

use crate::console::{Console, counted};
use crate::delivery::outbox::Entry;
use crate::http::url::shown_reference;
use crate::output::ErrorReport;

/// One entry of the outbox.
#[derive(Debug, Serialize)]
pub struct EntryLine {
    pub id: String,
    pub state: State,
    pub spans: Option<usize>,
    /// Of an entry of scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<usize>,
    pub trace_ids: Vec<String>,
    pub endpoint: Option<String>,
    pub public_key: Option<String>,
    pub cause: Option<String>,
    pub time: String,
    pub path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Waiting,
    Accepted,
    /// It is of another project.
    Left,
    Failed,
    /// It may have arrived.
    Unproven,
    Discarded,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Accepted => "accepted",
            Self::Left => "left",
            Self::Failed => "failed",
            Self::Unproven => "unproven",
            Self::Discarded => "discarded",
        }
    }
}

impl EntryLine {
    /// An entry as it is shown. Others may have written its files, so their text is made safe for a terminal.
    pub fn new(entry: &Entry, state: State, console: &Console) -> Self {
        let clean = |text: String| console.clean(&text);
        let meta = entry.meta.clone().unwrap_or_default();
        let is_known = entry.meta.is_some();
        Self {
            id: clean(entry.id.clone()),
            state,
            // Of a journal they are known when it is put together.
            spans: (is_known && !entry.is_journal() && !entry.is_scores()).then_some(meta.spans),
            scores: meta.scores.filter(|_| entry.is_scores()),
            trace_ids: meta.trace_ids.into_iter().map(clean).collect(),
            endpoint: Some(shown_reference(&meta.endpoint))
                .filter(|endpoint| !endpoint.is_empty())
                .map(clean),
            public_key: meta.public_key.map(clean),
            cause: meta.cause.map(clean).or_else(|| {
                entry
                    .unfinished
                    .then(|| "its process was killed".to_owned())
            }),
            time: entry.time().to_string(),
            path: clean(entry.path().display().to_string()),
        }
    }

    /// A line with counts; with `names_traces`, the trace ids below it, one on each line.
    pub fn to_text(&self, names_traces: bool) -> String {
        let count = match (self.scores, self.spans) {
            (Some(scores), _) => Some(counted(scores as u64, "score")),
            (None, Some(spans)) => Some(counted(spans as u64, "span")),
            (None, None) => None,
        };
        let count = count.map_or_else(
            || "? spans".to_owned(),
            |count| {
                format!(
                    "{count} of {}",
                    counted(self.trace_ids.len() as u64, "trace")
                )
            },
        );
        let cause = self
            .cause
            .as_deref()
            .filter(|_| self.state != State::Accepted);
        let cause = cause.map_or_else(String::new, |cause| format!("  {cause}"));
        let line = format!("{}  {}  {count}{cause}\n", self.state.name(), self.id);
        let ids = self.trace_ids.iter().filter(|_| names_traces);
        ids.fold(line, |text, id| text + "  " + id + "\n")
    }
}

/// A file of spans, after its delivery.
#[derive(Debug, Serialize)]
pub struct FileLine {
    pub path: String,
    pub state: State,
    /// Lines of which every span was accepted now.
    pub lines: u64,
    /// Spans that were accepted now.
    pub spans: u64,
    /// Lines that an earlier run sent.
    pub lines_sent_before: u64,
    /// Lines that Langfuse was found to have.
    pub lines_present: u64,
    /// Lines that were not accepted.
    pub lines_kept: u64,
    /// Those of them that may have arrived all the same.
    pub lines_unproven: u64,
    /// Lines that are not OTLP/JSON.
    pub lines_unreadable: u64,
}

impl FileLine {
    pub fn to_text(&self) -> String {
        let (spans, lines) = (counted(self.spans, "span"), counted(self.lines, "line"));
        let mut parts = vec![format!("{spans} in {lines}")];
        let mut add = |count: u64, what: &str| {
            if count > 0 {
                parts.push(format!("{} {what}", counted(count, "line")));
            }
        };
        add(self.lines_sent_before, "sent before");
        add(self.lines_present, "in Langfuse already");
        add(self.lines_kept - self.lines_unproven, "not accepted");
        add(self.lines_unproven, "unproven");
        add(self.lines_unreadable, "unreadable");
        let parts = parts.join(", ");
        format!("{}  {}  {parts}\n", self.state.name(), self.path)
    }
}

/// The document of `resend -o json`.
#[derive(Debug, Serialize)]
pub struct ResendDocument<'a> {
    pub schema_version: u32,
    pub ok: bool,
    pub command: &'static str,
    pub entries: &'a [EntryLine],
    /// Only if files were named.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub files: &'a [FileLine],
    pub error: Option<ErrorReport>,
}
