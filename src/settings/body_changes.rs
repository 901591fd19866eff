//! What options or the settings file set in a body, in whichever dialect it is.

use std::str::FromStr;

use serde_json::Value;
use serde_json::value::RawValue;

use super::sources::Sources;
use crate::cli;
use crate::failure::Failure;
use crate::model::dialect::{Feature, ModelDialect};
use crate::model::{Endpoint, Request};

/// The fields that are set in a body: those of `--param` last, so that it has the last word.
#[derive(Clone, Debug, Default)]
pub struct BodyChanges {
    /// A JSON number.
    pub temperature: Option<Value>,
    /// The most tokens of an answer.
    pub max_tokens: Option<u64>,
    /// The `response_format` of chat completions, made of a JSON Schema.
    pub response_format: Option<Value>,
    /// Other fields, with their JSON texts.
    pub params: Vec<(String, Box<RawValue>)>,
}

impl BodyChanges {
    /// What the settings file sets; `params` are its fields.
    ///
    /// # Errors
    /// If a value is malformed.
    pub fn of_file(
        sources: &Sources,
        params: Vec<(String, Box<RawValue>)>,
    ) -> Result<Self, Failure> {
        let temperature = sources.parsed("--temperature", None, &[], cli::temperature)?;
        let max_tokens = sources.parsed("--max-tokens", None, &[], whole)?;
        Ok(Self {
            temperature: temperature.map(|found| found.value.into()),
            max_tokens: max_tokens.map(|found| found.value),
            response_format: None,
            params,
        })
    }

    /// Sets the fields in a body for an endpoint. Of one that was made of a prompt, the conversation is kept. What the
    /// dialect lacks is left out.
    pub fn apply(&self, request: &mut Request, endpoint: &Endpoint, is_prompt: bool) {
        let dialect = request.dialect();
        if let Some(temperature) = &self.temperature
            && !dialect.lacks(Feature::Temperature)
        {
            request.set("temperature", temperature);
        }
        let of_provider = endpoint.provider.max_tokens_field(&endpoint.base);
        if let (Some(limit), Some(field)) = (self.max_tokens, dialect.limit_field(of_provider)) {
            request.set(field, &limit);
        }
        if let Some(format) = &self.response_format {
            request.set_schema(format);
        }
        let kept = is_prompt.then(|| dialect.conversation_field());
        for (name, value) in &self.params {
            if kept != Some(name.as_str()) {
                request.set_raw(name, value.clone());
            }
        }
    }

    /// The conversation that a field sets.
    pub fn conversation(&self, dialect: &dyn ModelDialect) -> Option<&RawValue> {
        let field = dialect.conversation_field();
        let mut latest_first = self.params.iter().rev();
        let found = latest_first.find(|(name, _)| name == field);
        found.map(|(_, value)| &**value)
    }

    /// The option that the dialect lacks, if one is set.
    pub fn lacking(&self, dialect: &dyn ModelDialect) -> Option<&'static str> {
        let set = [
            (
                self.temperature.is_some(),
                Feature::Temperature,
                "--temperature",
            ),
            (
                self.max_tokens.is_some(),
                Feature::MaxTokens,
                "--max-tokens",
            ),
            (self.response_format.is_some(), Feature::Schema, "--schema"),
        ];
        let mut lacking = set
            .into_iter()
            .filter(|(is_set, feature, _)| *is_set && dialect.lacks(*feature));
        lacking.next().map(|(_, _, option)| option)
    }
}

/// Reads a whole number.
///
/// # Errors
/// If the text is another.
pub fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "expected a whole number".to_owned())
}
