//! Stdout and stderr on one terminal: each message on a line of its own, and no line that is wrapped in a word.

use crate::support::harness::Langspan;
use crate::support::stand_in::Sandbox;
use crate::support::terminal::on_a_terminal;

fn call(arguments: &[&str], sandbox: &Sandbox) -> Langspan {
    Langspan::new(arguments).at(sandbox).env("TERM", "dumb")
}

#[test]
fn a_warning_during_an_answer_begins_a_line() {
    let sandbox = Sandbox::start();
    let call = call(&["chat", "Hello"], &sandbox).env("LANGSPAN_OUTBOX", "/dev/null/outbox");
    let screen = on_a_terminal(&call, 80, 24, true);
    assert_eq!(screen.code, Some(0), "{screen:?}");
    assert!(
        screen.text.contains("”.\nwarning: the outbox"),
        "{screen:?}"
    );
    assert!(screen.text.contains("is lost\ntrace: "), "{screen:?}");
}

#[test]
fn a_message_below_a_raw_answer_begins_a_line() {
    let sandbox = Sandbox::start();
    let call = call(&["chat", "Hello", "-o", "raw", "--no-stream"], &sandbox);
    let screen = on_a_terminal(&call, 80, 24, true);
    assert_eq!(screen.code, Some(0), "{screen:?}");
    assert!(screen.text.contains("}\ntrace: "), "{screen:?}");
    // In a pipe, the bytes are those of the provider.
    assert!(call.run().code(0).stdout.ends_with('}'));
}

#[test]
fn answers_of_a_batch_are_not_mixed_with_its_progress() {
    let sandbox = Sandbox::start();
    let call = call(&["batch"], &sandbox);
    let file = call.file("in.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n");
    let call = call.arg(file.to_str().unwrap());
    let screen = on_a_terminal(&call, 80, 24, true);
    assert_eq!(screen.code, Some(0), "{screen:?}");
    assert!(screen.text.starts_with("{\"id\""), "{screen:?}");
    assert!(screen.text.contains("}\n2 lines: "), "{screen:?}");
}

#[test]
fn a_stage_of_the_check_is_not_broken_within_a_word() {
    let sandbox = Sandbox::start();
    let call = call(&["check"], &sandbox).env("LANGFUSE_SECRET_KEY", "sk-lf-wrong");
    let screen = on_a_terminal(&call, 80, 24, true);
    assert_eq!(screen.code, Some(3), "{screen:?}");
    for line in screen.text.lines() {
        // A URL is not broken.
        assert!(
            line.chars().count() <= 80 || line.contains("http"),
            "{line}"
        );
    }
    let indent = " ".repeat(29);
    let hint = format!(
        "\n{indent}check the key pair (LANGFUSE_PUBLIC_KEY,\n{indent}LANGFUSE_SECRET_KEY); "
    );
    assert!(screen.text.contains(&hint), "{screen:?}");
    // In a pipe, a stage is one line and its remedy another.
    let piped = call.run();
    assert!(
        piped
            .stdout
            .contains("(LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY); ")
    );
}

#[test]
fn a_wait_for_the_trace_is_said_on_a_terminal() {
    // The note comes after two seconds.
    let sandbox = Sandbox::start_with(&["--visible-after", "4000"]);
    let call = call(&["chat", "--verify", "Hello"], &sandbox);
    let screen = on_a_terminal(&call, 80, 24, true);
    assert_eq!(screen.code, Some(0), "{screen:?}");
    let note = "\nwaiting until the trace can be read, 60 s at most …\nverified: ";
    assert!(screen.text.contains(note), "{screen:?}");
    call.run().code(0).stderr_lacks("waiting until");
}
