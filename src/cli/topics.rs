//! The help topics: one Markdown file each, embedded in the binary.
//!
//! Each topic is the documentation of its subject; tests hold its tables to the code.

use crate::embedded::{EmbeddedText, embedded};

/// A help topic.
#[derive(Debug)]
pub struct Topic {
    /// As in `langspan help NAME`.
    pub name: &'static str,
    /// Markdown.
    pub text: EmbeddedText,
}

/// All topics, by name.
pub const TOPICS: &[Topic] = &[
    Topic {
        name: "batch",
        text: embedded!("src/cli/help/batch.md"),
    },
    Topic {
        name: "ci",
        text: embedded!("src/cli/help/ci.md"),
    },
    Topic {
        name: "cluster",
        text: embedded!("src/cli/help/cluster.md"),
    },
    Topic {
        name: "compare",
        text: embedded!("src/cli/help/compare.md"),
    },
    Topic {
        name: "config",
        text: embedded!("src/cli/help/config.md"),
    },
    Topic {
        name: "conversations",
        text: embedded!("src/cli/help/conversations.md"),
    },
    Topic {
        name: "destinations",
        text: embedded!("src/cli/help/destinations.md"),
    },
    Topic {
        name: "dialects",
        text: embedded!("src/cli/help/dialects.md"),
    },
    Topic {
        name: "environment",
        text: embedded!("src/cli/help/environment.md"),
    },
    Topic {
        name: "exec",
        text: embedded!("src/cli/help/exec.md"),
    },
    Topic {
        name: "exit-codes",
        text: embedded!("src/cli/help/exit-codes.md"),
    },
    Topic {
        name: "expectations",
        text: embedded!("src/cli/help/expectations.md"),
    },
    Topic {
        name: "experiments",
        text: embedded!("src/cli/help/experiments.md"),
    },
    Topic {
        name: "failures",
        text: embedded!("src/cli/help/failures.md"),
    },
    Topic {
        name: "import",
        text: embedded!("src/cli/help/import.md"),
    },
    Topic {
        name: "mapping",
        text: embedded!("src/cli/help/mapping.md"),
    },
    Topic {
        name: "privacy",
        text: embedded!("src/cli/help/privacy.md"),
    },
    Topic {
        name: "prompts",
        text: embedded!("src/cli/help/prompts.md"),
    },
    Topic {
        name: "replay",
        text: embedded!("src/cli/help/replay.md"),
    },
    Topic {
        name: "sandbox",
        text: embedded!("src/cli/help/sandbox.md"),
    },
    Topic {
        name: "scores",
        text: embedded!("src/cli/help/scores.md"),
    },
];

/// The topic that is not Markdown: the JSON Schemas of what is printed.
pub const SCHEMAS: &str = "json";

/// The commands, in the order of `langspan --help`.
pub const COMMANDS: &[&str] = &[
    "chat",
    "replay",
    "batch",
    "merge",
    "compare",
    "exec",
    "check",
    "show",
    "prompt",
    "score",
    "resend",
    "models",
    "config",
    "sandbox",
    "completions",
    "help",
];

/// The commands of `langspan config`.
pub const OF_CONFIG: &[&str] = &["path", "profiles", "init"];

/// The last lines of `langspan -h`.
pub const BRIEFLY: &str = "\
Options: -h, --help, -V, --version
Topics, such as batch, ci and prompts: langspan help";

/// The last lines of `langspan --help` and of `langspan help`.
pub const LISTED: &str = "\
Topics (langspan help TOPIC):
  batch          Many requests from a file: lines, answers, pace, resuming
  ci             The smoke test, and langspan in scripts, CI jobs and images
  cluster        One batch on many machines: Slurm, Ray, Kubernetes
  compare        Two runs side by side: what counts as a regression
  config         The settings file: keys, profiles, which value wins
  conversations  Continue a conversation; messages and values from files
  destinations   Which server gets the spans, and with which keys
  dialects       Responses, Messages, embeddings: the APIs that models speak
  environment    Every environment variable
  exec           Any program inside one trace: what is seen, and what is not
  exit-codes     Every exit code, and which one wins
  expectations   What an answer must be: text, patterns, schemas, latency, cost
  experiments    A dataset of Langfuse as a batch, and two runs compared in CI
  failures       What happens when a server, a network or a certificate fails
  import         Files of others: a Collector's spans, a provider's batches
  json           A JSON Schema for each document that is printed
  mapping        Which part of a call becomes which attribute; endpoints
  privacy        What is redacted, captured and uploaded
  prompts        Prompts that Langfuse manages: versions and variables
  replay         Send again what is in a file, a recording or Langfuse
  sandbox        The stand-in for model and Langfuse
  scores         Scores of a trace, and how they are delivered

Try it without a key: langspan chat --sandbox \"Why trace LLM calls?\"";

/// Finds a topic by its name.
pub fn find(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

/// All that `langspan help` takes: the commands, then the topics that are not commands as well.
pub fn names() -> impl Iterator<Item = &'static str> {
    let topics = TOPICS.iter().map(|topic| topic.name);
    COMMANDS
        .iter()
        .copied()
        .chain(topics.filter(|name| !COMMANDS.contains(name)))
        .chain([SCHEMAS])
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn commands_are_those_of_the_command_line() {
        let mut command = Cli::command();
        command.build();
        let commands: Vec<&str> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        assert_eq!(commands, COMMANDS);
        let mut with_commands = command.get_subcommands().filter(|c| c.has_subcommands());
        let config = with_commands.next().unwrap();
        let commands: Vec<&str> = config
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        assert_eq!((config.get_name(), &commands[..]), ("config", OF_CONFIG));
        assert!(with_commands.next().is_none());
    }

    #[test]
    fn help_lists_every_topic_and_no_other() {
        let listed = LISTED.lines().skip(1).take_while(|line| !line.is_empty());
        let listed: Vec<&str> = listed.filter_map(|l| l.split_whitespace().next()).collect();
        let mut names: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
        names.push(SCHEMAS);
        names.sort_unstable();
        assert_eq!(listed, names);
    }

    #[test]
    fn the_list_of_topics_is_not_wrapped_on_a_terminal_of_the_usual_width() {
        for line in LISTED.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn a_topic_that_is_also_a_command_ends_with_its_options() {
        for topic in TOPICS {
            let last = format!("Options: langspan {} --help\n", topic.name);
            let is_command = COMMANDS.contains(&topic.name);
            assert_eq!(
                topic.text.read().ends_with(&last),
                is_command,
                "{}",
                topic.name
            );
        }
    }
}
