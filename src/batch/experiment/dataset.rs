//! Reads the items of a dataset into a temporary file, as the lines of the run. So the run has their number and their order,
//! can read them twice, and holds none of them in memory.

use std::collections::HashSet;
use std::io::{self, BufWriter, Write as _};

use jiff::Timestamp;

use crate::app::unread;
use crate::batch::input::{Input, dataset, uncopied};
use crate::failure::Failure;
use crate::langfuse::Api;
use crate::trace::ids;

/// The items of the dataset `name` as they were at `version`, the first `limit` of them.
///
/// # Errors
/// If there are none, one is listed twice, or they cannot be read or copied.
pub async fn read(
    api: &Api,
    name: &str,
    version: Timestamp,
    limit: Option<u64>,
) -> Result<Input, Failure> {
    let what = format!("the dataset `{name}`");
    let mut copy = BufWriter::new(tempfile::tempfile().map_err(|error| uncopied(&what, &error))?);
    let mut ids: HashSet<u64> = HashSet::new();
    let mut pages = api.dataset_pages(name, version);
    let is_full = |ids: &HashSet<u64>| limit.is_some_and(|limit| ids.len() as u64 >= limit);
    while !is_full(&ids)
        && let Some(items) = pages
            .next()
            .await
            .map_err(|error| unread::experiment(&what, &error))?
    {
        for item in items {
            if is_full(&ids) {
                break;
            }
            if !ids.insert(ids::digest64(&item.id)) {
                let message = format!("{what} lists the item `{}` twice", item.id);
                return Err(Failure::input(message)
                    .hint("was it changed while it was read? run the command again"));
            }
            let line = dataset::line(item);
            writeln!(copy, "{line}").map_err(|error| uncopied(&what, &error))?;
        }
    }
    if ids.is_empty() && limit != Some(0) {
        let message = format!("{what} has no active items at {version}");
        return Err(Failure::input(message).hint("add items to it, or name another version"));
    }
    let copy = copy.into_inner().map_err(io::IntoInnerError::into_error);
    copy.and_then(|copy| Input::of_lines(what.clone(), copy))
        .map_err(|error| uncopied(&what, &error))
}
