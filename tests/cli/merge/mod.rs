//! `langspan merge`: the outputs of shards become one.

// What is merged, and its totals.
mod joined;
// Outputs that are not one whole run.
mod refused;
// Traces and spans counted in Langfuse.
mod verified;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::batch::servers::{langfuse, model};
use crate::support::harness::{Ended, Langspan, Scripted};
use crate::support::memory::Memory;

/// A model, a Langfuse, and the home of a run in shards: `in.jsonl`, `out-1.jsonl`, `out-2.jsonl` …
struct Cluster {
    model: Scripted,
    langfuse: Scripted,
    home: Langspan,
}

impl Cluster {
    /// Nothing has run yet.
    fn new(input: &str) -> Self {
        Self::with(input, langfuse(&Memory::default()))
    }

    fn with(input: &str, langfuse: Scripted) -> Self {
        let home = Langspan::new(&[]);
        home.file("in.jsonl", input);
        Self {
            model: model(),
            langfuse,
            home,
        }
    }

    /// All of `count` shards have run under the name `r`.
    fn ran(input: &str, count: u64) -> Self {
        let cluster = Self::new(input);
        for index in 1..=count {
            cluster.shard(&format!("out-{index}.jsonl"), index, count, &[]);
        }
        cluster
    }

    fn call(&self, arguments: &[&str]) -> Langspan {
        Langspan::new(arguments)
            .model_at(self.model.url())
            .langfuse_at(self.langfuse.url())
            .beside(&self.home)
    }

    /// Runs a shard; it must succeed.
    fn shard(&self, out: &str, index: u64, count: u64, options: &[&str]) {
        self.shard_of("in.jsonl", out, index, count, options)
            .code(0);
    }

    fn shard_of(&self, input: &str, out: &str, index: u64, count: u64, options: &[&str]) -> Ended {
        let shard = format!("{index}/{count}");
        let own = ["batch", input, "--out", out, "--shard", &shard];
        let name: &[&str] = if options.contains(&"--run") {
            &[]
        } else {
            &["--run", "r"]
        };
        self.call(&[&own[..], name, options].concat()).run()
    }

    fn merge(&self, arguments: &[&str]) -> Ended {
        self.call(&[&["merge"], arguments].concat()).run()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.home().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Changes the lines of a file.
    fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<String>)) {
        let mut lines: Vec<String> = self.text(name).lines().map(str::to_owned).collect();
        change(&mut lines);
        lines.push(String::new());
        self.home.file(name, lines.join("\n"));
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }
}
