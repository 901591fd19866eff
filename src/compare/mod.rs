//! Two runs of the same items, side by side: what was met before and is missed now, latency, tokens and cost.

pub mod change;
pub mod comparison;
pub mod experiment;
mod interner;
pub mod markdown;
pub mod measures;
pub mod output_file;
pub mod report;
mod rows;
pub mod run;
pub mod table;
mod tally;
pub mod test_cases;
pub mod trace_usage;
