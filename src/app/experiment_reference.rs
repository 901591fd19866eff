//! The experiment that a command names, by its name or the URL of its page.

use reqwest::Url;

use crate::app::trace_reference::is_of;
use crate::failure::Failure;
use crate::http::url::{parse_http_url, shown};
use crate::settings::Destination;

/// How an experiment is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExperimentReference {
    Name(String),
    Id(String),
}

impl ExperimentReference {
    /// The name itself, or the id in the URL of a page, which must be of the server that is asked.
    ///
    /// # Errors
    /// If a URL is not that of an experiment, or the page is on another server.
    pub fn new(text: &str, destination: &Destination) -> Result<Self, Failure> {
        if !text.contains("://") {
            return Ok(Self::Name(text.to_owned()));
        }
        let hint = "the URL of an experiment's page ends in /experiments/results?baseline=ID";
        let url = parse_http_url(text).map_err(|error| Failure::usage(error).hint(hint))?;
        let id = id_of(&url).ok_or_else(|| {
            Failure::usage(format!("{} is not the URL of an experiment", shown(&url))).hint(hint)
        })?;
        if !is_of(&url, destination) {
            return Err(Failure::config(format!(
                "the experiment is on {}, but the settings name another server",
                url.host_str().unwrap_or_default()
            ))
            .hint("set LANGFUSE_BASE_URL and the keys of that server"));
        }
        Ok(Self::Id(id))
    }
}

/// The id in the URL of an experiment's page, or of a dataset run's.
fn id_of(url: &Url) -> Option<String> {
    let mut pairs = url.query_pairs();
    let baseline = pairs.find(|(name, _)| name == "baseline");
    let id = baseline.map(|(_, id)| id.into_owned()).or_else(|| {
        let mut segments = url.path_segments()?.skip_while(|name| *name != "runs");
        segments.nth(1).map(str::to_owned)
    });
    id.filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_in_the_query_or_behind_runs() {
        let id = |url: &str| id_of(&Url::parse(url).unwrap());
        let page = "https://langfuse.test/deep/project/p/experiments/results";
        assert_eq!(
            id(&format!("{page}?c=x&baseline=0a1b")).as_deref(),
            Some("0a1b")
        );
        assert_eq!(id(page), None);
        assert_eq!(id(&format!("{page}?baseline=")), None);
        let run = "https://langfuse.test/project/p/datasets/d/runs/0a1b";
        assert_eq!(id(run).as_deref(), Some("0a1b"));
        assert_eq!(id("https://langfuse.test/project/p/datasets/d/runs"), None);
    }
}
