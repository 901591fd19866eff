//! Faults of a delivery: one table, which is also `langspan help failures`. Each fault is tried with a chat, a replayed recording
//! and a resend. The test checks the exit code, the messages, what the server received and what waits in the outbox; in
//! the end every span is stored once.

// Each fault with what follows from it.
mod table;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use self::table::Does::{Not, TakeBut};
use self::table::{Again, FAULTS, Fault, Place, html};
use crate::support::certificates::{Authority, Flaw};
use crate::support::harness::{
    Ended, Langspan, OBSERVATIONS, Reply, Request, Scripted, TRACES, completion, dead_url,
};
use crate::support::memory::Memory;
/// How spans get on their way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verb {
    Chat,
    Replay,
    Resend,
}

impl Verb {
    /// A command whose answer is `hi`, or a resend of such a one; the model lives as long as the second value.
    fn call(self) -> (Langspan, Scripted) {
        let model = Scripted::model("hi");
        let chat = Langspan::new(&["chat", "--no-stdin", "Hello"]).model_at(model.url());
        let call = match self {
            Self::Chat => chat,
            Self::Replay => Langspan::new(&["replay", "-"]).stdin(recording()),
            Self::Resend => {
                let refusing = Scripted::always(Reply::json(401, &json!({"message": "No."})));
                let earlier = chat.langfuse_at(refusing.url()).run();
                earlier.code(5);
                Langspan::new(&["resend"]).after(&earlier)
            }
        };
        (call, model)
    }
}

fn recording() -> String {
    json!({
        "request": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
        "response": completion("hi"),
        "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z",
    })
    .to_string()
}

/// Where a fault happens.
struct Site {
    url: String,
    server: Option<Scripted>,
    /// What clients are given to trust.
    authority: Option<String>,
    /// What keeps a port from answering.
    _held: Vec<Socket>,
}

impl Site {
    fn of(fault: &Fault, memory: &Memory) -> Self {
        let (memory, does) = (memory.clone(), fault.does);
        let reply = move |request: &Request, count| match (request.path.as_str(), does(count)) {
            (TRACES, Not(reply)) => reply,
            (TRACES, TakeBut(reply)) => {
                memory.answer(request);
                reply
            }
            _ => memory.answer(request),
        };
        let (server, authority) = match fault.place {
            Place::Server => (Some(Scripted::start(reply)), None),
            Place::Flawed(flaw) => {
                let authority = Authority::new();
                let config = authority.server(flaw).serving();
                (
                    Some(Scripted::start_tls(config, reply)),
                    Some(authority.pem),
                )
            }
            Place::Untrusted => {
                let config = Authority::new().server(Flaw::None).serving();
                (Some(Scripted::start_tls(config, reply)), None)
            }
            _ => (None, None),
        };
        let (url, held) = match (&server, fault.place) {
            (Some(server), _) => (server.url().to_owned(), Vec::new()),
            (None, Place::Unknown) => ("http://langfuse.invalid:3000".to_owned(), Vec::new()),
            (None, Place::Silent) => silent(),
            (None, _) => (dead_url(), Vec::new()),
        };
        Self {
            url,
            server,
            authority,
            _held: held,
        }
    }

    fn exports(&self) -> Vec<Request> {
        self.server
            .as_ref()
            .map_or_else(Vec::new, Scripted::exports)
    }
}

/// A port whose queue of connections is full, so that the system drops whatever comes.
fn silent() -> (String, Vec<Socket>) {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = socket();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{}", address.as_socket().unwrap());
    let mut held = vec![listener];
    for _ in 0..4 {
        let filler = socket();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&address);
        held.push(filler);
    }
    (url, held)
}

impl Fault {
    /// Runs a command against the fault, then a resend against a server without faults.
    fn befalls(&self, verb: Verb) {
        let case = format!("{} ({verb:?})", self.when);
        let memory = Memory::default();
        let site = Site::of(self, &memory);
        let (call, _model) = verb.call();
        let mut call = call
            .langfuse_at(&site.url)
            .arg("--export-timeout")
            .arg(self.budget);
        if let Some(pem) = &site.authority {
            let file = call.file("authority.pem", pem);
            call = call.arg("--ca-file").arg(file.to_str().unwrap());
        }
        let ended = call.run();

        assert_eq!(ended.code, Some(self.exit), "{case}: {ended:#?}");
        if verb != Verb::Resend {
            assert_eq!(ended.stdout, "hi\n", "{case}: the answer is printed");
        }
        self.assert_sent(&site.exports(), &case);
        if self.exit == 0 {
            assert!(ended.outbox_files().is_empty(), "{case}: nothing waits");
        } else {
            self.assert_said(&ended, &site.url, &case);
            assert_eq!(ended.kept().len(), 1, "{case}: the spans wait");
        }
        mend(&ended, &memory, &case);
    }

    /// The server saw as many requests as it should, each the same.
    fn assert_sent(&self, exports: &[Request], case: &str) {
        let seen = exports.len();
        assert!(
            self.again.exports().contains(&seen),
            "{case}: the server saw {seen} exports"
        );
        let is_first = |export: &Request| export.body == exports[0].body;
        assert!(
            self.again == Again::InPieces || exports.iter().all(is_first),
            "{case}: what is sent again is the same"
        );
    }

    /// Asserts that cause, remedy and outbox were printed, in one line each.
    fn assert_said(&self, ended: &Ended, url: &str, case: &str) {
        let line = |label: &str| {
            let found = ended.stderr.lines().find(|line| line.starts_with(label));
            found.unwrap_or_else(|| panic!("{case}: no {label} {ended:#?}"))
        };
        let sent_to = format!("{url}{TRACES}");
        let remedy = self
            .remedy
            .replace("{url}", &sent_to)
            .replace("{origin}", url);
        for (label, words) in [
            ("error:", self.says),
            ("error:", &sent_to),
            ("hint:", &remedy),
            ("hint:", &ended.outbox().display().to_string()),
        ] {
            assert!(
                line(label).contains(words),
                "{case}: {words:?} is not said: {ended:#?}"
            );
        }
        assert!(ended.stderr.lines().count() <= 8, "{case}: {ended:#?}");
    }

    /// The row of the topic.
    fn row(&self) -> String {
        let remedy = self.remedy.replace("{url}", "…").replace("{origin}", "…");
        let is_mended = self.exit == 0;
        let exit = self.exit.to_string();
        let cells = [
            self.when,
            if is_mended {
                "–"
            } else {
                self.says.trim_end_matches([':', ' '])
            },
            if is_mended { "–" } else { &remedy },
            self.again.in_words(),
            &exit,
        ];
        format!("| {} |\n", cells.join(" | "))
    }
}

/// What waits is delivered; then every span is stored, once.
fn mend(ended: &Ended, memory: &Memory, case: &str) {
    let healthy = Scripted::start({
        let memory = memory.clone();
        move |request, _| memory.answer(request)
    });
    let mended = Langspan::new(&["resend"])
        .langfuse_at(healthy.url())
        .after(ended)
        .run();
    assert_eq!(mended.code, Some(0), "{case}: {mended:#?}");
    assert!(mended.outbox_files().is_empty(), "{case}: {mended:#?}");
    let stored: Vec<Vec<usize>> = memory.all_counts().into_values().collect();
    assert_eq!(
        stored,
        [[1, 1]],
        "{case}: both spans of one trace, once each"
    );
}

/// Every row at once: most of them wait.
fn every_fault_befalls(verb: Verb) {
    let failed: Vec<&str> = thread::scope(|scope| {
        let rows: Vec<_> = FAULTS
            .iter()
            .map(|fault| (fault, scope.spawn(move || fault.befalls(verb))))
            .collect();
        let failed = rows
            .into_iter()
            .filter_map(|(fault, row)| row.join().err().map(|_| fault.when));
        failed.collect()
    });
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_fault_of_the_table_befalls_a_chat() {
    every_fault_befalls(Verb::Chat);
}

#[test]
fn every_fault_of_the_table_befalls_a_replayed_recording() {
    every_fault_befalls(Verb::Replay);
}

#[test]
fn every_fault_of_the_table_befalls_a_resend() {
    every_fault_befalls(Verb::Resend);
}

#[test]
fn only_an_answer_of_langfuse_proves_absence() {
    let unserved = || html(404);
    let nonsense = || Reply::json(200, &json!({"ok": true}));
    let refused = || Reply::json(403, &json!({"message": "No reading."}));
    let broken = || Reply::json(500, &json!({}));
    let replies: [fn() -> Reply; 6] = [
        unserved,
        nonsense,
        refused,
        broken,
        || html(200),
        || Reply::Close,
    ];
    thread::scope(|scope| {
        for reply in replies {
            scope.spawn(move || {
                let langfuse = Scripted::start(move |request, _| match request.path.as_str() {
                    TRACES => Reply::Close,
                    "/api/public/projects" => Reply::json(200, &json!({"data": [{"id": "p1"}]})),
                    _ => reply(),
                });
                let (call, _model) = Verb::Chat.call();
                let call = call.langfuse_at(langfuse.url()).arg("--export-timeout");
                let ended = call.arg("8").run();
                ended.code(5);
                assert!(
                    !langfuse.requests_to(OBSERVATIONS).is_empty(),
                    "it was asked"
                );
                assert_eq!(
                    langfuse.exports().len(),
                    1,
                    "{:?}: it is not sent again",
                    reply()
                );
                assert_eq!(ended.kept().len(), 1);
            });
        }
    });
}

#[test]
fn spans_accepted_beside_rejected_ones_are_not_sent_again() {
    let memory = Memory::default();
    let partly = Scripted::start({
        let memory = memory.clone();
        move |request, _| match request.path.as_str() {
            TRACES => {
                memory.take_one(request);
                let partial = json!({"rejectedSpans": "1", "errorMessage": "try that one again"});
                Reply::json(200, &json!({"partialSuccess": partial}))
            }
            _ => memory.answer(request),
        }
    });
    let (call, _model) = Verb::Chat.call();
    let ended = call.langfuse_at(partly.url()).run();
    ended.code(5).stderr_has("try that one again");
    mend(&ended, &memory, "one span was taken, one rejected");
}

#[test]
fn a_piece_that_arrived_unanswered_beside_a_refused_one_is_not_sent_again() {
    let memory = Memory::default();
    let choosy = Scripted::start({
        let memory = memory.clone();
        move |request, count| match (request.path.as_str(), count) {
            (TRACES, 0) => html(413),
            (TRACES, 1) => {
                memory.answer(request);
                Reply::Close
            }
            (TRACES, _) => Reply::json(401, &json!({"message": "No."})),
            _ => memory.answer(request),
        }
    });
    let (call, _model) = Verb::Chat.call();
    let call = call.langfuse_at(choosy.url()).arg("--export-timeout");
    let ended = call.arg("2.5").run();
    ended.code(5);
    assert_eq!(
        choosy.exports().len(),
        3,
        "the trace, then each of its spans"
    );
    mend(&ended, &memory, "one piece arrived, one was refused");
}

#[test]
fn repeated_short_resends_deliver_an_unanswered_export() {
    let memory = Memory::default();
    let silent = Scripted::start(|_, _| Reply::Close);
    let (call, _model) = Verb::Chat.call();
    let ended = call
        .langfuse_at(silent.url())
        .arg("--export-timeout")
        .arg("1")
        .run();
    ended.code(5);
    let healthy = Scripted::start({
        let memory = memory.clone();
        move |request, _| memory.answer(request)
    });
    let resend = Langspan::new(&["resend", "--export-timeout", "1"])
        .langfuse_at(healthy.url())
        .after(&ended);
    // Absence proves something once 3 s have passed since the failure, however often it was asked for before.
    let begun = Instant::now();
    while resend.run().code != Some(0) {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it waits for ever"
        );
    }
    mend(&ended, &memory, "in the end");
}

/// The topic that the table is.
fn topic() -> String {
    let rows: Vec<String> = FAULTS.iter().map(Fault::row).collect();
    format!(
        "# failures: what happens if a delivery fails

In each of these cases `chat` and `replay` print the answer. If the exit code is
5, the spans wait in the outbox, and `langspan resend` delivers them: nothing is
lost, and nothing is stored twice. `resend` itself reports the same cases with
the same words and exit codes. Spans are sent again within `--export-timeout`,
with the same ids and times.

| case | error | hint | sent again | exit code |
|---|---|---|---|---|
{}
An error message continues with the address of the server and its own words.

A standard output that is closed when the run starts (`>&-`) cannot be told from
`/dev/null`: the answer is discarded without an error.

Langfuse is asked once absence proves something: after 3 seconds, or after five
times as long as the attempt had waited. Behind a collector (`--otlp-endpoint`)
and with other OTLP backends absence proves nothing, because spans may be passed
on at any later time. There, 429, 502, 503 and 504 are sent again, as OTLP says.
Spans that left without an answer stay in the outbox as unproven (exit code 5):
`langspan resend --again` sends them, and a copy may then exist.

Where the file system has no locks, a warning says so: do not run two processes
at once that use the same outbox. Links, FIFOs and folders among the files of
the outbox are named and passed over. What a killed process left behind there is
removed after an hour.

| | with a tracing SDK, by hand | langspan |
|---|---|---|
| wrong or missing key | a log line at most; exit 0 | 3 or 5, and what to change |
| the process ends early | the batch is lost; exit 0 | spans are on disk before they are sent; `batch --out FILE` rebuilds them from FILE |
| HTML page or rejected spans | counted as exported | not accepted: 5 |
",
        rows.concat()
    )
}

#[test]
fn the_topic_of_failures_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/help/failures.md");
    if std::env::var_os("LANGSPAN_UPDATE").is_some() {
        fs::write(path, topic()).unwrap();
        return;
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        topic(),
        "run LANGSPAN_UPDATE=1 cargo test up_to_date"
    );
}
