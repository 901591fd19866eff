//! Filters an exchange before it is traced, recorded or kept: limits its content, and redacts keys and patterns.
//!
//! Everything that is stored goes through this filter. The request to the model and the answer on stdout do not.

mod keys;
pub mod spans;

use std::borrow::Cow;
use std::ops::Range;

use regex_lite::Regex;
use serde_json::Value;
use serde_json::value::RawValue;

use self::keys::KeyFinder;
use super::{Exchange, ItemContext, Trace};
use crate::json::{edit, edit::Scalar, lenient};
use crate::model::Request;
use crate::model::dialect::ModelDialect;
use crate::secret::{REDACTED, Secret};

/// How much content to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capture {
    #[default]
    Full,
    /// The first characters of each text, then an ellipsis.
    Truncate(usize),
    /// No input, no output, no messages.
    None,
}

/// The metadata key of a trace that tells how much of its content was kept, if not all of it.
pub const CAPTURE: &str = "capture";

impl Capture {
    /// As `--capture` takes it; `None` for the whole content.
    pub fn level(self) -> Option<String> {
        match self {
            Self::Full => None,
            Self::Truncate(most) => Some(format!("truncate={most}")),
            Self::None => Some("none".to_owned()),
        }
    }
}

/// The filter for traces and recordings.
#[derive(Clone, Debug)]
pub struct Privacy {
    capture: Capture,
    patterns: Vec<Regex>,
    keys: KeyFinder,
}

/// An exchange and its trace after the filter.
#[derive(Clone, Debug)]
pub struct Filtered<'a> {
    pub exchange: Cow<'a, Exchange>,
    pub trace: Cow<'a, Trace>,
    /// The number of redacted passages.
    pub redactions: usize,
}

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

impl Privacy {
    /// `patterns` are regular expressions to redact; `own` are the keys that the run itself sends.
    ///
    /// # Errors
    /// If a pattern cannot be used: the reason, which names it, and a hint.
    pub fn new(
        capture: Capture,
        patterns: &[String],
        own: &[Secret],
    ) -> Result<Self, (String, &'static str)> {
        Ok(Self {
            capture,
            patterns: patterns
                .iter()
                .map(|pattern| compile(pattern))
                .collect::<Result<_, _>>()?,
            keys: KeyFinder::new(own),
        })
    }

    /// Whether content is kept in full, apart from redactions.
    pub fn keeps_all(&self) -> bool {
        self.capture == Capture::Full
    }

    /// The metadata of a trace whose content is not kept in full: how much of it is.
    pub fn capture_metadata(&self) -> Option<(String, String)> {
        let level = self.capture.level()?;
        Some((CAPTURE.to_owned(), level))
    }

    /// A text with all keys and matches redacted.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut filter = Filter {
            privacy: self,
            redactions: 0,
        };
        filter.text(text).map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// Filters an exchange and its trace. Unchanged values are borrowed.
    pub fn filter<'a>(&self, exchange: &'a Exchange, trace: &'a Trace) -> Filtered<'a> {
        let mut filter = Filter {
            privacy: self,
            redactions: 0,
        };
        Filtered {
            exchange: filter
                .exchange(exchange)
                .map_or(Cow::Borrowed(exchange), Cow::Owned),
            trace: filter.trace(trace).map_or(Cow::Borrowed(trace), Cow::Owned),
            redactions: filter.redactions,
        }
    }

    /// Whether a trace certainly has nothing to redact.
    fn is_clean_trace(&self, trace: &Trace) -> bool {
        let Trace {
            name,
            user,
            session,
            tags,
            metadata,
            version,
            public: _,
            // It is not redacted either.
            prompt: _,
            item,
        } = trace;
        let single = [name, user, session, version].into_iter().flatten();
        let pairs = metadata.iter().flat_map(|(key, value)| [key, value]);
        if let Some(item) = item
            && !self.is_clean_item(item)
        {
            return false;
        }
        let mut texts = single.chain(tags).chain(pairs);
        // Text with a backslash may be JSON, whose escapes can hide a key.
        texts.all(|text| self.is_clean(text) && !text.contains('\\'))
    }

    /// Whether an item of an experiment certainly stays as it is.
    fn is_clean_item(&self, item: &ItemContext) -> bool {
        let expected = item.expected_output.as_ref();
        let pairs = item.metadata.iter().flat_map(|(key, value)| [key, value]);
        let mut texts = pairs.chain(expected);
        (self.keeps_all() || expected.is_none())
            && texts.all(|text| self.is_clean(text) && !text.contains('\\'))
    }

    /// Whether a JSON text certainly has nothing to redact. This is the only cost for most documents.
    fn is_clean(&self, json: &str) -> bool {
        // Only these escapes can hide the beginning of a key.
        let may_hide = || json.contains('\\') && (json.contains(r"\u00") || json.contains(r"\/"));
        self.patterns.is_empty() && !self.keys.may_be_in(json) && !may_hide()
    }
}

/// Compiles a pattern. Rejects patterns that would not do what their author expects.
fn compile(pattern: &str) -> Result<Regex, (String, &'static str)> {
    let regex = Regex::new(pattern).map_err(|error| {
        (
            format!("`{pattern}` is not a valid regular expression: {error}"),
            r"use the syntax of Rust's regex-lite: \d, \w, \s and \b are ASCII only, and \p{…} is not supported",
        )
    })?;
    // `x*` matches between any two letters, and an unset variable gives a pattern that matches everywhere.
    if regex.find_iter("a a\n").any(|found| found.is_empty()) || regex.is_match("") {
        return Err((
            format!("`{pattern}` matches the empty string"),
            "use + instead of *; to remove all content, use --capture none",
        ));
    }
    if ignores_case(pattern) && pattern.chars().any(|c| c.is_alphabetic() && !c.is_ascii()) {
        return Err((
            format!("`{pattern}` ignores case, which works for ASCII letters only"),
            "list both cases: [äÄ]",
        ));
    }
    Ok(regex)
}

/// Whether a pattern sets the flag `i` anywhere.
fn ignores_case(pattern: &str) -> bool {
    pattern.match_indices("(?").any(|(at, start)| {
        let flags = pattern[at + start.len()..].chars();
        let mut flags = flags.take_while(char::is_ascii_alphabetic);
        !pattern[..at].ends_with('\\') && flags.any(|flag| flag == 'i')
    })
}

/// Filters one exchange and counts the redactions.
struct Filter<'a> {
    privacy: &'a Privacy,
    redactions: usize,
}

/// The change to a field of a request.
enum FieldChange {
    Keep,
    Replace(Box<RawValue>),
    Drop,
}

/// The rules for a JSON value.
#[derive(Clone, Copy, Default)]
struct Rules {
    /// Whether its texts are truncated with `--capture truncate=N`.
    is_content: bool,
    /// Whether its field names and the fields in `FORMAT` are data too. If not, only keys are redacted there.
    is_free: bool,
    /// Whether patterns apply to numbers. Not in a response, whose numbers are counts and times.
    has_numbers: bool,
}

impl Filter<'_> {
    /// The filtered exchange; `None` if it is unchanged.
    fn exchange(&mut self, exchange: &Exchange) -> Option<Exchange> {
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
    fn trace(&mut self, trace: &Trace) -> Option<Trace> {
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
    fn json(&mut self, name: &str, json: &str, rules: Rules) -> Option<String> {
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
    fn text(&mut self, text: &str) -> Option<String> {
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

    fn keys(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        self.privacy.keys.find(text, &mut found);
        found
    }

    /// Replaces each passage with a mark. Passages that overlap or touch get one mark.
    fn redact(&mut self, text: &str, mut passages: Vec<Range<usize>>) -> Option<String> {
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
fn truncate(text: &str, most: usize) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    const KEY: &str = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";

    fn exchange(request: &str, response: &str) -> Exchange {
        let now = Timestamp::UNIX_EPOCH;
        let mut exchange = Exchange::new(serde_json::from_str(request).unwrap(), now, now);
        exchange.set_body(response);
        exchange
    }

    fn privacy(capture: Capture, patterns: &[&str]) -> Privacy {
        let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
        Privacy::new(capture, &patterns, &[]).unwrap()
    }

    /// The filtered request and response, and the number of redactions.
    fn filtered(privacy: &Privacy, request: &str, response: &str) -> (String, String, usize) {
        let exchange = exchange(request, response);
        let trace = Trace::default();
        let filtered = privacy.filter(&exchange, &trace);
        let body = filtered.exchange.response.as_ref().unwrap();
        (
            filtered.exchange.request.to_json(),
            body.get().to_owned(),
            filtered.redactions,
        )
    }

    #[test]
    fn an_unchanged_exchange_is_borrowed() {
        let exchange = exchange(r#"{"messages":[{"content":"task-list\n\u0041"}]}"#, "{}");
        let trace = Trace::default();
        let filtered = privacy(Capture::Full, &["x+"])
            .filter(&exchange, &trace)
            .exchange;
        assert!(matches!(filtered, Cow::Borrowed(_)));
    }

    #[test]
    fn an_escape_hides_no_key() {
        for content in [
            json!(KEY).to_string(),
            format!("\"\\u0067{}\"", &KEY[1..]),
            format!("\"a\\n{KEY}\""),
            // JSON within a string, as tool calls have it.
            json!(format!("{{\"k\": \"\\u0067{}\"}}", &KEY[1..])).to_string(),
        ] {
            let request = format!(r#"{{"seed":1.00,"messages":[{{"content":{content}}}]}}"#);
            let (request, _, redactions) = filtered(&privacy(Capture::Full, &[]), &request, "{}");
            assert_eq!(redactions, 1, "{content}");
            assert!(request.contains("[redacted]"), "{request}");
            assert!(!request.contains(&KEY[1..]), "{request}");
            assert!(request.starts_with(r#"{"seed":1.00,"#), "{request}");
        }
    }

    #[test]
    fn patterns_match_the_unescaped_text() {
        let request = r#"{"messages":[{"role":"user","content":"M\u00fcller said \"M\u00fcller\""}],"metadata":{"M\u00fcller":"x"}}"#;
        let (request, _, redactions) = filtered(
            &privacy(Capture::Full, &["Müller", "role|user"]),
            request,
            "{}",
        );
        assert_eq!(redactions, 3);
        assert_eq!(
            request,
            r#"{"messages":[{"role":"user","content":"[redacted] said \"[redacted]\""}],"metadata":{"[redacted]":"x"}}"#
        );
    }

    #[test]
    fn overlapping_passages_get_one_mark() {
        let request = r#"{"messages":[{"content":"call 0123-456 now"}]}"#;
        let patterns = ["[0-9]", "3-4", "call 0"];
        let (request, _, redactions) = filtered(&privacy(Capture::Full, &patterns), request, "{}");
        assert_eq!(redactions, 1);
        assert_eq!(request, r#"{"messages":[{"content":"[redacted] now"}]}"#);
    }

    #[test]
    fn redacted_text_does_not_remain_in_logprobs() {
        let response = r#"{"choices":[{"message":{"content":"Ada is here"},"logprobs":{"content":[{"token":"Ada"}]}}]}"#;
        let (_, response, _) = filtered(&privacy(Capture::Full, &["Ada is"]), "{}", response);
        assert_eq!(
            response,
            r#"{"choices":[{"message":{"content":"[redacted] here"},"logprobs":null}]}"#
        );
    }

    #[test]
    fn texts_are_truncated_but_not_fixed_values() {
        let request = r#"{"model":"gpt-4o","service_tier":"flex","messages":[{"role":"user","content":[{"type":"text","text":"äöüß"},"loose",{"type":"text","text":"abc"}]}]}"#;
        let response = r#"{"id":"chatcmpl-1","choices":[{"index":0,"message":{"role":"assistant","content":"ghp and more","tool_calls":[{"id":"call_1","type":"function","function":{"name":"clock","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls"}]}"#;
        let (request, response, redactions) =
            filtered(&privacy(Capture::Truncate(3), &[]), request, response);
        assert_eq!(
            request,
            r#"{"model":"gpt-4o","service_tier":"flex","messages":[{"role":"user","content":[{"type":"text","text":"äöü…"},"loo…",{"type":"text","text":"abc"}]}]}"#
        );
        assert_eq!(
            response,
            r#"{"id":"chatcmpl-1","choices":[{"index":0,"message":{"role":"assistant","content":"ghp…","tool_calls":[{"id":"call_1","type":"function","function":{"name":"clock","arguments":"{\"a…"}}]},"finish_reason":"tool_calls"}]}"#
        );
        assert_eq!(redactions, 0);
    }

    #[test]
    fn a_text_is_redacted_before_it_is_truncated() {
        let request = format!(r#"{{"messages":[{{"content":"is {KEY}"}}]}}"#);
        let (request, _, _) = filtered(&privacy(Capture::Truncate(10), &[]), &request, "{}");
        assert_eq!(request, r#"{"messages":[{"content":"is [redact…"}]}"#);
    }

    #[test]
    fn without_content_model_parameters_and_usage_stay() {
        let request = r#"{"model":"m","messages":[{"role":"user","content":"q"}],"tools":[{}],"prediction":{"content":"p"},"seed":7}"#;
        let response = r#"{"id":"1","model":"m-1","citations":["c"],"usage":{"prompt_tokens":1},"choices":[{"index":0,"message":{"content":"a"},"logprobs":{},"finish_reason":"stop"}]}"#;
        let (request, response, _) = filtered(&privacy(Capture::None, &[]), request, response);
        assert_eq!(request, r#"{"model":"m","messages":[],"seed":7}"#);
        assert_eq!(
            response,
            r#"{"id":"1","model":"m-1","usage":{"prompt_tokens":1},"choices":[{"index":0,"finish_reason":"stop"}]}"#
        );
    }

    #[test]
    fn misleading_patterns_are_rejected() {
        for pattern in [
            "", "x*", r"\b", "^", "(", r"\p{L}", "(?i)ä", "(?mi:ä)", "(?Ui)ä",
        ] {
            let refused = Privacy::new(Capture::Full, &[pattern.to_owned()], &[]).unwrap_err();
            assert!(refused.0.contains(&format!("`{pattern}`")), "{}", refused.0);
        }
        privacy(
            Capture::Full,
            &["x+", "ä", "(?i)a", "(?<i>ä)", r"\bx\b", "a-ä", r"\(?iä"],
        );
    }
}
