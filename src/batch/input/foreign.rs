//! Inputs of another format: a JSON array and CSV, with the command that converts them.

use crate::failure::Failure;

/// The failure of an input with this beginning, if it is a JSON array or CSV. `name` is the path, `None` for stdin.
pub fn refuse(beginning: &[u8], name: Option<&str>) -> Option<Failure> {
    let text = String::from_utf8_lossy(beginning);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let first = text.lines().next().unwrap_or_default();
    let (what, converter) = if is_array(text) {
        ("a JSON array", "jq -c '.[]'")
    } else if is_header(first) {
        (
            "CSV",
            "python3 -c 'import csv, json, sys; [print(json.dumps(row)) for row in csv.DictReader(sys.stdin)]'",
        )
    } else {
        return None;
    };
    let input = name.map_or_else(String::new, |name| format!(" < {}", quoted(name)));
    let unpack = match name.and_then(|name| name.rsplit_once('.')) {
        Some((_, "gz")) => "gzip -dc",
        Some((_, "zst")) => "zstd -dc",
        _ => "",
    };
    let command = if unpack.is_empty() {
        format!("{converter}{input} > lines.jsonl")
    } else {
        format!("{unpack}{input} | {converter} > lines.jsonl")
    };
    let name = name.unwrap_or("stdin");
    let failure = Failure::input(format!("{name} is {what}, not JSON lines"));
    Some(failure.hint("convert it").command(command))
}

/// Whether a text begins as an array of objects does. An array on a line of its own may be a wrong line of JSONL.
fn is_array(text: &str) -> bool {
    let rest = text.strip_prefix('[').map(str::trim_start);
    rest.is_some_and(|rest| rest.starts_with('{'))
}

/// Whether a line is the header of a CSV file: names without spaces around them, separated by commas.
fn is_header(line: &str) -> bool {
    let is_name = |cell: &str| {
        let cell = cell.strip_prefix('"').unwrap_or(cell);
        let cell = cell.strip_suffix('"').unwrap_or(cell);
        cell.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && cell
                .chars()
                .all(|c| c.is_alphanumeric() || "_- ".contains(c))
            && cell.trim() == cell
    };
    line.contains(',') && line.split(',').all(is_name)
}

/// A path quoted for a POSIX shell.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if !path.is_empty() && path.chars().all(is_plain) {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arrays_of_objects_and_headers_are_recognised() {
        let command = |text: &str, name| refuse(text.as_bytes(), name)?.command;
        for array in ["[{\"prompt\":\"a\"}]", "\u{feff} [\n  {", "[{"] {
            assert_eq!(
                command(array, Some("a b.json")).unwrap(),
                "jq -c '.[]' < 'a b.json' > lines.jsonl"
            );
        }
        for csv in ["id,prompt\n1,a\n", "\"id\",\"my prompt\"\r\n", "a,b"] {
            let command = command(csv, Some("in.csv.gz")).unwrap();
            assert!(
                command.starts_with("gzip -dc < in.csv.gz | python3 "),
                "{command}"
            );
        }
        for other in [
            "",
            "{\"a\":1}",
            "[1,2]",
            "nope",
            "no, way",
            "a,1",
            "[",
            "hello world",
        ] {
            assert_eq!(command(other, None), None, "{other}");
        }
    }
}
