//! A key is valid in one region of Langfuse Cloud: `check` asks each other region once, over https, whether the key is
//! its own.

use serde_json::json;

use super::cloud::{Answer, Asked, Cloud};
use super::{HEALTH, PROJECTS, assert_fails_at, check, words};
use crate::support::harness::{Ended, Langspan, Scripted};

const EU: &str = "cloud.langfuse.com";
const US: &str = "us.cloud.langfuse.com";
const JP: &str = "jp.cloud.langfuse.com";
const HIPAA: &str = "hipaa.cloud.langfuse.com";
const REGIONS: [&str; 4] = [EU, US, JP, HIPAA];

/// A healthy Langfuse at every host; `host` knows the keys.
fn known_by(host: &str, asked: &str, path: &str) -> Answer {
    match path {
        HEALTH => (200, json!({"status": "OK", "version": "4.16.0"})),
        PROJECTS if asked == host => (200, json!({"data": [{"id": "p1", "name": "Mine"}]})),
        PROJECTS => (
            401,
            json!({"message": "Invalid credentials. Confirm that you've configured the correct host."}),
        ),
        _ => (404, json!({"message": "not here"})),
    }
}

/// A cloud in which that host knows the keys.
fn cloud_of(host: &'static str) -> Cloud {
    Cloud::start(move |asked, path| Some(known_by(host, asked, path)))
}

/// A check, of the default region unless an option says otherwise.
fn check_in(cloud: &Cloud, options: &[&str]) -> Ended {
    let call = check("", options).without("LANGFUSE_BASE_URL");
    cloud.around(call).run()
}

/// Asserts that each of these hosts was asked for the project, once and over https, and for nothing else.
#[track_caller]
fn assert_asked_for_the_project_alone(cloud: &Cloud, hosts: &[&str]) {
    let asked = cloud.asked();
    for host in hosts {
        let of_it: Vec<Asked> = asked
            .iter()
            .filter(|asked| asked.host == *host)
            .cloned()
            .collect();
        let expected =
            [("CONNECT", "443", false), ("GET", PROJECTS, true)].map(|(method, path, has_keys)| {
                Asked {
                    host: (*host).to_owned(),
                    method: method.to_owned(),
                    path: path.to_owned(),
                    has_keys,
                }
            });
        assert_eq!(of_it, expected, "{host}");
    }
}

#[test]
fn keys_of_another_region_are_traced_to_it() {
    for (first, right) in [
        (EU, US),
        (EU, JP),
        (EU, HIPAA),
        (US, EU),
        (JP, US),
        (HIPAA, EU),
    ] {
        let cloud = cloud_of(right);
        let ended = check_in(
            &cloud,
            &["--langfuse-base-url", &format!("https://{first}")],
        );
        assert_fails_at(&ended, "auth", 3);
        let words = words(&ended, "auth");
        assert!(
            words.contains(&format!("https://{right}")),
            "{first} {right}: {words}"
        );
        for wrong in REGIONS
            .iter()
            .filter(|region| ![first, right].contains(region))
        {
            assert!(
                !words.contains(&format!("https://{wrong}")),
                "{first} {right}: {words}"
            );
        }
        let others: Vec<&str> = cloud
            .asked()
            .iter()
            .filter(|asked| asked.method == "GET" && asked.host != first)
            .filter_map(|asked| REGIONS.into_iter().find(|region| *region == asked.host))
            .collect();
        assert!(others.contains(&right));
        assert_asked_for_the_project_alone(&cloud, &others);
    }
}

#[test]
fn the_default_region_is_handled_like_the_others() {
    let cloud = cloud_of(US);
    let ended = check_in(&cloud, &[]);
    assert_fails_at(&ended, "auth", 3);
    let words = words(&ended, "auth");
    assert!(
        words.contains("LANGFUSE_BASE_URL=https://us.cloud.langfuse.com"),
        "{words}"
    );
}

#[test]
fn the_first_region_is_asked_only_for_health_and_project() {
    let cloud = cloud_of(US);
    check_in(&cloud, &[]).code(3);
    let of_it = cloud.asked().into_iter().filter(|asked| asked.host == EU);
    for asked in of_it.filter(|asked| asked.method != "CONNECT") {
        assert_eq!(asked.method, "GET");
        assert!(
            [HEALTH, PROJECTS].contains(&asked.path.as_str()),
            "{asked:?}"
        );
        assert_eq!(asked.has_keys, asked.path == PROJECTS, "{asked:?}");
    }
}

#[test]
fn unknown_keys_are_tried_once_in_each_region() {
    let cloud = cloud_of("none.example.org");
    let ended = check_in(&cloud, &[]);
    assert_fails_at(&ended, "auth", 3);
    assert_asked_for_the_project_alone(&cloud, &[US, JP, HIPAA]);
    let words = words(&ended, "auth");
    // It says so.
    for region in ["US", "JP", "HIPAA"] {
        assert!(words.contains(region), "{region} is missing: {words}");
    }
    assert!(!words.contains("https://us."), "{words}");
}

#[test]
fn keys_accepted_by_one_region_are_sent_to_no_other() {
    let cloud = cloud_of(EU);
    let ended = check_in(&cloud, &["--no-write"]);
    ended.code(0);
    assert_eq!(cloud.hosts(), [EU]);
}

#[test]
fn the_region_check_can_be_disabled() {
    let cloud = cloud_of(US);
    let ended = check_in(&cloud, &["--no-region-probe"]);
    assert_fails_at(&ended, "auth", 3);
    assert_eq!(cloud.hosts(), [EU]);
}

#[test]
fn only_a_401_makes_check_try_other_regions() {
    for (status, code) in [(403, 3), (404, 5), (429, 5), (500, 5)] {
        let cloud = Cloud::start(move |asked, path| {
            let is_first = asked == EU && path == PROJECTS;
            let refusal = (status, json!({"message": "no"}));
            Some(if is_first {
                refusal
            } else {
                known_by(US, asked, path)
            })
        });
        check_in(&cloud, &[]).code(code);
        assert_eq!(cloud.hosts(), [EU], "{status}");
    }
}

#[test]
fn other_hosts_are_never_checked_for_another_region() {
    for host in [
        "langfuse.example.org",
        "cloud.langfuse.com.example.org",
        "eu.cloud.langfuse.com",
        "notcloud.example.org",
    ] {
        let cloud = cloud_of(US);
        let ended = check_in(&cloud, &["--langfuse-base-url", &format!("https://{host}")]);
        assert!([3, 5].contains(&ended.code.unwrap()), "{ended:#?}");
        assert_eq!(cloud.hosts(), [host]);
    }
}

#[test]
fn a_local_server_is_never_checked_for_another_region() {
    let cloud = cloud_of(US);
    let local = Scripted::start(|request, _| {
        let (status, body) = known_by(US, "127.0.0.1", &request.path);
        crate::support::harness::Reply::json(status, &body)
    });
    let ended = cloud.around(check(local.url(), &[])).run();
    assert_fails_at(&ended, "auth", 3);
    assert_eq!(cloud.hosts(), [""; 0]);
}

#[test]
fn a_region_that_cannot_be_reached_is_passed_over() {
    let cloud = Cloud::start(|asked, path| (asked != US).then(|| known_by(JP, asked, path)));
    let ended = check_in(&cloud, &[]);
    assert_fails_at(&ended, "auth", 3);
    assert!(
        words(&ended, "auth").contains("https://jp.cloud.langfuse.com"),
        "{ended:#?}"
    );
}

#[test]
fn an_untrusted_certificate_fails_connect() {
    let (cloud, other) = (cloud_of(EU), cloud_of(EU));
    let call = cloud.around(check("", &[]).without("LANGFUSE_BASE_URL"));
    call.file("cloud.pem", other.certificate());
    assert_fails_at(&call.run(), "connect", 5);
    assert!(cloud.asked().iter().all(|asked| asked.method == "CONNECT"));
}

#[test]
fn a_chat_never_asks_another_region() {
    let cloud = cloud_of(US);
    let model = Scripted::model("hi");
    let call = Langspan::new(&["chat", "--export-timeout", "1", "Hello"])
        .model_at(&format!("{}/v1", model.url()))
        .env("LANGFUSE_PUBLIC_KEY", "pk-lf-sandbox")
        .env("LANGFUSE_SECRET_KEY", "sk-lf-sandbox");
    cloud.around(call).run().code(5).stdout("hi\n");
    assert_eq!(cloud.hosts(), [EU]);
}
