//! A batch that is an experiment in Langfuse: over the items of a dataset, or over local lines.
//!
//! `run` has the experiment of a run, which is part of every line. `lookup` asks the server for the project, the dataset
//! and earlier items; `dataset` reads the items; `items` refuses an experiment that has items already, and ids that
//! occur twice; `open` puts these together before the first call. `scores` and `verify` follow the last call, and
//! `summary` describes the experiment in the summary of the run.

pub mod dataset;
pub mod items;
mod lookup;
pub mod open;
pub mod run;
pub mod scores;
pub mod summary;
pub mod verify;
