//! The JSON Schemas of the documents that are printed, for `langspan help json`. Each has a file in `schema/`; who adds a
//! field to a document adds it to its file.

use std::fmt::Write as _;

/// The schemas of whole documents, by name.
const DOCUMENTS: [(&str, &str); 15] = [
    ("answer", include_str!("schema/answer.json")),
    ("dry_run", include_str!("schema/dry_run.json")),
    ("summary", include_str!("schema/summary.json")),
    ("output_line", include_str!("schema/output_line.json")),
    ("batch_dry_run", include_str!("schema/batch_dry_run.json")),
    ("import", include_str!("schema/import.json")),
    ("compare", include_str!("schema/compare.json")),
    ("exec", include_str!("schema/exec.json")),
    ("check", include_str!("schema/check.json")),
    ("show", include_str!("schema/show.json")),
    ("resend", include_str!("schema/resend.json")),
    ("prompt", include_str!("schema/prompt.json")),
    ("score", include_str!("schema/score.json")),
    ("config", include_str!("schema/config.json")),
    ("failure", include_str!("schema/failure.json")),
];

/// The schemas of parts that several documents have.
const PARTS: [(&str, &str); 12] = [
    ("changed_item", include_str!("schema/changed_item.json")),
    ("compared_run", include_str!("schema/compared_run.json")),
    ("error", include_str!("schema/error.json")),
    ("finding", include_str!("schema/finding.json")),
    ("percentiles", include_str!("schema/percentiles.json")),
    (
        "planned_request",
        include_str!("schema/planned_request.json"),
    ),
    ("planned_trace", include_str!("schema/planned_trace.json")),
    ("setting", include_str!("schema/setting.json")),
    ("share_met", include_str!("schema/share_met.json")),
    ("trace", include_str!("schema/trace.json")),
    ("trace_link", include_str!("schema/trace_link.json")),
    ("usage", include_str!("schema/usage.json")),
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

fn definition((name, schema): &(&str, &str)) -> String {
    let schema = schema.trim_end().replace('\n', "\n    ");
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
