//! Links the unwinder into the binary, packs its relocations, and compresses the long texts that it holds.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// The folders whose texts `langspan` prints on request alone: help topics, schemas, completion scripts.
const TEXTS: [&str; 3] = ["src/cli/help", "src/output/schema", "completions"];
/// Man pages are installed from their folder; the binary holds none.
const MAN_PAGE: &str = "1";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        link_unwinder();
        if env::var("HOST") == env::var("TARGET") && loads_packed_relocations() {
            println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
    }
    let target = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    for folder in TEXTS {
        println!("cargo::rerun-if-changed={folder}");
        compress(Path::new(folder), &Path::new(&target).join(folder))?;
    }
    Ok(())
}

fn link_unwinder() {
    // std asks for libgcc_s.so.1, which it needs for panics alone; its loading and its look at the processor take
    // a tenth of the time of a short run. The same functions from libgcc_eh come first here, so that the linker
    // (`--as-needed`) leaves the library out.
    println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
}

/// Whether the C library of this machine, 2.36 or later, loads relocations in their packed form. They take a quarter of a
/// megabyte otherwise, all of which is read at each start. A binary that is built here then needs 2.36 too; what is built on
/// an older system runs on older ones.
fn loads_packed_relocations() -> bool {
    let Ok(output) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else {
        return false;
    };
    let version = String::from_utf8_lossy(&output.stdout);
    let numbers = version.trim().strip_prefix("glibc ").and_then(|version| {
        let (major, minor) = version.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    numbers.is_some_and(|numbers| numbers >= (2, 36))
}

/// Writes `NAME.deflate` into `target` for each text of `folder`. `src/embedded.rs` reads them.
fn compress(folder: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(folder)? {
        let source = entry?.path();
        let Some(name) = source.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if source
            .extension()
            .is_none_or(|extension| extension != MAN_PAGE)
        {
            let compressed = File::create(target.join(format!("{name}.deflate")))?;
            let mut encoder = DeflateEncoder::new(compressed, Compression::best());
            encoder.write_all(&fs::read(&source)?)?;
            encoder.finish()?;
        }
    }
    Ok(())
}
