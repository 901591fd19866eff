//! Runs the built binary and looks at it from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

// What the tests share.
mod support;

// One prompt, one answer, one trace.
mod chat;
// The README runs, and tells the truth.
mod readme;
// Requests and recordings from a file.
mod replay;
// Many requests, one trace each.
mod batch;
// Which answers of an endpoint count as acceptance, and what is done about the others.
mod delivery;
// SIGKILL at any instant: nothing is lost, nothing is stored twice.
mod kill;
// The proxies that the environment names.
mod proxy;
// Whom TLS trusts.
mod tls;
// What can befall a delivery: one table for tests and README.
mod faults;
// The table of exit codes, and which one wins.
mod exit_codes;
// Imports point down.
mod layers;
// Where spans wait, in which form, and that none is lost.
mod outbox;
// What waits is delivered, once.
mod resend;
// SIGINT and SIGTERM: what had ended is delivered or kept.
mod signals;
// What the stand-in itself answers.
mod sandbox;
// Images and files that go with a prompt.
mod attachments;
// Base64 content: uploaded beside the call, and out of the trace.
mod media;
// What the model endpoint is asked, and what becomes of its answers.
mod model;
// Stage by stage: settings, endpoint, keys, export and read-back.
mod check;
// A trace read back, and drawn.
mod show;
// Accepted is not yet readable: what --verify proves.
mod verify;
// What stdout and stderr carry.
mod output;
// What is too large or too mixed for a server.
mod size;
// Whose endpoint it is, and what is mapped where.
mod providers;
// What the endpoints of this world answer, and the spans that become of it.
mod answers;
// The two spans as an endpoint receives them.
mod spans;
// What is left out of traces and recordings.
mod privacy;
// Where the prompt comes from.
mod stdin;
// Which server gets the spans, with which keys, and in which form.
mod destination;
// Where each setting comes from, and what it does.
mod settings;
// What is refused before anything is sent.
mod bad_input;
