//! Runs the built binary and looks at it from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

// A call of the binary, and scripted servers.
mod harness;
// What an export request carries, decoded.
mod export;
// The stand-in for model and Langfuse, as the other tests use it.
mod stand_in;
// A server that must not be spoken to.
mod untouched;

// One prompt, one answer, one trace.
mod chat;
// What the stand-in itself answers.
mod sandbox;
// Which server gets the spans, with which keys, and in which form.
mod destination;
// Where each setting comes from, and what it does.
mod settings;
// What is refused before anything is sent.
mod bad_input;
