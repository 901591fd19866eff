//! `langspan batch`: a file of requests, one trace each.

pub use crate::batch::run;
