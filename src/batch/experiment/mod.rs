//! A batch that is an experiment in Langfuse: over the items of a dataset, or over local lines.
//!
//! `run` says what the run is, and is part of every line; `dataset` reads the items; `items` refuses an experiment that has
//! items already, and ids that occur twice; `open` puts these together before the first call. `scores` and `verify` follow
//! the last one, and `summary` tells of it.

pub mod dataset;
pub mod items;
pub mod open;
pub mod run;
pub mod scores;
pub mod summary;
pub mod verify;
