//! The output of a batch: its lines, their order, and how they are written.

pub mod answer;
pub mod reorder;
pub mod writer;
