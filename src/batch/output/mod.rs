//! The output of a batch: where it goes, its lines, their order, and how they are written.

pub mod line;
pub mod reorder;
pub mod scan;
pub mod stored;
pub mod target;
pub mod temporary;
pub mod writer;
