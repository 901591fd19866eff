//! `batch`: many requests, one trace each.

// What several of these tests begin with.
mod runs;

// SIGKILL at any instant: nothing is paid for again, nothing is missing or twice.
mod kills;
// A run is continued after a kill, a failure, a change.
mod resume;
// Shares of one input, each a run of its own.
mod shards;
