//! Runs the built binary and looks at it from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

// A call of the binary, and scripted servers.
mod harness;
// The stand-in for model and Langfuse, as the other tests use it.
mod stand_in;

// One prompt, one answer, one trace.
mod chat;
// The README runs, and tells the truth.
mod readme;
// What the stand-in itself answers.
mod sandbox;
