//! A prompt that Langfuse manages, for the calls of a run: fetched, or taken from the copy that is kept on disk when
//! Langfuse cannot be reached.

use std::path::PathBuf;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::app::cache_file::CacheFile;
use crate::app::setup::Setup;
use crate::app::text_files;
use crate::app::unread::{self, Remedies};
use crate::cli;
use crate::console::Console;
use crate::failure::Failure;
use crate::langfuse::prompts::PromptContent;
use crate::langfuse::template::FilledPrompt;
use crate::langfuse::{Api, ApiError, ManagedPrompt, PromptReference};
use crate::settings::{self, Destination, Sources, Tracing};
use crate::trace::PromptLink;

/// The fields of a chat-completions body that a configuration may set. Others are notes of the prompt's author.
const PARAMETERS: [&str; 29] = [
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "temperature",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
    "verbosity",
    "web_search_options",
];

/// The prompt of a run, and the variables that hold for all of its calls.
#[derive(Clone, Debug)]
pub struct RunPrompt {
    prompt: ManagedPrompt,
    variables: Map<String, Value>,
    /// What the configuration sets in a body.
    pub parameters: Vec<(String, Box<RawValue>)>,
}

/// Where a prompt is read, and where its copy is kept.
#[derive(Debug)]
struct PromptSource<'a> {
    api: &'a Api,
    destination: &'a Destination,
    /// The folder of the copies; none if none is kept.
    cache: Option<PathBuf>,
    console: &'a Console,
}

impl RunPrompt {
    /// Reads the prompt that the options name; `None` if they name none.
    ///
    /// # Errors
    /// If there is no such prompt, or it cannot be read and no copy of it may be used.
    pub async fn open(
        options: &cli::ManagedPromptArgs,
        setup: &Setup,
        sources: &Sources,
        console: &Console,
    ) -> Result<Option<Self>, Failure> {
        let Some(reference) = &options.reference else {
            return Ok(None);
        };
        let variables =
            text_files::variables(&options.variables, options.variables_file.as_deref())?;
        let tracing = &setup.settings.tracing;
        let (Some(api), Tracing::On(destination)) = (&setup.clients.api, tracing) else {
            return Err(no_langfuse(tracing));
        };
        // The embedded sandbox has another port each time.
        let cache = settings::cache_dir(sources).filter(|_| !setup.is_sandbox);
        let source = PromptSource {
            api,
            destination,
            cache: cache.map(|cache| cache.join("prompts")),
            console,
        };
        let document = if setup.is_dry {
            source.kept(reference).ok_or_else(|| {
                let message = format!(
                    "--dry-run opens no connection, and there is no copy of the prompt {reference}"
                );
                Failure::usage(message).hint(if setup.is_sandbox {
                    "omit --dry-run: of the sandbox's prompts no copies are kept"
                } else {
                    "run it once without --dry-run: its copy is then used"
                })
            })?
        } else {
            source.read(reference, !options.no_prompt_cache).await?
        };
        let prompt = ManagedPrompt::of_document(&document).ok_or_else(|| {
            Failure::input(format!(
                "the prompt {reference} is of a type that is not known"
            ))
            .hint("expected a text or a chat prompt")
        })?;
        Ok(Some(Self {
            parameters: parameters(&prompt.config),
            prompt,
            variables,
        }))
    }

    /// The version that the calls are linked to.
    pub fn link(&self) -> PromptLink {
        PromptLink {
            name: self.prompt.name.clone(),
            version: self.prompt.version,
        }
    }

    /// Whether the prompt is a list of messages.
    pub fn is_chat(&self) -> bool {
        matches!(self.prompt.content, PromptContent::Chat(_))
    }

    /// The messages of a call with these variables beside those of the run.
    ///
    /// # Errors
    /// One line that names what is missing or wrong.
    pub fn fill(
        &self,
        variables: &Map<String, Value>,
        typed: Option<&str>,
    ) -> Result<FilledPrompt, String> {
        let mut all = self.variables.clone();
        all.extend(variables.clone());
        let mut filled = self.prompt.fill(&all, typed)?;
        filled.unused.retain(|name| variables.contains_key(name));
        Ok(filled)
    }

    /// The variables of the run that the prompt does not have.
    pub fn unused(&self) -> impl Iterator<Item = &String> {
        self.variables
            .keys()
            .filter(|name| !self.prompt.has_variable(name))
    }

    /// Warns of the variables that the prompt does not have.
    pub fn warn_of_unused<'a>(&self, names: impl Iterator<Item = &'a String>, console: &Console) {
        for name in names {
            let prompt = &self.prompt.name;
            console.warn(&format!("the prompt `{prompt}` has no variable `{name}`"));
        }
    }
}

/// What a configuration sets in a body. An empty list of tools would be refused by the model's server.
fn parameters(config: &Map<String, Value>) -> Vec<(String, Box<RawValue>)> {
    let is_empty_list = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    let has_tools = config
        .get("tools")
        .is_none_or(|tools| !is_empty_list(tools));
    let fields = config.iter().filter(|(name, value)| {
        let is_of_tools = matches!(
            name.as_str(),
            "tools" | "tool_choice" | "parallel_tool_calls"
        );
        PARAMETERS.contains(&name.as_str()) && !value.is_null() && (has_tools || !is_of_tools)
    });
    // JSON values always serialise.
    fields
        .filter_map(|(name, value)| Some((name.clone(), to_raw_value(value).ok()?)))
        .collect()
}

fn no_langfuse(tracing: &Tracing) -> Failure {
    let why = match tracing {
        Tracing::Off(switch) => format!("tracing is off: {switch}"),
        Tracing::On(_) => "a plain OTLP backend has no prompts".to_owned(),
        Tracing::Unreachable(failure) => failure.message.clone(),
    };
    Failure::config(format!("--prompt needs a Langfuse: {why}"))
        .hint("set LANGFUSE_BASE_URL and the keys")
}

impl PromptSource<'_> {
    /// The document of the server, a copy of which is kept; or that copy if the server cannot be asked.
    async fn read(
        &self,
        reference: &PromptReference,
        may_use_copy: bool,
    ) -> Result<Value, Failure> {
        let error = match self.api.prompt(reference).await {
            Ok(document) => {
                if let Some(file) = self.file(reference) {
                    // Without a copy, the next call needs the server.
                    let _ = file.replace(&document);
                }
                return Ok(document);
            }
            Err(error) => error,
        };
        let is_down = matches!(error.status, None | Some(500..));
        let copy = (is_down && may_use_copy)
            .then(|| self.kept(reference))
            .flatten();
        let Some(copy) = copy else {
            return Err(unread(&error, reference));
        };
        self.console.warn(&format!(
            "the kept copy of the prompt {reference} is used, version {}: {}",
            copy["version"],
            self.console.clean(&error.message)
        ));
        Ok(copy)
    }

    fn kept(&self, reference: &PromptReference) -> Option<Value> {
        self.file(reference)?.read()
    }

    /// The file of a copy, in a folder of its server and one of its project, which the public key stands for: while the
    /// server cannot be reached, the project's id is not known.
    fn file(&self, reference: &PromptReference) -> Option<CacheFile> {
        let key = &self.destination.langfuse.as_ref()?.keys.public;
        let name = reference.to_string();
        let folder = self.cache.as_ref()?;
        Some(CacheFile::new(folder, self.api.base(), &[key, &name]))
    }
}

/// The remedies for prompts that cannot be read.
const UNREAD_LIST: Remedies = Remedies {
    absent: NO_PROMPTS,
    unserved: NO_PROMPTS,
    otherwise: unread::IS_IT_RUNNING,
};
const UNREAD_PROMPT: Remedies = Remedies {
    absent: "langspan prompt lists the prompts with their versions and labels",
    unserved: NO_PROMPTS,
    otherwise: "a copy is kept once the prompt was read, and used while the server cannot be reached",
};
const NO_PROMPTS: &str = "check LANGFUSE_BASE_URL: this server has no prompts";

/// The failure of a list of prompts that cannot be read.
pub fn unlisted(error: &ApiError) -> Failure {
    unread::failure("the list of prompts", error, &UNREAD_LIST)
}

/// The failure of a prompt that cannot be read.
pub fn unread(error: &ApiError, reference: &PromptReference) -> Failure {
    unread::failure(&format!("the prompt {reference}"), error, &UNREAD_PROMPT)
}
