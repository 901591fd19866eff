//! `exec`: runs any program inside one trace, and delivers what it reports and what it asks of models.

mod attributes;
mod dialect;
mod fixes;
mod identity;
mod kind;
mod matching;
mod vectors;
