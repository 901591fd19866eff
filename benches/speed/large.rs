//! What `batch` and `chat` take of memory with large content under way, beside eight times its bytes and 16 MiB.

use std::fs;
use std::path::Path;

use crate::batch::{Bench, CONCURRENCY, MODEL_DELAY, prompt};
use crate::crowd::Script;
use crate::table::Row;

/// As many long lines as calls run at once.
const LONG_LINES: usize = CONCURRENCY;
const LONG: usize = 200_000;
const HUGE: usize = 10_000_000;

/// A call and the bytes that it has under way.
#[derive(Clone)]
struct Case {
    figure: &'static str,
    arguments: Vec<String>,
    bytes: usize,
}

impl Case {
    fn new(figure: &'static str, arguments: &[&str], bytes: usize) -> Self {
        Self {
            figure,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            bytes,
        }
    }

    /// The most mebibytes that it may take.
    fn goal(&self) -> f64 {
        (8.0 * self.bytes as f64 / f64::from(1 << 20) + 16.0).round()
    }
}

pub fn measure(bench: &mut Bench) -> Vec<Row> {
    let home = bench.home.path().to_owned();
    let (text, image) = (home.join("prompt.txt"), home.join("image.png"));
    fs::write(&text, prompt(1, HUGE)).unwrap();
    let content = vec![7; HUGE];
    fs::write(&image, [b"\x89PNG\r\n\x1a\n", content.as_slice()].concat()).unwrap();
    let cases = [batches(bench), chats(&image)].concat();
    let rows = cases.iter().map(|case| {
        let arguments: Vec<&str> = case.arguments.iter().map(String::as_str).collect();
        let task = bench.at_crowd(&arguments).stdin(&text);
        bench.crowd.follow(Script {
            model_delay: MODEL_DELAY,
            ..Script::default()
        });
        let peak = task.peak_mebibytes();
        bench.crowd.follow(Script::default());
        let figure = format!("peak memory, {}", case.figure);
        Row::at_most(&figure, peak, case.goal(), "MiB")
    });
    rows.collect()
}

fn batches(bench: &Bench) -> Vec<Case> {
    let long = bench.input(LONG_LINES, LONG);
    let huge = bench.input(1, HUGE);
    let (long, huge) = (long.to_str().unwrap(), huge.to_str().unwrap());
    let calls = CONCURRENCY.to_string();
    let case = |figure, input, out, bytes| {
        let arguments = ["batch", input, "-j", &calls, "--overwrite", "--out", out];
        Case::new(figure, &arguments, bytes)
    };
    let all = LONG_LINES * LONG;
    vec![
        case("64 lines of 200 KB, --out FILE", long, "out.jsonl", all),
        case("64 lines of 200 KB, -O /dev/null", long, "/dev/null", all),
        case("a line of 10 MB, --out FILE", huge, "out.jsonl", HUGE),
        case("a line of 10 MB, -O /dev/null", huge, "/dev/null", HUGE),
    ]
}

fn chats(image: &Path) -> Vec<Case> {
    let image = image.to_str().unwrap();
    let with_image = ["chat", "--no-stdin", "--image", image, "What is it?"];
    vec![
        Case::new("chat with a prompt of 10 MB", &["chat", "-"], HUGE),
        // As base64.
        Case::new("chat with an image of 10 MB", &with_image, 4 * HUGE / 3),
    ]
}
