//! What lets a run go on where an earlier one ended.

pub mod acks;
pub mod compare;
pub mod previous_output;
pub mod redeliver_failed;
pub mod state;
