//! The prompts that Langfuse manages: which one is asked for, and how it is read.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::langfuse::api::Api;
use crate::langfuse::api_error::ApiError;

const PATH: &str = "/api/public/v2/prompts";
/// The label that is read unless another one is named.
const DEFAULT_LABEL: &str = "production";
/// How often a failed request is repeated.
const RETRIES: u32 = 1;
/// The largest page of the list.
const PAGE_PROMPTS: &str = "100";
/// A list with more pages than this is cut off.
const MOST_PAGES: u64 = 1000;

/// The name of a prompt, and which version of it: `NAME`, `NAME@LABEL` or `NAME:VERSION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptReference {
    pub name: String,
    pub selector: PromptSelector,
}

/// Which version of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptSelector {
    Label(String),
    Version(u64),
}

impl PromptReference {
    /// # Errors
    /// If a part of it is empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, selector) = match (text.rsplit_once('@'), text.rsplit_once(':')) {
            (Some((name, label)), _) => (name, PromptSelector::Label(label.to_owned())),
            (None, Some((name, version))) => match version.parse() {
                Ok(version) => (name, PromptSelector::Version(version)),
                Err(_) => return Err("expected the number of a version after `:`".to_owned()),
            },
            (None, None) => (text, PromptSelector::Label(DEFAULT_LABEL.to_owned())),
        };
        if name.trim().is_empty() || selector == PromptSelector::Label(String::new()) {
            return Err("expected NAME, NAME@LABEL or NAME:VERSION".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            selector,
        })
    }
}

impl fmt::Display for PromptReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            PromptSelector::Label(label) => write!(f, "{}@{label}", self.name),
            PromptSelector::Version(version) => write!(f, "{}:{version}", self.name),
        }
    }
}

/// A version of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct ManagedPrompt {
    pub name: String,
    pub version: u64,
    pub content: PromptContent,
    /// What the model is called with, as far as its author says so.
    pub config: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PromptContent {
    Text(String),
    /// Messages and placeholders.
    Chat(Vec<Value>),
}

impl ManagedPrompt {
    /// Reads the document of the server; `None` if it is something else.
    pub fn of_document(document: &Value) -> Option<Self> {
        let content = match (document["type"].as_str(), &document["prompt"]) {
            (Some("chat"), Value::Array(messages)) => PromptContent::Chat(messages.clone()),
            (_, Value::String(text)) => PromptContent::Text(text.clone()),
            _ => return None,
        };
        Some(Self {
            name: document["name"].as_str()?.to_owned(),
            version: document["version"].as_u64()?,
            content,
            config: document["config"].as_object().cloned().unwrap_or_default(),
        })
    }
}

impl Api {
    /// The document of a prompt.
    ///
    /// # Errors
    /// If there is no such version, the server refuses the keys, or the request still fails after a retry.
    pub async fn prompt(&self, reference: &PromptReference) -> Result<Value, ApiError> {
        let name = utf8_percent_encode(&reference.name, NON_ALPHANUMERIC);
        let path = format!("{PATH}/{name}");
        let (key, value) = match &reference.selector {
            PromptSelector::Label(label) => ("label", label.clone()),
            PromptSelector::Version(version) => ("version", version.to_string()),
        };
        let query = [(key, value.as_str())];
        self.get_repeatedly(RETRIES, &path, &query).await
    }

    /// The list of prompts: one entry for each name.
    ///
    /// # Errors
    /// If the server refuses the keys, or a request still fails after a retry.
    pub async fn prompts(&self) -> Result<Vec<Value>, ApiError> {
        let query = vec![("limit", PAGE_PROMPTS.to_owned())];
        self.numbered_pages(PATH, query)
            .with_retries(RETRIES)
            .all(MOST_PAGES)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_a_label_or_a_version() {
        let label = |label: &str| PromptSelector::Label(label.to_owned());
        for (text, name, selector) in [
            ("greet", "greet", label("production")),
            ("a/b c@staging", "a/b c", label("staging")),
            ("greet:7", "greet", PromptSelector::Version(7)),
        ] {
            let reference = PromptReference::parse(text).unwrap();
            assert_eq!(
                (reference.name.as_str(), reference.selector),
                (name, selector)
            );
        }
        for wrong in ["", " ", "@x", ":1", "greet@", "greet:", "greet:x"] {
            assert!(PromptReference::parse(wrong).is_err(), "{wrong}");
        }
    }
}
