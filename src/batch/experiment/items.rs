//! Refuses what would count an item twice in Langfuse: an experiment that has the items already, and ids that occur twice.

use std::collections::HashSet;

use crate::app::unread;
use crate::batch::input::Input;
use crate::batch::input::line::ParsedLine;
use crate::batch::plan::Plan;
use crate::console::counted;
use crate::failure::Failure;
use crate::langfuse::experiments::ExperimentItemFields;
use crate::langfuse::{Api, Experiment};
use crate::settings::Settings;
use crate::trace::ids;

/// The digests of the item ids of this run.
#[derive(Debug, Default)]
pub struct OwnItems(HashSet<u64>);

impl OwnItems {
    /// Reads the ids of the lines of this shard.
    ///
    /// # Errors
    /// If one occurs twice in the input, or the input cannot be read.
    pub fn read(input: &Input, plan: &Plan, settings: &Settings) -> Result<Self, Failure> {
        let unreadable = |error| Failure::unreadable(&input.name, &error);
        let defaults = plan.line_defaults(&settings.model);
        let (mut all, mut own) = (HashSet::new(), HashSet::new());
        for (line, before) in input.lines().map_err(unreadable)?.zip(0..) {
            let line = line.map_err(unreadable)?;
            if plan.limit.is_some_and(|limit| before >= limit) {
                break;
            }
            // An invalid line is reported when the run reaches it.
            let Ok(parsed) = ParsedLine::read(&line, &defaults) else {
                continue;
            };
            let Some(item) = parsed.trace.item else {
                continue;
            };
            let digest = ids::digest64(&item.id);
            if !all.insert(digest) {
                let message = format!(
                    "line {} of {} has the item id `{}` of an earlier line",
                    line.number, input.name, item.id
                );
                return Err(Failure::input(message).hint(
                    "give each line its own custom_id: it names the item of the experiment",
                ));
            }
            if plan.includes(line.number) {
                own.insert(digest);
            }
        }
        Ok(Self(own))
    }

    /// Refuses an experiment that has one of these items.
    ///
    /// # Errors
    /// If it has one, or cannot be read.
    pub async fn refuse_existing(&self, api: &Api, existing: &Experiment) -> Result<(), Failure> {
        let mut pages =
            api.experiment_item_pages(&existing.id, existing.start, ExperimentItemFields::Core);
        let unread = |error| unread::experiment("the experiment", &error);
        while let Some(items) = pages.next().await.map_err(unread)? {
            let is_own = |id: &str| self.0.contains(&ids::digest64(id));
            if let Some(item) = items.iter().find(|item| is_own(&item.item_id)) {
                let name = &existing.name;
                let message = format!(
                    "the experiment `{name}` has the item `{}` of this shard already",
                    item.item_id
                );
                return Err(Failure::input(message).hint(REMEDY));
            }
        }
        Ok(())
    }
}

const REMEDY: &str = "name another --experiment, or continue the earlier run with --resume; --again counts its items twice";

/// The failure of an experiment that has items already.
pub fn has_items(existing: &Experiment) -> Failure {
    let items = counted(existing.item_count, "item");
    let message = format!("the experiment `{}` has {items} already", existing.name);
    Failure::input(message).hint(REMEDY)
}
