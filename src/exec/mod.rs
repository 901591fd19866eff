//! `exec`: runs any program inside one trace, and delivers what it reports and what it asks of models.

mod assemble;
mod attributes;
mod call;
mod dialect;
mod environment;
mod fixes;
mod identity;
mod journal;
mod kind;
mod matching;
mod merge;
mod received;
mod recorder;
mod tree;
mod vectors;
