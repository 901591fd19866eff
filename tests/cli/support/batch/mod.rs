//! What the tests of `batch` share.

// Gates, counters and clocks at a server.
pub mod gate;
// Servers that count per line, and the files of a run.
pub mod runs;
// A batch over a few lines, and its output.
pub mod written;
