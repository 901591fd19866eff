//! What stdout carries, in each of the four forms. Notes and errors go to stderr, through `console`.

mod branches;
pub mod columns;
mod conversation;
pub mod dry_run;
pub mod junit;
pub mod markdown;
pub mod printer;
pub mod report;
pub mod schema;
pub mod scores;
pub mod stages;
pub mod tree;
pub mod units;

pub use printer::Printer;
pub use report::{DeliveryState, ErrorReport, Report, SCHEMA_VERSION, TraceReport};
