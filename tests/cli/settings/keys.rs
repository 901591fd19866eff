//! Langfuse keys.

use super::{INGEST, accept};
use crate::support::harness::{Langspan, Scripted};
use crate::support::stand_in::Sandbox;
use crate::support::untouched::Untouched;

#[test]
fn half_a_key_pair_is_refused_naming_the_missing_variable() {
    for (set, value, missing) in [
        ("LANGFUSE_PUBLIC_KEY", "pk-lf-1", "LANGFUSE_SECRET_KEY"),
        ("LANGFUSE_SECRET_KEY", "sk-lf-1", "LANGFUSE_PUBLIC_KEY"),
    ] {
        let server = Untouched::start();
        let ended = Langspan::new(&["chat", "Hello"])
            .model_at(server.url())
            .env("LANGFUSE_BASE_URL", server.url())
            .env(set, value)
            .run();
        ended
            .code(3)
            .stdout("")
            .stderr_has(missing)
            .stderr_lacks(&format!("{set} "));
        server.assert_untouched();
    }
}

#[test]
fn an_empty_key_counts_as_missing() {
    let server = Untouched::start();
    for missing in ["LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"] {
        let call = Langspan::new(&["chat", "Hello"])
            .model_at(server.url())
            .langfuse_at(server.url());
        call.env(missing, "")
            .run()
            .code(3)
            .stdout("")
            .stderr_has(missing);
    }
    server.assert_untouched();
}

#[test]
fn swapped_keys_are_refused() {
    let server = Untouched::start();
    for (public, secret, why) in [
        ("sk-lf-1", "pk-lf-1", "the Langfuse keys are swapped\n"),
        (
            "sk-lf-1",
            "sk-lf-1",
            "the public key of Langfuse begins with sk-lf-",
        ),
        (
            "pk-lf-1",
            "pk-lf-1",
            "the secret key of Langfuse begins with pk-lf-",
        ),
    ] {
        let ended = Langspan::new(&["chat", "Hello"])
            .model_at(server.url())
            .langfuse_at(server.url())
            .env("LANGFUSE_PUBLIC_KEY", public)
            .env("LANGFUSE_SECRET_KEY", secret)
            .run();
        ended.code(3).stdout("").stderr_has(why);
    }
    server.assert_untouched();
}

#[test]
fn quotes_around_a_key_are_named() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let ended = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .env("LANGFUSE_BASE_URL", langfuse.url())
        .env("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
        .env("LANGFUSE_SECRET_KEY", "\"sk-lf-1\"")
        .run();
    ended.code(0).stderr_has(
        "warning: the secret key (LANGFUSE_SECRET_KEY) is in quotes, which count as a part of it: remove them\n",
    );
    assert_eq!(ended.stderr.matches("warning:").count(), 1, "{ended:#?}");
}

#[test]
fn an_unusual_prefix_is_only_a_warning() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let ended = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .env("LANGFUSE_BASE_URL", langfuse.url())
        .env("LANGFUSE_PUBLIC_KEY", "our-public-key")
        .env("LANGFUSE_SECRET_KEY", "our-secret-key")
        .run();
    ended
        .code(0)
        .stdout("hi\n")
        .stderr_has("warning:")
        .stderr_has("pk-lf-");
    assert_eq!(langfuse.requests_to(INGEST).len(), 1);
}

#[test]
fn an_otlp_header_that_holds_no_key_pair_is_named() {
    for value in ["Basic !!!", "Bearer x", "garbage", "Basic cGstbGYtMTo="] {
        let ended = Langspan::new(&["chat", "hi"])
            .env(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "http://127.0.0.1:9/api/public/otel",
            )
            .env(
                "OTEL_EXPORTER_OTLP_HEADERS",
                &format!("Authorization={value}"),
            )
            .run();
        ended
            .code(3)
            .stderr_has("the Authorization in OTEL_EXPORTER_OTLP_HEADERS")
            .stderr_has("base64 -w0");
    }
}

#[test]
fn an_otlp_header_that_base64_broke_into_lines_is_whole_again() {
    let sandbox = Sandbox::start();
    let authorization = sandbox.authorization();
    let (begin, end) = authorization.split_at(26);
    Langspan::new(&["chat", "hi"])
        .model_at(&format!("{}/v1", sandbox.url()))
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("{}/api/public/otel", sandbox.url()),
        )
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            &format!("Authorization={begin}\n{end}\n"),
        )
        .run()
        .code(0);
}
