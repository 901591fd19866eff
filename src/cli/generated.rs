//! The files of `completions/`: scripts and man pages, compared with the command tree.
//!
//! `LANGSPAN_UPDATE=1 cargo test up_to_date` rewrites them.

use std::path::Path;
use std::{env, fs};

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use crate::cli::{Cli, topics};

/// Commands that use files and servers of a run.
const RUNS: &[&str] = &[
    "langspan", "chat", "replay", "batch", "merge", "compare", "exec", "check", "show", "prompt",
    "score", "resend",
];
/// Commands that use the settings file.
const CONFIGURED: &[&str] = &[
    "langspan", "chat", "replay", "batch", "merge", "compare", "check", "show", "prompt", "score",
    "resend", "models", "config",
];

/// Files, the commands that use them, and their purpose.
const FILES: [(&str, &[&str], &str); 6] = [
    (
        "~/.local/state/langspan/outbox",
        &["langspan", "chat", "replay", "batch", "exec", "resend"],
        "Spans that could not be delivered; for each entry the spans (ID.jsonl) and their destination (ID.meta.json).",
    ),
    (
        "~/.local/state/langspan/sandbox",
        &[
            "langspan", "chat", "replay", "batch", "exec", "check", "sandbox",
        ],
        "Traces of the sandbox.",
    ),
    (
        "FILE.acks",
        &["batch", "merge"],
        "Beside the file of --out of batch: run, shard, and which traces were accepted, for --resume and merge.",
    ),
    (
        "~/.config/langspan/config.toml",
        CONFIGURED,
        "Settings and profiles; see langspan help config.",
    ),
    (
        ".env",
        RUNS,
        "Never read, unless named by --env-file; it then holds one NAME=VALUE on each line.",
    ),
    (
        "~/.local/share/bash-completion/completions/langspan",
        &["completions"],
        "Where bash looks for the script.",
    ),
];

const EXAMPLES: &str = "\
Examples:
  langspan chat --sandbox \"Why trace LLM calls?\"
  langspan check -q && echo \"tracing works\"
  langspan batch questions.jsonl -j 64 --out answers.jsonl --resume";

/// What a command that calls no server returns.
const LOCAL_EXIT_CODES: [(&str, &str); 4] = [
    ("0", "success"),
    ("1", "unexpected error, for example a port that is taken"),
    ("2", "wrong command line"),
    ("6", "stdout or a file cannot be written"),
];

/// Compares a committed file with what the command tree gives.
fn is_up_to_date(name: &str, generated: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("completions")
        .join(name);
    if env::var_os("LANGSPAN_UPDATE").is_some() {
        fs::write(&path, generated).unwrap();
    }
    let committed = fs::read(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "completions/{name} is out of date: run LANGSPAN_UPDATE=1 cargo test up_to_date"
    );
}

/// A placeholder for the names of profiles in a script, replaced by the command that prints them.
const PROFILE_NAMES: &str = "PROFILE_NAMES";
/// Prints the names of profiles.
const LIST_PROFILES: &str = "langspan config profiles 2>/dev/null";

/// The command tree as the scripts complete it: files only where a file is meant, and every fixed value.
fn completing() -> Command {
    let mut command = Cli::command();
    command.build();
    command.mut_subcommands(|verb| {
        let verb = verb.mut_subcommands(|action| action.mut_args(completed));
        verb.mut_args(completed)
    })
}

fn completed(option: Arg) -> Arg {
    let fixed: &[&str] = match option.get_id().as_str() {
        "api" => &["chat", "responses", "messages", "embeddings"],
        "capture" => &["full", "none", "truncate="],
        "shard" => &["auto", "auto/"],
        "profile" => &[PROFILE_NAMES],
        _ => &[],
    };
    match option.get_value_hint() {
        _ if !fixed.is_empty() => option.value_parser(PossibleValuesParser::new(fixed)),
        _ if option.get_id() == "images" => option.value_hint(ValueHint::FilePath),
        ValueHint::Unknown if option.get_action().takes_values() => {
            option.value_hint(ValueHint::Other)
        }
        _ => option,
    }
}

/// The script of a shell, with the names of profiles looked up when they are completed.
fn script(shell: Shell) -> String {
    let mut generated = Vec::new();
    clap_complete::generate(shell, &mut completing(), "langspan", &mut generated);
    let script = String::from_utf8(generated).unwrap();
    match shell {
        Shell::Fish => {
            let script = script.replace(
                &format!("{PROFILE_NAMES}\\t''"),
                &format!("({LIST_PROFILES})"),
            );
            script + &fish_arguments()
        }
        Shell::Zsh => script.replace(
            &format!("({PROFILE_NAMES})"),
            &format!("{{compadd -- $({LIST_PROFILES})}}"),
        ),
        _ => script.replace(PROFILE_NAMES, &format!("$({LIST_PROFILES})")),
    }
}

/// What fish proposes for the arguments of commands, which the generator leaves to fish: it would propose files.
fn fish_arguments() -> String {
    let command = completing();
    let arguments = command.get_subcommands().flat_map(|verb| {
        let positionals = verb.get_positionals();
        positionals.filter_map(|argument| fish_argument(verb.get_name(), argument))
    });
    arguments.collect()
}

/// None where files are meant.
fn fish_argument(verb: &str, argument: &Arg) -> Option<String> {
    let values = argument.get_possible_values();
    let names: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
    let proposed = match argument.get_value_hint() {
        // Its command may be a file.
        _ if verb == "exec" => return None,
        _ if !names.is_empty() => format!(" -a \"{}\"", names.join(" ")),
        ValueHint::Other => String::new(),
        _ => return None,
    };
    Some(format!(
        "complete -c langspan -n \"__fish_langspan_using_subcommand {verb}\" -f{proposed}\n"
    ))
}

#[test]
fn completion_scripts_are_up_to_date() {
    for (target, name) in [
        (Shell::Bash, "langspan.bash"),
        (Shell::Zsh, "_langspan"),
        (Shell::Fish, "langspan.fish"),
        (Shell::PowerShell, "_langspan.ps1"),
        (Shell::Elvish, "langspan.elv"),
    ] {
        let script = script(target);
        assert!(!script.contains(PROFILE_NAMES), "{name}");
        is_up_to_date(name, script.as_bytes());
    }
}

#[test]
fn man_pages_are_up_to_date() {
    let mut command = Cli::command();
    command.build();
    // The generator takes what `-h` leaves out for something to leave out of the page.
    let command =
        command.mut_subcommands(|verb| verb.mut_args(|option| option.hide_short_help(false)));
    let command = command.subcommand_help_heading("COMMANDS");
    is_up_to_date("langspan.1", &page(&command));
    for verb in command.get_subcommands() {
        is_up_to_date(&format!("langspan-{}.1", verb.get_name()), &page(verb));
    }
}

/// The man page of a command.
fn page(command: &Command) -> Vec<u8> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    title(name).to_writer(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    let is_main = command.get_name() == "langspan";
    if is_main {
        man.render_subcommands_section(&mut page).unwrap();
        list("TOPICS", listed_topics())
            .to_writer(&mut page)
            .unwrap();
    }
    let sections = [
        list("COMMANDS", actions(command)),
        list("EXIT STATUS", exit_codes(command.get_name())),
        list("ENVIRONMENT", variables(command.get_name())),
        list("FILES", files(command.get_name())),
        examples(command),
        see_also(is_main),
    ];
    for section in sections {
        section.to_writer(&mut page).unwrap();
    }
    with_one_preamble(&String::from_utf8(page).unwrap())
}

/// The title of a page without a date: a page says what its version does.
fn title(name: &str) -> Roff {
    let version = format!("langspan {}", env!("CARGO_PKG_VERSION"));
    let mut roff = Roff::new();
    roff.control(
        "TH",
        [&name.to_uppercase(), "1", "\"\"", &version, "User Commands"],
    );
    roff
}

/// Each part begins with the definition of the apostrophe; the first is enough.
fn with_one_preamble(page: &str) -> Vec<u8> {
    let mut lines: Vec<&str> = page.lines().collect();
    let preamble = [lines[0], lines[1]];
    lines.retain(|line| !preamble.contains(line));
    format!("{}\n{}\n", preamble.join("\n"), lines.join("\n")).into_bytes()
}

/// A section of terms and their descriptions; nothing if there are none.
fn list(heading: &str, terms: Vec<(String, String)>) -> Roff {
    let mut roff = Roff::new();
    if !terms.is_empty() {
        roff.control("SH", [heading]);
    }
    for (term, description) in terms {
        roff.control("TP", []);
        roff.text([bold(term)]);
        roff.text(inline(&description));
    }
    roff
}

/// Code in bold.
fn inline(markdown: &str) -> Vec<Inline> {
    let parts = markdown.split('`').enumerate();
    parts
        .map(|(index, part)| {
            if index % 2 == 1 {
                bold(part)
            } else {
                roman(part)
            }
        })
        .collect()
}

/// The rows of the first table of a topic.
fn rows(topic: &str) -> Vec<Vec<String>> {
    let text = topics::find(topic).unwrap().text.read();
    let table = text
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

fn listed_topics() -> Vec<(String, String)> {
    let lines = topics::LISTED
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty());
    let pairs = lines.filter_map(|line| line.trim().split_once(' '));
    pairs
        .map(|(name, text)| (name.to_owned(), text.trim().to_owned()))
        .collect()
}

/// The subcommands of a command, except of `langspan` itself, where they have pages of their own.
fn actions(command: &Command) -> Vec<(String, String)> {
    let actions = command.get_subcommands();
    let actions = actions.filter(|action| action.get_name() != "help");
    let actions = actions.filter(|_| command.get_name() != "langspan");
    actions
        .map(|action| {
            let about = action.get_about().map(ToString::to_string);
            (action.get_name().to_owned(), about.unwrap_or_default())
        })
        .collect()
}

fn exit_codes(command: &str) -> Vec<(String, String)> {
    let own = |(code, meaning): (&str, &str)| (code.to_owned(), meaning.to_owned());
    if !RUNS.contains(&command) {
        return LOCAL_EXIT_CODES.map(own).to_vec();
    }
    rows("exit-codes")
        .iter()
        .map(|row| (row[0].as_str(), row[1].as_str()))
        .filter(|(code, _)| *code != "8" || ["langspan", "batch", "merge"].contains(&command))
        .map(own)
        .collect()
}

fn variables(command: &str) -> Vec<(String, String)> {
    let rows = rows("environment").into_iter().filter(|row| {
        command == "langspan"
            || row[1].split(", ").any(|name| name == command)
            || (row[1] == "all" && RUNS.contains(&command))
    });
    rows.map(|row| (row[0].replace('`', ""), row[2].clone()))
        .collect()
}

fn files(command: &str) -> Vec<(String, String)> {
    let used = FILES
        .iter()
        .filter(|(_, users, _)| users.contains(&command));
    used.map(|(path, _, purpose)| ((*path).to_owned(), (*purpose).to_owned()))
        .collect()
}

fn examples(command: &Command) -> Roff {
    let own = command.get_after_long_help().map(ToString::to_string);
    let text = own.filter(|text| text.starts_with("Examples:"));
    let text = text.unwrap_or_else(|| EXAMPLES.to_owned());
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    roff.control("EX", []);
    for example in text.lines().skip(1) {
        roff.text([roman(example.trim())]);
    }
    roff.control("EE", []);
    roff
}

fn see_also(is_main: bool) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    if is_main {
        roff.text([bold("langspan help"), roman(" lists the help topics.")]);
    } else {
        roff.text([bold("langspan"), roman("(1), "), bold("langspan help")]);
    }
    roff
}
