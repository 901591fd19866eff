//! Failed lines, and which failure decides the exit code.

use serde_json::json;

use super::{answer, refusal, refusing, servers};
use crate::support::batch::batch_of;
use crate::support::batch::gate::send;
use crate::support::batch::output::{lines, summary};
use crate::support::batch::servers::line_of;
use crate::support::harness::{Ended, Reply, Scripted, wait_until};
use crate::support::otlp::Servers;

#[test]
fn allow_errors_permits_a_number_or_share_but_never_all() {
    const TWO: &[u64] = &[3, 7];
    const ALL: &[u64] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    for (failing, allowed, code) in [
        (TWO, None, 8),
        (TWO, Some("0"), 8),
        (TWO, Some("1"), 8),
        (TWO, Some("2"), 0),
        (TWO, Some("19%"), 8),
        (TWO, Some("19.9%"), 8),
        (TWO, Some("20%"), 0),
        (TWO, Some("100%"), 0),
        (&[], Some("0%"), 0),
        (ALL, Some("10"), 8),
        (ALL, Some("100%"), 8),
    ] {
        let servers = refusing(failing);
        let mut call = batch_of(&servers, 10, &["--summary", "summary.json"]);
        if let Some(allowed) = allowed {
            call = call.arg("--allow-errors").arg(allowed);
        }
        let ended = call.run();
        assert_eq!(ended.code, Some(code), "{allowed:?}: {ended:#?}");
        assert_eq!(lines(&ended.stdout).len(), 10);
        let summary = summary(&ended);
        assert_eq!(summary["ok"], code == 0, "{allowed:?}: {summary}");
        assert_eq!(summary["lines"]["failed"], failing.len());
        if code == 8 {
            let said = format!("{} of 10 lines failed", failing.len());
            ended.stderr_has(&said);
            assert_eq!(summary["error"]["exit_code"], 8);
            assert_eq!(summary["error"]["kind"], "model");
        } else {
            ended.stderr_lacks("error:");
        }
    }
}

#[test]
fn invalid_numbers_of_lines_are_refused() {
    for (option, value) in [
        ("--allow-errors", "some"),
        ("--allow-errors", "-1"),
        ("--allow-errors", "101%"),
        ("--allow-errors", "NaN%"),
        ("--max-errors", "0"),
        ("--rpm", "0"),
        ("--concurrency", "0"),
    ] {
        let servers = servers(|_, _| answer());
        batch_of(&servers, 3, &[&format!("{option}={value}")])
            .run()
            .code(2);
        assert_eq!(
            servers.model.count() + servers.langfuse.count(),
            0,
            "{option} {value}"
        );
    }
}

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    /// A line fails.
    Line,
    /// Langfuse refuses the spans.
    Refused,
    /// The recording cannot be written.
    Recording,
    /// Traces that were accepted cannot be read.
    Unreadable,
}

fn befallen(troubles: &'static [Trouble]) -> Ended {
    use Trouble::{Line, Recording, Refused, Unreadable};
    let model = Scripted::start(move |request, _| {
        if troubles.contains(&Line) && line_of(request) == 1 {
            refusal(400, "no")
        } else {
            answer()
        }
    });
    let langfuse = Scripted::start(move |request, _| match request.path.split('?').next() {
        Some("/api/public/projects") => Reply::json(200, &json!({"data": [{"id": "p1"}]})),
        Some("/api/public/v2/metrics") => {
            let row = json!({"uniq_traceId": "0", "count_count": "0"});
            Reply::json(200, &json!({"data": [row]}))
        }
        Some(path) if path.starts_with("/api/public/v2") => {
            Reply::json(200, &json!({"data": [], "meta": {}}))
        }
        _ if troubles.contains(&Refused) => {
            Reply::json(401, &json!({"message": "Invalid credentials."}))
        }
        _ => Reply::json(200, &json!({})),
    });
    let servers = Servers { model, langfuse };
    let mut call = batch_of(&servers, 4, &["-O", "out.jsonl", "-o", "json"]);
    if troubles.contains(&Recording) {
        call = call.arg("--record").arg("/dev/full");
    }
    if troubles.contains(&Unreadable) {
        call = call.arg("--verify").arg("--wait").arg("0.5");
    }
    call.run()
}

#[test]
fn the_most_severe_of_several_failures_decides_the_code() {
    use Trouble::{Line, Recording, Refused, Unreadable};
    for (troubles, code, kind) in [
        (&[][..], 0, None),
        (&[Line], 8, Some("model")),
        (&[Refused], 5, Some("delivery")),
        (&[Recording], 6, Some("file")),
        (&[Unreadable], 7, Some("not_readable")),
        (&[Line, Refused], 5, Some("delivery")),
        (&[Recording, Refused], 5, Some("delivery")),
        (&[Unreadable, Refused], 5, Some("delivery")),
        (&[Line, Recording], 6, Some("file")),
        (&[Recording, Unreadable], 6, Some("file")),
        (&[Line, Unreadable], 8, Some("model")),
        (&[Line, Recording, Refused, Unreadable], 5, Some("delivery")),
    ] {
        let ended = befallen(troubles);
        assert_eq!(ended.code, Some(code), "{troubles:?}: {ended:#?}");
        let summary = ended.json();
        assert_eq!(summary["ok"], troubles.is_empty(), "{troubles:?}");
        assert_eq!(summary["error"]["kind"], json!(kind), "{troubles:?}");
        if kind.is_some() {
            assert_eq!(summary["error"]["exit_code"], code, "{troubles:?}");
        }
    }
}

#[test]
fn an_interrupted_run_says_so_whatever_else_failed() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let model = Scripted::start(|_, count| match count {
            0 => refusal(400, "no"),
            _ => Reply::Hang,
        });
        let langfuse = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
        let servers = Servers { model, langfuse };
        let call = batch_of(
            &servers,
            9,
            &["-j", "1", "-O", "out.jsonl", "--summary", "summary.json"],
        );
        let child = call.spawn();
        wait_until("the second line is asked", || servers.asked().len() == 2);
        send(signal, &child);
        send(signal, &child);
        let ended = call.ended(&child.wait_with_output().unwrap());
        ended.code(code);
        let summary = summary(&ended);
        assert_eq!(summary["error"]["kind"], "interrupted");
        assert_eq!(summary["error"]["exit_code"], code);
    }
}
