//! `langspan resend FILE…`: files of OTLP/JSON lines that other programs wrote are delivered once, as they are.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::export::Export;
use crate::support::harness::{Langspan, Reply, Request, Scripted, TRACES, forward, wait_until};
use crate::support::memory::Memory;
use crate::support::schema::assert_described;
use crate::support::stand_in::Sandbox;
use crate::support::untouched::Untouched;

const NAME: &str = "traces.jsonl";

/// A line as the file exporter of an OpenTelemetry Collector writes it: two services, a trace across both.
const COLLECTOR: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},{"key":"host.cpus","value":{"intValue":"8"}}]},"scopeSpans":[{"scope":{"name":"openinference.instrumentation.openai","version":"0.1.30"},"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","parentSpanId":"","flags":256,"name":"answer","kind":2,"startTimeUnixNano":"1760000000000000001","endTimeUnixNano":"1760000001000000002","attributes":[{"key":"langfuse.session.id","value":{"stringValue":"s1"}},{"key":"ratio","value":{"doubleValue":0.25}},{"key":"cached","value":{"boolValue":true}},{"key":"langfuse.tags","value":{"arrayValue":{"values":[{"stringValue":"a"},{"stringValue":"b"}]}}}],"events":[{"timeUnixNano":"1760000000500000000","name":"first token","attributes":[{"key":"n","value":{"intValue":"1"}}]}],"status":{}}]}],"schemaUrl":"https://opentelemetry.io/schemas/1.37.0"},{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"search"}}]},"scopeSpans":[{"scope":{"name":"http"},"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b175","parentSpanId":"eee19b7ec3c1b174","flags":256,"name":"GET /search","kind":3,"startTimeUnixNano":"1760000000100000000","endTimeUnixNano":"1760000000400000000","attributes":[{"key":"http.response.status_code","value":{"intValue":"500"}}],"links":[{"traceId":"5b8efff798038103d269b633813fc60d","spanId":"eee19b7ec3c1b176","flags":1}],"status":{"message":"Internal Server Error","code":2}}]}]}]}"#;

/// The ids of the trace of `number`, and of its two spans.
fn ids(number: usize) -> (String, [String; 2]) {
    let span = |span| format!("{number:014x}{span:02x}");
    (format!("{number:032x}"), [span(1), span(2)])
}

/// A line with a trace of two spans.
fn line(number: usize) -> String {
    lines_of(&[number])
}

/// A line with a trace of two spans for each number.
fn lines_of(numbers: &[usize]) -> String {
    let spans = numbers.iter().flat_map(|number| {
        let (trace, spans) = ids(*number);
        spans.map(|span| {
            json!({
                "traceId": trace, "spanId": span, "name": "call", "kind": 1,
                "startTimeUnixNano": "1760000000000000000", "endTimeUnixNano": "1760000001000000000",
            })
        })
    });
    let spans: Vec<Value> = spans.collect();
    json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).to_string()
}

fn file_of(numbers: impl IntoIterator<Item = usize>) -> String {
    numbers
        .into_iter()
        .map(|number| line(number) + "\n")
        .collect()
}

/// A call with this file in its home, for a Langfuse at `url`.
fn resend(options: &[&str], content: &str, url: &str) -> Langspan {
    let call = Langspan::new(&[&["resend", NAME], options].concat()).langfuse_at(url);
    call.file(NAME, content);
    call
}

/// A Langfuse that counts how often each span came; `replies` come before that for the first exports.
fn counting(memory: &Memory, replies: Vec<Reply>) -> Scripted {
    let memory = memory.clone();
    Scripted::start(move |request, count| match replies.get(count) {
        Some(reply) if request.path == TRACES => reply.clone(),
        _ => memory.answer(request),
    })
}

/// Asserts that each span of these traces came once, and nothing else.
#[track_caller]
fn assert_once(memory: &Memory, numbers: impl IntoIterator<Item = usize>) {
    let mut all = memory.all_counts();
    for number in numbers {
        let counts = all.remove(&ids(number).0).unwrap_or_default();
        assert_eq!(counts, [1, 1], "trace {number}");
    }
    assert!(all.is_empty(), "{all:?}");
}

fn ledger(home: &Path) -> String {
    fs::read_to_string(home.join(format!("{NAME}.sent"))).unwrap()
}

fn traces_in(request: &Request) -> usize {
    let export = ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap();
    let scopes = export
        .resource_spans
        .iter()
        .flat_map(|group| &group.scope_spans);
    let mut ids: Vec<&[u8]> = scopes
        .flat_map(|scope| &scope.spans)
        .map(|span| span.trace_id.as_slice())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids.len()
}

#[test]
fn a_collectors_file_arrives_as_it_is_and_only_once() {
    let sandbox = Arc::new(Sandbox::start());
    let langfuse = Scripted::before(&sandbox, |sandbox, request, _| forward(sandbox, request));
    let call = resend(&[], &format!("{COLLECTOR}\n"), langfuse.url());
    let ended = call.run();
    ended
        .code(0)
        .stdout("accepted  traces.jsonl  2 spans in 1 line\n");
    let sent = Export::only(&langfuse, TRACES).into_json();
    assert_eq!(sent, {
        // Empty fields are the same as absent ones, and are written out by the encoder of this test.
        let request: ExportTraceServiceRequest = serde_json::from_str(COLLECTOR).unwrap();
        serde_json::to_value(request).unwrap()
    });
    let rows = sandbox.observations("5b8efff798038103d269b633813fc60c");
    let row = rows.iter().find(|row| row["name"] == "answer").unwrap();
    assert_eq!(row["sessionId"], "s1");
    let row = rows
        .iter()
        .find(|row| row["name"] == "GET /search")
        .unwrap();
    assert_eq!(
        (&row["level"], &row["statusMessage"]),
        (&json!("ERROR"), &json!("Internal Server Error"))
    );
    assert_eq!(
        fs::read_to_string(call.home().join(NAME)).unwrap(),
        format!("{COLLECTOR}\n")
    );

    let again = call.run();
    again
        .code(0)
        .stdout("accepted  traces.jsonl  0 spans in 0 lines, 1 line sent before\n");
    assert_eq!(langfuse.exports().len(), 1);
    assert!(again.outbox_files().is_empty());
}

#[test]
fn ids_in_base64_become_the_same_ids() {
    let base64 = COLLECTOR
        .replace(
            "5b8efff798038103d269b633813fc60c",
            "W47/95gDgQPSabYzgT/GDA==",
        )
        .replace("eee19b7ec3c1b174", "7uGbfsPBsXQ=");
    let sandbox = Sandbox::start();
    resend(&[], &base64, sandbox.url()).run().code(0);
    let rows = sandbox.observations("5b8efff798038103d269b633813fc60c");
    let child = rows
        .iter()
        .find(|row| row["name"] == "GET /search")
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(child["parentObservationId"], "eee19b7ec3c1b174");
}

#[test]
fn appended_lines_are_sent_without_the_earlier_ones() {
    let memory = Memory::default();
    let langfuse = counting(&memory, Vec::new());
    let call = resend(&[], &file_of(1..4), langfuse.url());
    call.run().code(0);
    call.file(NAME, file_of(1..6));
    call.run()
        .code(0)
        .stdout("accepted  traces.jsonl  4 spans in 2 lines, 3 lines sent before\n");
    // The same lines in another file have a ledger of their own; a line that occurs twice is one.
    call.file(NAME, file_of(1..6) + &line(7) + "\n" + &line(7));
    call.run().code(0);
    assert_once(&memory, [1, 2, 3, 4, 5, 7]);
}

#[test]
fn unreadable_lines_are_named_and_the_others_arrive() {
    let memory = Memory::default();
    let langfuse = counting(&memory, Vec::new());
    let half = &line(4)[..100];
    let content = format!(
        "no json\n{}\n\n{{\"resourceLogs\":[]}}\n{}\n{half}",
        line(1),
        line(2)
    );
    let call = resend(&[], &content, langfuse.url());
    let ended = call.run();
    ended
        .code(5)
        .stdout("failed  traces.jsonl  4 spans in 2 lines, 2 lines unreadable\n")
        .stderr_has("traces.jsonl, line 1 was not sent: malformed JSON")
        .stderr_has("traces.jsonl, line 6 was not sent: malformed JSON: EOF")
        .stderr_has("traces.jsonl: 1 line without spans passed over");
    assert_once(&memory, [1, 2]);
    // The program that wrote the file goes on.
    call.file(NAME, file_of([1, 2, 4]));
    call.run().code(0);
    assert_once(&memory, [1, 2, 4]);
}

#[test]
fn a_file_without_spans_is_2_and_nothing_is_sent() {
    let untouched = Untouched::start();
    let call = resend(&[], "{\"messages\":[]}\n", untouched.url());
    call.run()
        .code(2)
        .stdout("")
        .stderr_has("line 1: not an OTLP/JSON export request");
    assert!(!call.home().join("traces.jsonl.sent").exists());
    for (arguments, code) in [
        (&["resend", "-"][..], 2),
        (&["resend", NAME, NAME], 2),
        (&["resend", NAME, "--list"], 2),
        (&["resend", NAME, "--discard", "--yes"], 2),
        (&["resend", NAME, "--older-than", "1h"], 2),
        (&["resend", "none.jsonl"], 6),
        (&["resend", "."], 6),
    ] {
        let call = Langspan::new(arguments).langfuse_at(untouched.url());
        call.file(NAME, file_of(1..2));
        call.run().code(code).stdout("");
    }
    untouched.assert_untouched();
}

#[test]
fn an_entry_of_the_outbox_is_not_sent_past_its_lock() {
    let untouched = Untouched::start();
    let call = Langspan::new(&["resend", "outbox/a.jsonl"]).langfuse_at(untouched.url());
    fs::create_dir(call.home().join("outbox")).unwrap();
    call.file("outbox/a.jsonl", file_of(1..2));
    let call = call.env("LANGSPAN_OUTBOX", "outbox");
    call.run().code(2).stderr_has("is an entry of the outbox");
    untouched.assert_untouched();
}

#[test]
fn a_refusal_keeps_the_rest_and_says_so() {
    let memory = Memory::default();
    let refusal = Reply::json(401, &json!({"message": "Invalid credentials."}));
    let langfuse = counting(&memory, vec![refusal]);
    let call = resend(&["-o", "json"], &file_of(1..1001), langfuse.url());
    let ended = call.run();
    ended
        .code(5)
        .stderr_has("Invalid credentials.")
        .stderr_has("the spans stay in traces.jsonl");
    assert_eq!(
        langfuse.exports().len(),
        1,
        "the others would be refused as well"
    );
    let document = ended.json();
    assert_described(&document, "resend");
    assert_eq!(document["ok"], false);
    assert_eq!(document["files"][0]["state"], "failed");
    assert_eq!(document["files"][0]["lines_kept"], 1000);
    assert_eq!(document["error"]["status"], 401);
    let ended = call.run();
    ended.code(0);
    assert_eq!(ended.json()["files"][0]["spans"], 2000);
    assert_once(&memory, 1..1001);
}

#[test]
fn a_request_that_is_too_large_is_divided_and_what_is_refused_stays() {
    let memory = Memory::default();
    let known = memory.clone();
    let poison = ids(3).0;
    let langfuse = Scripted::start(move |request, _| match request.path.as_str() {
        TRACES if traces_in(request) > 2 => Reply::json(413, &json!({"message": "Too large."})),
        TRACES
            if Export::of(request)
                .into_json()
                .to_string()
                .contains(&poison) =>
        {
            Reply::json(400, &json!({"message": "I do not like trace 3."}))
        }
        _ => known.answer(request),
    });
    let content = lines_of(&[1, 2, 3, 4]) + "\n" + &line(5) + "\n";
    let call = resend(&[], &content, langfuse.url());
    let ended = call.run();
    ended
        .code(5)
        .stdout("failed  traces.jsonl  8 spans in 1 line, 1 line not accepted\n")
        .stderr_has("traces.jsonl, line 1 was not accepted")
        .stderr_has("I do not like trace 3.");
    assert_once(&memory, [1, 2, 4, 5]);
    let exports = langfuse.exports().len();
    call.run().code(5).stdout(
        "failed  traces.jsonl  0 spans in 0 lines, 1 line sent before, 1 line not accepted\n",
    );
    assert_eq!(
        langfuse.exports().len(),
        exports + 1,
        "only what was refused"
    );
    assert_once(&memory, [1, 2, 4, 5]);
}

#[test]
fn partial_success_leaves_only_its_own_line_in_doubt() {
    let backend = Scripted::start(|_, count| match count {
        1 => Reply::json(
            200,
            &json!({"partialSuccess": {"rejectedSpans": "1", "errorMessage": "too old"}}),
        ),
        _ => Reply::json(200, &json!({})),
    });
    let call = Langspan::new(&["resend", NAME]).env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url());
    call.file(NAME, file_of(1..4));
    let ended = call.run();
    ended
        .code(5)
        .stdout("unproven  traces.jsonl  4 spans in 2 lines, 1 line unproven\n")
        .stderr_has("traces.jsonl, line 2 was not accepted")
        .stderr_has("too old")
        .stderr_has("--again");
    assert_eq!(backend.count(), 3, "each line is a request of its own");
    call.run()
        .code(5)
        .stderr_has("it is not known whether traces.jsonl, line 2 was accepted");
    assert_eq!(backend.count(), 3);
    let again = call.clone().arg("--again").run();
    again.code(0).stderr_has("line 2 is sent again");
    assert_eq!(backend.count(), 4);
    call.run().code(0);
    assert_eq!(backend.count(), 4);
}

#[test]
fn spans_that_arrived_without_an_answer_are_not_sent_again() {
    let sandbox = Arc::new(Sandbox::start());
    let langfuse = Scripted::before(&sandbox, |sandbox, request, count| {
        let answer = forward(sandbox, request);
        if count == 0 { Reply::Close } else { answer }
    });
    let call = resend(&["--export-timeout", "1"], &file_of(1..4), langfuse.url());
    call.run()
        .code(5)
        .stdout("unproven  traces.jsonl  0 spans in 0 lines, 3 lines unproven\n");
    let call = resend(&[], &file_of(1..4), langfuse.url()).beside(&call);
    call.run()
        .code(0)
        .stdout("accepted  traces.jsonl  0 spans in 0 lines, 3 lines in Langfuse already\n");
    assert_eq!(langfuse.exports().len(), 1);
}

#[test]
fn spans_that_were_lost_without_an_answer_are_sent_again() {
    let memory = Memory::default();
    let langfuse = counting(&memory, vec![Reply::Close]);
    let call = resend(&["--export-timeout", "1"], &file_of(1..4), langfuse.url());
    call.run().code(5);
    let call = resend(&[], &file_of(1..4), langfuse.url()).beside(&call);
    call.run()
        .code(0)
        .stdout("accepted  traces.jsonl  6 spans in 3 lines\n");
    assert_once(&memory, 1..4);
}

#[test]
fn a_kill_in_the_middle_loses_and_doubles_nothing() {
    let memory = Memory::default();
    let known = memory.clone();
    // The second request arrives, in part, and is never answered.
    let langfuse = Scripted::start(move |request, count| {
        if request.path == TRACES && count == 1 {
            known.take_one(request);
            return Reply::Hang;
        }
        known.answer(request)
    });
    let call = resend(&[], &file_of(1..601), langfuse.url());
    let mut child = call.spawn();
    wait_until("the second request is there", || {
        langfuse.exports().len() == 2
    });
    child.kill().unwrap();
    child.wait().unwrap();
    call.run().code(0);
    assert_once(&memory, 1..601);
}

#[test]
fn a_second_process_does_not_send_the_same_file() {
    let langfuse = Scripted::start(|_, _| Reply::Hang);
    let call = resend(&[], &file_of(1..2), langfuse.url());
    let mut child = call.spawn();
    wait_until("it is under way", || langfuse.count() == 1);
    call.run()
        .code(6)
        .stderr_has("another process is sending traces.jsonl");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(langfuse.count(), 1);
}

#[test]
fn compressed_files_are_read_by_their_suffix() {
    let memory = Memory::default();
    let langfuse = counting(&memory, Vec::new());
    let call = Langspan::new(&["resend", "a.jsonl.gz", "b.jsonl"]).langfuse_at(langfuse.url());
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(file_of(1..3).as_bytes()).unwrap();
    call.file("a.jsonl.gz", gzip.finish().unwrap());
    call.file("b.jsonl", file_of(3..5));
    call.run().code(0).stdout(
        "accepted  a.jsonl.gz  4 spans in 2 lines\naccepted  b.jsonl  4 spans in 2 lines\n",
    );
    call.run().code(0);
    assert_once(&memory, 1..5);
}

#[test]
fn another_destination_gets_the_file_too_and_that_is_said() {
    let (one, two) = (Memory::default(), Memory::default());
    let (first, second) = (counting(&one, Vec::new()), counting(&two, Vec::new()));
    let call = resend(&[], &file_of(1..3), first.url());
    call.run().code(0).stderr_lacks("before");
    let other = resend(&[], &file_of(1..3), second.url()).beside(&call);
    other.run().code(0).stderr_has(&format!(
        "was sent to {}{TRACES} (pk-lf-sandbox) before",
        first.url()
    ));
    other.run().code(0);
    call.run().code(0);
    assert_once(&one, 1..3);
    assert_once(&two, 1..3);
    assert!(
        !ledger(call.home()).contains("sk-lf"),
        "no secret in a ledger"
    );
}

#[test]
fn a_file_beside_that_is_no_ledger_is_left_alone() {
    let untouched = Untouched::start();
    let call = resend(&[], &file_of(1..2), untouched.url());
    call.file("traces.jsonl.sent", "my own notes\n");
    call.run()
        .code(6)
        .stderr_has("traces.jsonl.sent is not a list of what was sent");
    assert_eq!(ledger(call.home()), "my own notes\n");
    untouched.assert_untouched();
}

#[test]
fn an_entry_kept_elsewhere_is_asked_for_before_it_is_sent() {
    // Its metadata says that the spans may have arrived.
    let memory = Memory::default();
    let langfuse = counting(&memory, Vec::new());
    resend(&[], &file_of(1..2), langfuse.url()).run().code(0);
    let call = Langspan::new(&["resend", "kept.jsonl"]).langfuse_at(langfuse.url());
    call.file("kept.jsonl", file_of(1..3));
    call.file(
        "kept.meta.json",
        json!({
            "endpoint": "", "public_key": null, "cause": "broke off", "ambiguous_since": "2026-01-01T00:00:00Z",
            "time": "2026-01-01T00:00:00Z", "spans": 4, "trace_ids": [],
        })
        .to_string(),
    );
    call.run().code(0);
    assert_once(&memory, 1..3);
}
