//! `langspan models`, and the hints about models and base URLs that are not found.

use serde_json::json;

use crate::support::harness::{Langspan, Reply, Request, Scripted, dead_url};
use crate::support::stand_in::Sandbox;

const LIST: &str = r#"{"object":"list","data":[{"id":"gpt-b"},{"id":"a-mini"},{"id":"GPT-mini"}]}"#;

fn listing(request: &Request, _: usize) -> Reply {
    match request.path.as_str() {
        "/v1/models" => Reply::Answer(200, "application/json", LIST.to_owned()),
        _ => Reply::json(404, &json!({"detail": "Not Found"})),
    }
}

fn models(url: &str) -> Langspan {
    Langspan::new(&["models", "--openai-base-url", url])
}

#[test]
fn ids_are_sorted_and_filtered_and_need_no_langfuse() {
    let server = Scripted::start(listing);
    let call = models(&format!("{}/v1", server.url())).env("OPENAI_API_KEY", "sk-0123456789ab");
    call.run().code(0).stdout("GPT-mini\na-mini\ngpt-b\n");
    let request = &server.requests()[0];
    assert_eq!(request.header("authorization"), "Bearer sk-0123456789ab");
    assert_eq!(request.method, "GET");
    call.clone()
        .arg("MINI")
        .run()
        .code(0)
        .stdout("GPT-mini\na-mini\n");
    call.clone()
        .arg("x")
        .run()
        .code(0)
        .stdout("")
        .stderr_has("no model matches");
    let ended = call.arg("-o").arg("json").run();
    ended.code(0).stdout(&format!("{LIST}\n"));
}

#[test]
fn the_endpoint_may_come_from_the_settings_file() {
    let server = Scripted::start(listing);
    let call = Langspan::new(&["models", "--profile", "a"]);
    let folder = call.home().join(".config/langspan");
    std::fs::create_dir_all(&folder).unwrap();
    let settings = format!("[profile.a]\nopenai_base_url = '{}/v1'", server.url());
    std::fs::write(folder.join("config.toml"), settings).unwrap();
    call.run().code(0);
}

#[test]
fn what_goes_wrong_is_the_models_failure_with_a_remedy() {
    let of = |status, body: &str| {
        Scripted::always(Reply::Answer(status, "application/json", body.to_owned()))
    };
    for (server, cause, remedy) in [
        (
            of(401, r#"{"error":{"message":"bad key"}}"#),
            "401",
            "OPENAI_API_KEY",
        ),
        (of(404, "{}"), "404", "does not list its models"),
        (of(405, "{}"), "405", "does not list its models"),
        (of(200, "<html>"), "not a list of models", "most end in /v1"),
        (of(500, "{}"), "500", "hint: "),
    ] {
        let ended = models(&format!("{}/v1", server.url())).run();
        ended
            .code(4)
            .stdout("")
            .stderr_has(cause)
            .stderr_has(remedy);
        assert_eq!(ended.stderr.lines().count(), 2, "{ended:#?}");
    }
    models(&dead_url())
        .run()
        .code(4)
        .stderr_has("no connection");
    let hanging = Scripted::always(Reply::Hang);
    let ended = models(hanging.url()).arg("--timeout").arg("0.3").run();
    ended.code(4).stderr_has("no answer in time");
    Langspan::new(&["models"])
        .run()
        .code(3)
        .stderr_has("OPENAI_API_KEY");
}

#[test]
fn a_base_url_that_is_not_found_proposes_the_right_one() {
    let (server, langfuse) = (
        Scripted::start(listing),
        Scripted::langfuse(|_, _| Reply::json(200, &json!({}))),
    );
    let url = server.url();
    for base in [
        url.to_owned(),
        format!("{url}/chat/completions"),
        format!("{url}/v1/chat/completions"),
    ] {
        let before = server.requests_to("/v1/models").len();
        let ended = Langspan::new(&["chat", "Hello"])
            .model_at(&base)
            .langfuse_at(langfuse.url())
            .run();
        ended.code(4);
        ended.stderr_has(&format!(
            "set the base URL to {url}/v1: {url}/v1/models answers"
        ));
        assert_eq!(server.requests_to("/v1/models").len(), before + 1);
        assert_eq!(ended.stderr.matches("hint: ").count(), 1, "{ended:#?}");
    }
    models(url)
        .run()
        .code(4)
        .stderr_has(&format!("set the base URL to {url}/v1"));
    let silent = Scripted::always(Reply::json(404, &json!({})));
    let ended = Langspan::new(&["chat", "Hello"])
        .model_at(silent.url())
        .langfuse_at(langfuse.url())
        .run();
    ended
        .code(4)
        .stderr_has(&format!("{}/v1/models does not list models", silent.url()));
    assert_eq!(silent.count(), 2);
}

#[test]
fn a_model_that_is_not_found_names_the_command_that_lists_them() {
    let langfuse = Scripted::langfuse(|_, _| Reply::json(200, &json!({})));
    for (status, body) in [
        (
            404,
            json!({"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}),
        ),
        (404, json!({"error": "model 'x' not found"})),
        (
            400,
            json!({"error": {"message": "x is not a valid model ID"}}),
        ),
        (
            400,
            json!({"error": {"message": "Invalid model name passed in model=x"}}),
        ),
        (404, json!({})),
    ] {
        let server = Scripted::always(Reply::json(status, &body));
        let ended = Langspan::new(&["chat", "-m", "x", "Hello"])
            .model_at(&format!("{}/v1", server.url()))
            .langfuse_at(langfuse.url())
            .run();
        ended.code(4).stderr_has("langspan models");
    }
}

#[test]
fn https_to_a_port_that_speaks_http_says_so() {
    let sandbox = Sandbox::start();
    let https = sandbox.url().replace("http://", "https://");
    let says = "does not speak https: write http://";
    models(&https).run().code(4).stderr_has(says);
    let ended = Langspan::new(&["check", "--no-write"])
        .langfuse_at(&https)
        .run();
    ended.code(5);
    assert!(ended.stdout.contains(says), "{ended:#?}");
    let chat = Langspan::new(&["chat", "Hello"]).model_at(&format!("{}/v1", sandbox.url()));
    chat.langfuse_at(&https).run().code(5).stderr_has(says);
}
