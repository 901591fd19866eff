//! What `langspan batch` costs, beside a loop that sends the same requests and traces nothing.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::commands;
use crate::crowd::{Crowd, Script, Seen};
use crate::process::{Run, Task, nanos};
use crate::statistics::{median, ms};
use crate::table::{self, Row};
use crate::{BARE_ARGUMENT, large, machine};

/// Calls under way at once.
pub const CONCURRENCY: usize = 64;
pub const MODEL_DELAY: Duration = Duration::from_millis(50);
const EXPORT_DELAY: Duration = Duration::from_millis(300);
/// A multiple of the calls under way, so that the last wave is whole.
const SLOW_LINES: usize = 6_400;
const FAST_LINES: usize = 20_000;
const MOST_LINES: usize = 1_000_000;
/// callgrind takes some fifty times as long.
const COUNTED_LINES: usize = 1_000;
const ROUNDS: usize = 5;
/// The text of a usual prompt and of its answer, in bytes. The prompts and answers of the other figures are shorter.
const PROMPT: usize = 600;
const ANSWER: usize = 560;
const SHORT_PROMPT: usize = 407;

/// The servers and files of the runs.
pub struct Bench {
    pub home: TempDir,
    pub crowd: Crowd,
}

/// One run, and what the server saw of it.
struct Measured {
    run: Run,
    seen: Seen,
}

impl Measured {
    /// Requests a second from the first one's arrival to the last one's answer.
    fn rate(&self) -> f64 {
        self.seen.chats as f64 / seconds(self.seen.began, self.seen.answered)
    }

    fn cpu_per_thousand(&self) -> f64 {
        ms(self.run.cpu) * 1000.0 / self.seen.chats as f64
    }
}

/// `is_long`: with a million lines too.
pub fn measure(is_long: bool) {
    let mut bench = Bench {
        home: TempDir::new().unwrap(),
        crowd: Crowd::start(),
    };
    let load = machine::load();
    let mut rows = bench.rates();
    rows.extend(bench.usual_lines());
    rows.extend(bench.memory(is_long));
    rows.extend(large::measure(&mut bench));
    rows.push(bench.first_line(if is_long { MOST_LINES } else { FAST_LINES }));
    println!();
    table::print(&rows);
    bench.instructions();
    println!(
        "\n{}; {ROUNDS} rounds, {CONCURRENCY} calls at once, load {load} before and {} after.",
        machine::describe(),
        machine::load()
    );
}

impl Bench {
    fn rates(&mut self) -> Vec<Row> {
        let slow = Script {
            model_delay: MODEL_DELAY,
            ..Script::default()
        };
        let (ours, bare) = self.compare(SLOW_LINES, slow);
        let rate = median_of(&ours, Measured::rate);
        let ideal = CONCURRENCY as f64 / MODEL_DELAY.as_secs_f64();
        let beside = format!("{ideal:.0} are possible");
        let part = rate / ideal * 100.0;
        let mut rows = vec![
            Row::at_least(
                "50 ms model: requests/s, of what is possible",
                part,
                98.0,
                "%",
            )
            .beside(&beside),
            Self::against(
                "50 ms model: requests/s, of a bare loop's",
                &ours,
                &bare,
                0.99,
            ),
        ];
        let (ours, bare) = self.compare(FAST_LINES, Script::default());
        rows.push(Self::against(
            "0 ms model: requests/s, of a bare loop's",
            &ours,
            &bare,
            0.5,
        ));
        let cpu = median_of(&ours, Measured::cpu_per_thousand);
        let bare_cpu = median_of(&bare, Measured::cpu_per_thousand);
        rows.push(
            Row::at_most("0 ms model: CPU of 1,000 requests", cpu, 55.0, "ms")
                .beside(&format!("the bare loop: {bare_cpu:.1} ms")),
        );
        let last = median_of(&ours, |measured| {
            seconds(measured.seen.answered, measured.run.ended) * 1e3
        });
        rows.push(Row::at_most("last answer → exit", last, 25.0, "ms"));
        let shaky = Script {
            is_shaky: true,
            ..Script::default()
        };
        let shaky = self.batch(FAST_LINES, shaky);
        for (figure, seen) in [
            ("spans of a line", &ours[0].seen),
            ("the same, every third export answered 503", &shaky.seen),
        ] {
            assert_eq!(seen.spans, seen.distinct_spans, "a span was sent twice");
            let spans = seen.distinct_spans as f64 / seen.chats as f64;
            rows.push(Row::at_least(figure, spans, 2.0, ""));
        }
        rows
    }

    /// Lines and answers of a usual size, with no delay: what tracing costs beside the calls themselves.
    fn usual_lines(&mut self) -> Vec<Row> {
        let script = Script {
            answer_bytes: ANSWER,
            ..Script::default()
        };
        let to_file = self.task_of(FAST_LINES, PROMPT);
        let to_null = self
            .to_stdout(FAST_LINES, PROMPT)
            .args(&["--out", "/dev/null"]);
        let bare = self.bare_task(FAST_LINES, PROMPT);
        let mut runs = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (runs, task) in runs.iter_mut().zip([&bare, &to_file, &to_null]) {
                runs.push(self.measured(task, script));
            }
        }
        let [bare, to_file, to_null] = &runs;
        let cpu = |figure: &str, ours: &[Measured], most| {
            let pairs = ours.iter().zip(bare);
            let ratios =
                pairs.map(|(ours, bare)| ours.cpu_per_thousand() / bare.cpu_per_thousand());
            let figures = [ours, bare].map(|runs| median_of(runs, Measured::cpu_per_thousand));
            Row::at_most(figure, median(&ratios.collect::<Vec<_>>()), most, "×").beside(&format!(
                "{:.1} ms of 1,000; the bare loop: {:.1} ms",
                figures[0], figures[1]
            ))
        };
        let rate = "usual lines, 0 ms model: requests/s, of a bare loop's";
        vec![
            cpu(
                "usual lines: CPU with --out FILE, of a bare loop's",
                to_file,
                2.2,
            ),
            cpu(
                "usual lines: CPU with -O /dev/null, of a bare loop's",
                to_null,
                2.5,
            ),
            Self::against(&format!("{rate} (FILE)"), to_file, bare, 0.45),
            Self::against(&format!("{rate} (/dev/null)"), to_null, bare, 0.45),
        ]
    }

    /// Both in turn.
    fn compare(&mut self, lines: usize, script: Script) -> (Vec<Measured>, Vec<Measured>) {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(self.batch(lines, script));
            bare.push(self.bare(lines, script));
        }
        (ours, bare)
    }

    fn against(figure: &str, ours: &[Measured], bare: &[Measured], least: f64) -> Row {
        let pairs = ours.iter().zip(bare);
        let ratios: Vec<f64> = pairs
            .map(|(ours, bare)| ours.rate() / bare.rate())
            .collect();
        let (ours, bare) = (
            median_of(ours, Measured::rate),
            median_of(bare, Measured::rate),
        );
        Row::at_least(figure, median(&ratios), least, "×")
            .beside(&format!("{ours:.0}/s; the bare loop: {bare:.0}/s"))
    }

    fn memory(&mut self, is_long: bool) -> Vec<Row> {
        let peak = |bench: &mut Self, lines, script| {
            bench.crowd.follow(script);
            let task = bench.task(lines);
            let peak = task.peak_mebibytes();
            let seen = bench.crowd.follow(Script::default());
            assert_eq!(seen.distinct_spans, 2 * lines as u64, "spans were lost");
            peak
        };
        let usual = peak(self, FAST_LINES, Script::default());
        let mut rows = vec![Row::at_most(
            "peak memory, 20,000 lines",
            usual,
            24.0,
            "MiB",
        )];
        if is_long {
            let most = peak(self, MOST_LINES, Script::default());
            let figure = "peak memory, 1,000,000 lines";
            rows.push(Row::at_most(figure, most, 24.0, "MiB"));
            rows.push(Row::at_most(
                "the same, of 20,000 lines'",
                most / usual,
                1.15,
                "×",
            ));
        }
        let slow = Script {
            export_delay: EXPORT_DELAY,
            ..Script::default()
        };
        let figure = "peak memory, Langfuse takes 300 ms an export";
        rows.push(Row::at_most(
            figure,
            peak(self, FAST_LINES, slow),
            32.0,
            "MiB",
        ));
        rows
    }

    /// From the model's first answer to the first output line.
    fn first_line(&mut self, lines: usize) -> Row {
        self.crowd.follow(Script::default());
        let mut first = None;
        self.to_stdout(lines, SHORT_PROMPT).read(|_| {
            first.get_or_insert_with(nanos);
        });
        let seen = self.crowd.follow(Script::default());
        let wait = seconds(seen.answered_first, first.unwrap()) * 1e3;
        Row::at_most(
            &format!("the model's first answer → first output line, of {lines}"),
            wait,
            50.0,
            "ms",
        )
    }

    /// Prints the instructions of a short batch, which vary little from run to run.
    fn instructions(&self) {
        if machine::first_line("valgrind", &["--version"]).is_empty() {
            println!("SKIPPED instruction counts: there is no valgrind");
            return;
        }
        let input = self.input(COUNTED_LINES, PROMPT);
        let batch = [
            "batch",
            "--sandbox",
            input.to_str().unwrap(),
            "-O",
            "/dev/null",
        ];
        let count = machine::instructions(&batch, self.home.path());
        println!(
            "Instructions of `batch --sandbox`, {COUNTED_LINES} lines (callgrind): {:.0} million.",
            count / 1e6
        );
    }

    fn batch(&mut self, lines: usize, script: Script) -> Measured {
        let task = self.task(lines);
        self.measured(&task, script)
    }

    fn bare(&mut self, lines: usize, script: Script) -> Measured {
        let task = self.bare_task(lines, SHORT_PROMPT);
        self.measured(&task, script)
    }

    fn bare_task(&self, lines: usize, prompt: usize) -> Task {
        let bench = std::env::current_exe().unwrap();
        let bodies = self.bodies(lines, prompt);
        let url = format!("{}/v1/chat/completions", self.crowd.base());
        let arguments = [BARE_ARGUMENT, bodies.to_str().unwrap(), &url];
        Task::new(bench.to_str().unwrap(), &arguments, self.home.path())
    }

    fn measured(&mut self, task: &Task, script: Script) -> Measured {
        self.crowd.follow(script);
        let run = task.run();
        let seen = self.crowd.follow(Script::default());
        Measured { run, seen }
    }

    fn task(&self, lines: usize) -> Task {
        self.task_of(lines, SHORT_PROMPT)
    }

    fn task_of(&self, lines: usize, prompt: usize) -> Task {
        let out = self.home.path().join("out.jsonl");
        self.to_stdout(lines, prompt)
            .args(&["--overwrite", "--out", out.to_str().unwrap()])
    }

    fn to_stdout(&self, lines: usize, prompt: usize) -> Task {
        let input = self.input(lines, prompt);
        let concurrency = CONCURRENCY.to_string();
        self.at_crowd(&["batch", input.to_str().unwrap(), "-j", &concurrency])
    }

    pub fn at_crowd(&self, arguments: &[&str]) -> Task {
        commands::at(
            commands::langspan(arguments, self.home.path()),
            &format!("{}/v1", self.crowd.base()),
            &self.crowd.base(),
        )
    }

    /// OpenAI Batch lines with prompts of this size.
    pub fn input(&self, lines: usize, prompt: usize) -> PathBuf {
        let name = format!("in-{lines}-{prompt}.jsonl");
        self.file(&name, lines, prompt, |line, body| {
            format!(
                r#"{{"custom_id":"request-{line}","method":"POST","url":"/v1/chat/completions","body":{body}}}"#
            )
        })
    }

    /// The bodies alone.
    fn bodies(&self, lines: usize, prompt: usize) -> PathBuf {
        let name = format!("bodies-{lines}-{prompt}.jsonl");
        self.file(&name, lines, prompt, |_, body| body.to_owned())
    }

    fn file(
        &self,
        name: &str,
        lines: usize,
        length: usize,
        text: impl Fn(usize, &str) -> String,
    ) -> PathBuf {
        let path = self.home.path().join(name);
        if path.exists() {
            return path;
        }
        let mut file = BufWriter::new(File::create(&path).unwrap());
        for line in 0..lines {
            let content = prompt(line, length);
            let body = format!(
                r#"{{"model":"gpt-4o-mini","temperature":0.2,"messages":[{{"role":"system","content":"Answer in one sentence."}},{{"role":"user","content":"{content}"}}]}}"#
            );
            writeln!(file, "{}", text(line, &body)).unwrap();
        }
        file.flush().unwrap();
        path
    }
}

/// A prompt of some `length` bytes.
pub fn prompt(line: usize, length: usize) -> String {
    let words = "What does a trace of this call show? ";
    format!("{line}: {}", words.repeat(length.div_ceil(words.len())))
}

fn median_of(runs: &[Measured], figure: impl Fn(&Measured) -> f64) -> f64 {
    median(&runs.iter().map(figure).collect::<Vec<_>>())
}

fn seconds(from: u128, to: u128) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}

/// The bench binary as the loop that is compared with.
pub fn bare(arguments: &[String]) {
    crate::crowd::bare(Path::new(&arguments[1]), &arguments[2]);
}
