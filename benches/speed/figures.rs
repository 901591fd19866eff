//! The figures that take seconds, in the order in which they are printed.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::commands;
use crate::machine;
use crate::process::{Task, in_turn, nanos};
use crate::stand_in::{Script, StandIn};
use crate::statistics::{cpu, median, ms, quantile, wall};
use crate::table::{self, Row};

/// Runs of a Python program take seconds.
const PYTHON_ROUNDS: usize = 5;
/// How long the model thinks where the last byte of its answer starts the clock.
const MODEL_DELAY: Duration = Duration::from_millis(20);
/// How long the server takes for an export there.
const EXPORT_DELAY: Duration = Duration::from_millis(50);
const CHUNKS: usize = 40;
const CHUNK_GAP: Duration = Duration::from_millis(2);

/// What measuring needs.
struct Bench {
    home: TempDir,
    stand_in: StandIn,
    rounds: usize,
}

pub fn measure(rounds: usize) {
    let home = TempDir::new().unwrap();
    let stand_in = StandIn::start(home.path());
    let mut bench = Bench {
        home,
        stand_in,
        rounds,
    };
    let load = machine::load();
    let mut rows = bench.processes();
    rows.extend(bench.after_the_answer());
    rows.extend(bench.python());
    rows.push(size());
    println!();
    table::print(&rows);
    println!();
    bench.connections();
    bench.streaming();
    bench.instructions();
    println!(
        "\n{}; {rounds} rounds ({PYTHON_ROUNDS} of Python), load {load} before and {} after.",
        machine::describe(),
        machine::load()
    );
}

impl Bench {
    /// Whole processes, all in turn; prints where start-up goes.
    fn processes(&mut self) -> Vec<Row> {
        let chat = self.chat(false);
        // What curl sends is what this made.
        chat.run();
        let curl = commands::curl(&self.stand_in, self.home.path(), false);
        let tls_chat = self.chat(true);
        let tls_curl = commands::curl(&self.stand_in, self.home.path(), true);
        let mut tasks = vec![
            ("`true`", Task::new("true", &[], self.home.path())),
            ("`--version`", self.langspan(&["--version"])),
            ("`chat --dry-run`", chat.clone().arg("--dry-run")),
            (
                "`chat`, tracing switched off",
                chat.clone().env("LANGFUSE_TRACING_ENABLED", "false"),
            ),
            ("`chat`", chat),
            ("`curl --next`", curl),
            ("`chat`, TLS", self.trusting(tls_chat.clone())),
            ("`curl --next`, TLS", self.trusting(tls_curl.clone())),
        ];
        if let Some(store) = self.store() {
            let tls_chat = commands::with_store(tls_chat, &store);
            let tls_curl = commands::with_bundle(tls_curl, &store);
            tasks.push(("`chat`, TLS, system's store", tls_chat));
            tasks.push(("`curl --next`, TLS, system's store", tls_curl));
        } else {
            println!("SKIPPED the system's store: this machine has none");
        }
        let (names, tasks): (Vec<&str>, Vec<Task>) = tasks.into_iter().unzip();
        let runs = in_turn(self.rounds, &tasks);
        let peaks: Vec<f64> = tasks.iter().map(Task::peak_mebibytes).collect();

        println!("| `sh -c 'exec COMMAND'`, start to exit | wall | CPU | peak memory |");
        println!("|---|---|---|---|");
        for ((name, runs), peak) in names.iter().zip(&runs).zip(&peaks) {
            let (wall, cpu) = (wall(runs), cpu(runs));
            println!("| {name} | {wall:.1} ms | {cpu:.1} ms | {peak:.1} MiB |");
        }

        let row = |figure, ours: usize, theirs: usize, most| {
            let reference = names[theirs].split(',').next().unwrap_or_default();
            Row::ratio(figure, &runs[ours], (reference, &runs[theirs]), most)
        };
        let mut rows = vec![
            row("`chat`, plain HTTP, wall", 4, 5, 0.40),
            row("`chat`, TLS, a CA in `SSL_CERT_FILE`, wall", 6, 7, 0.38),
        ];
        if tasks.len() > 8 {
            let figure = "`chat`, TLS, a CA in (a copy of) the system's store, wall";
            rows.push(row(figure, 8, 7, 0.70));
        }
        rows.push(Row::at_most("`chat`, CPU", cpu(&runs[4]), 4.5, "ms"));
        rows.push(Row::at_most("`chat`, peak memory", peaks[4], 8.0, "MiB"));
        rows.push(row("`--version`, wall", 1, 0, 2.0));
        rows
    }

    /// From the last byte of the model's answer, by the stand-in's clock, to the exit.
    fn after_the_answer(&mut self) -> Vec<Row> {
        let plain = self.chat(false);
        let tls = self.trusting(self.chat(true));
        let curl = commands::curl(&self.stand_in, self.home.path(), false);
        let tls_curl = commands::curl(&self.stand_in, self.home.path(), true);
        let tls_curl = self.trusting(tls_curl);
        let long = (MODEL_DELAY, EXPORT_DELAY);
        let cases = [
            ("model at once, L = 0", [&plain, &curl], Default::default()),
            ("model 20 ms, L = 50 ms", [&plain, &curl], long),
            ("the same, TLS", [&tls, &tls_curl], long),
        ];
        let mut rows = Vec::new();
        for (case, tasks, (model_delay, export_delay)) in cases {
            let script = Script {
                model_delay,
                export_delay,
                ..Script::default()
            };
            self.stand_in.follow(script);
            let mut waits = [Vec::new(), Vec::new()];
            for _ in 0..self.rounds {
                for (waits, task) in waits.iter_mut().zip(tasks) {
                    let ended = task.run().ended;
                    let seen = self.stand_in.follow(script);
                    // What a sleep of L really took is the stand-in's matter.
                    waits.push(milliseconds(seen.answered, ended) - ms(seen.export_took));
                }
            }
            let figure = format!("last byte of the answer → exit, less L ({case})");
            let beside = format!("`curl --next`: {:.1} ms", median(&waits[1]));
            rows.push(Row::at_most(&figure, median(&waits[0]), 3.0, "ms").beside(&beside));
        }
        self.stand_in.follow(Script::default());
        rows
    }

    /// Against Langfuse's SDK and against the cookbook.
    fn python(&self) -> Vec<Row> {
        let (stand_in, home) = (&self.stand_in, self.home.path());
        let peers = [
            (
                "Langfuse's Python SDK",
                commands::langfuse_sdk(stand_in, home),
                300.0,
            ),
            (
                "the OpenTelemetry cookbook",
                commands::cookbook(stand_in, home),
                500.0,
            ),
        ];
        let mut rows = Vec::new();
        for (name, task, least) in peers {
            let Some(task) = task else {
                println!("\nSKIPPED {name}: not installed (benches/python.sh)");
                continue;
            };
            let runs = in_turn(PYTHON_ROUNDS, &[self.chat(false), task]);
            let figure = format!("`chat` against {name}");
            rows.push(Row::faster(&figure, &runs[0], &runs[1], least));
        }
        rows
    }

    /// Prints how many connections a chat opens, and what arrives.
    fn connections(&mut self) {
        let script = Script {
            model_delay: MODEL_DELAY,
            ..Script::default()
        };
        self.stand_in.follow(script);
        self.chat(false).run();
        let seen = self.stand_in.follow(Script::default());
        println!(
            "Connections of one `chat`: {:?} (one for each host); exports: {}.",
            seen.connections, seen.exports
        );
    }

    /// Prints how long a streamed chunk takes from the server's write to the reader of stdout.
    fn streaming(&mut self) {
        let script = Script {
            model_delay: MODEL_DELAY,
            chunk_gap: CHUNK_GAP,
            chunks: CHUNKS,
            ..Script::default()
        };
        self.stand_in.follow(script);
        let chat = self.chat(false).arg("--stream");
        let (mut first, mut all) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let mut delays = Vec::new();
            chat.read(|bytes| {
                let now = nanos();
                let words = str::from_utf8(bytes).unwrap().split_whitespace();
                delays.extend(words.map(|sent| milliseconds(sent.parse().unwrap(), now)));
            });
            assert_eq!(delays.len(), CHUNKS, "chunks were cut or lost");
            first.push(delays[0]);
            all.extend(delays);
        }
        self.stand_in.follow(Script::default());
        for (name, delays) in [("First token", first), ("Every token", all)] {
            let at = |q| quantile(&delays, q);
            println!(
                "{name} of a stream, server's write → reader of stdout: median {:.2} ms, 90 % {:.2}, 99 % {:.2}, most {:.2}.",
                at(0.5),
                at(0.9),
                at(0.99),
                at(1.0)
            );
        }
    }

    /// Prints the instructions that a chat takes, which vary little from run to run.
    fn instructions(&self) {
        if machine::first_line("valgrind", &["--version"]).is_empty() {
            println!("SKIPPED instruction counts: there is no valgrind");
            return;
        }
        let chat = ["chat", "--sandbox", "--no-stdin", "Hello"];
        let count = machine::instructions(&chat, self.home.path());
        println!(
            "Instructions of `chat --sandbox` (callgrind): {:.2} million.",
            count / 1e6
        );
    }

    fn langspan(&self, arguments: &[&str]) -> Task {
        commands::langspan(arguments, self.home.path())
    }

    fn chat(&self, tls: bool) -> Task {
        commands::chat(&self.stand_in, self.home.path(), tls)
    }

    fn trusting(&self, task: Task) -> Task {
        commands::with_authority(task, &self.stand_in)
    }

    fn store(&self) -> Option<PathBuf> {
        commands::copy_of_store(&self.stand_in.authority(), self.home.path())
    }
}

fn size() -> Row {
    let bytes = fs::metadata(commands::binary()).unwrap().len();
    let megabytes = bytes as f64 / 1e6;
    Row::at_most("stripped release binary", megabytes, 9.0, "MB")
}

fn milliseconds(from: u128, to: u128) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}
