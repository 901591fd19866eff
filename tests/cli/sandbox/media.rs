//! The media interface: content is announced, put to its signed URL, reported, read again, and shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{JSON, send, span, text};
use crate::support::stand_in::{Answer, Sandbox};

const MEDIA: &str = "/api/public/media";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n picture";

fn hash(bytes: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(bytes))
}

fn announcement(content_type: &str, bytes: &[u8]) -> Value {
    json!({"contentType": content_type, "contentLength": bytes.len(), "sha256Hash": hash(bytes), "traceId": "a",
           "observationId": "1", "field": "input"})
}

fn announce(sandbox: &Sandbox, announcement: &Value) -> Answer {
    sandbox.post(MEDIA, &[JSON], announcement.to_string())
}

/// The path of the signed URL that an announcement gave.
fn upload_path(sandbox: &Sandbox, answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    let url = answer.json()["uploadUrl"].as_str().unwrap().to_owned();
    url.strip_prefix(sandbox.url()).unwrap().to_owned()
}

fn put(sandbox: &Sandbox, path: &str, content_type: &str, bytes: &[u8]) -> Answer {
    let hash = hash(bytes);
    let headers = [
        ("content-type", content_type),
        ("x-amz-checksum-sha256", &hash),
        ("x-ms-blob-type", "BlockBlob"),
    ];
    sandbox.send("PUT", path, &headers, bytes.to_vec())
}

fn report(sandbox: &Sandbox, id: &str, report: &Value) -> Answer {
    let authorization = sandbox.authorization();
    let headers = [("authorization", authorization.as_str()), JSON];
    sandbox.send(
        "PATCH",
        &format!("{MEDIA}/{id}"),
        &headers,
        report.to_string().into_bytes(),
    )
}

/// All steps; returns the id.
pub fn upload(sandbox: &Sandbox, content_type: &str, bytes: &[u8]) -> String {
    let answer = announce(sandbox, &announcement(content_type, bytes));
    assert_eq!(
        put(sandbox, &upload_path(sandbox, &answer), content_type, bytes).status,
        200
    );
    let id = answer.json()["mediaId"].as_str().unwrap().to_owned();
    let done = json!({"uploadedAt": "2026-11-22T07:14:03.000Z", "uploadHttpStatus": 200, "uploadTimeMs": 3});
    let answer = report(sandbox, &id, &done);
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"message": "OK"}))
    );
    id
}

#[test]
fn content_is_readable_once_put_and_reported() {
    for generation in ["v4", "v3"] {
        let sandbox = Sandbox::start_with(&["--langfuse", generation]);
        let unknown = sandbox.get(&format!("{MEDIA}/AAAAAAAAAAAAAAAAAAAAAA"));
        assert_eq!(
            (unknown.status, unknown.json()),
            (
                404,
                json!({"message": "Media asset not found", "error": "LangfuseNotFoundError"})
            )
        );
        let answer = announce(&sandbox, &announcement("image/png", PNG));
        let id = hash(PNG).replace('+', "-").replace('/', "_")[..22].to_owned();
        assert_eq!(answer.json()["mediaId"], id);
        let path = upload_path(&sandbox, &answer);
        assert_eq!(put(&sandbox, &path, "image/png", PNG).status, 200);
        let early = sandbox.get(&format!("{MEDIA}/{id}"));
        assert_eq!(
            (early.status, &early.json()["message"]),
            (404, &json!("Media not yet uploaded"))
        );

        assert_eq!(upload(&sandbox, "image/png", PNG), id);
        let known = sandbox.get(&format!("{MEDIA}/{id}")).json();
        assert_eq!(
            (&known["contentType"], &known["contentLength"]),
            (&json!("image/png"), &json!(PNG.len()))
        );
        assert_eq!(known["uploadedAt"], "2026-11-22T07:14:03.000Z");
        assert_eq!(known["url"], format!("{}/media/{id}", sandbox.url()));
        assert_eq!(sandbox.fetch(&format!("/media/{id}")).1, PNG);

        // The same content with the same type is not requested again.
        let again = announce(&sandbox, &announcement("image/png", PNG));
        assert_eq!(
            (again.status, again.json()),
            (201, json!({"mediaId": id, "uploadUrl": null}))
        );
        assert!(
            announce(&sandbox, &announcement("image/gif", PNG)).json()["uploadUrl"].is_string()
        );
    }
}

#[test]
fn a_failed_upload_is_not_stored() {
    let sandbox = Sandbox::start();
    let answer = announce(&sandbox, &announcement("image/png", PNG));
    let id = answer.json()["mediaId"].as_str().unwrap().to_owned();
    let failed = json!({"uploadedAt": "2026-11-22T07:14:03Z", "uploadHttpStatus": 403, "uploadHttpError": "denied"});
    assert_eq!(report(&sandbox, &id, &failed).status, 200);
    let answer = sandbox.get(&format!("{MEDIA}/{id}"));
    assert_eq!(
        (answer.status, &answer.json()["message"]),
        (
            404,
            &json!("Media upload failed with status 403: \n denied")
        )
    );
    assert_eq!(
        sandbox
            .send("GET", &format!("/media/{id}"), &[], Vec::new())
            .status,
        404
    );
}

#[test]
fn a_wrong_announcement_is_refused_by_its_field() {
    let sandbox = Sandbox::start();
    for (field, value) in [
        ("contentType", json!("image/x-icon")),
        ("contentType", json!(7)),
        ("contentLength", json!(0)),
        ("contentLength", json!(1.5)),
        ("sha256Hash", json!("abc")),
        ("field", json!("other")),
        ("traceId", Value::Null),
        ("datasetId", json!("d")),
    ] {
        let mut wrong = announcement("image/png", PNG);
        wrong[field] = value;
        let answer = announce(&sandbox, &wrong);
        let body = answer.json();
        assert_eq!(
            (answer.status, &body["message"]),
            (400, &json!("Invalid request data")),
            "{body}"
        );
        assert_eq!(body["error"][0]["path"], json!([field]), "{body}");
    }
    assert_eq!(sandbox.post(MEDIA, &[JSON], "{").status, 400);
    let mut large = announcement("image/png", PNG);
    large["contentLength"] = 100_000_001.into();
    let answer = announce(&sandbox, &large);
    assert_eq!(
        (answer.status, &answer.json()["message"]),
        (400, &json!("File size must be less than 100000000 bytes"))
    );
    assert_eq!(
        sandbox.post(MEDIA, &[JSON], vec![b' '; 100_000]).status,
        413
    );
}

#[test]
fn a_wrong_report_is_refused() {
    let sandbox = Sandbox::start();
    let id = upload(&sandbox, "image/png", PNG);
    for (wrong, field) in [
        (json!({"uploadHttpStatus": 200}), "uploadedAt"),
        (
            json!({"uploadedAt": "yesterday", "uploadHttpStatus": 200}),
            "uploadedAt",
        ),
        (
            json!({"uploadedAt": "2026-11-22T07:14:03Z", "uploadHttpStatus": "200"}),
            "uploadHttpStatus",
        ),
    ] {
        let answer = report(&sandbox, &id, &wrong);
        assert_eq!(
            (answer.status, &answer.json()["error"][0]["path"]),
            (400, &json!([field]))
        );
    }
    let right = json!({"uploadedAt": "2026-11-22T07:14:03Z", "uploadHttpStatus": 200});
    let answer = report(&sandbox, "AAAAAAAAAAAAAAAAAAAAAA", &right);
    let message = "Media asset AAAAAAAAAAAAAAAAAAAAAA not found in project sandbox";
    assert_eq!(
        (answer.status, &answer.json()["message"]),
        (404, &json!(message))
    );
}

#[test]
fn the_interface_requires_keys_and_the_store_refuses_them() {
    let sandbox = Sandbox::start();
    let answer = announce(&sandbox, &announcement("image/png", PNG));
    let path = upload_path(&sandbox, &answer);
    for (method, path) in [
        ("POST", MEDIA),
        ("GET", "/api/public/media/x"),
        ("PATCH", "/api/public/media/x"),
    ] {
        assert_eq!(
            sandbox.send(method, path, &[JSON], b"{}".to_vec()).status,
            401,
            "{method}"
        );
    }
    let keys = sandbox.authorization();
    let headers = [
        ("authorization", keys.as_str()),
        ("content-type", "image/png"),
    ];
    let answer = sandbox.send("PUT", &path, &headers, PNG.to_vec());
    assert!(
        answer.status == 400 && answer.body.contains("InvalidArgument"),
        "{answer:?}"
    );
}

#[test]
fn only_what_was_announced_can_be_put() {
    let sandbox = Sandbox::start();
    let answer = announce(&sandbox, &announcement("image/png", PNG));
    let path = upload_path(&sandbox, &answer);
    let (bare, _) = path.split_once('?').unwrap();
    let longer = [PNG, b"!"].concat();
    let mut other = PNG.to_vec();
    other[10] = b'?';
    for (path, content_type, bytes, code) in [
        (bare, "image/png", PNG, "SignatureDoesNotMatch"),
        (
            "/media/AAAAAAAAAAAAAAAAAAAAAA?signature=0",
            "image/png",
            PNG,
            "SignatureDoesNotMatch",
        ),
        (
            "/media/..%2F..%2Fx?signature=0",
            "image/png",
            PNG,
            "SignatureDoesNotMatch",
        ),
        (&path, "text/html", PNG, "SignatureDoesNotMatch"),
        (&path, "image/png", &other, "BadDigest"),
    ] {
        let answer = put(&sandbox, path, content_type, bytes);
        assert!(
            answer.status >= 400 && answer.body.contains(code),
            "{path} {content_type}: {answer:?}"
        );
    }
    for (bytes, code) in [
        (longer.as_slice(), "EntityTooLarge"),
        (&PNG[1..], "BadDigest"),
        (&other, "BadDigest"),
    ] {
        let answer = sandbox.send(
            "PUT",
            &path,
            &[("content-type", "image/png")],
            bytes.to_vec(),
        );
        assert!(
            answer.status == 400 && answer.body.contains(code),
            "{answer:?}"
        );
    }
    let (bare, _) = path.split_once('?').unwrap();
    assert_eq!(sandbox.send("GET", bare, &[], Vec::new()).status, 404);
}

#[test]
fn content_is_served_so_that_nothing_in_it_runs() {
    let sandbox = Sandbox::start();
    for (content_type, bytes, disposition) in [
        ("image/png", PNG, "inline"),
        (
            "text/html",
            b"<script>alert(1)</script>".as_slice(),
            "attachment",
        ),
        ("image/svg+xml", b"<svg onload=\"alert(1)\"/>", "attachment"),
        ("application/pdf", b"%PDF-1.7", "attachment"),
    ] {
        let id = upload(&sandbox, content_type, bytes);
        let (headers, served) = sandbox.fetch(&format!("/media/{id}"));
        assert_eq!(served, bytes);
        for (name, value) in [
            ("content-type", content_type),
            ("content-disposition", disposition),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(headers[name], value, "{content_type}");
        }
    }
}

#[test]
fn a_trace_page_shows_what_its_observations_refer_to() {
    let sandbox = Sandbox::start();
    let reference = |content_type: &str, id: &str| {
        format!("@@@langfuseMedia:type={content_type}|id={id}|source=bytes@@@")
    };
    let evil = reference("\"><script>", "\"><script>") + &reference("<script>/x", "abc");
    let content = json!([
        {"type": "image_url", "image_url": {"url": reference("image/png", "AAAAAAAAAAAAAAAAAAAAAA")}},
        {"type": "file", "file": {"file_data": reference("application/pdf", "BBBBBBBBBBBBBBBBBBBBBB")}},
        {"type": "text", "text": evil},
    ]);
    let answer = json!({"role": "assistant", "audio": {"data": reference("audio/wav", "CCCCCCCCCCCCCCCCCCCCCC")}});
    let observed = span(
        "a",
        "1",
        0,
        &[
            text(
                "langfuse.observation.input",
                &json!([{"role": "user", "content": content}]).to_string(),
            ),
            text("langfuse.observation.output", &answer.to_string()),
        ],
    );
    send(&sandbox, &[observed]);
    let (headers, page) = sandbox.fetch("/project/sandbox/traces/a");
    let page = String::from_utf8(page).unwrap();
    for part in [
        r#"<img src="/media/AAAAAAAAAAAAAAAAAAAAAA" alt="image/png""#,
        r#"<a href="/media/BBBBBBBBBBBBBBBBBBBBBB">application/pdf</a>"#,
        r#"<audio controls preload="metadata" src="/media/CCCCCCCCCCCCCCCCCCCCCC">"#,
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(!page.contains("<script"), "{page}");
    assert_eq!(
        headers["content-security-policy"],
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'; form-action 'self'"
    );
}
