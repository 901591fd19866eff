//! Options, environment, file and default, and which one wins.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::{INGEST, accept, with_arguments};
use crate::support::export::Export;
use crate::support::harness::{Langspan, Scripted, dead_url};
use crate::support::untouched::Untouched;

#[test]
fn options_override_environment_override_file_override_default() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    for (arguments, variable, line, expected) in [
        (
            vec!["-m", "of-flag"],
            "of-environment",
            "LANGSPAN_MODEL=of-file",
            "of-flag",
        ),
        (
            vec![],
            "of-environment",
            "LANGSPAN_MODEL=of-file",
            "of-environment",
        ),
        (vec![], "", "LANGSPAN_MODEL=of-file", "of-file"),
        (vec![], "", "", "gpt-4o-mini"),
    ] {
        let call = Langspan::new(&["chat", "--env-file", "my.env", "Hello"])
            .model_at(model.url())
            .langfuse_at(langfuse.url());
        call.file("my.env", line);
        let call = if variable.is_empty() {
            call
        } else {
            call.env("LANGSPAN_MODEL", variable)
        };
        with_arguments(call, &arguments).run().code(0);
        let body = model.requests().pop().unwrap().json();
        assert_eq!(body["model"], expected);
    }
}

#[test]
fn a_file_can_hold_every_setting() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let call = Langspan::new(&["chat", "--env-file", "my.env", "Hello"]);
    call.file(
        "my.env",
        format!(
            "# the team's settings\nexport LANGFUSE_PUBLIC_KEY=pk-lf-of-file\nLANGFUSE_SECRET_KEY=\"sk-lf-of-file\"\n\
             LANGFUSE_BASE_URL={}\nOPENAI_BASE_URL={}\nOPENAI_API_KEY=sk-model-of-file\nLANGSPAN_USER='u 1'\n",
            langfuse.url(),
            model.url()
        ),
    );
    call.run().code(0).stdout("hi\n").stderr_lacks("of-file");
    let export = Export::only(&langfuse, INGEST);
    assert_eq!(export.spans()[0]["langfuse.user.id"], "u 1");
    assert_eq!(
        model.requests()[0].header("authorization"),
        "Bearer sk-model-of-file"
    );
}

#[test]
fn a_dotenv_file_is_not_read_but_mentioned_when_settings_are_missing() {
    let server = Untouched::start();
    let call = || {
        let call = Langspan::new(&["chat", "Hello"]);
        call.file(
            ".env",
            format!(
                "LANGFUSE_BASE_URL={0}\nLANGFUSE_PUBLIC_KEY=pk-lf-1\nLANGFUSE_SECRET_KEY=sk-lf-1\nOPENAI_BASE_URL={0}\nOPENAI_API_KEY=k\n",
                server.url()
            ),
        );
        call
    };
    let keys = |call: Langspan, public: &str, secret: &str| {
        call.env("LANGFUSE_PUBLIC_KEY", public)
            .env("LANGFUSE_SECRET_KEY", secret)
    };
    for (what, call) in [
        ("no keys", call().env("OPENAI_API_KEY", "k")),
        (
            "half a pair",
            call()
                .env("OPENAI_API_KEY", "k")
                .env("LANGFUSE_PUBLIC_KEY", "pk-lf-1"),
        ),
        ("no model key", keys(call(), "pk-lf-1", "sk-lf-1")),
        (
            "swapped keys",
            keys(call().env("OPENAI_API_KEY", "k"), "sk-lf-1", "pk-lf-1"),
        ),
    ] {
        let ended = call.run();
        assert_eq!(ended.code, Some(3), "{what}: {ended:#?}");
        assert!(ended.stderr.contains("--env-file"), "{what}: {ended:#?}");
    }
    server.assert_untouched();
}

#[test]
fn without_a_dotenv_file_the_remedy_does_not_mention_one() {
    let ended = Langspan::new(&["chat", "Hello"])
        .model_at(&dead_url())
        .run();
    ended.code(3).stderr_lacks("--env-file");
}

#[test]
fn a_variable_that_is_not_utf8_is_an_error_that_names_it() {
    let value = OsStr::from_bytes(b"http://x\xe4");
    for name in [
        "LANGFUSE_BASE_URL",
        "OPENAI_BASE_URL",
        "LANGSPAN_MODEL",
        "CI_COMMIT_SHA",
    ] {
        let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
        let call = Langspan::new(&["chat", "Hello"])
            .model_at(model.url())
            .langfuse_at(langfuse.url());
        let ended = call.ended(&call.command().env(name, value).output().unwrap());
        ended
            .code(3)
            .stderr_has(&format!("{name} is not UTF-8 text"));
        assert_eq!((model.count(), langfuse.count()), (0, 0), "{name}");
    }
}

#[test]
fn variables_of_other_programs_and_paths_may_be_of_any_bytes() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let call = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    let outbox = call.home().join(OsStr::from_bytes(b"out\xe4"));
    let output = call
        .command()
        .env("LANGSPAN_OUTBOX", &outbox)
        .env("LS_COLORS", OsStr::from_bytes(b"\xff"))
        .output();
    call.ended(&output.unwrap()).code(0);
    assert!(outbox.is_dir());
}

#[test]
fn an_env_file_may_begin_with_a_byte_order_mark_and_must_be_utf8() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let call = Langspan::new(&["chat", "--env-file", "my.env", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    call.file("my.env", b"\xef\xbb\xbfLANGSPAN_MODEL=marked\nA=b\n");
    call.run().code(0);
    assert_eq!(model.requests().pop().unwrap().json()["model"], "marked");

    call.file("my.env", b"A=b\nexport LANGFUSE_HOST=http://x\xe4\n");
    let ended = call.run();
    ended
        .code(3)
        .stderr_has("LANGFUSE_HOST in my.env is not UTF-8 text");
    assert_eq!(model.count(), 1);
}
