//! The options of `langspan help`.

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::cli::topics;

const EXAMPLES: &str = "\
Examples:
  langspan help
  langspan help exit-codes
  langspan help chat";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct HelpArgs {
    /// Topic or command; without it, list both
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(topics::names()))]
    pub name: Option<String>,
}
