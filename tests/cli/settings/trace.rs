//! User, session, tags, CI facts, environment and release.

use serde_json::{Value, json};

use super::{accept, sent, with_arguments};
use crate::support::harness::{Langspan, Scripted};
use crate::support::untouched::Untouched;

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
fn without_tags_there_is_no_attribute() {
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
fn surprising_values_are_warned_about_and_sent() {
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
fn environment_and_release_are_on_the_resource() {
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
fn the_release_falls_back_to_commit_variables_in_sdk_order() {
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
