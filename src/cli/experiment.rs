//! Options of a batch that is an experiment.

use clap::Args;

use crate::langfuse::DatasetReference;

#[derive(Debug, Args)]
#[command(next_help_heading = "Experiment")]
pub struct ExperimentArgs {
    /// Use the items of a dataset of Langfuse as the lines; VERSION is a time, as in 2026-11-28T22:50:03Z
    #[arg(long, value_name = "NAME[@VERSION]", value_parser = DatasetReference::parse, conflicts_with = "file")]
    pub dataset: Option<DatasetReference>,
    /// Make an experiment of the lines; the name is also that of the run [default with --dataset: the name of the run]
    #[arg(long, value_name = "NAME", value_parser = experiment_name)]
    pub experiment: Option<String>,
    /// What the experiment is about
    #[arg(long, value_name = "TEXT", hide_short_help = true)]
    pub experiment_description: Option<String>,
    /// Add to an experiment that has items already
    #[arg(long, hide_short_help = true)]
    pub again: bool,
}

fn experiment_name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("expected a name".to_owned());
    }
    Ok(text.to_owned())
}
