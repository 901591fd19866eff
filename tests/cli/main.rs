//! Runs the built binary and looks at it from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

// The stand-in for model and Langfuse, as the other tests use it.
mod stand_in;

// What the stand-in itself answers.
mod sandbox;
