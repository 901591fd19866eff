//! Where each setting comes from, and what it does: files and variables, the kill switches, sampling, CI facts, the
//! model's endpoint, the resource, and the dry run.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::export::Export;
use crate::support::harness::{Ended, Langspan, Reply, Request, Scripted, completion, dead_url};
use crate::support::otlp::Servers;
use crate::support::stand_in::Sandbox;
use crate::support::untouched::Untouched;

const INGEST: &str = "/api/public/otel/v1/traces";
const ID: &str = "0af7651916cd43dd8448eb211c80319c";

fn accept(_: &Request, _: usize) -> Reply {
    Reply::json(200, &json!({}))
}

fn with(call: Langspan, variables: &[(&str, &str)]) -> Langspan {
    variables
        .iter()
        .fold(call, |call, (name, value)| call.env(name, value))
}

fn with_arguments(call: Langspan, arguments: &[&str]) -> Langspan {
    arguments
        .iter()
        .fold(call, |call, argument| call.arg(argument))
}

/// What a call with these arguments and variables sent.
#[track_caller]
fn sent(arguments: &[&str], variables: &[(&str, &str)]) -> Export {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let call = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    with_arguments(with(call, variables), arguments)
        .run()
        .code(0);
    Export::only(&langfuse, INGEST)
}

/// What the model was asked by a call with these arguments and variables.
#[track_caller]
fn asked(arguments: &[&str], variables: &[(&str, &str)]) -> Request {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let call = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    with_arguments(with(call, variables), arguments)
        .run()
        .code(0);
    let [request] = model.requests().try_into().unwrap();
    request
}

fn dry_run(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let call = Langspan::new(&["chat", "--dry-run", "Hello"]).langfuse_at(&dead_url());
    with_arguments(with(call, variables), arguments).run()
}

// Sources

#[test]
fn a_flag_beats_the_environment_that_beats_the_file_that_beats_the_default() {
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
fn a_dotenv_is_never_read_unasked_but_named_when_settings_are_missing() {
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
fn without_a_dotenv_the_remedy_does_not_speak_of_one() {
    let ended = Langspan::new(&["chat", "Hello"])
        .model_at(&dead_url())
        .run();
    ended.code(3).stderr_lacks("--env-file");
}

// Keys

#[test]
fn half_a_key_pair_is_refused_by_the_name_of_the_missing_half() {
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
fn an_empty_key_is_none() {
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
    for (public, secret) in [
        ("sk-lf-1", "pk-lf-1"),
        ("sk-lf-1", "sk-lf-1"),
        ("pk-lf-1", "pk-lf-1"),
    ] {
        let ended = Langspan::new(&["chat", "Hello"])
            .model_at(server.url())
            .langfuse_at(server.url())
            .env("LANGFUSE_PUBLIC_KEY", public)
            .env("LANGFUSE_SECRET_KEY", secret)
            .run();
        ended.code(3).stdout("").stderr_has("swapped");
    }
    server.assert_untouched();
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

// Kill switches and sampling

#[test]
fn a_kill_switch_leaves_the_answer_and_sends_no_trace() {
    for (name, value) in [
        ("LANGFUSE_TRACING_ENABLED", "false"),
        ("LANGFUSE_TRACING_ENABLED", "False"),
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_SDK_DISABLED", "TRUE"),
    ] {
        let (model, langfuse) = (Scripted::model("hi"), Untouched::start());
        let call = |form: &str| {
            Langspan::new(&["chat", "-o", form, "Hello"])
                .model_at(model.url())
                .env("LANGFUSE_BASE_URL", langfuse.url())
                .env(name, value)
        };
        // Even without keys, which are wanted for nothing.
        call("text").run().code(0).stdout("hi\n");
        let ended = call("json").langfuse_at(langfuse.url()).run();
        ended.code(0);
        let document = ended.json();
        assert_eq!(
            (&document["ok"], &document["trace"]["delivery"]),
            (&json!(true), &json!("disabled")),
            "{name}={value}"
        );
        assert!(ended.outbox_files().is_empty());
        langfuse.assert_untouched();
    }
}

#[test]
fn a_kill_switch_that_is_not_pulled_changes_nothing() {
    for (name, value) in [
        ("LANGFUSE_TRACING_ENABLED", "true"),
        ("OTEL_SDK_DISABLED", "false"),
    ] {
        assert_eq!(sent(&[], &[(name, value)]).spans().len(), 2);
    }
}

#[test]
fn a_call_that_is_sampled_out_sends_no_trace() {
    for (arguments, variables, exports) in [
        (vec!["--sample", "0"], vec![], 0),
        (vec![], vec![("LANGFUSE_SAMPLE_RATE", "0")], 0),
        (vec![], vec![("LANGFUSE_SAMPLE_RATE", "0.0")], 0),
        (
            vec!["--sample", "1"],
            vec![("LANGFUSE_SAMPLE_RATE", "0")],
            1,
        ),
        (
            vec!["--sample", "0"],
            vec![("LANGFUSE_SAMPLE_RATE", "1")],
            0,
        ),
    ] {
        let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
        let call = Langspan::new(&["chat", "-o", "json", "Hello"])
            .model_at(model.url())
            .langfuse_at(langfuse.url());
        let ended = with_arguments(with(call, &variables), &arguments).run();
        ended.code(0);
        let delivery = if exports == 0 {
            "sampled_out"
        } else {
            "accepted"
        };
        let document = ended.json();
        assert_eq!(
            document["trace"]["delivery"], delivery,
            "{arguments:?} {variables:?}"
        );
        assert_eq!(document["response"]["text"], "hi");
        assert_eq!(langfuse.requests_to(INGEST).len(), exports);
        assert!(ended.outbox_files().is_empty());
    }
}

#[test]
fn where_no_trace_was_accepted_there_is_no_url() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    for (name, value) in [
        ("LANGFUSE_TRACING_ENABLED", "false"),
        ("LANGFUSE_SAMPLE_RATE", "0"),
    ] {
        let call = Langspan::new(&["chat", "-o", "url", "Hello"]).env(name, value);
        call.model_at(model.url())
            .langfuse_at(langfuse.url())
            .run()
            .code(0)
            .stdout("");
    }
}

#[test]
fn a_failed_call_outside_the_sample_has_a_whole_link() {
    let servers = Servers::with(Scripted::always(Reply::json(
        400,
        &json!({"error": {"message": "no"}}),
    )));
    let ended = servers.call(&["chat", "--sample", "0", "Hello"]).run();
    ended
        .code(4)
        .stderr_has("/project/")
        .stderr_lacks("warning");
}

#[test]
fn the_model_is_told_of_no_trace_that_there_will_not_be() {
    for (sample, is_told) in [("0", false), ("1", true)] {
        let servers = Servers::answering("hi");
        servers
            .call(&["chat", "--sample", sample, "Hello"])
            .run()
            .code(0);
        let batch = servers.call(&["batch", "-", "--sample", sample]);
        batch.stdin(r#"{"prompt":"Hello"}"#).run().code(0);
        for asked in servers.asked() {
            assert_eq!(!asked.header("traceparent").is_empty(), is_told);
        }
    }
}

#[test]
fn the_trace_id_decides_who_is_sampled() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let delivery = |seed: &str| {
        let call = Langspan::new(&[
            "chat",
            "-o",
            "json",
            "--sample",
            "0.5",
            "--trace-seed",
            seed,
            "Hello",
        ]);
        let ended = call.model_at(model.url()).langfuse_at(langfuse.url()).run();
        ended.code(0).json()["trace"]["delivery"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let seeds = || (0..12).map(|number| delivery(&format!("seed {number}")));
    let first: Vec<String> = seeds().collect();
    assert_eq!(first, seeds().collect::<Vec<_>>());
    let kinds: BTreeSet<&str> = first.iter().map(String::as_str).collect();
    assert_eq!(kinds, BTreeSet::from(["accepted", "sampled_out"]));
}

#[test]
fn failures_are_kept_whatever_the_sample() {
    let langfuse = Scripted::langfuse(accept);
    let model = Scripted::always(Reply::json(500, &json!({"error": {"message": "broken"}})));
    let ended = Langspan::new(&[
        "chat",
        "--sample",
        "0",
        "--retries",
        "0",
        "-o",
        "json",
        "Hello",
    ])
    .model_at(model.url())
    .langfuse_at(langfuse.url())
    .run();
    ended.code(4);
    assert_eq!(ended.json()["trace"]["delivery"], "accepted");
    assert_eq!(Export::only(&langfuse, INGEST).spans().len(), 2);
}

#[test]
fn a_rate_that_is_none_is_refused() {
    let server = Untouched::start();
    for rate in ["1.5", "-0.1", "half", "NaN"] {
        let call = || {
            Langspan::new(&["chat", "Hello"])
                .model_at(server.url())
                .langfuse_at(server.url())
        };
        call()
            .arg(&format!("--sample={rate}"))
            .run()
            .code(2)
            .stdout("");
        call()
            .env("LANGFUSE_SAMPLE_RATE", rate)
            .run()
            .code(3)
            .stdout("")
            .stderr_has("LANGFUSE_SAMPLE_RATE");
    }
    server.assert_untouched();
}

// Who, what, where from

#[test]
fn user_session_and_tags_come_from_the_environment() {
    let variables = [
        ("LANGSPAN_USER", "u-env"),
        ("LANGSPAN_SESSION", "s-env"),
        ("LANGSPAN_TAGS", "a,b"),
    ];
    for (arguments, user, session, tags) in [
        (vec![], "u-env", "s-env", json!(["a", "b"])),
        (vec!["-u", "u1"], "u1", "s-env", json!(["a", "b"])),
        (vec!["-S", "s1"], "u-env", "s1", json!(["a", "b"])),
        // Replaced, not extended.
        (vec!["-t", "c"], "u-env", "s-env", json!(["c"])),
    ] {
        for span in sent(&arguments, &variables).spans() {
            let seen = ["langfuse.user.id", "langfuse.session.id", "langfuse.tags"]
                .map(|key| span[key].clone());
            assert_eq!(
                seen,
                [json!(user), json!(session), tags.clone()],
                "{arguments:?}"
            );
        }
    }
}

#[test]
fn no_tags_are_no_attribute() {
    for span in sent(&[], &[]).spans() {
        assert!(!span.contains_key("langfuse.tags"));
    }
}

/// The variables of the CI services, and the job's URL that they make.
const SERVICES: [(&[(&str, &str)], &str); 4] = [
    (
        &[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SHA", "c0ffee"),
            ("GITHUB_REF_NAME", "main-branch"),
            ("GITHUB_ACTOR", "the-actor"),
            ("GITHUB_SERVER_URL", "https://git.example"),
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_RUN_ID", "17"),
        ],
        "https://git.example/o/r/actions/runs/17",
    ),
    (
        &[
            ("GITLAB_CI", "true"),
            ("CI_COMMIT_SHA", "c0ffee"),
            ("CI_COMMIT_REF_NAME", "main-branch"),
            ("CI_COMMIT_BRANCH", "main-branch"),
            ("CI_JOB_URL", "https://git.example/jobs/17"),
            ("GITLAB_USER_LOGIN", "the-actor"),
        ],
        "https://git.example/jobs/17",
    ),
    (
        &[
            ("BUILDKITE", "true"),
            ("BUILDKITE_COMMIT", "c0ffee"),
            ("BUILDKITE_BRANCH", "main-branch"),
            ("BUILDKITE_BUILD_URL", "https://build.example/17"),
            ("BUILDKITE_BUILD_CREATOR", "the-actor"),
        ],
        "https://build.example/17",
    ),
    (
        &[
            ("CIRCLECI", "true"),
            ("CIRCLE_SHA1", "c0ffee"),
            ("CIRCLE_BRANCH", "main-branch"),
            ("CIRCLE_BUILD_URL", "https://circle.example/17"),
            ("CIRCLE_USERNAME", "the-actor"),
        ],
        "https://circle.example/17",
    ),
];

#[test]
fn ci_facts_of_four_services_become_metadata() {
    for (variables, job) in SERVICES {
        for span in sent(&["--ci"], variables).spans() {
            let facts = metadata(&span);
            for fact in ["c0ffee", "main-branch", "the-actor"] {
                assert!(
                    facts.iter().any(|value| value == fact),
                    "{fact} is missing: {facts:?}"
                );
            }
            assert!(
                facts.iter().any(|value| value.starts_with(job)),
                "{job} is missing: {facts:?}"
            );
        }
        // Only when asked for.
        for span in sent(&[], variables).spans() {
            assert!(metadata(&span).is_empty(), "{span:?}");
        }
    }
}

#[test]
fn outside_of_ci_there_are_no_facts() {
    for span in sent(&["--ci", "--metadata", "k=v"], &[]).spans() {
        assert_eq!(metadata(&span), ["v"]);
    }
}

fn metadata(span: &serde_json::Map<String, Value>) -> Vec<String> {
    let values = span
        .iter()
        .filter(|(key, _)| key.starts_with("langfuse.trace.metadata."));
    values
        .map(|(_, value)| value.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_will_surprise_is_warned_of_and_sent() {
    let long = "v".repeat(201);
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    for (arguments, said) in [
        (["-u", &long], "200"),
        (["-S", &long], "200"),
        (["-t", &long], "200"),
        (["-n", &long], "200"),
        (["--metadata", &format!("k={long}")], "200"),
        (["--public", "--no-stream"], "link"),
    ] {
        let call = Langspan::new(&["chat", "Hello"])
            .model_at(model.url())
            .langfuse_at(langfuse.url());
        let ended = with_arguments(call, &arguments).run();
        ended
            .code(0)
            .stdout("hi\n")
            .stderr_has("warning:")
            .stderr_has(said);
    }
    // 200 characters are no surprise, however many bytes they take.
    let just = "ü".repeat(200);
    let call = Langspan::new(&["chat", "-u", &just, "Hello"]);
    let ended = call.model_at(model.url()).langfuse_at(langfuse.url()).run();
    ended.code(0).stderr_lacks("warning:");
}

#[test]
fn environment_and_release_stand_on_the_resource() {
    let longest = "e".repeat(40);
    for (arguments, variables, environment) in [
        (vec!["--environment", "prod-1_x"], vec![], "prod-1_x"),
        (vec!["--environment", &longest], vec![], &longest),
        (
            vec![],
            vec![("LANGFUSE_TRACING_ENVIRONMENT", "staging")],
            "staging",
        ),
        (
            vec!["--environment", "prod"],
            vec![("LANGFUSE_TRACING_ENVIRONMENT", "staging")],
            "prod",
        ),
    ] {
        let resource = sent(&arguments, &variables).resource();
        assert_eq!(resource["langfuse.environment"], environment);
    }
    let resource = sent(&[], &[]).resource();
    assert!(!resource.contains_key("langfuse.release"), "{resource:?}");
}

#[test]
fn an_environment_that_the_server_would_not_keep_is_refused() {
    let server = Untouched::start();
    let too_long = "e".repeat(41);
    for environment in ["Prod", "prod eu", "prod.eu", "prod/eu", "größe", &too_long] {
        let call = || {
            Langspan::new(&["chat", "Hello"])
                .model_at(server.url())
                .langfuse_at(server.url())
        };
        let ended = call().arg("--environment").arg(environment).run();
        ended.code(2).stdout("").stderr_has("environment");
        let ended = call()
            .env("LANGFUSE_TRACING_ENVIRONMENT", environment)
            .run();
        assert!(matches!(ended.code, Some(2 | 3)), "{ended:#?}");
    }
    server.assert_untouched();
}

#[test]
fn the_release_falls_back_to_the_commit_variables_in_the_order_of_the_sdk() {
    let mut order = [
        "LANGFUSE_RELEASE",
        "RENDER_GIT_COMMIT",
        "CI_COMMIT_SHA",
        "CIRCLE_SHA1",
        "SOURCE_VERSION",
        "TRAVIS_COMMIT",
        "GIT_COMMIT",
        "GITHUB_SHA",
        "BITBUCKET_COMMIT",
        "BUILD_SOURCEVERSION",
        "DRONE_COMMIT_SHA",
    ]
    .map(|name| (name, name))
    .to_vec();
    let flag = sent(&["--release", "of-flag"], &order);
    assert_eq!(flag.resource()["langfuse.release"], "of-flag");
    while let Some(&(first, _)) = order.first() {
        assert_eq!(sent(&[], &order).resource()["langfuse.release"], first);
        order.remove(0);
    }
}

#[test]
fn the_resource_is_what_the_otel_variables_say() {
    let attributes = "service.name=of-attributes,team=red%20and%20blue, service.namespace = shop ";
    let resource = sent(&[], &[("OTEL_RESOURCE_ATTRIBUTES", attributes)]).resource();
    let seen = ["service.name", "team", "service.namespace"].map(|key| resource[key].clone());
    assert_eq!(seen, ["of-attributes", "red and blue", "shop"]);
    let both = [
        ("OTEL_RESOURCE_ATTRIBUTES", attributes),
        ("OTEL_SERVICE_NAME", "of-name"),
    ];
    let resource = sent(&[], &both).resource();
    assert_eq!(
        (&resource["service.name"], &resource["team"]),
        (&json!("of-name"), &json!("red and blue"))
    );
}

// Variables for scripts

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

// The model's endpoint

#[test]
fn the_first_rule_that_applies_chooses_the_model_endpoint() {
    let flag: &[&str] = &["--openai-base-url", "https://flag.example/v1"];
    let base = ("OPENAI_BASE_URL", "https://base.example/v1");
    let azure = ("AZURE_OPENAI_ENDPOINT", "https://res.openai.azure.com");
    let keys = [
        ("OPENAI_API_KEY", "sk-of-openai"),
        ("AZURE_OPENAI_API_KEY", "key-of-azure"),
    ];
    for (arguments, variables, url) in [
        (
            flag,
            vec![base, azure],
            "https://flag.example/v1/chat/completions",
        ),
        (
            &[],
            vec![base, azure],
            "https://base.example/v1/chat/completions",
        ),
        (&[], vec![azure], "https://res.openai.azure.com/openai/"),
        (&[], vec![], "https://api.openai.com/v1/chat/completions"),
    ] {
        let variables = [variables, keys.to_vec()].concat();
        dry_run(arguments, &variables)
            .code(0)
            .stderr_lacks("error:");
        let ended = dry_run(arguments, &variables);
        assert!(ended.stdout.contains(url), "{url}: {ended:#?}");
    }
}

#[test]
fn openai_variables_become_headers() {
    let request = asked(
        &["-H", "X-Team: blue"],
        &[
            ("OPENAI_API_KEY", "sk-of-openai"),
            ("OPENAI_ORG_ID", "org-1"),
            ("OPENAI_PROJECT_ID", "proj-1"),
        ],
    );
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/chat/completions")
    );
    let seen = [
        "authorization",
        "openai-organization",
        "openai-project",
        "x-team",
        "api-key",
    ]
    .map(|name| request.header(name));
    assert_eq!(seen, ["Bearer sk-of-openai", "org-1", "proj-1", "blue", ""]);
}

#[test]
fn a_base_url_is_completed() {
    for (given, path) in [
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/openai/v1", "/openai/v1/chat/completions"),
    ] {
        let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
        let call = Langspan::new(&["chat", "Hello"]).langfuse_at(langfuse.url());
        call.model_at(&format!("{}{given}", model.url()))
            .run()
            .code(0);
        assert_eq!(model.requests()[0].path, path);
    }
}

#[test]
fn elsewhere_no_key_is_no_authorization() {
    assert!(!asked(&[], &[]).headers.contains_key("authorization"));
}

#[test]
fn openai_and_azure_want_a_key_before_anything_is_sent() {
    let langfuse = Untouched::start();
    for (variables, missing) in [
        (vec![], "OPENAI_API_KEY"),
        (
            vec![("OPENAI_BASE_URL", "https://api.openai.com/v1")],
            "OPENAI_API_KEY",
        ),
        (
            vec![("AZURE_OPENAI_ENDPOINT", "https://res.openai.azure.com")],
            "AZURE_OPENAI_API_KEY",
        ),
    ] {
        let call = Langspan::new(&["chat", "Hello"]).langfuse_at(langfuse.url());
        with(call, &variables)
            .run()
            .code(3)
            .stdout("")
            .stderr_has(missing);
    }
    langfuse.assert_untouched();
}

#[test]
fn a_recording_needs_no_model_key() {
    let langfuse = Scripted::langfuse(accept);
    let call = Langspan::new(&["replay", "recording.json"]).langfuse_at(langfuse.url());
    let recording = json!({
        "request": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]},
        "response": completion("hi"),
        "start_time": "2026-01-02T03:04:05Z",
        "end_time": "2026-01-02T03:04:06Z",
    });
    call.file("recording.json", recording.to_string());
    call.run().code(0).stdout("hi\n");
    assert_eq!(langfuse.requests_to(INGEST).len(), 1);
}

#[test]
fn azure_is_asked_in_its_own_way() {
    let langfuse = Scripted::langfuse(accept);
    for (version, path) in [
        (
            vec![("OPENAI_API_VERSION", "2024-10-21")],
            "/openai/deployments/my-model/chat/completions?api-version=2024-10-21",
        ),
        (vec![], "/openai/v1/chat/completions"),
    ] {
        let model = Scripted::model("hi");
        let call = Langspan::new(&["chat", "-m", "my-model", "--max-tokens", "9", "Hello"])
            .langfuse_at(langfuse.url())
            .env("AZURE_OPENAI_ENDPOINT", &format!("{}/", model.url()))
            .env("AZURE_OPENAI_API_KEY", "key-of-azure")
            .env("OPENAI_API_KEY", "sk-of-openai");
        with(call, &version).run().code(0).stdout("hi\n");
        let [request] = model.requests().try_into().unwrap();
        assert_eq!(request.path, path);
        assert_eq!(
            (request.header("api-key"), request.header("authorization")),
            ("key-of-azure", "")
        );
        let body = request.json();
        assert_eq!(
            (&body["max_completion_tokens"], &body["max_tokens"]),
            (&json!(9), &Value::Null)
        );
    }
}

#[test]
fn the_limit_of_tokens_has_the_name_that_the_endpoint_knows() {
    let body = asked(&["--max-tokens", "9"], &[]).json();
    assert_eq!(
        (&body["max_tokens"], &body["max_completion_tokens"]),
        (&json!(9), &Value::Null)
    );
    let ended = dry_run(
        &["--max-tokens", "9", "-o", "json"],
        &[("OPENAI_API_KEY", "sk-of-openai")],
    );
    ended.code(0);
    let text = ended.stdout.clone();
    assert!(text.contains("\"max_completion_tokens\":9"), "{text}");
    assert!(!text.contains("\"max_tokens\""), "{text}");
}

// The dry run

#[test]
fn a_dry_run_shows_everything_and_opens_no_socket() {
    let (model, langfuse, collector) = (Untouched::start(), Untouched::start(), Untouched::start());
    for form in ["text", "json"] {
        let call = Langspan::new(&[
            "chat",
            "--dry-run",
            "-o",
            form,
            "-u",
            "user-1",
            "-t",
            "tag-1",
            "--temperature",
            "0.25",
        ])
        .arg("--trace-id")
        .arg(ID)
        .arg("--env-file")
        .arg("my.env")
        .arg("What is shown?")
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .env("OPENAI_API_KEY", "sk-never-to-be-shown")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
        call.file("my.env", "LANGSPAN_MODEL=model-of-file");
        let ended = call.run();
        ended.code(0);
        for shown in [
            // The request,
            &format!("{}/chat/completions", model.url()),
            "model-of-file",
            "0.25",
            "What is shown?",
            // the spans,
            "chat-completion",
            "chat model-of-file",
            "user-1",
            "tag-1",
            ID,
            // the destination,
            &format!("{}{INGEST}", langfuse.url()),
            // and where each setting came from.
            "LANGFUSE_BASE_URL",
            "LANGFUSE_PUBLIC_KEY",
            "LANGFUSE_SECRET_KEY",
            "OPENAI_BASE_URL",
            "LANGSPAN_MODEL",
            "my.env",
        ] {
            assert!(
                ended.stdout.contains(shown),
                "{form} does not show {shown:?}: {ended:#?}"
            );
        }
        if form == "json" {
            ended.json();
        }
        assert!(ended.outbox_files().is_empty());
    }
    for server in [model, langfuse, collector] {
        server.assert_untouched();
    }
}

type Words = &'static [&'static str];
type Variables = &'static [(&'static str, &'static str)];

/// Arguments, variables, and the origins that are named then.
const ORIGINS: [(Words, Variables, Words); 12] = [
    (&["-m", "m"], &[], &["--model"]),
    (
        &["--langfuse-base-url", "https://h.example"],
        &[],
        &["--langfuse-base-url"],
    ),
    (
        &["--openai-base-url", "https://h.example"],
        &[],
        &["--openai-base-url"],
    ),
    (
        &["--otlp-endpoint", "https://h.example"],
        &[],
        &["--otlp-endpoint"],
    ),
    (
        &["-u", "u"],
        &[("LANGSPAN_SESSION", "s")],
        &["--user", "LANGSPAN_SESSION"],
    ),
    (
        &[],
        &[("LANGSPAN_USER", "u"), ("LANGSPAN_TAGS", "a")],
        &["LANGSPAN_USER", "LANGSPAN_TAGS"],
    ),
    (
        &[],
        &[
            ("LANGFUSE_TRACING_ENVIRONMENT", "e"),
            ("GITHUB_SHA", "c0ffee"),
        ],
        &["LANGFUSE_TRACING_ENVIRONMENT", "GITHUB_SHA"],
    ),
    (
        &[],
        &[("LANGSPAN_UI_URL", "https://h.example")],
        &["LANGSPAN_UI_URL"],
    ),
    (
        &[],
        &[("OPENAI_API_KEY", "sk-of-openai")],
        &["OPENAI_API_KEY"],
    ),
    (
        &[],
        &[("LANGFUSE_SAMPLE_RATE", "0.5")],
        &["LANGFUSE_SAMPLE_RATE"],
    ),
    (
        &[],
        &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")],
        &["OTEL_EXPORTER_OTLP_PROTOCOL"],
    ),
    (
        &[],
        &[("LANGFUSE_TRACING_ENABLED", "false")],
        &["LANGFUSE_TRACING_ENABLED"],
    ),
];

#[test]
fn a_dry_run_names_the_origin_of_every_setting_that_it_took() {
    let mut unnamed: Vec<&str> = Vec::new();
    for (arguments, variables, origins) in ORIGINS {
        let key = ("OPENAI_API_KEY", "sk-of-openai");
        let ended = dry_run(arguments, &[&[key], variables].concat());
        ended.code(0);
        unnamed.extend(
            origins
                .iter()
                .filter(|origin| !ended.stdout.contains(**origin)),
        );
    }
    assert!(unnamed.is_empty(), "not named: {unnamed:?}");
}

#[test]
fn a_dry_run_of_a_replay_opens_no_socket() {
    let (model, langfuse) = (Untouched::start(), Untouched::start());
    let call = Langspan::new(&["replay", "--dry-run", "body.json"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    call.file(
        "body.json",
        r#"{"messages":[{"role":"user","content":"Hello"}],"x_own":1.50}"#,
    );
    let ended = call.run();
    ended.code(0);
    for shown in ["x_own", "1.50", "gpt-4o-mini"] {
        assert!(ended.stdout.contains(shown), "{shown}: {ended:#?}");
    }
    model.assert_untouched();
    langfuse.assert_untouched();
}

#[test]
fn a_dry_run_in_the_sandbox_opens_no_socket_and_keeps_no_trace() {
    let server = Untouched::start();
    for form in ["text", "json"] {
        let ended = Langspan::new(&["chat", "--sandbox", "--dry-run", "-o", form, "Hello"])
            .model_at(server.url())
            .langfuse_at(server.url())
            .run();
        ended.code(0);
        assert!(
            ended.stdout.contains("127.0.0.1") && ended.stdout.contains("Hello"),
            "{ended:#?}"
        );
        assert!(!ended.stdout.contains(server.url()), "{ended:#?}");
        assert!(!ended.home().join(".local").exists(), "{ended:#?}");
    }
    server.assert_untouched();
}

#[test]
fn a_sandbox_needs_and_uses_nothing_of_the_environment() {
    let server = Untouched::start();
    let url = server.url();
    for variables in [
        vec![],
        vec![
            ("LANGFUSE_BASE_URL", url),
            ("LANGFUSE_HOST", url),
            ("LANGSPAN_UI_URL", url),
        ],
        vec![("OPENAI_BASE_URL", url), ("OPENAI_API_KEY", "sk-of-openai")],
        vec![("AZURE_OPENAI_ENDPOINT", url), ("OPENAI_API_VERSION", "1")],
        vec![
            ("LANGFUSE_PUBLIC_KEY", "sk-lf-1"),
            ("LANGFUSE_SECRET_KEY", "pk-lf-1"),
        ],
        vec![("LANGFUSE_PUBLIC_KEY", "pk-lf-1")],
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ],
        vec![
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=blue"),
        ],
        vec![
            ("LANGFUSE_BASE_URL", "not a url"),
            ("OPENAI_BASE_URL", "not a url"),
        ],
    ] {
        let call = Langspan::new(&["chat", "--sandbox", "--verify", "Hello"]);
        let ended = with(call, &variables).run();
        ended
            .code(0)
            .stderr_has("trace: http://127.0.0.1:4390/project/sandbox/traces/")
            .stderr_has("langspan sandbox");
        assert!(ended.stdout.contains("“Hello”"), "{ended:#?}");
    }
    server.assert_untouched();
}

#[test]
fn the_variable_of_the_outputs_form_leaves_commands_without_an_answer_alone() {
    let sandbox = Sandbox::start();
    for form in ["url", "raw"] {
        for verb in ["check", "resend"] {
            let call = Langspan::new(&[verb])
                .at(&sandbox)
                .env("LANGSPAN_OUTPUT", form);
            call.run().code(0);
            let ended = Langspan::new(&[verb, "-o", form]).at(&sandbox).run();
            ended.code(2).stderr_has("prints text or json");
        }
    }
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
