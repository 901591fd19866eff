//! Prompts that Langfuse manages: `--prompt` of `chat` and `batch`, and `langspan prompt`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::harness::{Langspan, Reply, Request, Scripted, dead_url};
use crate::support::stand_in::Sandbox;

const PROMPTS: &str = "/api/public/v2/prompts";

fn create(sandbox: &Sandbox, prompt: &Value) {
    let answer = sandbox.post(
        PROMPTS,
        &[("content-type", "application/json")],
        prompt.to_string(),
    );
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// The messages that a dry run of these arguments would send; the prompt was read once before.
fn request(sandbox: &Sandbox, arguments: &[&str], stdin: Option<&str>) -> Value {
    let model = Scripted::model("Hi");
    let mut call = Langspan::new(&[&["chat", "-q"], arguments].concat())
        .model_at(model.url())
        .langfuse_at(sandbox.url());
    if let Some(stdin) = stdin {
        call = call.stdin(stdin);
    }
    call.run().code(0);
    model.requests()[0].json()
}

#[test]
fn a_text_prompt_becomes_one_user_message_and_the_generation_is_linked() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&[
        "chat",
        "--prompt",
        "answer",
        "--var",
        "topic=tracing",
        "--verify",
    ]);
    let ended = call.at(&sandbox).run();
    ended.code(0).stderr_has("verified: the trace can be read");
    assert!(
        ended.stdout.contains("“Explain tracing in one sentence.”"),
        "{ended:#?}"
    );
    let rows = sandbox.observations(&ended.trace_id());
    let of = |kind: &str| rows.iter().find(|row| row["type"] == kind).unwrap();
    let generation = of("GENERATION");
    assert_eq!(
        (&generation["promptName"], &generation["promptVersion"]),
        (&json!("answer"), &json!(1))
    );
    assert_eq!(generation["modelParameters"], json!({"temperature": 0.2}));
    assert_eq!(of("SPAN")["promptName"], "");
}

#[test]
fn what_is_typed_and_piped_follows_the_prompt() {
    let sandbox = Sandbox::start();
    let prompt = ["--prompt", "answer", "--var", "topic=x"];
    let typed = [&prompt[..], &["Briefly,", "please"]].concat();
    let body = request(&sandbox, &typed, Some("a pipe\n"));
    let text = "Explain x in one sentence.\n\nBriefly, please\n\na pipe";
    assert_eq!(body["messages"], json!([{"role": "user", "content": text}]));
    let body = request(&sandbox, &prompt, Some(""));
    assert_eq!(body["messages"][0]["content"], "Explain x in one sentence.");
    let body = request(&sandbox, &prompt, Some("only a pipe"));
    assert_eq!(
        body["messages"][0]["content"],
        "Explain x in one sentence.\n\nonly a pipe"
    );
}

#[test]
fn a_chat_prompt_takes_messages_variables_from_files_and_a_last_message() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&[]);
    let vars = call.file("vars.json", r#"{"product": "overridden", "history": [{"role": "assistant", "content": "{{question}}"}]}"#);
    let question = call.file("question.txt", "Why?\n");
    let arguments = [
        "--prompt",
        "support",
        "--vars",
        vars.to_str().unwrap(),
        "--var",
        "product=langspan",
        "--var",
        &format!("question=@{}", question.display()),
        "And how?",
    ];
    let body = request(&sandbox, &arguments, None);
    assert_eq!(
        body["messages"],
        json!([
            {"role": "system", "content": "You answer questions about langspan, in a friendly tone."},
            {"role": "assistant", "content": "{{question}}"},
            {"role": "user", "content": "Why?"},
            {"role": "user", "content": "And how?"},
        ])
    );
    let history = r#"history:=[{"role":"user","content":"Hi"}]"#;
    let arguments = [
        "--prompt",
        "support",
        "--var",
        "product=a",
        "--var",
        "question=b",
        "--var",
        history,
    ];
    assert_eq!(
        request(&sandbox, &arguments, None)["messages"][1]["content"],
        "Hi"
    );
}

#[test]
fn an_option_goes_before_the_configuration_and_that_before_the_environment() {
    let sandbox = Sandbox::start();
    let config = json!({
        "model": "of-config", "temperature": 0.2, "top_p": 0.5, "notes": "for people", "tools": [], "tool_choice": "auto",
        "messages": "no", "stream": true,
    });
    create(
        &sandbox,
        &json!({"name": "p", "prompt": "q", "labels": ["production"], "config": config}),
    );
    let model = Scripted::model("Hi");
    let call = Langspan::new(&["chat", "-q", "--no-stdin", "--prompt", "p"])
        .model_at(model.url())
        .langfuse_at(sandbox.url())
        .env("LANGSPAN_MODEL", "of-environment");
    call.run().code(0);
    call.arg("--temperature")
        .arg("1")
        .arg("-m")
        .arg("of-option")
        .run()
        .code(0);
    let bodies: Vec<Value> = model.requests().iter().map(Request::json).collect();
    assert_eq!(
        bodies[0],
        json!({"model": "of-config", "messages": [{"role": "user", "content": "q"}], "temperature": 0.2, "top_p": 0.5})
    );
    assert_eq!(
        (&bodies[1]["model"], &bodies[1]["temperature"]),
        (&json!("of-option"), &json!(1))
    );
}

#[test]
fn labels_versions_and_folders_are_found() {
    let sandbox = Sandbox::start();
    let name = "team/a greeting";
    create(
        &sandbox,
        &json!({"name": name, "prompt": "one", "labels": ["production"]}),
    );
    create(
        &sandbox,
        &json!({"name": name, "prompt": "two", "labels": ["staging"]}),
    );
    for (reference, text) in [
        (name.to_owned(), "one"),
        (format!("{name}@staging"), "two"),
        (format!("{name}@latest"), "two"),
        (format!("{name}:1"), "one"),
    ] {
        let body = request(&sandbox, &["--no-stdin", "--prompt", &reference], None);
        assert_eq!(body["messages"][0]["content"], text, "{reference}");
    }
}

#[test]
fn unknown_prompts_are_the_servers_words_and_exit_2() {
    let sandbox = Sandbox::start();
    let model = Scripted::model("Hi");
    for (reference, words) in [
        ("nope", "Prompt not found: 'nope' with label 'production'"),
        (
            "answer@nope",
            "Prompt not found: 'answer' with label 'nope'",
        ),
        ("answer:9", "Prompt not found: 'answer' with version 9"),
    ] {
        let call = Langspan::new(&["chat", "--no-stdin", "--prompt", reference]);
        let ended = call.model_at(model.url()).langfuse_at(sandbox.url()).run();
        ended
            .code(2)
            .stdout("")
            .stderr_has(words)
            .stderr_has("langspan prompt lists");
    }
    assert_eq!(model.count(), 0);
}

#[test]
fn variables_are_named_when_they_are_missing_or_unused() {
    let sandbox = Sandbox::start();
    let call = |arguments: &[&str]| {
        Langspan::new(&[&["chat", "--no-stdin"], arguments].concat())
            .at(&sandbox)
            .run()
    };
    let missing = call(&["--prompt", "answer"]);
    missing
        .code(2)
        .stderr_has("needs the variable `topic`")
        .stderr_has("--var KEY=TEXT");
    let placeholder = call(&[
        "--prompt",
        "support",
        "--var",
        "product=a",
        "--var",
        "question=b",
    ]);
    placeholder
        .code(2)
        .stderr_has("messages for the placeholder `history`")
        .stderr_has("--var KEY:=JSON messages");
    let unused = call(&["--prompt", "answer", "--var", "topic=a", "--var", "topik=b"]);
    unused
        .code(0)
        .stderr_has("the prompt `answer` has no variable `topik`");
    for (arguments, why) in [
        (&["--var", "a=b", "Hi"][..], "--prompt"),
        (&["--prompt", "answer", "--var", "topic"], "KEY=VALUE"),
        (&["--prompt", "", "Hi"], "NAME@LABEL"),
        (&["--prompt", "answer:x"], "version"),
        (
            &[
                "--prompt",
                "support",
                "--thread",
                "t.json",
                "--vars",
                "none.json",
            ],
            "none.json",
        ),
    ] {
        let ended = call(arguments);
        assert!(matches!(ended.code, Some(2 | 6)), "{ended:#?}");
        ended.stderr_has(why);
    }
}

/// A server that refuses prompts with a status, in front of a sandbox.
fn refusing(sandbox: &Arc<Sandbox>, status: u16) -> Scripted {
    Scripted::in_front_of(sandbox, move |request, _| {
        request
            .path
            .starts_with(PROMPTS)
            .then(|| Reply::json(status, &json!({"message": "no prompts now"})))
    })
}

#[test]
fn a_kept_copy_is_used_only_while_langfuse_is_down() {
    let sandbox = Arc::new(Sandbox::start());
    let model = Scripted::model("Hi");
    let arguments = [
        "chat",
        "--no-stdin",
        "--prompt",
        "answer",
        "--var",
        "topic=x",
        "--no-outbox",
    ];
    let call = Langspan::new(&arguments).model_at(model.url());
    // Each server of a test has another address, so the copies are moved to the folder of the next one.
    let folder = call.home().join(".cache/langspan/prompts");
    let first = call.clone().langfuse_at(sandbox.url());
    first.run().code(0);
    let name = |url: &str| url.trim_start_matches("http://").replace(':', "%3A");
    let kept = std::fs::read_dir(&folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let copy_for = |url: &str| {
        let target = folder.join(name(url)).join("pk-lf-sandbox");
        std::fs::create_dir_all(&target).unwrap();
        let file = "answer%40production.json";
        std::fs::copy(kept.join("pk-lf-sandbox").join(file), target.join(file)).unwrap();
    };
    for (status, code) in [(500, 0), (503, 0), (401, 3), (403, 3)] {
        let server = refusing(&sandbox, status);
        copy_for(server.url());
        let before = model.count();
        let ended = call.clone().langfuse_at(server.url()).run();
        ended.code(code).stderr_has("no prompts now");
        assert_eq!(model.count() - before, usize::from(code == 0), "{ended:#?}");
        if code == 0 {
            ended.stderr_has("the kept copy of the prompt answer@production is used, version 1");
            let strict = call
                .clone()
                .langfuse_at(server.url())
                .arg("--no-prompt-cache")
                .run();
            strict.code(5).stdout("");
        }
    }
    let unknown = Langspan::new(&["chat", "--no-stdin", "--prompt", "other"]).model_at(model.url());
    let dead = unknown.langfuse_at(&dead_url()).run();
    dead.code(5).stdout("").stderr_has("no answer from");
}

#[test]
fn a_dry_run_uses_the_copy_and_asks_nobody() {
    let sandbox = Arc::new(Sandbox::start());
    let server = Scripted::in_front_of(&sandbox, |_, _| None);
    let arguments = [
        "chat",
        "--no-stdin",
        "--prompt",
        "answer",
        "--var",
        "topic=x",
    ];
    let call = Langspan::new(&arguments)
        .model_at(server.url())
        .langfuse_at(server.url());
    call.clone()
        .arg("--dry-run")
        .run()
        .code(2)
        .stderr_has("no copy of the prompt");
    assert_eq!(server.count(), 0);
    call.clone()
        .env("OPENAI_BASE_URL", &format!("{}/v1", sandbox.url()))
        .run()
        .code(0);
    let before = server.count();
    let dry = call.arg("--dry-run").arg("-o").arg("json").run();
    dry.code(0);
    assert!(
        dry.stdout.contains("Explain x in one sentence."),
        "{dry:#?}"
    );
    assert_eq!(server.count(), before);
}

#[test]
fn prompts_need_a_langfuse() {
    let plain = Langspan::new(&["chat", "--no-stdin", "--prompt", "answer"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &dead_url())
        .env("OPENAI_BASE_URL", &dead_url());
    plain
        .run()
        .code(3)
        .stderr_has("a plain OTLP backend has no prompts");
    let off = plain
        .clone()
        .without("OTEL_EXPORTER_OTLP_ENDPOINT")
        .env("LANGFUSE_TRACING_ENABLED", "false");
    off.run().code(3).stderr_has("tracing is off");
}

#[test]
fn a_recording_keeps_the_link() {
    let sandbox = Sandbox::start();
    let arguments = [
        "chat",
        "--no-stdin",
        "--prompt",
        "answer",
        "--var",
        "topic=x",
        "--record",
        "r.jsonl",
    ];
    let chat = Langspan::new(&arguments).at(&sandbox);
    chat.run().code(0);
    let other = Sandbox::start();
    let replay = Langspan::new(&["replay", "r.jsonl", "--verify"])
        .beside(&chat)
        .at(&other)
        .run();
    replay.code(0);
    let rows = other.observations(&replay.trace_id());
    assert!(
        rows.iter()
            .any(|row| row["promptName"] == "answer" && row["promptVersion"] == 1)
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn lines_of_a_batch_fill_the_prompt_with_their_own_variables() {
    let sandbox = Sandbox::start();
    let arguments = [
        "batch",
        "in.jsonl",
        "--prompt",
        "answer",
        "--var",
        "topic=all",
        "--out",
        "out.jsonl",
        "--ordered",
        "--verify",
    ];
    let call = Langspan::new(&arguments).at(&sandbox);
    call.file(
        "in.jsonl",
        "{\"vars\":{\"topic\":\"one\",\"more\":1},\"id\":1}\n{\"id\":2,\"prompt\":\"Now.\",\"temperature\":0.9}\n\
         {\"messages\":[]}\n{\"vars\":[]}\n{\"vars\":{\"topic\":\"five\"},\"trace\":{\"user\":\"ada\"}}\n",
    );
    let ended = call.run();
    ended
        .code(8)
        .stderr_has("line 1 has variables that the prompt does not have: more");
    let out = std::fs::read_to_string(ended.home().join("out.jsonl")).unwrap();
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let answer = |line: &Value| {
        line["response"]["body"]["choices"][0]["message"]["content"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert!(answer(&lines[0]).contains("Explain one in"));
    assert!(answer(&lines[1]).contains("Explain all in one sentence. Now."));
    assert!(
        lines[2]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("--prompt")
    );
    assert!(
        lines[3]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("`vars` must be an object")
    );
    for line in [&lines[0], &lines[1], &lines[4]] {
        let rows = sandbox.observations(line["langspan"]["trace_id"].as_str().unwrap());
        assert!(
            rows.iter()
                .any(|row| row["promptName"] == "answer" && row["promptVersion"] == 1)
        );
    }
    let without = Langspan::new(&["batch", "-"])
        .stdin("{\"vars\":{}}")
        .at(&sandbox)
        .run();
    assert!(
        without
            .stdout
            .contains("variables (`vars`) need a prompt: --prompt NAME"),
        "{without:#?}"
    );
}

#[test]
fn a_run_is_not_resumed_with_another_version() {
    let sandbox = Sandbox::start();
    let arguments = [
        "batch",
        "in.jsonl",
        "--prompt",
        "answer",
        "--out",
        "out.jsonl",
    ];
    let call = Langspan::new(&arguments).at(&sandbox);
    call.file("in.jsonl", "{\"vars\":{\"topic\":\"one\"}}\n");
    call.run().code(0);
    create(
        &sandbox,
        &json!({"name": "answer", "prompt": "{{topic}}!", "labels": ["production"]}),
    );
    call.clone()
        .arg("--resume")
        .run()
        .code(2)
        .stderr_has("was written with prompt answer:1, not answer:2");
}

#[test]
fn prompts_are_listed_and_printed() {
    let sandbox = Sandbox::start();
    let call = |arguments: &[&str]| {
        Langspan::new(&[&["prompt"], arguments].concat())
            .at(&sandbox)
            .run()
    };
    call(&[]).code(0).stdout(
        "answer   text  versions: 1  labels: latest, production, staging\n\
         support  chat  versions: 1  labels: latest, production\n",
    );
    let one = call(&["answer"]);
    one.code(0)
        .stdout("Explain {{topic}} in one sentence.\n")
        .stderr_has("answer, version 1 (production, staging, latest)");
    call(&["support"]).code(0).stdout(
        "system: You answer questions about {{product}}, in a friendly tone.\n\n[messages: history]\n\nuser: {{question}}\n",
    );
    let document = call(&["answer:1", "-o", "json"]).json();
    assert_eq!(document["prompt"]["config"], json!({"temperature": 0.2}));
    let list = call(&["--json"]).json();
    assert_eq!(list["prompts"][1]["name"], "support");
    call(&["nope"]).code(2).stderr_has("Prompt not found");
    let refused = Langspan::new(&["prompt"])
        .at(&sandbox)
        .env("LANGFUSE_SECRET_KEY", "sk-lf-another-key");
    refused.run().code(3).stderr_has("Invalid credentials");
}
