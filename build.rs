//! Links the unwinder into the binary.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        // std asks for libgcc_s.so.1, which it needs for panics alone; its loading and its look at the processor take
        // a tenth of the time of a short run. The same functions from libgcc_eh come first here, so that the linker
        // (`--as-needed`) leaves the library out.
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}
