//! Options of the output: its format, and how much stderr shows.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, Args};

use crate::cli::values::form;
use crate::console::OutputFormat;

/// Lines for `batch`, in place of calls.
const LINES: &str = "jsonl";

#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Output format
    ///
    /// [env: LANGSPAN_OUTPUT] [default: text]
    #[arg(short, long, value_name = "FORMAT", value_parser = one_of(&["text", "json", "raw", "url"]), overrides_with_all = ["output", "json"])]
    pub output: Option<OutputFormat>,
    /// Short for -o json
    #[arg(long, overrides_with = "output", hide_short_help = true)]
    pub json: bool,
    /// Suppress notes, hints and warnings; errors are still printed
    #[arg(short, long, hide_short_help = true)]
    pub quiet: bool,
    /// Show the requests, with secrets removed (repeatable)
    #[arg(short, long, action = ArgAction::Count, hide_short_help = true)]
    pub verbose: u8,
}

/// `-o` of a command that prints no model answer.
pub fn text_or_json(option: Arg) -> Arg {
    option.value_parser(one_of(&["text", "json"]))
}

/// `-o` of a command that can print lines for `batch`.
pub fn with_lines(option: Arg) -> Arg {
    let names = ["text", "json", "raw", "url"].map(PossibleValue::new);
    // Named where it counts: only some ways to call the command have it.
    let lines = PossibleValue::new(LINES).hide(true);
    let names = PossibleValuesParser::new(names.into_iter().chain([lines]));
    option.value_parser(names.try_map(|name| match name.as_str() {
        LINES => Ok(OutputFormat::Jsonl),
        name => form(name),
    }))
}

fn one_of(names: &'static [&'static str]) -> impl TypedValueParser<Value = OutputFormat> {
    PossibleValuesParser::new(names).try_map(|name| form(&name))
}
