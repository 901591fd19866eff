//! `langspan exec`: any program inside one trace.

// Which variables the child gets.
mod environment;
// Model calls: passed on unchanged, and in the trace once.
mod calls;
// What passes the proxy on the wire.
mod wire;
// Spans of the child: one tree, with an identity each.
mod spans;
// The child: exit codes, signals, terminal.
mod process;
// Nothing that was acknowledged is lost or sent twice.
mod proof;
// A disk that is full.
mod disk;
// Images and files.
mod media;
// Langfuse's API for the child, and the keys.
mod pass_through;
// What is said of a run.
mod report;
