//! Filters one exchange and its trace.

use std::ops::Range;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{CAPTURE, Capture, Privacy};
use crate::json::{edit, edit::Scalar, lenient};
use crate::model::Request;
use crate::model::dialect::ModelDialect;
use crate::secret::REDACTED;
use crate::trace::{Exchange, ItemContext, Trace};

/// Fields with ids and fixed values. Patterns do not apply: one that matches `user` is not meant for the role, and without
/// the model's name the cost would be lost. They are never truncated either.
const FORMAT: [&str; 15] = [
    "call_id",
    "finish_reason",
    "id",
    "model",
    "native_finish_reason",
    "object",
    "provider",
    "role",
    "service_tier",
    "status",
    "stop_reason",
    "system_fingerprint",
    "tool_call_id",
    "tool_use_id",
    "type",
];
/// The name of a tool or participant: redacted, but never truncated.
const NAME: &str = "name";

/// Filters one exchange and counts the redactions.
pub(super) struct Filter<'a> {
    pub(super) privacy: &'a Privacy,
    pub(super) redactions: usize,
}

/// The change to a field of a request.
enum FieldChange {
    Keep,
    Replace(Box<RawValue>),
    Drop,
}

/// The rules for a JSON value.
#[derive(Clone, Copy, Default)]
pub(super) struct Rules {
    /// Whether its texts are truncated with `--capture truncate=N`.
    pub(super) is_content: bool,
    /// Whether its field names and the fields in `FORMAT` are data too. If not, only keys are redacted there.
    pub(super) is_free: bool,
    /// Whether patterns apply to numbers. Not in a response, whose numbers are counts and times.
    pub(super) has_numbers: bool,
}

impl Filter<'_> {
    /// The filtered exchange; `None` if it is unchanged.
    pub(super) fn exchange(&mut self, exchange: &Exchange) -> Option<Exchange> {
        let request = self.request(&exchange.request);
        let response = exchange.response.as_ref();
        let response =
            response.and_then(|response| self.response(exchange.request.dialect(), response.get()));
        let error = exchange.error.as_ref();
        let message = error.and_then(|error| self.text(&error.message));
        if request.is_none() && response.is_none() && message.is_none() {
            return None;
        }
        let mut filtered = exchange.clone();
        if let Some(request) = request {
            filtered.request = request;
        }
        if let Some(body) = response {
            filtered.set_body(body);
        }
        if let (Some(error), Some(message)) = (&mut filtered.error, message) {
            error.message = message;
        }
        Some(filtered)
    }

    /// The filtered trace; `None` if it is unchanged.
    pub(super) fn trace(&mut self, trace: &Trace) -> Option<Trace> {
        let level = self.privacy.capture_metadata();
        if level.is_none() && self.privacy.is_clean_trace(trace) {
            return None;
        }
        let before = self.redactions;
        let mut filtered = trace.clone();
        if let Some(level) = level {
            filtered.metadata.retain(|(key, _)| key != CAPTURE);
            filtered.metadata.push(level);
        }
        let is_marked = filtered.metadata != trace.metadata;
        let Trace {
            name,
            user,
            session,
            tags,
            metadata,
            version,
            public: _,
            // A changed name would link another prompt.
            prompt: _,
            item,
        } = &mut filtered;
        let is_item_changed = item.as_mut().is_some_and(|item| self.item(item));
        let single = [name, user, session, version].into_iter().flatten();
        let pairs = metadata.iter_mut().flat_map(|(key, value)| [key, value]);
        for place in single.chain(tags).chain(pairs) {
            if let Some(text) = self.text(place) {
                *place = text;
            }
        }
        (is_marked || is_item_changed || self.redactions > before).then_some(filtered)
    }

    /// Filters the item of an experiment: the expected answer is content as an answer is, and its id names an item that the
    /// server knows. Returns whether it was changed otherwise than by a redaction.
    fn item(&mut self, item: &mut ItemContext) -> bool {
        let pairs = item
            .metadata
            .iter_mut()
            .flat_map(|(key, value)| [key, value]);
        for place in pairs.chain(&mut item.expected_output) {
            if let Some(text) = self.text(place) {
                *place = text;
            }
        }
        let expected = item.expected_output.take();
        let most = match self.privacy.capture {
            Capture::Full => usize::MAX,
            Capture::Truncate(most) => most,
            Capture::None => return expected.is_some(),
        };
        let truncated = expected.as_deref().and_then(|text| truncate(text, most));
        let is_truncated = truncated.is_some();
        item.expected_output = truncated.or(expected);
        is_truncated
    }

    /// The filtered request; `None` if it is unchanged.
    fn request(&mut self, request: &Request) -> Option<Request> {
        let changes: Vec<FieldChange> = request
            .fields()
            .map(|(name, value)| self.field(request.dialect(), name, value.get()))
            .collect();
        if changes
            .iter()
            .all(|change| matches!(change, FieldChange::Keep))
        {
            return None;
        }
        let fields = request.fields().zip(changes);
        let fields = fields.filter_map(|((name, value), change)| {
            let value = match change {
                FieldChange::Keep => value.to_owned(),
                FieldChange::Replace(json) => json,
                FieldChange::Drop => return None,
            };
            Some((name.to_owned(), value))
        });
        Some(request.with_fields(fields.collect()))
    }

    /// The change to a field of a request.
    fn field(&mut self, dialect: &dyn ModelDialect, name: &str, value: &str) -> FieldChange {
        let content = dialect.content_fields();
        let is_content = content.contains(&name);
        let changed = match self.privacy.capture {
            // Every request has the first one.
            Capture::None if content.first() == Some(&name) => Some("[]".to_owned()),
            Capture::None if is_content => return FieldChange::Drop,
            _ => self.json(
                name,
                value,
                Rules {
                    is_content,
                    is_free: name == "metadata",
                    has_numbers: true,
                },
            ),
        };
        changed.map_or(FieldChange::Keep, |json| {
            let json = RawValue::from_string(json);
            FieldChange::Replace(json.unwrap_or_else(|_| RawValue::NULL.to_owned()))
        })
    }

    /// The filtered body of a response; `None` if it is unchanged.
    fn response(&mut self, dialect: &dyn ModelDialect, body: &str) -> Option<String> {
        let bare = (self.privacy.capture == Capture::None).then(|| without_content(dialect, body));
        let rules = Rules {
            is_content: true,
            ..Rules::default()
        };
        let changed = self.json("", bare.as_deref().unwrap_or(body), rules);
        let changed = changed.or(bare)?;
        // Token by token, they repeat the text that was just redacted.
        Some(edit::nullify(&changed, "logprobs").unwrap_or(changed))
    }

    /// The filtered JSON value of a field; `None` if it is unchanged.
    pub(super) fn json(&mut self, name: &str, json: &str, rules: Rules) -> Option<String> {
        let most = match self.privacy.capture {
            Capture::Truncate(most) if rules.is_content => Some(most),
            _ => None,
        };
        if most.is_none() && self.privacy.is_clean(json) {
            return None;
        }
        edit::rewrite(name, json, |scalar, text| match scalar {
            Scalar::Number if rules.has_numbers => self.text(text),
            Scalar::Number => None,
            Scalar::Key if rules.is_free => self.text(text),
            Scalar::Text(field) if rules.is_free || !FORMAT.contains(&field) => {
                let redacted = self.text(text);
                let most = most.filter(|_| field != NAME);
                let truncated =
                    most.and_then(|most| truncate(redacted.as_deref().unwrap_or(text), most));
                truncated.or(redacted)
            }
            Scalar::Key | Scalar::Text(_) => {
                let keys = self.keys(text);
                self.redact(text, keys)
            }
        })
    }

    /// The redacted text; `None` if it is unchanged.
    pub(super) fn text(&mut self, text: &str) -> Option<String> {
        let inner = self.inner_json(text);
        let text = inner.as_deref().unwrap_or(text);
        let mut found = self.keys(text);
        for pattern in &self.privacy.patterns {
            let matches = pattern.find_iter(text).map(|found| found.range());
            found.extend(matches.filter(|range| !range.is_empty()));
        }
        self.redact(text, found).or(inner)
    }

    /// The redacted text if it is JSON, as in tool calls. Its own escapes would hide a match.
    fn inner_json(&mut self, text: &str) -> Option<String> {
        let may_hide = text.contains('\\') && text.trim_start().starts_with(['{', '[']);
        let is_json = may_hide && serde_json::from_str::<&RawValue>(text).is_ok();
        is_json.then(|| edit::rewrite("", text, |_, inner| self.text(inner)))?
    }

    pub(super) fn keys(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        self.privacy.keys.find(text, &mut found);
        found
    }

    /// Replaces each passage with a mark. Passages that overlap or touch get one mark.
    pub(super) fn redact(&mut self, text: &str, mut passages: Vec<Range<usize>>) -> Option<String> {
        passages.sort_by_key(|passage| passage.start);
        passages.dedup_by(|later, earlier| {
            let touches = later.start <= earlier.end;
            if touches {
                earlier.end = earlier.end.max(later.end);
            }
            touches
        });
        if passages.is_empty() {
            return None;
        }
        self.redactions += passages.len();
        let mut redacted = String::with_capacity(text.len());
        let mut done = 0;
        for passage in passages {
            redacted.push_str(&text[done..passage.start]);
            redacted.push_str(REDACTED);
            done = passage.end;
        }
        redacted.push_str(&text[done..]);
        Some(redacted)
    }
}

/// The first `most` characters of a longer text; `None` if it is not longer.
pub(super) fn truncate(text: &str, most: usize) -> Option<String> {
    let (end, _) = text.char_indices().nth(most)?;
    Some(format!("{}…", &text[..end]))
}

/// The body of a response without its content: model, finish reasons and usage stay.
fn without_content(dialect: &dyn ModelDialect, body: &str) -> String {
    match lenient::parse(body) {
        Ok(Value::Object(body)) => Value::Object(dialect.without_content(body)).to_string(),
        _ => "{}".to_owned(),
    }
}
