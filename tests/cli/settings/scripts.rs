//! Variables that choose output, verification and best effort.

use serde_json::{Value, json};

use super::accept;
use crate::support::harness::{Langspan, Reply, Scripted};
use crate::support::stand_in::Sandbox;

#[test]
fn the_form_of_the_output_comes_from_the_environment() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let call = |form: &str| {
        Langspan::new(&["chat", "Hello"])
            .model_at(model.url())
            .langfuse_at(langfuse.url())
            .env("LANGSPAN_OUTPUT", form)
    };
    call("text").run().code(0).stdout("hi\n");
    assert_eq!(call("json").run().code(0).json()["response"]["text"], "hi");
    assert!(call("url").run().code(0).stdout.starts_with(langfuse.url()));
    assert_eq!(
        call("raw").run().code(0).json()["object"],
        "chat.completion"
    );
    call("json")
        .arg("-o")
        .arg("text")
        .run()
        .code(0)
        .stdout("hi\n");
    assert_eq!(call("text").arg("--json").run().code(0).json()["ok"], true);
    let earlier = model.requests().len();
    call("yaml")
        .run()
        .code(3)
        .stdout("")
        .stderr_has("LANGSPAN_OUTPUT");
    assert_eq!(model.requests().len(), earlier);
}

#[test]
fn verification_comes_from_the_environment() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["chat", "-o", "json", "Hello"]).at(&sandbox);
    assert_eq!(call.run().code(0).json()["trace"]["verified"], Value::Null);
    let call = call.env("LANGSPAN_VERIFY", "1");
    assert_eq!(call.run().code(0).json()["trace"]["verified"], true);
}

#[test]
fn best_effort_comes_from_the_environment() {
    let model = Scripted::model("hi");
    let langfuse =
        Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "Invalid credentials."})));
    let call = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    call.run().code(5);
    let ended = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .env("LANGSPAN_BEST_EFFORT", "1")
        .run();
    ended
        .code(0)
        .stdout("hi\n")
        .stderr_has("warning:")
        .stderr_has("401");
    assert_eq!(ended.kept().len(), 1);
}

#[test]
fn with_best_effort_missing_keys_are_a_warning_and_the_spans_wait() {
    let model = Scripted::model("hi");
    for call in [
        Langspan::new(&["chat", "--best-effort", "Hello"]),
        Langspan::new(&["chat", "Hello"]).env("LANGSPAN_BEST_EFFORT", "1"),
        Langspan::new(&["chat", "--best-effort", "Hello"]).env("LANGFUSE_PUBLIC_KEY", "pk-lf-1"),
    ] {
        let ended = call.model_at(model.url()).run();
        ended
            .code(0)
            .stdout("hi\n")
            .stderr_has("warning:")
            .stderr_has("LANGFUSE_SECRET_KEY");
        assert_eq!(ended.kept().len(), 1);
    }
}

#[test]
fn the_output_variable_does_not_affect_commands_without_an_answer() {
    let sandbox = Sandbox::start();
    for form in ["url", "raw"] {
        for verb in ["check", "resend"] {
            let call = Langspan::new(&[verb])
                .at(&sandbox)
                .env("LANGSPAN_OUTPUT", form);
            call.run().code(0);
            let ended = Langspan::new(&[verb, "-o", form]).at(&sandbox).run();
            ended.code(2).stderr_has("expected text or json");
        }
    }
}
