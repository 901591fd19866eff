//! Whose a span is: user, session and tags, from the span itself, its ancestors, the options, or the only value of the
//! run.

use std::collections::{BTreeSet, HashMap};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use serde::{Deserialize, Serialize};

use crate::exec::attributes::{get, has, remove, set_text, set_texts, text, texts};
use crate::trace::attributes::{langfuse, otel};
use crate::trace::spans::Dialect;

/// User, session and tags, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    pub user: Option<String>,
    pub session: Option<String>,
    pub tags: Vec<String>,
}

/// The attributes that Langfuse reads, in its order.
const USER: [&str; 5] = [
    langfuse::USER_ID,
    otel::USER_ID,
    "langfuse.observation.metadata.langfuse_user_id",
    "langfuse.trace.metadata.langfuse_user_id",
    "ai.telemetry.metadata.userId",
];
const SESSION: [&str; 5] = [
    langfuse::SESSION_ID,
    otel::SESSION_ID,
    "langfuse.observation.metadata.langfuse_session_id",
    "langfuse.trace.metadata.langfuse_session_id",
    "ai.telemetry.metadata.sessionId",
];
const TAGS: [&str; 6] = [
    "langfuse.trace.tags",
    langfuse::TAGS,
    "langfuse.observation.metadata.langfuse_tags",
    "langfuse.trace.metadata.langfuse_tags",
    "ai.telemetry.metadata.tags",
    "tag.tags",
];
/// Langfuse takes it for the session where there is no other. Instrumentations make it up, so it comes last here.
const CONVERSATION: &str = "gen_ai.conversation.id";

impl Identity {
    /// The identity that a span states in its attributes.
    pub fn of(attributes: &[KeyValue]) -> Self {
        let first = |keys: &[&str]| keys.iter().find_map(|key| value_of(attributes, key));
        Self {
            user: first(&USER),
            session: first(&SESSION),
            tags: TAGS
                .iter()
                .map(|key| tags_of(attributes, key))
                .find(|tags| !tags.is_empty())
                .unwrap_or_default(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// This where it is known, else `other`; the tags of both.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        self.user = self.user.or_else(|| other.user.clone());
        self.session = self.session.or_else(|| other.session.clone());
        for tag in &other.tags {
            if !self.tags.contains(tag) {
                self.tags.push(tag.clone());
            }
        }
        self
    }

    /// This where it is known, else the only values of the run.
    #[must_use]
    pub fn or_only(mut self, run: &Occurring) -> Self {
        self.user = self.user.or_else(|| run.user.only().cloned());
        self.session = self.session.or_else(|| run.session.only().cloned());
        if self.tags.is_empty() {
            self.tags = run
                .tags
                .only()
                .map(|tags| tags.0.clone())
                .unwrap_or_default();
        }
        self
    }

    /// Writes it to a span.
    pub fn stamp(&self, attributes: &mut Vec<KeyValue>, dialect: Dialect) {
        let pairs = [
            (&self.user, langfuse::USER_ID, otel::USER_ID),
            (&self.session, langfuse::SESSION_ID, otel::SESSION_ID),
        ];
        for (value, key, plain_key) in pairs {
            let Some(value) = value else { continue };
            set_text(attributes, key, value.as_str());
            if dialect == Dialect::Plain && !has(attributes, plain_key) {
                set_text(attributes, plain_key, value.as_str());
            }
        }
        if !self.tags.is_empty() {
            // Langfuse reads the first of them only.
            remove(attributes, TAGS[0]);
            set_texts(attributes, langfuse::TAGS, &self.tags);
        }
    }
}

fn value_of(attributes: &[KeyValue], key: &str) -> Option<String> {
    match get(attributes, key)? {
        Value::StringValue(text) => (!text.is_empty()).then(|| text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::DoubleValue(number) => Some(number.to_string()),
        Value::BoolValue(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Tags as Langfuse reads them: a list, a JSON array, words between commas, or one word.
fn tags_of(attributes: &[KeyValue], key: &str) -> Vec<String> {
    let owned = |text: &str| text.trim().to_owned();
    let mut tags: Vec<String> = match get(attributes, key) {
        Some(Value::ArrayValue(list)) => texts(list).map(str::to_owned).collect(),
        Some(Value::StringValue(text)) => match serde_json::from_str::<Vec<String>>(text) {
            Ok(tags) => tags,
            Err(_) => text.split(',').map(owned).collect(),
        },
        _ => Vec::new(),
    };
    tags.retain(|tag| !tag.is_empty());
    tags
}

/// The values that occur in a run.
#[derive(Debug, Default)]
pub struct Occurring {
    user: Occurrence<String>,
    session: Occurrence<String>,
    tags: Occurrence<Tags>,
}

impl Occurring {
    /// Takes a span into account.
    pub fn note(&mut self, identity: &Identity, attributes: &[KeyValue]) {
        let conversation = || text(attributes, CONVERSATION).map(str::to_owned);
        self.user.note(identity.user.clone());
        self.session
            .note(identity.session.clone().or_else(conversation));
        let tags = Tags(identity.tags.clone());
        self.tags.note(Some(tags).filter(|tags| !tags.0.is_empty()));
    }
}

/// Tags, equal in any order.
#[derive(Debug)]
struct Tags(Vec<String>);

impl PartialEq for Tags {
    fn eq(&self, other: &Self) -> bool {
        let set = |tags: &Self| tags.0.iter().cloned().collect::<BTreeSet<_>>();
        set(self) == set(other)
    }
}

/// The values of one kind: none, one, or several.
#[derive(Debug, Default)]
enum Occurrence<T> {
    #[default]
    None,
    One(T),
    Several,
}

impl<T: PartialEq> Occurrence<T> {
    fn note(&mut self, value: Option<T>) {
        let Some(value) = value else { return };
        match self {
            Self::None => *self = Self::One(value),
            Self::One(known) if *known != value => *self = Self::Several,
            _ => {}
        }
    }

    fn only(&self) -> Option<&T> {
        match self {
            Self::One(value) => Some(value),
            _ => None,
        }
    }
}

/// Keeps each identity once, however many spans have it.
#[derive(Debug, Default)]
pub struct Identities {
    known: HashMap<Identity, u32>,
    list: Vec<Identity>,
}

impl Identities {
    /// The number of an identity; `None` for an empty one.
    pub fn number(&mut self, identity: Identity) -> Option<u32> {
        if identity.is_empty() {
            return None;
        }
        let next = u32::try_from(self.list.len()).ok()?;
        let number = *self.known.entry(identity.clone()).or_insert(next);
        if number == next {
            self.list.push(identity);
        }
        Some(number)
    }

    /// The identity of a number.
    pub fn get(&self, number: u32) -> Option<&Identity> {
        self.list.get(number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
        let mut attributes = Vec::new();
        for (key, text) in pairs {
            set_text(&mut attributes, key, *text);
        }
        attributes
    }

    #[test]
    fn an_identity_is_read_as_langfuse_reads_it() {
        let mut found = attributes(&[
            ("user.id", "u"),
            ("session.id", "s"),
            ("langfuse.tags", "a, b"),
        ]);
        set_texts(&mut found, "langfuse.trace.tags", &["x".to_owned()]);
        let identity = Identity::of(&found);
        assert_eq!(identity.user.as_deref(), Some("u"));
        assert_eq!(identity.session.as_deref(), Some("s"));
        assert_eq!(identity.tags, ["x"]);
        assert_eq!(
            Identity::of(&attributes(&[("tag.tags", r#"["a","b"]"#)])).tags,
            ["a", "b"]
        );
    }

    #[test]
    fn tags_are_merged_and_the_first_of_them_that_langfuse_reads_is_replaced() {
        let mut own = attributes(&[("langfuse.trace.tags", r#"["a"]"#)]);
        let identity = Identity::of(&own).or(&Identity {
            tags: vec!["a".to_owned(), "b".to_owned()],
            ..Identity::default()
        });
        identity.stamp(&mut own, Dialect::Langfuse);
        assert_eq!(Identity::of(&own).tags, ["a", "b"]);
        assert!(!has(&own, "langfuse.trace.tags"));
    }

    #[test]
    fn only_a_value_that_is_the_only_one_is_taken() {
        let identity = |user: &str, tags: &[&str]| Identity {
            user: Some(user.to_owned()),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Identity::default()
        };
        let mut run = Occurring::default();
        run.note(&identity("u", &["b", "a"]), &[]);
        run.note(&identity("u", &["a", "b"]), &[]);
        run.note(&Identity::default(), &[]);
        let only = Identity::default().or_only(&run);
        assert_eq!(only.user.as_deref(), Some("u"));
        assert_eq!(only.tags, ["b", "a"]);
        run.note(&identity("v", &["c"]), &[]);
        assert!(Identity::default().or_only(&run).is_empty());
    }

    #[test]
    fn a_conversation_counts_as_a_session_of_the_run_only() {
        let mut run = Occurring::default();
        run.note(&Identity::default(), &attributes(&[(CONVERSATION, "c")]));
        let session = Identity::default().or_only(&run).session;
        assert_eq!(session.as_deref(), Some("c"));
        assert_eq!(
            Identity::of(&attributes(&[(CONVERSATION, "c")])).session,
            None
        );
    }
}
