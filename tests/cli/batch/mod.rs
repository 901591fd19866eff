//! `langspan batch`: many requests, one trace each.

// What is asked for each line of the input.
mod lines;
// What is written for each line.
mod answers;
// Which files are read and written, and which refused.
mod files;
// What is refused, shown or counted in place of a plain run.
mod options;
// How fast it asks, and when it ends early.
mod pace;
// What is said and written at the end.
mod ends;
// What becomes of the traces.
mod delivery;

// SIGKILL at any instant: nothing is paid for again, nothing is missing or twice.
mod kills;
// A run is continued after a kill, a failure, a change.
mod resume;
// Shares of one input, each a run of its own.
mod shards;
