//! What the figures depend on: date, machine, load, versions.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use jiff::Timestamp;

use crate::commands;
use crate::process::Task;

pub fn describe() -> String {
    let date = Timestamp::now().strftime("%Y-%m-%d %H:%M UTC");
    let cores = thread::available_parallelism().unwrap();
    let curl = first_line("curl", &["--version"]);
    let curl = curl.split(" (").next().unwrap_or_default();
    format!(
        "{date}; {cores} cores of {}, {} kB, Linux {}; {curl}",
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal").trim_end_matches(" kB"),
        first_line("uname", &["-r"]),
    )
}

/// The load averages of 1, 5 and 15 minutes.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

/// The first line that a program prints; nothing when it is not there.
pub fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    );
    text.lines().next().unwrap_or_default().to_owned()
}
/// The instructions that `langspan` takes for `arguments`, by callgrind.
pub fn instructions(arguments: &[&str], home: &Path) -> f64 {
    let binary = commands::binary().to_str().unwrap();
    let tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null", binary];
    let task = Task::new("valgrind", &tool, home).args(arguments);
    let (_, stderr) = task.output();
    let counted = stderr
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    counted.unwrap().1.trim().parse().unwrap()
}
