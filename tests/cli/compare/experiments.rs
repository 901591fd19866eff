//! Experiments in Langfuse, by name and by URL, through the sandbox.

use serde_json::{Value, json};

use super::{document, text};
use crate::support::harness::{Ended, Langspan};
use crate::support::stand_in::Sandbox;

/// A sandbox with experiments of three questions each: the model repeats the question, and each expects its word.
struct Lab {
    sandbox: Sandbox,
    home: Langspan,
}

impl Lab {
    fn new(arguments: &[&str]) -> Self {
        Self {
            sandbox: Sandbox::start_with(arguments),
            home: Langspan::new(&[]),
        }
    }

    fn call(&self, arguments: &[&str]) -> Langspan {
        Langspan::new(arguments)
            .at(&self.sandbox)
            .beside(&self.home)
    }

    /// Runs an experiment with these prompts for `alpha`, `beta`, `gamma`.
    fn experiment(&self, name: &str, prompts: [&str; 3], options: &[&str]) -> Ended {
        let words = ["alpha", "beta", "gamma"];
        let lines: Vec<Value> = words
            .iter()
            .zip(prompts)
            .map(|(word, prompt)| json!({"custom_id": word, "prompt": prompt, "expected": word}))
            .collect();
        self.home.file("in.jsonl", text(&lines));
        let out = format!("{}.jsonl", name.replace(' ', "_"));
        let own = ["batch", "in.jsonl", "--experiment", name, "--out", &out];
        let allowed = ["--allow-misses", "100%", "--overwrite", "-q"];
        let ended = self.call(&[&own[..], &allowed, options].concat()).run();
        ended.code(0);
        ended
    }

    /// `main` meets all, `pull request, 7` misses one.
    fn with_two() -> Self {
        let lab = Self::new(&[]);
        lab.experiment("main", ["alpha?", "beta?", "gamma?"], &[]);
        lab.experiment("pull request, 7", ["alpha?", "nothing", "gamma?"], &[]);
        lab
    }

    fn compare(&self, a: &str, b: &str) -> Ended {
        let arguments = ["compare", a, b, "-o", "json", "--wait", "1"];
        self.call(&arguments).run()
    }
}

#[test]
fn experiments_are_compared_by_name_and_by_url() {
    let lab = Lab::with_two();
    let ended = lab.compare("main", "pull request, 7");
    ended.code(9);
    let found = document(&ended);
    assert_eq!(
        found["items"],
        json!({"compared": 3, "regressed": 1, "fixed": 0, "failed": 0, "only_in_b": 0})
    );
    assert_eq!(found["regressed"][0]["id"], "beta");
    assert_eq!(found["regressed"][0]["missed"], json!(["expected"]));
    assert_eq!(found["a"]["kind"], "experiment");
    for run in ["a", "b"] {
        let page = found[run]["url"].as_str().unwrap();
        assert!(
            page.contains("/project/sandbox/experiments/results?baseline="),
            "{page}"
        );
        let trace = found["regressed"][0][run]["trace_url"].as_str().unwrap();
        assert!(trace.starts_with(&format!("{}/project/sandbox/traces/", lab.sandbox.url())));
    }
    let (a, b) = (
        found["a"]["url"].as_str().unwrap(),
        found["b"]["url"].as_str().unwrap(),
    );
    let same = document(&lab.compare(a, b));
    assert_eq!(same["regressed"], found["regressed"]);
    let back = lab.compare(b, "main");
    back.code(0);
    assert_eq!(document(&back)["fixed"][0]["id"], "beta");
}

#[test]
fn a_file_and_the_experiment_that_it_made_are_equal() {
    let lab = Lab::with_two();
    let ended = lab.compare("main.jsonl", "main");
    ended.code(0);
    let found = document(&ended);
    assert_eq!(found["a"]["kind"], "file");
    assert_eq!(found["b"]["kind"], "experiment");
    assert_eq!(found["a"]["tokens"], found["b"]["tokens"]);
    assert!(found["a"]["tokens"]["output"].as_u64().unwrap() > 0);
    assert_eq!(found["expectations"][0]["b"], json!({"met": 3, "of": 3}));
    assert_eq!(
        (&found["regressed"], &found["fixed"]),
        (&json!([]), &json!([]))
    );
}

#[test]
fn traces_without_a_common_session_have_tokens_too() {
    let lab = Lab::new(&[]);
    let session = |id: &str| json!({"session": id});
    let lines: Vec<Value> = ["a", "b", "c"]
        .iter()
        .map(|id| json!({"custom_id": id, "prompt": "Hello", "trace": session(id)}))
        .collect();
    lab.home.file("in.jsonl", text(&lines));
    let batch = [
        "batch",
        "in.jsonl",
        "--experiment",
        "apart",
        "--out",
        "out.jsonl",
    ];
    lab.call(&batch).run().code(0);
    let found = document(&lab.compare("out.jsonl", "apart"));
    assert_eq!(found["a"]["tokens"], found["b"]["tokens"]);
    assert!(
        found["b"]["tokens"]["input"].as_u64().unwrap() > 0,
        "{found:#}"
    );
}

#[test]
fn several_experiments_of_one_name_are_listed_with_their_pages() {
    let lab = Lab::with_two();
    let ids = ["0123456789abcdef", "fedcba9876543210"];
    for (id, (trace, cost)) in ids.iter().zip([("1", 0.5), ("2", 0.25)]) {
        let cost = json!({"total": cost}).to_string();
        let attributes = json!([
            {"key": "langfuse.experiment.id", "value": {"stringValue": id}},
            {"key": "langfuse.experiment.name", "value": {"stringValue": "twin"}},
            {"key": "langfuse.experiment.item.id", "value": {"stringValue": "alpha"}},
            {"key": "langfuse.experiment.item.root_observation_id", "value": {"stringValue": "00000000000000aa"}},
            {"key": "langfuse.observation.type", "value": {"stringValue": "generation"}},
            {"key": "langfuse.observation.usage_details", "value": {"stringValue": "{\"input\":7,\"input_cached_tokens\":2,\"output\":3}"}},
            {"key": "langfuse.observation.cost_details", "value": {"stringValue": cost}},
        ]);
        let span = json!({
            "traceId": trace.repeat(32), "spanId": "00000000000000aa", "name": "item",
            "startTimeUnixNano": "1767225600000000000", "endTimeUnixNano": "1767225601000000000",
            "attributes": attributes,
        });
        let request = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
        let file = lab.home.file("spans.jsonl", format!("{request}\n"));
        lab.call(&["resend", file.to_str().unwrap()]).run().code(0);
    }
    let ended = lab.compare("main", "twin");
    ended.code(2);
    assert!(
        ended
            .stderr
            .starts_with("error: 2 experiments have the name `twin`\nhint: "),
        "{ended:#?}"
    );
    for id in ids {
        assert!(
            ended.stderr.contains(&format!("results?baseline={id}")),
            "{ended:#?}"
        );
    }
    let page = |id| {
        format!(
            "{}/project/sandbox/experiments/results?baseline={id}",
            lab.sandbox.url()
        )
    };
    // Their spans have no session, and the costs are those of the server.
    let found = document(&lab.compare(&page(ids[0]), &page(ids[1])));
    assert_eq!(
        (&found["a"]["cost"], &found["b"]["cost"]),
        (&json!(0.5), &json!(0.25))
    );
    assert_eq!(found["b"]["tokens"], json!({"input": 9, "output": 3}));
    assert_eq!(found["b"]["latency_ms"], json!({"p50": 1000, "p95": 1000}));
}

#[test]
fn what_is_neither_a_file_nor_an_experiment_is_said() {
    let lab = Lab::with_two();
    let ended = lab.compare("main", "nothing.jsonl");
    ended.code(7);
    let message =
        "error: there is neither a file nor an experiment with the name `nothing.jsonl`\n";
    assert!(ended.stderr.starts_with(message), "{ended:#?}");
    // Without a Langfuse, the file is what is missing.
    let call = Langspan::new(&["compare", "main.jsonl", "nothing.jsonl"]).beside(&lab.home);
    let ended = call.run();
    ended.code(3);
    assert!(
        ended
            .stderr
            .starts_with("error: there is no file nothing.jsonl, and "),
        "{ended:#?}"
    );
    let page = |host: &str| format!("{host}/project/sandbox/experiments/results?baseline=0a1b");
    let absent = lab.compare("main", &page(lab.sandbox.url()));
    absent.code(7);
    assert!(
        absent.stderr.contains("no experiment with the id 0a1b"),
        "{absent:#?}"
    );
    lab.compare("main", &page("https://other.test")).code(3);
    let trace = format!(
        "{}/project/sandbox/traces/{}",
        lab.sandbox.url(),
        "1".repeat(32)
    );
    lab.compare("main", &trace).code(2);
}

#[test]
fn wrong_keys_are_a_matter_of_settings() {
    let lab = Lab::with_two();
    let call = lab.call(&["compare", "main", "pull request, 7"]);
    let ended = call.env("LANGFUSE_SECRET_KEY", "sk-lf-wrong").run();
    ended.code(3);
    assert!(ended.stderr.contains("401"), "{ended:#?}");
}

#[test]
fn a_v3_server_has_no_experiments() {
    let lab = Lab::new(&["--langfuse", "v3"]);
    let ended = lab.compare("one", "two");
    ended.code(3);
    assert!(ended.stderr.contains("need version 4"), "{ended:#?}");
    assert!(
        ended
            .stderr
            .contains("hint: upgrade the server, or compare output files"),
        "{ended:#?}"
    );
}

#[test]
fn what_appears_late_is_waited_for() {
    let lab = Lab::new(&["--visible-after", "1500"]);
    lab.experiment("main", ["alpha?", "beta?", "gamma?"], &[]);
    let arguments = ["compare", "main.jsonl", "main", "--wait", "60"];
    lab.call(&arguments).run().code(0);
}

#[test]
fn an_experiment_that_ran_twice_under_one_name_is_refused() {
    let lab = Lab::with_two();
    lab.experiment("main", ["alpha?", "beta?", "gamma?"], &["--again"]);
    let ended = lab.compare("main", "pull request, 7");
    ended.code(2);
    assert!(
        ended
            .stderr
            .contains("A (main) has 3 items (alpha, beta, gamma) more than once"),
        "{ended:#?}"
    );
    let hint = "hint: compare the output files of its runs, or run it once under another name\n";
    assert!(ended.stderr.contains(hint), "{ended:#?}");
}
