//! The outbox: a folder of spans that were not delivered. Nothing is sent here.
//!
//! `ID.jsonl` holds the spans in the OTLP File Exporter format, and `ID.meta.json` their destination and why they did
//! not get there. `ID.scores.jsonl` is an entry of its own, with scores of their traces, one request body a line. During its first delivery an entry is named `ID.pending`. The process that works on an entry locks
//! its file. The lock ends with the process, so an unlocked pending entry belongs to a process that was killed.
//!
//! A rename is what makes an entry appear or change, whole or not at all: this rests on the file system. Where files
//! cannot be locked, entries are worked on without a lock, and a warning says so.

mod entry;
mod folder;
mod meta;
mod pending;
mod scores;

pub use entry::{Entry, EntryWriter, Found};
pub use folder::{DEFAULT_MAX_BYTES, Outbox, OutboxError};
pub use meta::EntryMeta;
pub use pending::PendingEntry;
