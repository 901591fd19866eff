//! Links the unwinder into the binary, and compresses the long texts that it holds.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

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
