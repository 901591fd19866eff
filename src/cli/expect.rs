//! Options about the answer: what is expected of it, and scores for its trace.

use clap::Args;
use regex_lite::Regex;

use crate::cli::values::{count, dollars, named, regex, some_text};

#[derive(Debug, Args)]
#[command(next_help_heading = "Expectations")]
pub struct ExpectArgs {
    /// Expect the answer to contain TEXT, else exit 9 (repeatable, as the next three)
    #[arg(long, value_name = "TEXT", value_parser = some_text, allow_hyphen_values = true, hide_short_help = true)]
    pub expect: Vec<String>,
    /// Expect a match of REGEX in the answer
    #[arg(long, value_name = "REGEX", value_parser = regex, allow_hyphen_values = true, hide_short_help = true)]
    pub expect_regex: Vec<Regex>,
    /// Expect the answer not to contain TEXT
    #[arg(long, value_name = "TEXT", value_parser = some_text, allow_hyphen_values = true, hide_short_help = true)]
    pub expect_not: Vec<String>,
    /// Expect no match of REGEX in the answer
    #[arg(long, value_name = "REGEX", value_parser = regex, allow_hyphen_values = true, hide_short_help = true)]
    pub expect_not_regex: Vec<Regex>,
    /// Expect the answer to be JSON
    #[arg(long, hide_short_help = true)]
    pub expect_json: bool,
    /// Expect an answer within MS milliseconds
    #[arg(long, value_name = "MS", value_parser = count, allow_negative_numbers = true, hide_short_help = true)]
    pub max_latency: Option<u64>,
    /// Expect the call to cost at most USD, by the price table of the project
    #[arg(long, value_name = "USD", value_parser = dollars, allow_negative_numbers = true, hide_short_help = true)]
    pub max_call_cost: Option<f64>,
    /// Add a score to the trace: a number, true, false or a word (repeatable)
    #[arg(long = "score", value_name = "NAME=VALUE", value_parser = named, hide_short_help = true)]
    pub scores: Vec<(String, String)>,
}
