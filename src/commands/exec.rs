//! `langspan exec`: the verb; the run is in `exec`.

pub use crate::exec::run;
