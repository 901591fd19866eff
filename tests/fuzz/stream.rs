//! Fuzzes the stream readers of all dialects: no bytes make one panic, and the result does not depend on how they are
//! cut.
#![no_main]
#![expect(dead_code, unused_imports, reason = "only a part of the program is compiled")]

#[path = "../../src/console.rs"]
mod console;
#[path = "../../src/failure.rs"]
mod failure;
#[path = "../../src/http/mod.rs"]
mod http;
#[path = "../../src/json/mod.rs"]
mod json;
#[path = "../../src/model/mod.rs"]
mod model;
#[path = "../../src/secret.rs"]
mod secret;
#[path = "../../src/stdio.rs"]
mod stdio;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use model::dialect::{self, ModelDialect};
use model::stream::StreamReader;

/// Reads a stream in these pieces, up to the first error: its body, the text reported, whether it is complete.
fn read<'a>(
    dialect: &dyn ModelDialect,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Value, String, bool) {
    let mut reader = StreamReader::new(dialect);
    let mut shown = String::new();
    for piece in pieces {
        if reader.push(piece, |text| shown.push_str(text)).is_err() {
            break;
        }
    }
    let is_whole = reader.is_whole();
    (reader.into_body(), shown, is_whole)
}

fuzz_target!(|bytes: &[u8]| {
    let (length, bytes) = bytes
        .split_first()
        .map_or((1, bytes), |(first, rest)| (*first, rest));
    for dialect in dialect::ALL {
        let whole = read(dialect, [bytes].into_iter());
        let pieces = bytes.chunks(usize::from(length).max(1));
        assert_eq!(whole, read(dialect, pieces));
        dialect.completion(whole.0).answer();
    }
});
