//! `langspan batch`: many requests, one trace each.

// Requests and trace fields of input lines.
mod lines;
// Output lines.
mod answers;
// Input and output files.
mod files;
// Options such as --strict, --limit and --dry-run.
mod options;
// Pace, limits and early ends.
mod pace;
// Costs and --max-cost.
mod costs;
// Messages and summary at the end.
mod ends;
// Delivery of the traces.
mod delivery;

// SIGKILL at any time: no line is asked twice, missing or duplicated.
mod kills;
// A run is continued after a kill, a failure, a change.
mod resume;
// Parts of one input, each a run of its own.
mod shards;
