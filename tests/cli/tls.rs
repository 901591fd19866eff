//! TLS trust: the bundled roots, the system's store or its replacement, and named files; client certificates; and the
//! messages when trust fails.

use std::fs;
use std::sync::Arc;

use rustls::ServerConfig;
use serde_json::json;

use crate::support::certificates::{Authority, Flaw, self_signed};
use crate::support::harness::{Ended, Langspan, Reply, Scripted, completion};
use crate::support::memory::Memory;

/// A Langfuse over TLS.
fn langfuse(config: Arc<ServerConfig>) -> Scripted {
    let memory = Memory::default();
    Scripted::start_tls(config, move |request, _| memory.answer(request))
}

/// A chat that is answered `hi` over plain HTTP; the model lives as long as the second value.
fn chat(langfuse: &Scripted) -> (Langspan, Scripted) {
    let model = Scripted::model("hi");
    let call = Langspan::new(&["chat", "--no-stdin", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    (call, model)
}

/// A file in the home of a call.
fn file(call: &Langspan, name: &str, content: &str) -> String {
    call.file(name, content).display().to_string()
}

#[track_caller]
fn assert_delivered(ended: &Ended, langfuse: &Scripted) {
    ended.code(0).stdout("hi\n").stderr_lacks("warning");
    assert_eq!(langfuse.exports().len(), 1);
}

#[test]
fn a_private_authority_is_not_trusted_by_default() {
    let authority = Authority::new();
    let langfuse = langfuse(authority.server(Flaw::None).serving());
    let (call, _model) = chat(&langfuse);
    let ended = call.arg("--export-timeout").arg("1").run();
    ended.code(5).stdout("hi\n").stderr_has("--ca-file");
    assert!(langfuse.requests().is_empty());
    assert_eq!(ended.kept().len(), 1);
}

/// The ways to name an authority, each alone.
const WAYS: [&str; 5] = [
    "--ca-file",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// With the authority trusted in one of the ways.
fn trusting(call: Langspan, way: &str, pem: &str) -> Langspan {
    let path = file(&call, "authority.pem", pem);
    match way {
        "--ca-file" => call.arg(way).arg(&path),
        "SSL_CERT_DIR" => {
            let folder = call.home().join("certificates");
            fs::create_dir(&folder).unwrap();
            // A folder of certificates names them by a hash, as `openssl rehash` does.
            fs::write(folder.join("0a1b2c3d.0"), pem).unwrap();
            call.env(way, folder.to_str().unwrap())
        }
        _ => call.env(way, &path),
    }
}

#[test]
fn each_variable_that_names_an_authority_is_enough() {
    let authority = Authority::new();
    for way in WAYS {
        let langfuse = langfuse(authority.server(Flaw::None).serving());
        let (call, _model) = chat(&langfuse);
        let ended = trusting(call, way, &authority.pem).run();
        assert_eq!(ended.code, Some(0), "{way}: {ended:#?}");
        assert_delivered(&ended, &langfuse);
    }
}

#[test]
fn replay_and_resend_use_the_same_trust() {
    let authority = Authority::new();
    let langfuse = langfuse(authority.server(Flaw::None).serving());
    let recording = json!({
        "request": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
        "response": completion("hi"),
        "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z",
    });
    let replay = Langspan::new(&["replay", "-"])
        .stdin(recording.to_string())
        .langfuse_at(langfuse.url());
    let untrusting = replay.clone().arg("--export-timeout").arg("1").run();
    untrusting.code(5);
    trusting(replay, "--ca-file", &authority.pem).run().code(0);
    let resend = Langspan::new(&["resend"])
        .langfuse_at(langfuse.url())
        .after(&untrusting);
    let ended = trusting(resend, "--ca-file", &authority.pem).run();
    ended.code(0);
    assert!(ended.outbox_files().is_empty());
    assert_eq!(langfuse.exports().len(), 2);
}

#[test]
fn the_model_endpoint_is_trusted_by_the_same_rules() {
    let authority = Authority::new();
    let langfuse = Scripted::langfuse(|_, _| Reply::json(200, &json!({})));
    for way in WAYS {
        let config = authority.server(Flaw::None).serving();
        let model = Scripted::start_tls(config, |_, _| Reply::json(200, &completion("hi")));
        let call = Langspan::new(&["chat", "--no-stdin", "--retries", "0", "Hello"])
            .model_at(model.url())
            .langfuse_at(langfuse.url());
        if way == "--ca-file" {
            let ended = call.run();
            ended
                .code(4)
                .stdout("")
                .stderr_has("certificate")
                .stderr_has("--ca-file");
            assert!(model.requests().is_empty());
        }
        let ended = trusting(call, way, &authority.pem).run();
        assert_eq!(ended.code, Some(0), "{way}: {ended:#?}");
        assert_eq!(model.requests().len(), 1, "{way}");
    }
}

#[test]
fn a_flawed_certificate_of_the_model_endpoint_is_named() {
    let authority = Authority::new();
    let langfuse = Scripted::langfuse(|_, _| Reply::json(200, &json!({})));
    for (flaw, words) in [
        (Flaw::Expired, &["certificate", "expired"]),
        (Flaw::OtherHost, &["certificate", "localhost"]),
    ] {
        let config = authority.server(flaw).serving();
        let model = Scripted::start_tls(config, |_, _| Reply::Close);
        let call = Langspan::new(&["chat", "--no-stdin", "--retries", "0", "Hello"])
            .model_at(model.url())
            .langfuse_at(langfuse.url());
        let ended = trusting(call, "--ca-file", &authority.pem).run();
        ended.code(4).stdout("");
        for word in words {
            ended.stderr_has(word);
        }
        // The authority is not what is wrong.
        ended.stderr_lacks("--ca-file");
    }
}

#[test]
fn a_self_signed_certificate_that_is_trusted_itself_is_accepted() {
    for way in WAYS {
        let identity = self_signed(Flaw::None);
        let pem = identity.certificate_pem.clone();
        let langfuse = langfuse(identity.serving());
        let (call, _model) = chat(&langfuse);
        let ended = trusting(call, way, &pem).run();
        assert_eq!(ended.code, Some(0), "{way}: {ended:#?}");
        assert_delivered(&ended, &langfuse);
    }
}

#[test]
fn a_trusted_self_signed_certificate_is_still_checked() {
    let other = self_signed(Flaw::None).certificate_pem;
    for (flaw, pem, words) in [
        (Flaw::Expired, None, "expired on 2021-01-01"),
        (Flaw::OtherHost, None, "localhost"),
        // Another one of the same name.
        (Flaw::None, Some(other), "UnknownIssuer"),
    ] {
        for way in ["--ca-file", "SSL_CERT_FILE"] {
            let identity = self_signed(flaw);
            let pem = pem.as_ref().unwrap_or(&identity.certificate_pem).clone();
            let langfuse = langfuse(identity.serving());
            let (call, _model) = chat(&langfuse);
            let call = call.arg("--export-timeout").arg("1");
            let ended = trusting(call, way, &pem).run();
            ended.code(5).stderr_has(words);
            assert!(langfuse.requests().is_empty(), "{flaw:?} {way}");
        }
    }
}

#[test]
fn an_expired_certificate_is_named_with_its_date() {
    let authority = Authority::new();
    let langfuse = langfuse(authority.server(Flaw::Expired).serving());
    let (call, _model) = chat(&langfuse);
    let call = call.arg("--export-timeout").arg("1");
    let ended = trusting(call, "--ca-file", &authority.pem).run();
    ended
        .code(5)
        .stderr_has("the server's certificate expired on 2021-01-01T00:00:00Z")
        .stderr_lacks("--ca-file");
}

#[test]
fn an_unusable_certificate_store_is_named_when_trust_fails() {
    let authority = Authority::new();
    for path in ["/no/such/file", "/dev/null"] {
        let langfuse = langfuse(authority.server(Flaw::None).serving());
        let (call, _model) = chat(&langfuse);
        let call = call.arg("--export-timeout").arg("1");
        let ended = call.env("SSL_CERT_FILE", path).run();
        ended.code(5).stderr_has(&format!("SSL_CERT_FILE: {path}"));
    }
}

#[test]
fn a_client_certificate_is_sent_when_requested() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let client = clients.client();
    for (certificate, key) in [
        (
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        ),
    ] {
        let langfuse = langfuse(authority.server(Flaw::None).serving_only(&clients));
        let (call, _model) = chat(&langfuse);
        let certificate_file = file(&call, "client.pem", &client.certificate_pem);
        let key_file = file(&call, "client.key", &client.key_pem);
        let call = call.env(certificate, &certificate_file).env(key, &key_file);
        let ended = trusting(call, "--ca-file", &authority.pem).run();
        assert_delivered(&ended, &langfuse);
    }
}

#[test]
fn a_missing_client_certificate_is_reported() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let langfuse = langfuse(authority.server(Flaw::None).serving_only(&clients));
    let (call, _model) = chat(&langfuse);
    let ended = trusting(call, "--ca-file", &authority.pem)
        .arg("--export-timeout")
        .arg("1")
        .run();
    ended
        .code(5)
        .stdout("hi\n")
        .stderr_has("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE");
    assert!(langfuse.requests().is_empty());
    assert_eq!(ended.kept().len(), 1);
}

#[test]
fn half_an_identity_is_refused_before_anything_is_sent() {
    let langfuse = langfuse(Authority::new().server(Flaw::None).serving());
    let client = Authority::new().client();
    for (variable, content) in [
        (
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            &client.certificate_pem,
        ),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &client.key_pem),
    ] {
        let (call, model) = chat(&langfuse);
        let path = file(&call, "half.pem", content);
        call.env(variable, &path).run().code(3).stdout("");
        assert!(model.requests().is_empty() && langfuse.requests().is_empty());
    }
}

#[test]
fn files_of_authorities_that_cannot_be_used_are_named_before_anything_is_sent() {
    let langfuse = Scripted::langfuse(|_, _| Reply::json(200, &json!({})));
    for (name, content, code) in [
        ("missing.pem", None, 6),
        ("empty.pem", Some(""), 3),
        ("text.pem", Some("no certificate"), 3),
    ] {
        let (call, model) = chat(&langfuse);
        let path = match content {
            Some(content) => file(&call, name, content),
            None => call.home().join(name).display().to_string(),
        };
        let ended = call.arg("--ca-file").arg(&path).run();
        assert_eq!(ended.code, Some(code), "{name}: {ended:#?}");
        ended.stdout("").stderr_has(name);
        assert!(model.requests().is_empty() && langfuse.requests().is_empty());
    }
}

#[test]
fn a_machine_without_certificate_authorities_works() {
    let nowhere = [
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_FILE", "/no/such/file"),
        ("SSL_CERT_DIR", "/no/such/folder"),
    ];
    let authority = Authority::new();
    let plain = Memory::default();
    let plain = Scripted::start(move |request, _| plain.answer(request));
    for (variable, value) in nowhere {
        let secure = langfuse(authority.server(Flaw::None).serving());
        let before = plain.exports().len();
        let (call, _model) = chat(&plain);
        call.env(variable, value).run().code(0).stdout("hi\n");
        assert_eq!(plain.exports().len(), before + 1, "{variable}={value}");
        let (call, _model) = chat(&secure);
        let call = trusting(call.env(variable, value), "--ca-file", &authority.pem);
        assert_delivered(&call.run(), &secure);
    }
}

#[test]
fn a_named_certificate_store_replaces_that_of_the_system() {
    let (trusted, other) = (Authority::new(), Authority::new());
    let langfuse = langfuse(trusted.server(Flaw::None).serving());
    let (call, _model) = chat(&langfuse);
    let call = call.arg("--export-timeout").arg("1");
    trusting(call, "SSL_CERT_FILE", &other.pem).run().code(5);
    assert!(langfuse.requests().is_empty());
}

#[test]
fn one_file_may_name_several_authorities() {
    let authorities = [Authority::new(), Authority::new()];
    let bundle = authorities
        .each_ref()
        .map(|authority| authority.pem.as_str())
        .concat();
    for authority in &authorities {
        for way in ["--ca-file", "SSL_CERT_FILE"] {
            let langfuse = langfuse(authority.server(Flaw::None).serving());
            let (call, _model) = chat(&langfuse);
            assert_delivered(&trusting(call, way, &bundle).run(), &langfuse);
        }
    }
}

#[test]
fn keys_are_not_sent_before_the_certificate_is_trusted() {
    // A server that is not trusted sees nothing of a request, not even its path.
    let authority = Authority::new();
    for flaw in [Flaw::Expired, Flaw::OtherHost] {
        let langfuse = langfuse(authority.server(flaw).serving());
        let (call, _model) = chat(&langfuse);
        let call = call.arg("--export-timeout").arg("1").arg("--verify");
        trusting(call, "--ca-file", &authority.pem).run().code(5);
        assert!(langfuse.requests().is_empty(), "{flaw:?}");
    }
}
