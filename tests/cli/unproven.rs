//! Spans that may have arrived: they are sent again only when their absence is proven, or on request.

use std::fs::{self, File};
use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::certificates::{Authority, Flaw};
use crate::support::harness::{
    Ended, Langspan, OBSERVATIONS, Reply, Scripted, TRACES, completion, files_below, forward,
    read_request,
};
use crate::support::memory::Memory;
use crate::support::stand_in::Sandbox;

const COLLECTOR: &str = "/v1/traces";

/// A chat that is answered `hi`; the model lives as long as the second value.
fn chat() -> (Langspan, Scripted) {
    let model = Scripted::model("hi");
    let call = Langspan::new(&["chat", "--no-stdin", "Hello"]).model_at(model.url());
    (call, model)
}

fn resend(arguments: &[&str], earlier: &Ended) -> Langspan {
    Langspan::new(&[&["resend"], arguments].concat()).after(earlier)
}

/// Where spans go if not to Langfuse itself.
#[derive(Clone, Copy, Debug)]
enum Backend {
    Collector,
    Plain,
}

impl Backend {
    fn at(self, call: Langspan, url: &str, langfuse: &Sandbox) -> Langspan {
        match self {
            Self::Collector => call.at(langfuse).arg("--otlp-endpoint").arg(url),
            Self::Plain => call.env("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        }
    }
}

fn accepting() -> Scripted {
    Scripted::always(Reply::json(200, &json!({})))
}

#[test]
fn a_gateway_s_answer_after_langfuse_took_the_spans_sends_nothing_twice() {
    thread::scope(|scope| {
        for status in [408, 500, 502, 504, 520, 521, 522, 523, 524] {
            scope.spawn(move || {
                let memory = Memory::default();
                let langfuse = Scripted::start({
                    let memory = memory.clone();
                    move |request, count| match (request.path.as_str(), count) {
                        (TRACES, 0) => {
                            memory.answer(request);
                            Reply::Answer(status, "text/html", "<html></html>".to_owned())
                        }
                        _ => memory.answer(request),
                    }
                });
                let ended = chat().0.langfuse_at(langfuse.url()).run();
                assert_eq!(ended.code, Some(0), "{status}: {ended:#?}");
                assert_eq!(langfuse.exports().len(), 1, "{status}");
                assert!(ended.outbox_files().is_empty(), "{status}");
            });
        }
    });
}

#[test]
fn a_tls_alert_after_the_request_leaves_open_whether_it_arrived() {
    let authority = Authority::new();
    let memory = Memory::default();
    let langfuse = Scripted::start_tls(authority.server(Flaw::None).serving(), {
        let memory = memory.clone();
        move |request, count| match (request.path.as_str(), count) {
            (TRACES, 0) => {
                memory.answer(request);
                Reply::Alert
            }
            _ => memory.answer(request),
        }
    });
    let (call, _model) = chat();
    let file = call.file("authority.pem", &authority.pem);
    let call = call.langfuse_at(langfuse.url()).arg("--ca-file");
    let ended = call.arg(file.to_str().unwrap()).run();
    ended.code(0);
    assert_eq!(langfuse.exports().len(), 1);
    let stored: Vec<Vec<usize>> = memory.all_counts().into_values().collect();
    assert_eq!(stored, [[1, 1]]);
}

#[test]
fn other_backends_get_the_same_again_after_the_statuses_of_otlp_only() {
    for backend in [Backend::Collector, Backend::Plain] {
        for (status, is_repeated) in [
            (502, true),
            (503, true),
            (504, true),
            (500, false),
            (408, false),
        ] {
            let case = format!("{backend:?} {status}");
            let langfuse = Sandbox::start();
            let server = Scripted::start(move |_, count| match count {
                0 => Reply::Answer(status, "text/html", "<html></html>".to_owned()),
                _ => Reply::json(200, &json!({})),
            });
            let ended = backend.at(chat().0, server.url(), &langfuse).run();
            let (code, sent) = if is_repeated { (0, 2) } else { (5, 1) };
            assert_eq!(ended.code, Some(code), "{case}: {ended:#?}");
            assert_eq!(server.requests_to(COLLECTOR).len(), sent, "{case}");
        }
    }
}

#[test]
fn behind_a_collector_or_with_a_plain_backend_absence_proves_nothing() {
    for backend in [Backend::Collector, Backend::Plain] {
        let langfuse = Sandbox::start();
        let silent = Scripted::always(Reply::Close);
        let ended = backend.at(chat().0, silent.url(), &langfuse).run();
        ended.code(5).stderr_has("resend --again");
        assert_eq!(silent.requests_to(COLLECTOR).len(), 1, "{backend:?}");
        assert_eq!(ended.kept().len(), 1);

        let healthy = accepting();
        let unproven = backend.at(resend(&[], &ended), healthy.url(), &langfuse);
        let unproven = unproven.run();
        unproven
            .code(5)
            .stderr_has("unproven")
            .stderr_has("resend --again");
        assert!(unproven.stdout.starts_with("unproven"), "{unproven:#?}");
        assert!(healthy.requests().is_empty(), "{backend:?}");
        assert_eq!(unproven.kept().len(), 1);

        let again = resend(&["--again"], &ended);
        let again = backend.at(again, healthy.url(), &langfuse).run();
        again.code(0).stderr_has("a copy of it may exist");
        assert_eq!(healthy.requests_to(COLLECTOR).len(), 1, "{backend:?}");
        assert!(again.outbox_files().is_empty());
    }
}

#[test]
fn behind_a_collector_presence_proves_that_spans_arrived() {
    for arguments in [&[][..], &["--again"]] {
        let langfuse = Sandbox::start();
        let collector = Scripted::always(Reply::Close);
        let ended = Backend::Collector.at(chat().0, collector.url(), &langfuse);
        let ended = ended.run();
        ended.code(5);
        // The collector passes them on after all.
        let mut late = collector.requests_to(COLLECTOR).remove(0);
        TRACES.clone_into(&mut late.path);
        late.headers
            .insert("authorization".to_owned(), langfuse.authorization());
        forward(&langfuse, &late);
        let healthy = accepting();
        let copy = resend(arguments, &ended);
        let resent = Backend::Collector.at(copy, healthy.url(), &langfuse).run();
        resent.code(0);
        assert!(healthy.requests().is_empty(), "{arguments:?}");
        assert!(resent.outbox_files().is_empty());
    }
}

/// A chat whose export waits for this many seconds and is never answered.
fn unanswered(seconds: &str) -> Ended {
    let silent = Scripted::langfuse(|_, _| Reply::Hang);
    let call = chat().0.langfuse_at(silent.url());
    let ended = call.arg("--export-timeout").arg(seconds).run();
    ended.code(5);
    ended
}

/// A Langfuse without the spans that are asked for.
fn empty() -> Scripted {
    let memory = Memory::default();
    Scripted::start(move |request, _| memory.answer(request))
}

fn metadata(ended: &Ended) -> PathBuf {
    let mut files = files_below(&ended.outbox()).into_iter();
    let is_metadata = |path: &PathBuf| path.to_str().unwrap().ends_with(".meta.json");
    files.find(is_metadata).unwrap()
}

#[test]
fn absence_counts_after_five_times_the_wait_of_the_attempt() {
    let ended = unanswered("2");
    let langfuse = empty();
    let resent = resend(&["--export-timeout", "5"], &ended)
        .langfuse_at(langfuse.url())
        .run();
    resent.code(5).stderr_has("unproven");
    assert!(
        langfuse.exports().is_empty(),
        "after 3 s it is not proven that it will not appear"
    );
    let late = resend(&[], &ended).langfuse_at(langfuse.url()).run();
    late.code(0);
    assert_eq!(langfuse.exports().len(), 1);
}

#[test]
fn the_later_of_the_noted_time_and_that_of_the_files_decides() {
    let set_noted = |ended: &Ended| {
        let path = metadata(ended);
        let text = fs::read_to_string(&path).unwrap();
        let mut meta: Value = serde_json::from_str(&text).unwrap();
        meta["ambiguous_since"] = json!("2026-01-01T00:00:00Z");
        fs::write(&path, meta.to_string()).unwrap();
    };
    let set_files = |ended: &Ended| {
        for path in files_below(&ended.outbox()) {
            let hour_ago = SystemTime::now() - Duration::from_hours(1);
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(hour_ago)
                .unwrap();
        }
    };
    let sent_at_once = |change: &dyn Fn(&Ended)| {
        let silent = Scripted::langfuse(|_, _| Reply::Close);
        let call = chat().0.langfuse_at(silent.url());
        let ended = call.arg("--export-timeout").arg("1").run();
        change(&ended);
        let langfuse = empty();
        let call = resend(&["--export-timeout", "1"], &ended);
        let resent = call.langfuse_at(langfuse.url()).run();
        (resent.code, langfuse.exports().len())
    };
    assert_eq!(sent_at_once(&set_noted), (Some(5), 0), "the files are new");
    assert_eq!(sent_at_once(&set_files), (Some(5), 0), "the note is new");
    let both = |ended: &Ended| {
        set_noted(ended);
        set_files(ended);
    };
    assert_eq!(sent_at_once(&both), (Some(0), 1), "both are old");
}

/// A server that answers every request, and tells which connection it came on.
fn numbered(on_request: impl Fn(&str, usize) -> bool + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let on_request = Arc::new(on_request);
    let serve = |stream: TcpStream, connection: usize, on_request: &dyn Fn(&str, usize) -> bool| {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            if !on_request(&request.path, connection) {
                return;
            }
            let body = match request.path.as_str() {
                path if path.ends_with("/chat/completions") => completion("hi"),
                _ => json!({"data": [{"id": "p1", "name": "P"}]}),
            };
            let body = body.to_string();
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
            );
            let mut stream = reader.get_ref();
            let answer = format!("{head}\r\n{body}");
            std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
        }
    };
    thread::spawn(move || {
        for (connection, stream) in listener.incoming().flatten().enumerate() {
            let on_request = Arc::clone(&on_request);
            thread::spawn(move || serve(stream, connection, &*on_request));
        }
    });
    url
}

#[test]
fn an_export_opens_a_connection_if_the_last_was_idle_for_more_than_two_seconds() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let langfuse = numbered({
        let seen = Arc::clone(&seen);
        move |path, connection| {
            let path = path.split('?').next().unwrap().to_owned();
            seen.lock().unwrap().push((path, connection));
            true
        }
    });
    let model = Scripted::start(|_, _| {
        thread::sleep(Duration::from_millis(2500));
        Reply::json(200, &completion("hi"))
    });
    let call = Langspan::new(&["chat", "--no-stdin", "Hello"]).model_at(model.url());
    call.langfuse_at(&langfuse).run().code(0);
    let seen = seen.lock().unwrap();
    let connection = |wanted: &str| seen.iter().find(|(path, _)| path == wanted).unwrap().1;
    assert_ne!(connection("/api/public/projects"), connection(TRACES));
}

#[test]
fn a_call_on_a_connection_that_the_server_closed_is_repeated_at_once() {
    let closed = Arc::new(AtomicUsize::new(0));
    let answered = Arc::new(Mutex::new(Vec::new()));
    // Every connection answers once; a further request on it gets no answer.
    let model = numbered({
        let closed = Arc::clone(&closed);
        move |_, connection| {
            let mut answered = answered.lock().unwrap();
            if answered.contains(&connection) {
                closed.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            answered.push(connection);
            true
        }
    });
    let lines = r#"{"prompt":"Hello"}"#.to_owned() + "\n";
    let langfuse = Scripted::langfuse(|_, _| Reply::json(200, &json!({})));
    let ended = Langspan::new(&["batch", "-", "-j", "1", "-v"])
        .stdin(lines.repeat(20))
        .model_at(&model)
        .langfuse_at(langfuse.url())
        .run();
    ended.code(0);
    let closed = closed.load(Ordering::Relaxed);
    assert!(closed > 0, "no connection was used twice");
    assert_eq!(ended.stderr.matches("retrying in ").count(), closed);
    assert_eq!(ended.stderr.matches("retrying in 0 ms").count(), closed);
    let attempts = ended.stdout.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        usize::try_from(line["langspan"]["attempts"].as_u64().unwrap()).unwrap()
    });
    assert_eq!(attempts.sum::<usize>(), 20 + closed, "each is an attempt");
}

#[test]
fn langfuse_is_asked_for_a_collector_s_spans_without_a_wait() {
    let langfuse = Arc::new(Sandbox::start());
    let asked = Scripted::in_front_of(&langfuse, |_, _| None);
    let silent = Scripted::always(Reply::Close);
    let call = |call: Langspan| {
        call.langfuse_at(asked.url())
            .arg("--otlp-endpoint")
            .arg(silent.url())
    };
    let ended = call(chat().0).run();
    ended.code(5);
    let resent = call(resend(&["--export-timeout", "1"], &ended)).run();
    resent.code(5);
    let is_question = |path: &str| path.split('?').next() == Some(OBSERVATIONS);
    let requests = asked.requests();
    let questions = requests.iter().filter(|request| is_question(&request.path));
    assert_eq!(questions.count(), 2, "by the chat and by the resend");
}
