//! The keys of the settings file: every long option that is not about one call, and where secrets are kept.

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    /// Relative to the settings file.
    Path,
    Switch,
    /// A switch that is the opposite of another key, or sets a value of it.
    Alias {
        key: &'static str,
        on: &'static str,
        off: Option<&'static str>,
    },
    /// A whole number, not negative.
    Whole,
    Number,
    /// A string, or an array of strings.
    Texts,
    /// A table of strings, or an array of `KEY=VALUE`.
    Pairs,
    /// A table of strings, or an array of `NAME:VALUE`.
    Headers,
    /// A table of any values, or an array of `KEY=VALUE` and `KEY:=JSON`.
    Fields,
    /// A secret itself.
    Secret,
    /// A file with a secret in its first line, relative to the settings file.
    SecretFile,
    /// A program and its arguments; the first line of its output is a secret.
    SecretCommand,
}

impl Shape {
    /// What is expected, in words for a message.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Text | Self::Path | Self::Secret | Self::SecretFile => "a string",
            Self::Switch | Self::Alias { .. } => "true or false",
            Self::Whole => "a whole number",
            Self::Number => "a number",
            Self::Texts => "a string or an array of strings",
            Self::Pairs | Self::Headers => "a table of strings",
            Self::Fields => "a table",
            Self::SecretCommand => "an array of strings: a program and its arguments",
        }
    }
}

/// A key, and the variables that set the same.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// With underscores, as the option has hyphens.
    pub name: &'static str,
    pub shape: Shape,
    /// The strongest first.
    pub variables: &'static [&'static str],
    /// The value where nothing sets it, in words for `langspan config`; empty for none.
    pub default: &'static str,
}

const fn key(name: &'static str, shape: Shape) -> Key {
    Key {
        name,
        shape,
        variables: &[],
        default: "",
    }
}

impl Key {
    const fn variables(self, variables: &'static [&'static str]) -> Self {
        Self { variables, ..self }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }
}

/// All keys, in the order of the options' groups.
pub const KEYS: &[Key] = &[
    key("user", Shape::Text).variables(&["LANGSPAN_USER"]),
    key("session", Shape::Text).variables(&["LANGSPAN_SESSION"]),
    key("tag", Shape::Texts).variables(&["LANGSPAN_TAGS"]),
    key("name", Shape::Text).default("chat-completion"),
    key("metadata", Shape::Pairs),
    key("environment", Shape::Text).variables(&["LANGFUSE_TRACING_ENVIRONMENT"]),
    key("release", Shape::Text).variables(&["LANGFUSE_RELEASE"]),
    key("trace_version", Shape::Text),
    key("public", Shape::Switch).default("false"),
    key("ci", Shape::Switch).default("false"),
    key("model", Shape::Text)
        .variables(&["LANGSPAN_MODEL"])
        .default("gpt-4o-mini"),
    key("api", Shape::Text)
        .variables(&["LANGSPAN_API"])
        .default("chat"),
    key("openai_base_url", Shape::Text).variables(&["OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT"]),
    key("openai_api_key", Shape::Secret).variables(&["OPENAI_API_KEY"]),
    key("openai_api_key_file", Shape::SecretFile).variables(&["OPENAI_API_KEY"]),
    key("openai_api_key_command", Shape::SecretCommand).variables(&["OPENAI_API_KEY"]),
    key("anthropic_base_url", Shape::Text).variables(&["ANTHROPIC_BASE_URL"]),
    key("anthropic_api_key", Shape::Secret).variables(&["ANTHROPIC_API_KEY"]),
    key("anthropic_api_key_file", Shape::SecretFile).variables(&["ANTHROPIC_API_KEY"]),
    key("anthropic_api_key_command", Shape::SecretCommand).variables(&["ANTHROPIC_API_KEY"]),
    key("header", Shape::Headers),
    key("system", Shape::Text),
    key("system_file", Shape::Path),
    key("temperature", Shape::Number),
    key("max_tokens", Shape::Whole),
    key("param", Shape::Fields),
    key("stream", Shape::Switch).default("when stdout is a terminal"),
    key(
        "no_stream",
        Shape::Alias {
            key: "stream",
            on: "false",
            off: Some("true"),
        },
    ),
    key("retries", Shape::Whole).default("2; of batch: 5"),
    key("timeout", Shape::Number).default("600"),
    key("langfuse_base_url", Shape::Text).variables(&["LANGFUSE_BASE_URL", "LANGFUSE_HOST"]),
    key("public_key", Shape::Text).variables(&["LANGFUSE_PUBLIC_KEY"]),
    key("secret_key", Shape::Secret).variables(&["LANGFUSE_SECRET_KEY"]),
    key("secret_key_file", Shape::SecretFile).variables(&["LANGFUSE_SECRET_KEY"]),
    key("secret_key_command", Shape::SecretCommand).variables(&["LANGFUSE_SECRET_KEY"]),
    key("otlp_endpoint", Shape::Text),
    key("ui_url", Shape::Text).variables(&["LANGSPAN_UI_URL"]),
    key("ca_file", Shape::Path),
    key("env_file", Shape::Path),
    key("verify", Shape::Switch)
        .variables(&["LANGSPAN_VERIFY"])
        .default("false"),
    key("wait", Shape::Number).default("60"),
    key("best_effort", Shape::Switch)
        .variables(&["LANGSPAN_BEST_EFFORT"])
        .default("false"),
    key("export_timeout", Shape::Number).default("10; of batch: 30"),
    key("no_outbox", Shape::Switch).default("false"),
    key("sample", Shape::Number)
        .variables(&["LANGFUSE_SAMPLE_RATE"])
        .default("1"),
    key("capture", Shape::Text).default("full"),
    key("redact", Shape::Texts),
    key("no_media", Shape::Switch).default("false"),
    key("output", Shape::Text)
        .variables(&["LANGSPAN_OUTPUT"])
        .default("text"),
    key(
        "json",
        Shape::Alias {
            key: "output",
            on: "json",
            off: None,
        },
    ),
    key("quiet", Shape::Switch).default("false"),
    key("verbose", Shape::Whole).default("0"),
];

/// Options about one call or trace. They have no key.
pub const OF_ONE_CALL: &[&str] = &[
    "trace_id",
    "trace_seed",
    "traceparent",
    "join",
    "image",
    "file",
    "messages",
    "schema",
    "record",
    "dry_run",
    "sandbox",
    "thread",
    "prompt",
    "var",
    "vars",
    "expect",
    "expect_regex",
    "expect_not",
    "expect_not_regex",
    "expect_json",
    "max_latency",
    "max_call_cost",
    "score",
];

/// The key of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The known name that is most like `name`.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.max_by(|a, b| strsim::jaro(name, a).total_cmp(&strsim::jaro(name, b)))
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::*;
    use crate::cli::RunArgs;

    #[test]
    fn every_option_of_a_run_has_a_key_or_is_about_one_call() {
        let command = RunArgs::augment_args(Command::new("chat"));
        let options = command
            .get_arguments()
            .filter_map(|option| option.get_long());
        let names: Vec<String> = options.map(|name| name.replace('-', "_")).collect();
        for name in &names {
            let name = name.as_str();
            // A profile cannot name a profile.
            let is_known = find(name).is_some() || OF_ONE_CALL.contains(&name) || name == "profile";
            assert!(is_known, "{name}");
        }
        let is_secret =
            |key: &&Key| key.name.contains("_api_key") || key.name.starts_with("secret_key");
        for key in KEYS
            .iter()
            .filter(|key| !is_secret(key) && key.name != "public_key")
        {
            assert!(names.contains(&key.name.to_owned()), "{}", key.name);
        }
    }

    #[test]
    fn a_mistyped_key_is_nearest_to_the_one_that_was_meant() {
        let known = || KEYS.iter().map(|key| key.name);
        for (typed, meant) in [
            ("langfuse_url", "langfuse_base_url"),
            ("modle", "model"),
            ("tags", "tag"),
            ("secretkey", "secret_key"),
            ("best_efort", "best_effort"),
        ] {
            assert_eq!(nearest(typed, known()), Some(meant));
        }
    }
}
