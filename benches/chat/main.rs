//! `cargo bench`: what `langspan chat` costs, beside what else would do its job, in one run on one machine.
//!
//! ```text
//! cargo bench                      everything that takes seconds
//! cargo bench -- --rounds 101      more rounds than 31
//! cargo bench -- --build           CPU time of a clean release build (minutes)
//! benches/python.sh                first, to compare with Python as well
//! ```
//!
//! Nothing here fails on a figure: it is printed beside its goal, and a table for the README comes of it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and one that cannot measure has nothing to say"
)]

mod build;
mod commands;
mod figures;
mod machine;
mod process;
mod stand_in;
mod statistics;
mod table;

use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [stand_in::ARGUMENT, dir] => stand_in::serve(Path::new(dir)),
        [process::PEAK_ARGUMENT, ..] => process::print_peak(&arguments[1..]),
        words if !words.contains(&"--bench") => println!("measured by `cargo bench` only"),
        words if words.contains(&"--build") => build::measure(),
        words => figures::measure(rounds(words)),
    }
}

fn rounds(words: &[&str]) -> usize {
    const DEFAULT: usize = 31;
    let position = words.iter().position(|word| *word == "--rounds");
    let given = position.and_then(|position| words.get(position + 1)?.parse().ok());
    given.unwrap_or(DEFAULT)
}
