//! The experiment in the summary of a run.

use serde::Serialize;

use crate::console::counted;

/// The experiment of a run, as the summary shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ExperimentSummary {
    pub id: Option<String>,
    pub name: String,
    pub dataset_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset_version: Option<String>,
    pub url: Option<String>,
    /// Items of the run that the server lists; `None` without `--verify`.
    pub verified: Option<u64>,
}

impl ExperimentSummary {
    /// The count of the items, and the page on a line of its own, so that a terminal finds the link.
    pub fn to_text(&self) -> impl Iterator<Item = String> {
        let items = self.verified.map(|count| {
            let items = counted(count, "item");
            format!("experiment: {items} readable")
        });
        let url = self.url.as_ref().map(|url| format!("experiment: {url}"));
        items.into_iter().chain(url)
    }
}
