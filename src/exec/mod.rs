//! `exec`: runs any program inside one trace, and delivers what it reports and what it asks of models.
//!
//! While the command runs, everything that arrives at the `listener` (spans at the `receiver`, model calls at the
//! `proxy`) goes into the `journal` before it is acknowledged. Afterwards `assemble` reads the journal and makes one
//! trace of it: a tree of spans (`tree`) with an `identity` each, every model call once (`matching`, `merge`). `deliver`
//! sends that through the outbox. A run that was killed is put together by `resend` in the same way.

mod answer;
mod assemble;
mod attributes;
mod baggage;
mod busy;
mod call;
mod conclude;
mod deliver;
mod environment;
mod fixes;
mod identity;
mod journal;
mod kind;
mod listener;
mod matching;
mod media;
mod media_upload;
mod merge;
mod pass_through;
mod process;
mod proxy;
mod received;
mod receiver;
mod recorder;
mod report;
mod run;
mod run_record;
mod tree;
mod vectors;

pub use deliver::settle;
pub use run::run;
