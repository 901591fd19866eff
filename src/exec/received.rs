//! What is done with an export request of the child before it is kept: its model calls are compared with those of the
//! proxy, single instrumentations are put right, and what may not be kept is left out.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;

use crate::exec::attributes::for_each_text;
use crate::exec::journal::Reported;
use crate::exec::kind::{self, RESPONSE_IDS};
use crate::exec::media::MediaTaker;
use crate::exec::{attributes, fixes};
use crate::trace::Privacy;
use crate::trace::privacy::spans::{Fate, Holds};

/// Texts as numbers that tell nothing about them: the key of the hash is random and not kept.
#[derive(Debug, Default)]
pub struct Fingerprints(RandomState);

impl Fingerprints {
    pub fn of(&self, text: &str) -> u64 {
        self.0.hash_one(text.trim())
    }

    pub fn of_bytes(&self, parts: &[&[u8]]) -> u64 {
        self.0.hash_one(parts)
    }
}

/// What is known of the calls that have ended.
#[derive(Debug, Default)]
pub struct KnownCalls {
    /// The numbers of calls, by the fingerprint of their response id.
    ids: HashMap<u64, usize>,
    /// How many calls have each text.
    texts: HashMap<u64, u32>,
}

impl KnownCalls {
    pub fn add(&mut self, number: usize, id: Option<u64>, texts: &[u64]) {
        self.ids.extend(id.map(|id| (id, number)));
        for text in texts {
            *self.texts.entry(*text).or_default() += 1;
        }
    }
}

/// What a request passes through.
#[derive(Debug)]
pub struct Preparation<'a> {
    pub known: &'a KnownCalls,
    pub prints: &'a Fingerprints,
    pub privacy: &'a Privacy,
    /// URLs of the listener, and what they stand for.
    pub urls: &'a [(String, String)],
    /// Whether an environment among the resource's attributes is the user's own.
    pub keeps_environment: bool,
    pub media: MediaTaker<'a>,
}

impl Preparation<'_> {
    /// Makes a request fit to be kept. Returns which spans report model calls, and how many passages were redacted.
    pub fn prepare(&mut self, request: &mut ExportTraceServiceRequest) -> (Vec<Reported>, usize) {
        let mut reported = Vec::new();
        let mut redactions = 0;
        let mut place = 0;
        for resource_spans in &mut request.resource_spans {
            let resource = resource_spans.resource.get_or_insert_default();
            for scope_spans in &mut resource_spans.scope_spans {
                let scope = scope_spans.scope.as_ref();
                let scope = scope.map_or("", |scope| scope.name.as_str());
                for span in &mut scope_spans.spans {
                    if kind::is_model_call(span, scope) {
                        reported.push(self.compare(span, place));
                    }
                    if !self.keeps_environment {
                        fixes::apply_to_resource(resource, span, scope);
                    }
                    fixes::apply(span, scope);
                    redactions += self.filter(span);
                    place += 1;
                }
            }
            redactions += self.filter_attributes(&mut resource.attributes);
        }
        (reported, redactions)
    }

    /// What a span has in common with the calls.
    fn compare(&self, span: &Span, place: usize) -> Reported {
        let mut reported = Reported {
            place,
            ..Reported::default()
        };
        let is_embedding = kind::is_embedding(span);
        let mut attributes = span.attributes.clone();
        for_each_text(&mut attributes, &mut |key, text| {
            let is_answer = kind::is_answer(key);
            let is_telling = is_answer || (is_embedding && is_input_of_embedding(key));
            if !is_telling && !RESPONSE_IDS.contains(&key) {
                return;
            }
            leaves(text, 0, &mut |leaf| {
                let print = self.prints.of(leaf);
                if let Some(number) = self.known.ids.get(&print)
                    && !reported.ids.contains(number)
                {
                    reported.ids.push(*number);
                }
                if is_telling {
                    reported.has_text |= !leaf.trim().is_empty();
                    if self.known.texts.contains_key(&print) && !reported.texts.contains(&print) {
                        reported.texts.push(print);
                    }
                }
            });
        });
        reported
    }

    fn filter(&mut self, span: &mut Span) -> usize {
        let mut redactions = self.filter_attributes(&mut span.attributes);
        for event in &mut span.events {
            redactions += self.filter_attributes(&mut event.attributes);
        }
        for link in &mut span.links {
            redactions += self.filter_attributes(&mut link.attributes);
        }
        let status = span.status.as_mut().map(|status| &mut status.message);
        for text in [Some(&mut span.name), status].into_iter().flatten() {
            redactions += self.filter_text(text, Holds::Other).1;
        }
        redactions
    }

    fn filter_attributes(&mut self, attributes: &mut Vec<KeyValue>) -> usize {
        let mut redactions = 0;
        let mut dropped = Vec::new();
        for_each_text(attributes, &mut |key, text| {
            for (url, meant) in self.urls {
                if text.contains(url) {
                    *text = text.replace(url, meant);
                }
            }
            // Before the filter, which would cut through base64.
            if let Some(rest) = self.media.without_content(text) {
                *text = rest;
            }
            let (is_dropped, count) = self.filter_text(text, holds(key));
            redactions += count;
            if is_dropped {
                dropped.push(key.to_owned());
            }
        });
        for key in dropped {
            attributes::remove(attributes, &key);
        }
        redactions
    }

    fn filter_text(&self, text: &mut String, holds: Holds) -> (bool, usize) {
        let (fate, redactions) = self.privacy.attribute(text, holds);
        if let Fate::Changed(changed) = &fate {
            text.clone_from(changed);
        }
        (fate == Fate::Dropped, redactions)
    }
}

fn is_input_of_embedding(key: &str) -> bool {
    kind::is_input(key)
        || key.ends_with(".embedding.text")
        || key == "ai.value"
        || key == "ai.values"
}

fn holds(key: &str) -> Holds {
    const NAMES: [&str; 6] = [
        ".type",
        ".kind",
        ".id",
        "model",
        "model.name",
        "operation.name",
    ];
    if kind::is_content(key) {
        Holds::Content
    } else if RESPONSE_IDS.contains(&key)
        || (NAMES.iter().any(|end| key.ends_with(end)) && !is_person(key))
    {
        Holds::Format
    } else {
        Holds::Other
    }
}

fn is_person(key: &str) -> bool {
    key.ends_with("user.id") || key.ends_with("session.id") || key.ends_with("conversation.id")
}

/// Visits the strings in a text: of a JSON document each one, JSON within strings included; else the text itself.
fn leaves(text: &str, depth: usize, visit: &mut impl FnMut(&str)) {
    const DEEPEST: usize = 3;
    if depth < DEEPEST
        && text.trim_start().starts_with(['{', '[', '"'])
        && let Ok(value) = serde_json::from_str::<Value>(text)
    {
        return leaves_of(&value, depth, visit);
    }
    visit(text);
}

fn leaves_of(value: &Value, depth: usize, visit: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => leaves(text, depth + 1, visit),
        Value::Array(items) => items.iter().for_each(|item| leaves_of(item, depth, visit)),
        Value::Object(fields) => fields
            .values()
            .for_each(|field| leaves_of(field, depth, visit)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

    use super::*;
    use crate::exec::attributes::{set_text, text};
    use crate::exec::journal::Journal;
    use crate::exec::media::MediaRules;
    use crate::trace::privacy::Capture;

    fn request(pairs: &[(&str, &str)]) -> ExportTraceServiceRequest {
        let mut span = Span::default();
        for (key, text) in pairs {
            set_text(&mut span.attributes, key, *text);
        }
        let scope_spans = vec![ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        }];
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans,
                ..ResourceSpans::default()
            }],
        }
    }

    fn prepared(capture: Capture, pairs: &[(&str, &str)]) -> (Span, Vec<Reported>) {
        let prints = Fingerprints::default();
        let mut known = KnownCalls::default();
        known.add(7, Some(prints.of("chatcmpl-1")), &[prints.of("Hello")]);
        let privacy = Privacy::new(capture, &[], &[]).unwrap();
        let mut preparation = Preparation {
            media: MediaTaker {
                rules: &mut MediaRules::default(),
                journal: &mut Journal::new(None, 0),
            },
            known: &known,
            prints: &prints,
            privacy: &privacy,
            urls: &[(
                "http://127.0.0.1:1/t/openai/v1".to_owned(),
                "https://api.openai.com/v1".to_owned(),
            )],
            keeps_environment: false,
        };
        let mut request = request(pairs);
        let (reported, _) = preparation.prepare(&mut request);
        (
            request.resource_spans[0].scope_spans[0].spans[0].clone(),
            reported,
        )
    }

    #[test]
    fn ids_and_texts_are_found_wherever_they_stand() {
        let kind = ("openinference.span.kind", "LLM");
        for (key, value, has_id, has_text) in [
            ("gen_ai.response.id", "chatcmpl-1", true, false),
            (
                "output.value",
                r#"{"id": "chatcmpl-1", "choices": [{"message": {"content": "Hello\n"}}]}"#,
                true,
                true,
            ),
            (
                "gen_ai.completion",
                r#"{"generations": [{"x": "{\"id\":\"chatcmpl-1\"}"}]}"#,
                true,
                false,
            ),
            ("ai.response.text", "Hello", false, true),
            ("input.value", "Hello", false, false),
            ("output.value", "chatcmpl-12", false, false),
        ] {
            let (_, reported) = prepared(Capture::None, &[kind, (key, value)]);
            assert_eq!(reported[0].ids == [7], has_id, "{key}");
            assert_eq!(!reported[0].texts.is_empty(), has_text, "{key}");
        }
    }

    #[test]
    fn content_is_left_out_and_the_listener_is_not_named() {
        let (span, reported) = prepared(
            Capture::None,
            &[
                ("output.value", "Hello"),
                ("llm.input_messages.0.message.content", "Hi"),
                ("gen_ai.openai.api_base", "http://127.0.0.1:1/t/openai/v1/"),
            ],
        );
        assert_eq!(text(&span.attributes, "output.value"), None);
        assert_eq!(span.attributes.len(), 1, "{span:?}");
        assert_eq!(
            text(&span.attributes, "gen_ai.openai.api_base"),
            Some("https://api.openai.com/v1/")
        );
        assert!(reported.is_empty(), "no model call");
    }

    #[test]
    fn a_person_is_no_name_of_the_format() {
        assert_eq!(holds("user.id"), Holds::Other);
        assert_eq!(holds("gen_ai.request.model"), Holds::Format);
        assert_eq!(holds("gen_ai.prompt.0.content"), Holds::Content);
    }
}
