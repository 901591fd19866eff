//! Outputs of earlier runs: repaired, read back, or refused.

use std::io::{BufReader, Read as _};

use super::*;

fn answer(line: u64, status: u16) -> String {
    format!(
        r#"{{"custom_id":null,"response":{{"status_code":{status},"body":{{}}}},"error":null,"langspan":{{"line":{line},"trace_id":"t{line}","start_time":"2026-01-01T00:00:00Z","end_time":"2026-01-01T00:00:01Z","input_digest":"0123456789abcdef"}}}}"#
    )
}

fn text(path: &Path, compression: Compression) -> String {
    let mut text = String::new();
    let file = BufReader::new(File::open(path).unwrap());
    compression.reader(file).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn an_incomplete_line_is_removed_with_every_compression() {
    for (suffix, compression) in [
        ("jsonl", Compression::Plain),
        ("gz", Compression::Gzip),
        ("zst", Compression::Zstd),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("out.{suffix}"));
        let whole = format!("{}\n{}\n", answer(3, 200), answer(1, 500));
        let mut writer = compression.writer(Vec::new());
        writer.write_lines(whole.as_bytes()).unwrap();
        writer.write_lines(b"{\"id\":\"batch_req_1").unwrap();
        // As a kill leaves it: without an end.
        let bytes = match writer {
            crate::compression::CompressedWriter::Gzip(encoder) => encoder.get_ref().clone(),
            writer => writer.finish().unwrap(),
        };
        fs::write(&path, bytes).unwrap();

        let output = PreviousOutput::read(&path, compression, &AckState::default(), 1.0).unwrap();
        assert_eq!(text(&path, compression), whole, "{suffix}");
        assert!(output.answered.contains(1) && output.answered.contains(3));
        assert!(output.failed.contains(1) && !output.failed.contains(3));
        assert_eq!(output.unconfirmed.len(), 2);
        let found = output.output_line(&output.unconfirmed[&3]).unwrap();
        assert!(found.starts_with(answer(3, 200).as_bytes()));
        assert!(
            output.is_changed(1, "ffffffff00000000") && !output.is_changed(1, "0123456700000000")
        );

        output
            .rewrite(&path, compression, |line| line == 3)
            .unwrap();
        assert_eq!(text(&path, compression), format!("{}\n", answer(3, 200)));
    }
}

#[test]
fn a_foreign_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.jsonl");
    for text in [
        "{}\n".to_owned(),
        "hello\n".to_owned(),
        "hello".to_owned(),
        format!("{}\nhello", answer(1, 200)),
        format!("{0}\n{0}\n", answer(1, 200)),
    ] {
        fs::write(&path, &text).unwrap();
        assert!(
            PreviousOutput::read(&path, Compression::Plain, &AckState::default(), 1.0).is_err()
        );
        assert!(PreviousOutput::read(&path, Compression::Gzip, &AckState::default(), 1.0).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}
