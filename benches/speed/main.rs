//! `cargo bench`: what `langspan chat`, `batch` and `exec` cost, beside what else would do their job, in one run on one
//! machine.
//!
//! ```text
//! cargo bench                      chat, then batch and exec
//! cargo bench -- --chat            one of them
//! cargo bench -- --batch
//! cargo bench -- --exec            exec alone
//! cargo bench -- --million         batch with a million lines too (minutes)
//! cargo bench -- --rounds 101      more rounds than 31
//! cargo bench -- --build           CPU time of a clean release build (minutes)
//! benches/python.sh                first, to compare with Python as well
//! ```
//!
//! Nothing here fails on a figure: it is printed beside its goal, and a table for the README comes of it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and one that cannot measure has nothing to say"
)]

mod batch;
mod build;
mod commands;
mod crowd;
mod exec;
mod figures;
mod large;
mod machine;
mod process;
mod stand_in;
mod statistics;
mod table;

use std::path::Path;

/// The argument that makes the bench binary the loop that a batch is compared with.
const BARE_ARGUMENT: &str = "--bare";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [stand_in::ARGUMENT, dir] => stand_in::serve(Path::new(dir)),
        [process::PEAK_ARGUMENT, ..] => process::print_peak(&arguments[1..]),
        [crowd::ARGUMENT] => crowd::serve(),
        [exec::STARTED_ARGUMENT] => exec::print_start(),
        [exec::LONG_ARGUMENT] => exec::run_long(),
        [exec::CALLS_ARGUMENT, server] => exec::call(server),
        [BARE_ARGUMENT, ..] => batch::bare(&arguments),
        words if !words.contains(&"--bench") => println!("measured by `cargo bench` only"),
        words if words.contains(&"--build") => build::measure(),
        words if words.contains(&"--exec") => exec::measure(rounds(words)),
        words => {
            let is_long = words.contains(&"--million");
            let only_chat = words.contains(&"--chat");
            if !is_long && !words.contains(&"--batch") {
                figures::measure(rounds(words));
            }
            if !only_chat {
                batch::measure(is_long);
            }
            if !only_chat && !words.contains(&"--batch") {
                exec::measure(rounds(words));
            }
        }
    }
}

fn rounds(words: &[&str]) -> usize {
    const DEFAULT: usize = 31;
    let position = words.iter().position(|word| *word == "--rounds");
    let given = position.and_then(|position| words.get(position + 1)?.parse().ok());
    given.unwrap_or(DEFAULT)
}
