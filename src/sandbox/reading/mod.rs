//! The two ways in which traces are read back: v2 observations, and the legacy trace of older servers.

pub mod legacy;
pub mod observations;
mod row;
