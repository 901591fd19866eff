//! What a clean release build costs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::process::children_cpu;
use crate::table::{self, Row};
use crate::{commands, machine};

pub fn measure() {
    let target = commands::target().join("clean-build");
    remove(&target);
    println!("{}; load {}", machine::describe(), machine::load());
    let (cpu, start) = (children_cpu(), Instant::now());
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--quiet"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    let cpu = children_cpu().saturating_sub(cpu).as_secs_f64();
    let wall = format!("{:.0} s of wall time", start.elapsed().as_secs_f64());
    table::print(&[Row::at_most("clean release build, CPU", cpu, 200.0, "s").beside(&wall)]);
    remove(&target);
}

fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
}
