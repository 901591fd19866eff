//! Tests that run the built binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

// Helpers of the tests.
mod support;

// One prompt, one answer, one trace.
mod chat;
// README and help topics: their commands run, and their statements hold.
mod readme;
// Help, man pages, and wrong command lines.
mod help;
// The APIs that models speak.
mod dialects;
// Requests and recordings from a file.
mod replay;
// Many requests, one trace each.
mod batch;
// The outputs of a batch's shards become one.
mod merge;
// Two runs side by side.
mod compare;
// The example of the topic on experiments, as a CI job runs it.
mod experiment_example;
// Which answers to an export count as acceptance, and how the others are handled.
mod delivery;
// The spans of an answer are stored before its last byte is printed.
mod stored_first;
// SIGKILL at any time: nothing is lost or stored twice.
mod kill;
// Any program inside one trace.
mod exec;
// Proxies from the environment.
mod proxy;
// TLS trust and client certificates.
mod tls;
// How much of an answer is read.
mod bounds;
// URLs with keys in them.
mod urls;
// Faults of a delivery: one table for tests and documentation.
mod faults;
// The JSON Schemas of what is printed.
mod documents;
// Exit codes, and their order of severity.
mod exit_codes;
// Prompts that Langfuse manages.
mod prompts;
// Expectations about answers.
mod expectations;
// Scores: set, kept, delivered, read back.
mod scores;
// Batches over datasets, and the experiments that they make.
mod experiment;
// The order of the modules.
mod layers;
// The package that is published.
mod package;
// The GitHub action.
mod action;
// The outbox: location, format, permissions.
mod outbox;
// Delivery of waiting spans.
mod resend;
// Files of spans that other programs wrote.
mod resend_files;
// An outbox where others can write, or files cannot be locked or changed.
mod hostile_outbox;
// Spans that may have arrived.
mod unproven;
// SIGINT and SIGTERM: finished calls are delivered or kept.
mod signals;
// The sandbox's own answers.
mod sandbox;
// Images and files beside a prompt.
mod attachments;
// Base64 content: uploaded, and replaced in the trace.
mod media;
// Requests to the model, its answers, and retries.
mod model;
// Stage by stage: settings, endpoint, keys, export and read-back.
mod check;
// A trace read back and drawn.
mod show;
// `--verify`: accepted traces are read back.
mod verify;
// Output formats and messages.
mod output;
// Requests that are too large or partly invalid.
mod size;
// Recognition of providers, and the attribute tables.
mod providers;
// Recorded answers of real endpoints, and their spans.
mod answers;
// The cost that Langfuse computes from the usage on a span.
mod prices;
// `--cost`: what a call costs, by the price table of the project.
mod cost;
// The two spans as an endpoint receives them.
mod spans;
// Redaction of traces and recordings.
mod privacy;
// The prompt from arguments and stdin.
mod stdin;
// Where the spans are sent, with which keys and protocol.
mod destination;
// The source and effect of each setting.
mod settings;
// The settings file and `langspan config`.
mod config;
// `langspan models`.
mod models;
// Conversations in a file.
mod thread;
// Messages and fields from files.
mod message_files;
// Completion scripts in real shells.
mod completions;
// Input that is refused before anything is sent.
mod bad_input;
