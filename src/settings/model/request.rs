//! Requests as the settings make them of a prompt, and what options change in a request that was given.

use serde_json::value::RawValue;

use super::ModelSettings;
use crate::model::Request;
use crate::model::dialect::{Feature, ModelDialect};
use crate::settings::sources::{Origin, Sourced};

impl ModelSettings {
    /// A request of `prompt` in the chosen dialect.
    ///
    /// # Errors
    /// If the dialect lacks what an option asks for: one line.
    pub fn chat(&self, prompt: &str, stream: bool) -> Result<Request, String> {
        self.continued(&[], prompt, stream)
    }

    /// A request of `prompt` after earlier messages and those that a field sets.
    ///
    /// # Errors
    /// If the dialect lacks what an option asks for: one line.
    pub fn continued(
        &self,
        earlier: &[Box<RawValue>],
        prompt: &str,
        stream: bool,
    ) -> Result<Request, String> {
        self.with_options(self.with_defaults(earlier, prompt)?, stream)
    }

    /// A body of `prompt` with what the settings file sets; [`amend_prompted`](Self::amend_prompted) adds the options.
    ///
    /// # Errors
    /// If a field that the prompt is added to is not an array.
    pub fn prompted(&self, prompt: &str) -> Result<Request, String> {
        self.with_defaults(&[], prompt)
    }

    /// A body of the messages of a managed prompt, with its own parameters: they come after the options and before
    /// `LANGSPAN_MODEL` and the settings file.
    ///
    /// # Errors
    /// If the dialect lacks a part of the messages.
    pub fn managed(
        &self,
        earlier: &[Box<RawValue>],
        messages: &[Box<RawValue>],
        parameters: &[(String, Box<RawValue>)],
    ) -> Result<Request, String> {
        let mut request = Request::default();
        request.set("model", &self.name.value);
        request.set("messages", messages);
        let mut request = self.completed_by_defaults(earlier, request)?;
        for (name, value) in parameters {
            if name != "model" || !self.name.is_flag() {
                request.set_raw(name, value.clone());
            }
        }
        Ok(request)
    }

    /// The body of a chat with the options applied.
    ///
    /// # Errors
    /// If the dialect lacks what an option asks for: one line.
    pub fn with_options(&self, mut request: Request, stream: bool) -> Result<Request, String> {
        self.apply_options(&mut request, true)?;
        if stream || request.is_streamed() {
            request.set_stream(true);
        }
        self.check_model(&request)?;
        request.fill_in();
        Ok(request)
    }

    fn with_defaults(&self, earlier: &[Box<RawValue>], prompt: &str) -> Result<Request, String> {
        let request = Request::chat(&self.name.value, None, prompt);
        self.completed_by_defaults(earlier, request)
    }

    fn completed_by_defaults(
        &self,
        earlier: &[Box<RawValue>],
        mut request: Request,
    ) -> Result<Request, String> {
        let dialect = self.dialect();
        request.precede(&self.field_messages()?);
        request.precede(earlier);
        let default = self.system.as_ref().filter(|system| !system.is_flag());
        if let Some(default) = default.filter(|_| !request.has_system()) {
            request.set_system(&default.value);
        }
        let mut request = request.adopted(dialect)?;
        self.defaults
            .apply(&mut request, self.endpoint_of(dialect), true);
        Ok(request)
    }

    /// The changes that options make to any body; of one made of a prompt they do not replace the conversation.
    fn apply_options(&self, request: &mut Request, is_prompt: bool) -> Result<(), String> {
        let dialect = request.dialect();
        if let Some(option) = self.lacking(dialect) {
            return Err(format!(
                "{option} is not possible in the dialect {}",
                dialect.name()
            ));
        }
        if let Some(system) = self.system.as_ref().filter(|system| system.is_flag()) {
            request.set_system(&system.value);
        }
        request.attach(&self.attachments)?;
        self.changes
            .apply(request, self.endpoint_of(dialect), is_prompt);
        Ok(())
    }

    /// The option that a dialect lacks, if one is given.
    fn lacking(&self, dialect: &dyn ModelDialect) -> Option<&'static str> {
        let is_streamed = self
            .stream
            .as_ref()
            .is_some_and(|stream| stream.is_flag() && stream.value);
        let is_system = self.system.as_ref().is_some_and(Sourced::is_flag);
        let given = [
            (is_streamed, Feature::Stream, "--stream"),
            (is_system, Feature::System, "--system"),
            (
                !self.attachments.is_empty(),
                Feature::Attachments,
                "--image or --file",
            ),
        ];
        let lacking = given
            .into_iter()
            .find(|(is_given, feature, _)| *is_given && dialect.lacks(*feature));
        lacking
            .map(|(_, _, option)| option)
            .or_else(|| self.changes.lacking(dialect))
    }

    /// The messages that a field sets: a prompt follows them, and must not be replaced by them.
    ///
    /// # Errors
    /// If the field is not an array.
    pub fn field_messages(&self) -> Result<Vec<Box<RawValue>>, String> {
        let dialect = self.dialect();
        let found = self.changes.conversation(dialect);
        let Some(messages) = found.or_else(|| self.defaults.conversation(dialect)) else {
            return Ok(Vec::new());
        };
        serde_json::from_str(messages.get()).map_err(|_| {
            let field = dialect.conversation_field();
            format!("`{field}` is not an array, to which the prompt could be added")
        })
    }

    /// Applies the options to a body that was given; a missing model is filled in, last. The settings file does not
    /// change it.
    ///
    /// # Errors
    /// If its dialect lacks what an option asks for, or a model: one line.
    pub fn amend(&self, request: &mut Request) -> Result<(), String> {
        self.apply_options(request, false)?;
        self.complete(request)
    }

    /// The same for a body that was made of a prompt.
    ///
    /// # Errors
    /// As [`amend`](Self::amend).
    pub fn amend_prompted(&self, request: &mut Request) -> Result<(), String> {
        self.apply_options(request, true)?;
        self.complete(request)
    }

    /// Sets stream and model as options ask for them, and what the API requires.
    fn complete(&self, request: &mut Request) -> Result<(), String> {
        if let Some(stream) = self.stream.as_ref().filter(|stream| stream.is_flag())
            && stream.value != request.is_streamed()
        {
            request.set_stream(stream.value);
        }
        if self.name.is_flag() || request.raw("model").is_none() {
            request.set("model", &self.name.value);
            self.check_model(request)?;
        }
        request.fill_in();
        Ok(())
    }

    /// Refuses the default model where it does not speak the dialect.
    fn check_model(&self, request: &Request) -> Result<(), String> {
        let is_default = self.name.origin == Origin::Default
            && request.model().as_ref() == Some(&self.name.value);
        match request.dialect().model_example() {
            Some(example) if is_default => Err(format!(
                "no model: {} has no default; name one, as with --model {example}",
                request.dialect().title()
            )),
            _ => Ok(()),
        }
    }
}
