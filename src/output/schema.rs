//! The JSON Schemas of the documents that are printed, for `langspan help json`. Each has a file in `schema/`; who adds a
//! field to a document adds it to its file.

use std::fmt::Write as _;

use crate::embedded::{EmbeddedText, embedded};

/// The schemas of whole documents, by name.
const DOCUMENTS: [(&str, EmbeddedText); 15] = [
    ("answer", embedded!("src/output/schema/answer.json")),
    ("dry_run", embedded!("src/output/schema/dry_run.json")),
    ("summary", embedded!("src/output/schema/summary.json")),
    (
        "output_line",
        embedded!("src/output/schema/output_line.json"),
    ),
    (
        "batch_dry_run",
        embedded!("src/output/schema/batch_dry_run.json"),
    ),
    ("import", embedded!("src/output/schema/import.json")),
    ("compare", embedded!("src/output/schema/compare.json")),
    ("exec", embedded!("src/output/schema/exec.json")),
    ("check", embedded!("src/output/schema/check.json")),
    ("show", embedded!("src/output/schema/show.json")),
    ("resend", embedded!("src/output/schema/resend.json")),
    ("prompt", embedded!("src/output/schema/prompt.json")),
    ("score", embedded!("src/output/schema/score.json")),
    ("config", embedded!("src/output/schema/config.json")),
    ("failure", embedded!("src/output/schema/failure.json")),
];

/// The schemas of parts that several documents have.
const PARTS: [(&str, EmbeddedText); 12] = [
    (
        "changed_item",
        embedded!("src/output/schema/changed_item.json"),
    ),
    (
        "compared_run",
        embedded!("src/output/schema/compared_run.json"),
    ),
    ("error", embedded!("src/output/schema/error.json")),
    ("finding", embedded!("src/output/schema/finding.json")),
    (
        "percentiles",
        embedded!("src/output/schema/percentiles.json"),
    ),
    (
        "planned_request",
        embedded!("src/output/schema/planned_request.json"),
    ),
    (
        "planned_trace",
        embedded!("src/output/schema/planned_trace.json"),
    ),
    ("setting", embedded!("src/output/schema/setting.json")),
    ("share_met", embedded!("src/output/schema/share_met.json")),
    ("trace", embedded!("src/output/schema/trace.json")),
    ("trace_link", embedded!("src/output/schema/trace_link.json")),
    ("usage", embedded!("src/output/schema/usage.json")),
];

const HEAD: &str = r##"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "Documents that langspan prints",
  "description": "Every document fits one of these schemas; each can be used alone, as in \"#/$defs/summary\". Within a schema_version, fields are only added. models -o json prints the endpoint's own document.",
"##;

/// One schema that every document fits, with the single ones in `$defs`.
pub fn bundle() -> String {
    let references = DOCUMENTS.iter().map(|(name, _)| reference(name));
    let references = references.collect::<Vec<_>>().join(",\n");
    let definitions = DOCUMENTS.iter().chain(&PARTS).map(definition);
    let definitions = definitions.collect::<Vec<_>>().join(",\n");
    let mut text = HEAD.to_owned();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  \"anyOf\": [\n{references}\n  ],");
    let _ = writeln!(text, "  \"$defs\": {{\n{definitions}\n  }}\n}}");
    text
}

fn reference(name: &str) -> String {
    format!("    {{\"$ref\": \"#/$defs/{name}\"}}")
}

fn definition((name, schema): &(&str, EmbeddedText)) -> String {
    let schema = schema.read().trim_end().replace('\n', "\n    ");
    format!("    \"{name}\": {schema}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_file_is_in_the_bundle_and_every_reference_leads_somewhere() {
        let bundle: Value = serde_json::from_str(&bundle()).unwrap();
        let definitions = bundle["$defs"].as_object().unwrap();
        let folder = format!("{}/src/output/schema", env!("CARGO_MANIFEST_DIR"));
        let files: BTreeSet<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let names: BTreeSet<String> = definitions
            .keys()
            .map(|name| format!("{name}.json"))
            .collect();
        assert_eq!(names, files);
        let text = bundle.to_string();
        for reference in text.split("#/$defs/").skip(1) {
            let name = reference.split(['"', '\\']).next().unwrap();
            assert!(definitions.contains_key(name), "{name}");
        }
    }
}
