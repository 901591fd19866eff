//! Recognition of providers: the tables of `langspan help mapping`, row by row, and the two APIs of Azure.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::harness::{Langspan, dead_url};

const KEYS: &str = include_str!("../../src/trace/attributes.rs");

/// The rows of the topic's tables with these columns, each as its cells.
fn rows(columns: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/help/mapping.md");
    let topic = fs::read_to_string(path).unwrap();
    let head = format!("| {columns}");
    let tables = topic.split(&head).skip(1);
    let lines = tables.flat_map(|table| table.lines().skip(2).take_while(|l| l.starts_with('|')));
    lines
        .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// The text between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// What would be done in this environment.
#[track_caller]
fn plan(environment: &[(&str, &str)]) -> Value {
    let call = Langspan::new(&[
        "chat",
        "--dry-run",
        "--json",
        "-m",
        "m",
        "--max-tokens",
        "9",
        // Langfuse itself does not get these attributes.
        "--otlp-endpoint",
        "http://127.0.0.1:4318",
        "Hello",
    ]);
    let call = environment
        .iter()
        .fold(call, |call, (name, value)| call.env(name, value));
    call.langfuse_at(&dead_url()).run().code(0).json()
}

fn generation(plan: &Value) -> &Value {
    &plan["trace"]["spans"][1]["attributes"]
}

#[test]
fn every_endpoint_of_the_topic_has_its_name() {
    let rows = rows("endpoint | base URL");
    assert!(rows.len() >= 15, "{rows:?}");
    for row in rows {
        let (base, name) = (quoted(&row[2])[0], quoted(&row[3])[0]);
        let plan = plan(&[
            ("OPENAI_BASE_URL", base),
            ("OPENAI_API_KEY", "sk-0123456789ab"),
        ]);
        let generation = generation(&plan);
        assert_eq!(generation["gen_ai.provider.name"], name, "{base}");
        let url: http::Uri = base.parse().unwrap();
        let port = url
            .port_u16()
            .unwrap_or(if base.starts_with("https") { 443 } else { 80 });
        assert_eq!(generation["server.address"], url.host().unwrap(), "{base}");
        assert_eq!(generation["server.port"], port, "{base}");
        assert_eq!(plan["request"]["url"], format!("{base}/chat/completions"));
        let field =
            if ["api.openai.com", "my-resource.openai.azure.com"].contains(&url.host().unwrap()) {
                "max_completion_tokens"
            } else {
                "max_tokens"
            };
        assert_eq!(plan["request"]["body"][field], 9, "{base}");
    }
}

#[test]
fn hosts_that_only_look_like_a_provider_are_not_recognized() {
    for host in [
        "api.openai.com.example",
        "notopenrouter.ai",
        "my-openrouter.ai",
        "ec2-1-2-3-4.compute-1.amazonaws.com",
        "bedrock-runtime.amazonaws.com.example",
        "aiplatform-googleapis.com",
    ] {
        let base = format!("https://{host}/v1");
        let plan = plan(&[("OPENAI_BASE_URL", &base)]);
        assert_eq!(
            generation(&plan)["gen_ai.provider.name"],
            "openai",
            "{host}"
        );
    }
}

#[test]
fn azure_is_asked_at_either_surface_whatever_form_its_url_has() {
    let resource = "https://my-resource.openai.azure.com";
    let deployment = format!("{resource}/openai/deployments/m/chat/completions");
    for pasted in [
        "",
        "/",
        "/openai",
        "/openai/v1/",
        "/openai/deployments/x/chat/completions?api-version=old",
    ] {
        let endpoint = format!("{resource}{pasted}");
        for version in [None, Some("2024-10-21")] {
            let mut environment = vec![
                ("AZURE_OPENAI_ENDPOINT", endpoint.as_str()),
                ("AZURE_OPENAI_API_KEY", "azure-0123456789"),
            ];
            environment.extend(version.map(|version| ("OPENAI_API_VERSION", version)));
            let plan = plan(&environment);
            let expected = version.map_or_else(
                || format!("{resource}/openai/v1/chat/completions"),
                |version| format!("{deployment}?api-version={version}"),
            );
            assert_eq!(plan["request"]["url"], expected, "{pasted}");
            assert_eq!(generation(&plan)["gen_ai.provider.name"], "azure.ai.openai");
            assert_eq!(
                generation(&plan)["server.address"],
                "my-resource.openai.azure.com"
            );
            assert_eq!(generation(&plan)["server.port"], 443);
        }
    }
}

/// Every attribute that the tables name.
fn named() -> BTreeSet<String> {
    let rows = rows("part of the call");
    let cells = rows.iter().flat_map(|row| quoted(&row[3]));
    cells
        .map(|key| key.trim_end_matches(".KEY").to_owned())
        .collect()
}

#[test]
fn the_topic_names_the_attributes_that_are_sent_and_no_other() {
    let values = KEYS.split("&str =").skip(1);
    let values = values.filter_map(|rest| rest.split('"').nth(1));
    let sent: BTreeSet<String> = values
        .filter(|key| *key != "service.name")
        .map(str::to_owned)
        .collect();
    assert_eq!(named(), sent);
}
