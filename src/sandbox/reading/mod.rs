//! How traces are read back: v2 observations and metrics, and what older servers have in their place.

mod aggregate;
mod filter;
pub mod legacy;
pub mod metrics;
pub mod observations;
mod part;
mod row;
pub mod traces;
mod view;
