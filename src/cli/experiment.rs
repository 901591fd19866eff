//! Options of a batch that is an experiment.

use clap::Args;

use crate::langfuse::DatasetReference;

#[derive(Debug, Args)]
pub struct ExperimentArgs {
    /// Use the items of a Langfuse dataset as the lines
    ///
    /// The run is then an experiment. NAME@VERSION reads the items of an earlier time, as in faq@2026-11-28T22:50:03Z.
    #[arg(long, value_name = "NAME", value_parser = DatasetReference::parse, conflicts_with = "file", help_heading = "Batch")]
    pub dataset: Option<DatasetReference>,
    /// Make an experiment of the lines; the name is also that of the run [default with --dataset: the name of the run]
    #[arg(long, value_name = "NAME", value_parser = experiment_name, help_heading = "Batch", hide_short_help = true)]
    pub experiment: Option<String>,
    /// What the experiment is about
    #[arg(
        long,
        value_name = "TEXT",
        help_heading = "Batch",
        hide_short_help = true
    )]
    pub experiment_description: Option<String>,
    /// Add to an experiment that already has items; an item that runs again is counted twice
    #[arg(long, help_heading = "Batch", hide_short_help = true)]
    pub again: bool,
}

fn experiment_name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("expected a name".to_owned());
    }
    Ok(text.to_owned())
}
