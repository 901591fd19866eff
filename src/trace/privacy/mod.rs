//! Filters an exchange before it is traced, recorded or kept: limits its content, and redacts keys and patterns.
//!
//! Everything that is stored goes through this filter. The request to the model and the answer on stdout do not.

mod filter;
mod keys;
mod pattern;
pub mod spans;

use std::borrow::Cow;

use regex_lite::Regex;

use self::filter::Filter;
use self::keys::KeyFinder;
use super::{Exchange, ItemContext, Trace};
use crate::secret::Secret;

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
                .map(|pattern| pattern::compile(pattern))
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

#[cfg(test)]
mod tests;
