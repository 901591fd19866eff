//! What several tests share; no tests of its own.

// Batches: input, servers and output.
pub mod batch;
// Certificates, and servers that present them.
pub mod certificates;
// Random numbers that are the same in every run.
pub mod dice;
// What an export request carries, decoded.
pub mod export;
// A child of exec whose part the test plays.
pub mod exec;
// Running the binary, and scripted servers.
pub mod harness;
// A Langfuse that counts how often it received each span.
pub mod memory;
// What an OTLP endpoint received, decoded.
pub mod otlp;
// Sandboxes that answer reads with something else.
pub mod readers;
// The JSON Schemas of documents.
pub mod schema;
// The sandbox as a stand-in for the model and Langfuse.
pub mod stand_in;
// What a series of kills came to.
pub mod tally;
// A terminal of a given size.
pub mod terminal;
// A server that must not be contacted.
pub mod untouched;
