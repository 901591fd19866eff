//! Concurrency, request limits, pauses and retries.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Asking, answer, refusal, servers};
use crate::support::batch::batch_of;
use crate::support::batch::gate::{Arrivals, Crowd};
use crate::support::batch::output::lines;
use crate::support::batch::servers::line_of;
use crate::support::harness::{Reply, completion};
use crate::support::otlp::traces_at;

#[test]
fn concurrency_limits_the_calls_under_way() {
    for (arguments, ceiling) in [
        (&[][..], 16),
        (&["-j", "3"], 3),
        (&["--concurrency", "50"], 50),
    ] {
        let crowd = Crowd::default();
        let servers = servers({
            let crowd = crowd.clone();
            move |_, _| {
                crowd.enter(ceiling);
                answer()
            }
        });
        let ended = batch_of(&servers, 4 * ceiling, arguments).run();
        ended.code(0);
        assert_eq!(crowd.most(), ceiling);
        assert_eq!(servers.asked().len(), 4 * ceiling);
    }
}

#[test]
fn a_line_that_is_always_rate_limited_fails_alone() {
    let servers = servers(|request, _| {
        if line_of(request) == 2 {
            Reply::With(
                429,
                vec![("retry-after-ms", "400".to_owned())],
                String::new(),
            )
        } else {
            answer()
        }
    });
    let options = ["--timeout", "1", "--allow-errors", "1"];
    let ended = batch_of(&servers, 6, &options).run();
    ended.code(0).stderr_has("6 lines: 5 answered, 1 failed");
}

#[test]
fn tokens_of_a_limited_run_are_spread_evenly() {
    // Each call uses 58 tokens, as its answer says, and is expected to use some 260.
    let arrivals = Arrivals::default();
    let servers = servers({
        let arrivals = arrivals.clone();
        move |_, _| {
            arrivals.add();
            answer()
        }
    });
    // 95 tokens a second, and 300 at once.
    let call = batch_of(&servers, 12, &["--tpm", "6000", "-j", "1"]);
    let start = Instant::now();
    call.run().code(0);
    let times = arrivals.since(start);
    assert_eq!(times.len(), 12);
    let at_once = 300.0;
    for (place, time) in (0_u32..).zip(&times) {
        let used = 58.0 * f64::from(place);
        let least = (used - at_once) / 95.0;
        assert!(time.as_secs_f64() >= least, "{place}: {times:?}");
    }
    assert!(times[11] >= Duration::from_secs(3), "{times:?}");
}

#[test]
fn requests_of_a_limited_run_are_spread_evenly() {
    let arrivals = Arrivals::default();
    let servers = servers({
        let arrivals = arrivals.clone();
        move |_, _| {
            arrivals.add();
            answer()
        }
    });
    let call = batch_of(&servers, 12, &["--rpm", "1200"]);
    let start = Instant::now();
    call.run().code(0);
    let times = arrivals.since(start);
    assert_eq!(times.len(), 12);
    for (place, time) in (0..).zip(&times) {
        assert!(
            *time >= Duration::from_millis(50) * place,
            "{place}: {times:?}"
        );
    }
}

#[test]
fn further_attempts_count_for_the_limit_too() {
    let arrivals = Arrivals::default();
    let servers = servers({
        let arrivals = arrivals.clone();
        move |request, _| {
            match arrivals.add() {
            _ if request.json()["stream_options"].is_object() => {
                refusal(400, "stream_options is unknown")
            }
            count if count < 9 => Reply::With(
                500,
                vec![("retry-after-ms", "1".to_owned())],
                String::new(),
            ),
            _ => Reply::events(&[
                &json!({"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]})
                    .to_string(),
                "[DONE]",
            ]),
        }
        }
    });
    let call = batch_of(&servers, 4, &["--rpm", "1200", "--stream"]);
    let start = Instant::now();
    call.run().code(0);
    let times = arrivals.since(start);
    assert!(times.len() > 12, "{times:?}");
    for (place, time) in (0..).zip(&times) {
        assert!(
            *time >= Duration::from_millis(50) * place,
            "{place}: {times:?}"
        );
    }
}

#[test]
fn lines_held_up_by_a_pause_are_not_sent_in_a_burst() {
    const PAUSE: Duration = Duration::from_millis(1500);
    let arrivals = Arrivals::default();
    let told: Arc<Mutex<Option<Instant>>> = Arc::default();
    let servers = servers({
        let (arrivals, told) = (arrivals.clone(), Arc::clone(&told));
        move |_, _| {
            if arrivals.add() > 0 {
                return answer();
            }
            *told.lock().unwrap() = Some(Instant::now());
            let wait = PAUSE.as_millis().to_string();
            Reply::With(429, vec![("retry-after-ms", wait)], String::new())
        }
    });
    batch_of(&servers, 12, &["--rpm", "600"]).run().code(0);
    let end = told.lock().unwrap().unwrap() + PAUSE;
    let times = arrivals.since(end);
    assert!(times.len() > 8, "{times:?}");
    for (place, time) in (0..).zip(&times) {
        assert!(
            *time >= Duration::from_millis(100) * place,
            "{place}: {times:?}"
        );
    }
}

/// Of four calls under way the first is answered so, and the others while the pause lasts; asserts that none comes in
/// the pause, and that it is no attempt.
fn pauses_all((status, headers): Asking, pause: Duration) {
    let (arrivals, crowd) = (Arrivals::default(), Crowd::default());
    let told: Arc<Mutex<Option<Instant>>> = Arc::default();
    let servers = servers({
        let (arrivals, told) = (arrivals.clone(), Arc::clone(&told));
        move |_, _| {
            let place = arrivals.add();
            crowd.enter(4);
            if place == 0 {
                *told.lock().unwrap() = Some(Instant::now());
                let headers = headers
                    .iter()
                    .map(|(name, value)| (*name, (*value).to_owned()));
                return Reply::With(status, headers.collect(), completion("hi").to_string());
            }
            if place < 4 {
                // By now the first answer is known.
                thread::sleep(Duration::from_millis(1200));
            }
            answer()
        }
    });
    let ended = batch_of(&servers, 12, &["-j", "4", "--retries", "0"]).run();
    ended.code(0);
    let told = told.lock().unwrap().unwrap();
    let later = arrivals.since(told);
    let expected = if status == 200 { 8 } else { 9 };
    assert_eq!(later.len(), expected, "{headers:?}: {later:?}");
    assert!(
        later.iter().all(|time| *time >= pause),
        "{headers:?}: {later:?}"
    );
    let answers = lines(&ended.stdout);
    assert_eq!(answers.len(), 12, "{headers:?}");
    for line in answers {
        assert_eq!(line["langspan"]["attempts"], 1, "{headers:?}: {line}");
    }
    for trace in traces_at(&servers.langfuse) {
        let attempts = crate::support::otlp::attribute(
            &trace.generation,
            "langfuse.observation.metadata.attempts",
        );
        assert_eq!(attempts, None, "only several attempts are stated");
    }
}

#[test]
fn a_rate_limit_pauses_all_calls_and_is_not_an_attempt() {
    let askings: [(Asking, u64); 7] = [
        ((429, &[("retry-after", "2")]), 2000),
        ((503, &[("retry-after", "2")]), 2000),
        ((429, &[("retry-after-ms", "1700")]), 1700),
        (
            (
                429,
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "1.8s"),
                ],
            ),
            1800,
        ),
        (
            (
                429,
                &[
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "1700ms"),
                ],
            ),
            1700,
        ),
        (
            (
                200,
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "1700ms"),
                ],
            ),
            1700,
        ),
        (
            (
                200,
                &[
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "0m2s"),
                ],
            ),
            2000,
        ),
    ];
    thread::scope(|scope| {
        for (asking, pause) in askings {
            scope.spawn(move || pauses_all(asking, Duration::from_millis(pause)));
        }
    });
}

#[test]
fn retries_limits_the_attempts_of_a_line() {
    for (arguments, attempts) in [
        (&[][..], 6),
        (&["--retries", "2"], 3),
        (&["--retries", "0"], 1),
    ] {
        let servers = servers(|_, _| {
            let headers = vec![("retry-after-ms", "1".to_owned())];
            Reply::With(500, headers, r#"{"error":{"message":"boom"}}"#.to_owned())
        });
        let ended = batch_of(&servers, 1, arguments).run();
        ended.code(8);
        assert_eq!(servers.asked().len(), attempts);
        let line = &lines(&ended.stdout)[0];
        assert_eq!(line["langspan"]["attempts"], attempts);
        assert_eq!(line["response"]["status_code"], 500);
    }
}
