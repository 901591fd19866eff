//! What a run costs: in its lines and its summary, and as a reason to stop.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::batch::gate::Gate;
use crate::support::batch::output::{by_number_in, lines_in, numbers, out};
use crate::support::batch::servers::line_of;
use crate::support::batch::{batch, prompts};
use crate::support::harness::{Ended, Reply, Scripted, completion};
use crate::support::otlp::{attribute, traces_at};
use crate::support::stand_in::Sandbox;

const MODELS: &str = "/api/public/models";
/// Of one answer: 20 × $0.15, 3 × $0.075 and 35 × $0.60, a million tokens each.
const ONE: f64 = 0.000_024_225;

/// A model, and a Langfuse with prices.
struct Priced {
    model: Scripted,
    langfuse: Scripted,
    sandbox: Arc<Sandbox>,
}

fn priced() -> Priced {
    priced_with(Scripted::start(|_, _| answer()))
}

/// An answer of a model that has a price in the sandbox.
fn answer() -> Reply {
    Reply::json(200, &of_mini())
}

fn of_mini() -> Value {
    let mut body = completion("hi");
    body["model"] = "gpt-4o-mini".into();
    body
}

fn priced_with(model: Scripted) -> Priced {
    let sandbox = Arc::new(Sandbox::start());
    Priced {
        model,
        langfuse: Scripted::in_front_of(&sandbox, |_, _| None),
        sandbox,
    }
}

/// The summary that `--summary s.json` wrote.
fn summary(ended: &Ended) -> Value {
    let text = std::fs::read_to_string(ended.home().join("s.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn assert_cost(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{found}"));
    assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
}

#[test]
fn lines_and_summary_hold_the_cost() {
    let Priced {
        model,
        langfuse,
        sandbox: _,
    } = &priced();
    let options = ["-O", "out.jsonl", "--summary", "s.json"];
    let ended = batch(&prompts(3), model, langfuse, &options).run();
    ended.code(0).stderr_has("105 out, $0.000072675\n");
    for line in out(&ended) {
        assert_cost(&line["langspan"]["cost"], ONE);
        assert_eq!(line["langspan"]["cost_computed"], true);
    }
    assert_cost(&summary(&ended)["cost"], 3.0 * ONE);
    // Langfuse computes it from the same prices.
    for trace in traces_at(langfuse) {
        assert_eq!(
            attribute(&trace.generation, "langfuse.observation.cost_details"),
            None
        );
    }
}

#[test]
fn what_the_endpoint_states_comes_first() {
    let mut body = completion("hi");
    body["usage"]["cost"] = 0.25.into();
    let Priced {
        model,
        langfuse,
        sandbox: _,
    } = &priced_with(Scripted::always(Reply::json(200, &body)));
    let ended = batch(&prompts(2), model, langfuse, &["-O", "out.jsonl"]).run();
    ended.code(0).stderr_has(", $0.5\n");
    for line in out(&ended) {
        assert_cost(&line["langspan"]["cost"], 0.25);
        assert_eq!(line["langspan"].get("cost_computed"), None);
    }
}

#[test]
fn the_first_answers_wait_for_the_prices() {
    // The prices come once all answers are sent.
    let (sandbox, gate) = (Arc::new(Sandbox::start()), Gate::default());
    let langfuse = Scripted::in_front_of(&sandbox, {
        let gate = gate.clone();
        move |request, _| {
            if request.path.starts_with(MODELS) {
                gate.wait();
            }
            None
        }
    });
    let model = Scripted::start(move |_, count| {
        if count == 3 {
            gate.open();
        }
        answer()
    });
    let options = ["-j", "4", "-O", "out.jsonl"];
    let ended = batch(&prompts(4), &model, &langfuse, &options).run();
    ended.code(0);
    for line in out(&ended) {
        assert_cost(&line["langspan"]["cost"], ONE);
    }
}

#[test]
fn a_model_without_a_price_counts_as_zero_and_is_named_once() {
    let model = Scripted::start(|request, _| {
        let mut body = of_mini();
        if line_of(request).is_multiple_of(2) {
            body["model"] = "my-own-model".into();
        }
        Reply::json(200, &body)
    });
    let Priced {
        model,
        langfuse,
        sandbox: _,
    } = &priced_with(model);
    let options = ["-O", "out.jsonl", "--summary", "s.json"];
    let ended = batch(&prompts(6), model, langfuse, &options).run();
    ended.code(0).stderr_has(
        "warning: some costs are not known and count as $0: the price table has no model my-own-model\n",
    );
    assert_eq!(
        ended.stderr.matches("my-own-model").count(),
        1,
        "{ended:#?}"
    );
    assert_cost(&summary(&ended)["cost"], 3.0 * ONE);
    let lines = by_number_in(&ended.home().join("out.jsonl"));
    assert_eq!(lines[&2]["langspan"].get("cost"), None);
    assert_cost(&lines[&1]["langspan"]["cost"], ONE);
}

#[test]
fn max_cost_ends_the_run_and_counts_what_the_output_holds() {
    let Priced {
        model,
        langfuse,
        sandbox: _,
    } = &priced();
    let options = ["-j", "1", "-O", "out.jsonl", "--summary", "s.json"];
    let limit = (2.5 * ONE).to_string();
    let call = batch(&prompts(5), model, langfuse, &options).arg("--max-cost");
    let ended = call.clone().arg(&limit).run();
    ended
        .code(8)
        .stderr_has("error: stopped early: --max-cost $0.0000605625 reached, the run has cost $0.000072675 so far\n")
        .stderr_has("hint: raise --max-cost, then continue with: langspan batch in.jsonl -j 1 ")
        .stderr_has("--resume");
    assert_eq!(numbers(&out(&ended)), [1, 2, 3]);
    assert_eq!(model.count(), 3);
    assert_eq!(traces_at(langfuse).len(), 3);

    // The same limit is reached before any call.
    let ended = call.clone().arg(&limit).arg("--resume").run();
    ended
        .code(8)
        .stderr_has("--max-cost $0.0000605625 reached")
        .stderr_has("3 lines: 3 answered, 0 failed; 3 of them completed earlier\n");
    assert_eq!(summary(&ended)["lines"]["done"], 3);
    assert_eq!(model.count(), 3);

    let ended = call.clone().arg("$1").arg("--resume").run();
    ended.code(0);
    assert_eq!(model.count(), 5);
    assert_cost(&summary(&ended)["cost"], 5.0 * ONE);
    assert_eq!(lines_in(&call.home().join("out.jsonl")).len(), 5);
}

#[test]
fn a_server_without_prices_is_worth_a_warning_only_with_max_cost() {
    let model = Scripted::start(|_, _| answer());
    let sandbox = Arc::new(Sandbox::start());
    let langfuse = Scripted::in_front_of(&sandbox, |request, _| {
        let is_models = request.path.starts_with(MODELS);
        is_models.then(|| Reply::json(403, &json!({"message": "no prices for you"})))
    });
    let ended = batch(&prompts(2), &model, &langfuse, &["-O", "out.jsonl"]).run();
    ended.code(0).stderr_lacks("price").stderr_lacks("warning:");
    let options = ["-O", "out.jsonl", "--max-cost", "5"];
    let ended = batch(&prompts(2), &model, &langfuse, &options).run();
    ended
        .code(0)
        .stderr_has("warning: --max-cost only counts what the endpoint states: ")
        .stderr_has("no prices for you");
}

/// A rebuilt trace must equal the one that was lost: without an explicit cost.
#[test]
fn a_computed_cost_is_not_sent_by_a_resumed_run() {
    let Priced {
        model,
        langfuse,
        sandbox,
    } = &priced();
    let refusing = Scripted::in_front_of(sandbox, |request, _| {
        let is_export = request.path.ends_with("/v1/traces");
        is_export.then(|| Reply::json(401, &json!({"message": "No."})))
    });
    let options = ["-O", "out.jsonl", "--resume", "--run", "r", "--no-outbox"];
    let call = batch(&prompts(2), model, &refusing, &options);
    call.run().code(5);
    let ended = call.langfuse_at(langfuse.url()).run();
    ended.code(0).stderr_has(", $0.00004845\n");
    let traces = traces_at(langfuse);
    assert_eq!(traces.len(), 2);
    for trace in traces {
        assert_eq!(
            attribute(&trace.generation, "langfuse.observation.cost_details"),
            None
        );
    }
}

#[test]
fn max_cost_is_an_amount_of_dollars() {
    for wrong in ["0", "-1", "x", "inf", "NaN"] {
        let call = batch("", &Scripted::model("hi"), &Scripted::model("hi"), &[]);
        call.arg("--max-cost")
            .arg(wrong)
            .run()
            .code(2)
            .stderr_has("expected US dollars, greater than 0, as in 2.50");
    }
}
