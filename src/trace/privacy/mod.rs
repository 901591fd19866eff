//! What of an exchange may be traced, recorded and kept: how much of its content, and without keys and what else was
//! asked to be left out.
//!
//! The model gets the request, and stdout the answer, as they are; whatever is written elsewhere is made of what passed
//! here.

mod keys;

use std::borrow::Cow;
use std::ops::Range;

use regex_lite::Regex;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::keys::Keys;
use super::{Exchange, Trace};
use crate::json::{edit, edit::Scalar, lenient};
use crate::model::Request;
use crate::secret::{REDACTED, Secret};

/// How much of the content is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capture {
    #[default]
    Full,
    /// So many characters of each text, then an ellipsis.
    Truncate(usize),
    /// No input, no output, no messages.
    None,
}

/// What is left out of traces and recordings.
#[derive(Debug)]
pub struct Privacy {
    capture: Capture,
    patterns: Vec<Regex>,
    keys: Keys,
}

/// What may be traced and recorded.
#[derive(Clone, Debug)]
pub struct Filtered<'a> {
    pub exchange: Cow<'a, Exchange>,
    pub trace: Cow<'a, Trace>,
    /// How many passages were redacted.
    pub redactions: usize,
}

/// The fields of a request that are content. The others are parameters, which say what was asked of the model.
const CONTENT: [&str; 4] = ["messages", "tools", "functions", "prediction"];
/// The fields of an answer, and of its choices, that are no content.
const NO_CONTENT: [&str; 8] = [
    "id",
    "object",
    "created",
    "model",
    "service_tier",
    "system_fingerprint",
    "provider",
    "usage",
];
const NO_CONTENT_OF_CHOICES: [&str; 3] = ["index", "finish_reason", "native_finish_reason"];
/// Fields that say what something is or which, not what was said: a pattern that happens to match `user` is not about
/// the role, and without the model's name the cost would be lost. Nor would they be understood, were they cut.
const FORMAT: [&str; 11] = [
    "finish_reason",
    "id",
    "model",
    "native_finish_reason",
    "object",
    "provider",
    "role",
    "service_tier",
    "system_fingerprint",
    "tool_call_id",
    "type",
];
/// A name, of a tool or of who speaks, is not cut either.
const NAME: &str = "name";

impl Privacy {
    /// `patterns` are regular expressions of what to redact; `own` are the keys that the run itself sends.
    ///
    /// # Errors
    /// When a pattern is none that can be used: what is wrong with it, naming it, and what to do.
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
            keys: Keys::new(own),
        })
    }

    /// Whether content is kept whole, but for what is redacted.
    pub fn keeps_all(&self) -> bool {
        self.capture == Capture::Full
    }

    /// What may be traced and recorded of an exchange and its trace.
    pub fn filter<'a>(&self, exchange: &'a Exchange, trace: &'a Trace) -> Filtered<'a> {
        let mut pass = Pass {
            privacy: self,
            redactions: 0,
        };
        Filtered {
            exchange: pass
                .exchange(exchange)
                .map_or(Cow::Borrowed(exchange), Cow::Owned),
            trace: pass.trace(trace).map_or(Cow::Borrowed(trace), Cow::Owned),
            redactions: pass.redactions,
        }
    }

    /// Whether there is certainly nothing to redact in a JSON text: what ordinary documents cost.
    fn is_clean(&self, json: &str) -> bool {
        // Of the escapes only these can hide the beginning of a key.
        let may_hide = || json.contains(r"\u00") || json.contains(r"\/");
        self.patterns.is_empty() && !self.keys.may_be_in(json) && !may_hide()
    }
}

/// Compiles a pattern, unless it would do something else than it says.
fn compile(pattern: &str) -> Result<Regex, (String, &'static str)> {
    let regex = Regex::new(pattern).map_err(|error| {
        (
            format!("`{pattern}` is no regular expression: {error}"),
            r"the syntax is that of Rust's regex-lite: \d, \w, \s and \b mean ASCII, and there is no \p{…}",
        )
    })?;
    // `x*` matches between any two letters, and an empty variable everywhere: neither says what is to be left out.
    if regex.find_iter("a a\n").any(|found| found.is_empty()) || regex.is_match("") {
        return Err((
            format!("`{pattern}` matches the empty text"),
            "use + in place of *; --capture none leaves out all content",
        ));
    }
    if ignores_case(pattern) && pattern.chars().any(|c| c.is_alphabetic() && !c.is_ascii()) {
        return Err((
            format!("`{pattern}` ignores case, which is only known of ASCII letters"),
            "write both: [äÄ]",
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

/// One exchange on its way through.
struct Pass<'a> {
    privacy: &'a Privacy,
    redactions: usize,
}

/// What becomes of a field of a request.
enum Fate {
    Kept,
    Changed(Box<RawValue>),
    Dropped,
}

/// How a JSON value is treated.
#[derive(Clone, Copy, Default)]
struct Treatment {
    /// Whether its texts are cut, where that was asked for.
    is_content: bool,
    /// Whether the names of fields, and what is otherwise the format's, are data as well. Else only keys are looked
    /// for in those.
    is_free: bool,
    /// Whether numbers are data. Those of an answer count and date it; its data are texts.
    has_numbers: bool,
}

impl Pass<'_> {
    /// The exchange, if anything in it changes.
    fn exchange(&mut self, exchange: &Exchange) -> Option<Exchange> {
        let request = self.request(&exchange.request);
        let response = exchange.response.as_ref();
        let response = response.and_then(|response| self.response(response.get()));
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

    /// The trace, if anything in it changes.
    fn trace(&mut self, trace: &Trace) -> Option<Trace> {
        let before = self.redactions;
        let mut filtered = trace.clone();
        let Trace {
            name,
            user,
            session,
            tags,
            metadata,
            version,
            public: _,
        } = &mut filtered;
        let single = [name, user, session, version].into_iter().flatten();
        let pairs = metadata.iter_mut().flat_map(|(key, value)| [key, value]);
        for place in single.chain(tags).chain(pairs) {
            if let Some(text) = self.text(place) {
                *place = text;
            }
        }
        (self.redactions > before).then_some(filtered)
    }

    /// The request, if anything in it changes.
    fn request(&mut self, request: &Request) -> Option<Request> {
        let fates: Vec<Fate> = request
            .fields()
            .map(|(name, value)| self.field(name, value.get()))
            .collect();
        if fates.iter().all(|fate| matches!(fate, Fate::Kept)) {
            return None;
        }
        let fields = request.fields().zip(fates);
        let fields = fields.filter_map(|((name, value), fate)| {
            let value = match fate {
                Fate::Kept => value.to_owned(),
                Fate::Changed(json) => json,
                Fate::Dropped => return None,
            };
            Some((name.to_owned(), value))
        });
        Some(fields.collect())
    }

    /// What becomes of a field of a request.
    fn field(&mut self, name: &str, value: &str) -> Fate {
        let is_content = CONTENT.contains(&name);
        let changed = match self.privacy.capture {
            // The field must be there, or it would be no chat completion.
            Capture::None if name == "messages" => Some("[]".to_owned()),
            Capture::None if is_content => return Fate::Dropped,
            _ => self.json(
                name,
                value,
                Treatment {
                    is_content,
                    is_free: name == "metadata",
                    has_numbers: true,
                },
            ),
        };
        changed.map_or(Fate::Kept, |json| {
            let json = RawValue::from_string(json);
            Fate::Changed(json.unwrap_or_else(|_| RawValue::NULL.to_owned()))
        })
    }

    /// The body of an answer, if anything in it changes.
    fn response(&mut self, body: &str) -> Option<String> {
        let bare = (self.privacy.capture == Capture::None).then(|| without_content(body));
        let treatment = Treatment {
            is_content: true,
            ..Treatment::default()
        };
        let changed = self.json("", bare.as_deref().unwrap_or(body), treatment);
        let changed = changed.or(bare)?;
        // Token by token they repeat what was just taken out of the message.
        Some(edit::nullify(&changed, "logprobs").unwrap_or(changed))
    }

    /// The JSON value of a field, if anything in it changes.
    fn json(&mut self, name: &str, json: &str, treatment: Treatment) -> Option<String> {
        let most = match self.privacy.capture {
            Capture::Truncate(most) if treatment.is_content => Some(most),
            _ => None,
        };
        if most.is_none() && self.privacy.is_clean(json) {
            return None;
        }
        edit::rewrite(name, json, |scalar, text| match scalar {
            Scalar::Number if treatment.has_numbers => self.text(text),
            Scalar::Number => None,
            Scalar::Key if treatment.is_free => self.text(text),
            Scalar::Text(field) if treatment.is_free || !FORMAT.contains(&field) => {
                let redacted = self.text(text);
                let most = most.filter(|_| field != NAME);
                let cut = most.and_then(|most| cut(redacted.as_deref().unwrap_or(text), most));
                cut.or(redacted)
            }
            Scalar::Key | Scalar::Text(_) => {
                let keys = self.keys(text);
                self.redact(text, keys)
            }
        })
    }

    /// A text, if anything in it is redacted.
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

    /// Tool calls carry JSON as text, whose escapes would hide a match.
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

    /// Puts one mark in the place of each passage; passages that touch are one.
    fn redact(&mut self, text: &str, mut passages: Vec<Range<usize>>) -> Option<String> {
        passages.sort_unstable_by_key(|passage| passage.start);
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

/// The first characters of a text that has more.
fn cut(text: &str, most: usize) -> Option<String> {
    let (end, _) = text.char_indices().nth(most)?;
    Some(format!("{}…", &text[..end]))
}

/// The body of an answer without what was answered: who answered, why it ended, what it used.
fn without_content(body: &str) -> String {
    let mut kept = Map::new();
    let Ok(Value::Object(parsed)) = lenient::parse(body) else {
        return Value::Object(kept).to_string();
    };
    for (name, value) in parsed {
        match (name.as_str(), value) {
            ("choices", Value::Array(choices)) => {
                let choices: Value = choices.into_iter().map(without_message).collect();
                kept.insert(name, choices);
            }
            (known, value) if NO_CONTENT.contains(&known) => drop(kept.insert(name, value)),
            _ => {}
        }
    }
    Value::Object(kept).to_string()
}

fn without_message(mut choice: Value) -> Value {
    if let Some(fields) = choice.as_object_mut() {
        fields.retain(|name, _| NO_CONTENT_OF_CHOICES.contains(&name.as_str()));
    }
    choice
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

    /// Request and response as they may be traced, and the number of redactions.
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
    fn where_there_is_nothing_to_do_nothing_is_copied() {
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
    fn patterns_see_what_a_text_says() {
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
    fn passages_that_overlap_or_touch_are_one() {
        let request = r#"{"messages":[{"content":"call 0123-456 now"}]}"#;
        let patterns = ["[0-9]", "3-4", "call 0"];
        let (request, _, redactions) = filtered(&privacy(Capture::Full, &patterns), request, "{}");
        assert_eq!(redactions, 1);
        assert_eq!(request, r#"{"messages":[{"content":"[redacted] now"}]}"#);
    }

    #[test]
    fn what_is_redacted_does_not_come_back_token_by_token() {
        let response = r#"{"choices":[{"message":{"content":"Ada is here"},"logprobs":{"content":[{"token":"Ada"}]}}]}"#;
        let (_, response, _) = filtered(&privacy(Capture::Full, &["Ada is"]), "{}", response);
        assert_eq!(
            response,
            r#"{"choices":[{"message":{"content":"[redacted] here"},"logprobs":null}]}"#
        );
    }

    #[test]
    fn texts_are_cut_and_what_says_what_they_are_is_not() {
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
    fn a_text_is_redacted_before_it_is_cut() {
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
    fn patterns_that_would_do_something_else_are_refused() {
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
