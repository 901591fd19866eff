//! What the tests of `batch` share: its input and its calls.

// Gates, counters and clocks at a server.
pub mod gate;
// What a run wrote.
pub mod output;
// Models and Langfuses that count what they get.
pub mod servers;

use sha2::{Digest as _, Sha256};

use crate::support::harness::{Ended, Langspan, Scripted};
use crate::support::otlp::{Servers, hex};

/// The run's name in [`named_batch`].
pub const RUN: &str = "r1";

/// Input lines 1 to `count`; each asks `line N`, where N is its number.
pub fn prompts(count: usize) -> String {
    (1..=count)
        .map(|number| prompt(&format!("line {number}")))
        .collect()
}

/// An input line that asks this.
pub fn prompt(text: &str) -> String {
    format!("{{\"prompt\":\"{text}\"}}\n")
}

/// The trace id that follows from a seed, as in the Langfuse SDKs: the first 16 bytes of its SHA-256.
pub fn id_of(seed: &str) -> String {
    hex(&Sha256::digest(seed)[..16])
}

/// The trace id of a line without a `custom_id` in a run; `text` is the line without its line ending.
pub fn id_of_line(run: &str, number: u64, text: &str) -> String {
    id_of(&format!("{run}/line-{number}/{}", digest_of(text)))
}

/// The first 16 hexadecimal digits of the SHA-256 of a line.
pub fn digest_of(text: &str) -> String {
    hex(&Sha256::digest(text.trim_end())[..8])
}

/// A call of `batch` that reads `input` from `in.jsonl` of its home.
pub fn batch(input: &str, model: &Scripted, langfuse: &Scripted, arguments: &[&str]) -> Langspan {
    let arguments = [&["batch", "in.jsonl"], arguments].concat();
    let call = Langspan::new(&arguments)
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    call.file("in.jsonl", input);
    call
}

/// A call of `batch` on `count` [`prompts`].
pub fn batch_of(servers: &Servers, count: usize, arguments: &[&str]) -> Langspan {
    let call = servers.call(&[&["batch", "in.jsonl"], arguments].concat());
    call.file("in.jsonl", prompts(count));
    call
}

/// A call of `batch` on `input`, under the name [`RUN`].
pub fn named_batch(servers: &Servers, input: impl AsRef<[u8]>, options: &[&str]) -> Langspan {
    let call = servers.call(&[&["batch", "in.jsonl", "--run", RUN], options].concat());
    call.file("in.jsonl", input);
    call
}

/// The same, run to its end.
pub fn run_batch(servers: &Servers, input: impl AsRef<[u8]>, options: &[&str]) -> Ended {
    named_batch(servers, input, options).run()
}
