//! `--cost`: what a call costs, by the price table of the project.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::prices::COSTS;
use crate::support::harness::{Ended, Langspan, Reply, Scripted, files_below, wait_until};
use crate::support::stand_in::Sandbox;

const MODELS: &str = "/api/public/models";

/// An answer of `model` with `usage`.
fn answer(model: &str, usage: &Value) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": model, "service_tier": "default",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
        "usage": usage,
    })
}

/// A usage of 1,000 input tokens, 400 of them cached, and 100 output tokens.
fn usage() -> Value {
    json!({
        "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
        "prompt_tokens_details": {"cached_tokens": 400}
    })
}

/// The cost of a chat with this answer, which is also what the sandbox's table says.
fn cost(sandbox: &Sandbox, answer: &Value) -> Ended {
    let model = Scripted::always(Reply::json(200, answer));
    let call = Langspan::new(&["chat", "--cost", "-o", "json", "Hello"]).at(sandbox);
    call.model_at(model.url()).run()
}

#[test]
fn chat_prints_the_cost() {
    let sandbox = Sandbox::start();
    let ended = cost(&sandbox, &answer("gpt-4o-mini", &usage()));
    // 600 × $0.15 + 400 × $0.075 + 100 × $0.60, a million tokens each.
    ended.code(0).stderr_has("cost: $0.00018\n");
    assert_eq!(ended.json()["response"]["cost"], 0.000_18);
    let mut fast = answer("gpt-4o-mini", &usage());
    fast["service_tier"] = "priority".into();
    let ended = cost(&sandbox, &fast);
    assert_eq!(ended.json()["response"]["cost"], 0.000_3);
    let large = json!({"prompt_tokens": 300_000, "completion_tokens": 10, "total_tokens": 300_010});
    let ended = cost(&sandbox, &answer("gemini-2.5-pro", &large));
    assert_eq!(ended.json()["response"]["cost"], 0.750_15);
}

#[test]
fn the_cost_is_printed_only_if_asked_for() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["chat", "-o", "json", "Hello"]).at(&sandbox);
    let ended = call.run();
    ended.code(0).stderr_lacks("cost:");
    assert!(ended.json()["response"].get("cost").is_none());
    assert!(!call.home().join(".cache").exists());
}

#[test]
fn what_the_provider_states_is_the_cost() {
    let sandbox = Sandbox::start();
    let mut usage = usage();
    usage["cost"] = 0.25.into();
    let ended = cost(&sandbox, &answer("gpt-4o-mini", &usage));
    ended.code(0).stderr_has("cost: $0.25\n");
    assert_eq!(ended.json()["response"]["cost"], 0.25);
}

#[test]
fn an_unknown_price_is_null() {
    let sandbox = Sandbox::start();
    for (answer, why) in [
        (answer("my-own-model", &usage()), "no model my-own-model"),
        (answer("gpt-4o-mini", &Value::Null), "no usage"),
    ] {
        let ended = cost(&sandbox, &answer);
        ended.code(0).stderr_has("cost: unknown").stderr_has(why);
        let response = &ended.json()["response"];
        assert!(
            response.get("cost").is_some_and(Value::is_null),
            "{response}"
        );
    }
}

#[test]
fn a_server_without_prices_does_not_fail_the_call() {
    let sandbox = Arc::new(Sandbox::start());
    let server = Scripted::in_front_of(&sandbox, |request, _| {
        request
            .path
            .starts_with(MODELS)
            .then(|| Reply::json(403, &json!({"message": "no prices for you"})))
    });
    let call = Langspan::new(&["chat", "--cost", "Hello"]).at(&sandbox);
    let ended = call.langfuse_at(server.url()).run();
    ended.code(0).stderr_has("cost: unknown");
    ended.stderr_has("no prices for you");
}

#[test]
fn own_models_come_first_and_all_pages_are_read() {
    let sandbox = Arc::new(Sandbox::start());
    let server = Scripted::in_front_of(&sandbox, |request, _| {
        let row = |id: u32, price: f64, is_managed: bool| {
            json!({
                "modelName": "gpt-4o-mini", "matchPattern": "(?i)gpt-4o-mini", "isLangfuseManaged": is_managed,
                "startDate": format!("2025-01-0{id}T00:00:00.000Z"), "prices": {"input": {"price": price}},
            })
        };
        let page = |row: Value| json!({"data": [row], "meta": {"totalPages": 3}});
        let page = if request.path.contains("page=3") {
            page(row(2, 0.002, false))
        } else if request.path.contains("page=2") {
            page(row(1, 0.001, false))
        } else {
            page(row(3, 0.003, true))
        };
        request
            .path
            .starts_with(MODELS)
            .then(|| Reply::json(200, &page))
    });
    let model = Scripted::always(Reply::json(200, &answer("gpt-4o-mini", &usage())));
    let call = Langspan::new(&["chat", "--cost", "Hello"]).langfuse_at(server.url());
    let ended = call.model_at(model.url()).run();
    ended.code(0).stderr_has("cost: $1.2\n");
}

/// The costs that are worked out by hand beside the answers, with the server's whole price table.
#[test]
fn every_recorded_answer_costs_what_langfuse_computes() {
    let sandbox = Arc::new(Sandbox::start());
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let json_of = |path: &str| -> Option<Value> {
        let text = fs::read_to_string(tests.join(path)).ok()?;
        serde_json::from_str(&text).ok()
    };
    let table = json_of("fixtures/langfuse-prices.json").unwrap();
    let page = json!({"data": table["models"], "meta": {"totalPages": 1}});
    let server = Scripted::in_front_of(&sandbox, move |request, _| {
        let is_models = request.path.starts_with(MODELS);
        is_models.then(|| Reply::json(200, &page))
    });
    let mut lines = Vec::new();
    let mut expected = Vec::new();
    for &(folder, model, cost) in COSTS {
        let Some(mut body) = json_of(&format!("answers/{folder}/body.json")) else {
            continue;
        };
        body["model"] = model.into();
        // The provider's own figure is the subject of another test.
        body["usage"].as_object_mut().unwrap().remove("cost");
        let messages = json!([{"role": "user", "content": "Hi"}]);
        let (api, content) = match folder.split('-').next() {
            Some("responses") => ("responses", json!({"input": "Hi"})),
            Some("embeddings") => ("embeddings", json!({"input": "Hi"})),
            Some("messages") => ("messages", json!({"messages": messages})),
            _ => ("chat", json!({"messages": messages})),
        };
        let mut request = content;
        request["model"] = model.into();
        let times = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"];
        let recording = json!({
            "api": api, "request": request, "response": body,
            "start_time": times[0], "end_time": times[1],
        });
        lines.push(recording.to_string());
        expected.push((folder, cost / 1e6));
    }
    assert!(lines.len() > 60, "{}", lines.len());
    let call = Langspan::new(&["replay", "--cost", "-o", "json", "calls.jsonl"]);
    let call = call.langfuse_at(server.url());
    call.file("calls.jsonl", lines.join("\n"));
    let ended = call.run();
    ended.code(0);
    let costs = ended.stdout.lines().map(|line| {
        let document: Value = serde_json::from_str(line).unwrap();
        document["response"]["cost"].as_f64().unwrap_or(f64::NAN)
    });
    for ((folder, expected), cost) in expected.into_iter().zip(costs) {
        assert!(
            (cost / expected - 1.0).abs() < 1e-6,
            "{folder}: {cost} instead of {expected}"
        );
    }
}

#[test]
fn replay_prints_the_cost_of_each_document() {
    let sandbox = Sandbox::start();
    let line = |model: &str| {
        let times = json!(["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"]);
        json!({
            "request": {"model": model, "messages": [{"role": "user", "content": "Hi"}]},
            "response": answer(model, &usage()), "error": null,
            "start_time": times[0], "end_time": times[1],
        })
        .to_string()
    };
    let call = Langspan::new(&["replay", "--cost", "-o", "json", "calls.jsonl"]).at(&sandbox);
    let lines = [line("gpt-4o"), line("gpt-4o-mini"), line("other")].join("\n");
    call.file("calls.jsonl", lines);
    let ended = call.run();
    ended.code(0);
    let costs = ended.stdout.lines().map(|line| {
        let document: Value = serde_json::from_str(line).unwrap();
        document["response"]["cost"].clone()
    });
    assert_eq!(
        costs.collect::<Vec<_>>(),
        [json!(0.003), json!(0.000_18), Value::Null]
    );
}

/// The files of the cache of this home.
fn kept(home: &Path) -> Vec<PathBuf> {
    files_below(&home.join(".cache"))
}

#[test]
fn the_table_is_kept_for_a_day() {
    let sandbox = Arc::new(Sandbox::start());
    let server = Scripted::in_front_of(&sandbox, |_, _| None);
    let asked = || {
        let requests = server.requests();
        requests
            .iter()
            .filter(|request| request.path.starts_with(MODELS))
            .count()
    };
    let call = Langspan::new(&["chat", "--cost", "Hello"]).at(&sandbox);
    let call = call.langfuse_at(server.url());
    for _ in 0..2 {
        call.run().code(0).stderr_has("cost: $");
        assert_eq!(asked(), 1);
    }
    let files = kept(call.home());
    let [file] = &files[..] else {
        panic!("{files:?}")
    };
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(file), 0o600);
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    assert!(file.starts_with(call.home().join(".cache/langspan")));
    assert_eq!(file.file_name().unwrap(), "sandbox.json");
    // An old table, one from the future and a broken one are replaced.
    let text = fs::read_to_string(file).unwrap();
    let table: Value = serde_json::from_str(&text).unwrap();
    for (number, fetched) in ["2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "x"]
        .iter()
        .enumerate()
    {
        let mut other = table.clone();
        other["fetched"] = (*fetched).into();
        other["models"] = json!([]);
        fs::write(file, other.to_string()).unwrap();
        call.run().code(0).stderr_has("cost: $");
        assert_eq!(asked(), number + 2, "{fetched}");
    }
}

#[test]
fn the_cache_follows_its_variable_and_may_be_unusable() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["chat", "--cost", "Hello"]).at(&sandbox);
    let elsewhere = call.home().join("elsewhere");
    let call = call.env("XDG_CACHE_HOME", elsewhere.to_str().unwrap());
    call.run().code(0).stderr_has("cost: $");
    assert_eq!(files_below(&elsewhere.join("langspan")).len(), 1);
    assert!(kept(call.home()).is_empty());
    let call = Langspan::new(&["chat", "--cost", "Hello"]).at(&sandbox);
    call.file(".cache", "not a folder");
    call.run().code(0).stderr_has("cost: $");
}

/// The model answers once the prices were asked for; they never come.
#[test]
fn the_table_is_asked_for_beside_the_call() {
    let sandbox = Arc::new(Sandbox::start());
    let is_asked = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_asked);
    let server = Scripted::in_front_of(&sandbox, move |request, _| {
        let is_models = request.path.starts_with(MODELS);
        asked.fetch_or(is_models, Ordering::SeqCst);
        is_models.then_some(Reply::Hang)
    });
    let model = Scripted::start(move |_, _| {
        wait_until("the prices are asked for", || {
            is_asked.load(Ordering::SeqCst)
        });
        Reply::json(200, &answer("gpt-4o-mini", &usage()))
    });
    let call = Langspan::new(&["chat", "--cost", "Hello"]).model_at(model.url());
    let ended = call.langfuse_at(server.url()).run();
    ended
        .code(0)
        .stderr_has("cost: unknown (the look-up of prices took too long)");
}

#[test]
fn the_embedded_sandbox_keeps_no_table() {
    let call = Langspan::new(&["chat", "--sandbox", "--cost", "Hello"]);
    call.run().code(0).stderr_has("cost: $");
    assert!(kept(call.home()).is_empty());
}

#[test]
fn a_plain_backend_has_no_prices() {
    let sandbox = Sandbox::start();
    let collector = Scripted::always(Reply::json(200, &json!({})));
    let call = Langspan::new(&["chat", "--cost", "Hello"]);
    let call = call.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
    let call = call.model_at(&format!("{}/v1", sandbox.url()));
    call.run()
        .code(0)
        .stderr_has("cost: unknown (there is no Langfuse");
}
