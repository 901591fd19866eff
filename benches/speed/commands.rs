//! The commands that are compared: langspan, curl with a request that was encoded before, and Python.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::process::Task;
use crate::stand_in::StandIn;

const MODEL_KEY: &str = "sk-bench";
const PUBLIC_KEY: &str = "pk-lf-bench";
const SECRET_KEY: &str = "sk-lf-bench";
const PROMPT: &str = "Why trace LLM calls?";
/// The system's store on Debian and its kin.
const STORE: &str = "/etc/ssl/certs";
const BUNDLE: &str = "ca-certificates.crt";

/// The binary under measure, built for release.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_langspan"))
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    let profile = binary().parent().unwrap();
    profile.parent().unwrap().to_owned()
}

pub fn langspan(arguments: &[&str], home: &Path) -> Task {
    Task::new(installed(home).to_str().unwrap(), arguments, home)
}

/// The binary under measure as `cargo install` or a download leaves it, as its peers were left: a file that was written
/// in one go. What the linker wrote page by page lies in small pieces in the kernel's cache, and starts a quarter of a
/// millisecond later.
fn installed(home: &Path) -> PathBuf {
    let path = home.join("langspan");
    if !path.exists() {
        fs::copy(binary(), &path).unwrap();
    }
    path
}

/// One traced chat with user, session and tag.
pub fn chat(stand_in: &StandIn, home: &Path, tls: bool) -> Task {
    const ARGUMENTS: [&str; 9] = [
        "chat",
        "--no-stdin",
        "-u",
        "user-123",
        "-S",
        "demo",
        "-t",
        "smoke",
        PROMPT,
    ];
    at(
        langspan(&ARGUMENTS, home),
        &stand_in.model(tls),
        &stand_in.langfuse(tls),
    )
}

/// `task` with these endpoints, and keys for them.
pub fn at(task: Task, model: &str, langfuse: &str) -> Task {
    task.env("OPENAI_BASE_URL", model)
        .env("OPENAI_API_KEY", MODEL_KEY)
        .env("LANGFUSE_BASE_URL", langfuse)
        .env("LANGFUSE_PUBLIC_KEY", PUBLIC_KEY)
        .env("LANGFUSE_SECRET_KEY", SECRET_KEY)
}

/// A copy of the system's store that holds `authority` as well, as bundle and as folder: what is loaded then is what
/// is loaded when nothing is set. None where there is no store.
pub fn copy_of_store(authority: &Path, home: &Path) -> Option<PathBuf> {
    let copy = home.join("store");
    fs::create_dir_all(&copy).unwrap();
    let mut bundle = fs::read(Path::new(STORE).join(BUNDLE)).ok()?;
    for found in fs::read_dir(STORE).ok()? {
        let found = found.ok()?;
        // Certificates are links to their files, and links by their hashes to these links.
        let link = fs::read_link(found.path()).unwrap_or_else(|_| found.path());
        std::os::unix::fs::symlink(link, copy.join(found.file_name())).ok()?;
    }
    bundle.extend(fs::read(authority).unwrap());
    fs::remove_file(copy.join(BUNDLE)).ok()?;
    fs::write(copy.join(BUNDLE), bundle).unwrap();
    Some(copy)
}

/// `task` with the bundle of a store in place of the system's.
pub fn with_bundle(task: Task, store: &Path) -> Task {
    task.env("SSL_CERT_FILE", store.join(BUNDLE))
}

/// `task` with bundle and folder of a store in place of the system's: both are loaded where nothing is set. (curl
/// loads the bundle, and looks into the folder only for what is not in it; of the two variables it heeds one.)
pub fn with_store(task: Task, store: &Path) -> Task {
    with_bundle(task, store).env("SSL_CERT_DIR", store)
}

/// `task` with one authority in place of the system's store.
pub fn with_authority(task: Task, stand_in: &StandIn) -> Task {
    task.env("SSL_CERT_FILE", stand_in.authority())
}

/// The chat request and an export that `langspan` made earlier, in one process.
pub fn curl(stand_in: &StandIn, home: &Path, tls: bool) -> Task {
    let chat = home.join("chat.json");
    let body =
        format!(r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#);
    fs::write(&chat, body).unwrap();
    let export = home.join("ready-made.bin");
    fs::copy(stand_in.export_body(), &export).unwrap();
    let at = |path: &Path| format!("@{}", path.display());
    Task::new("curl", &["-sf", "-o", "/dev/null"], home)
        .arg(&format!("{}/chat/completions", stand_in.model(tls)))
        .args(&["-H", "content-type: application/json"])
        .args(&["-H", &format!("authorization: Bearer {MODEL_KEY}")])
        .args(&["--data-binary", &at(&chat)])
        .args(&["--next", "-sf", "-o", "/dev/null"])
        .arg(&traces(stand_in, tls))
        .args(&["-H", "content-type: application/x-protobuf"])
        .args(&["-H", &format!("authorization: {}", authorization())])
        .args(&["-H", "x-langfuse-ingestion-version: 4"])
        .args(&["--data-binary", &at(&export)])
}

/// Langfuse's SDK, if it is installed.
pub fn langfuse_sdk(stand_in: &StandIn, home: &Path) -> Option<Task> {
    Some(
        python("langfuse", "langfuse_sdk.py", stand_in, home)?
            .env("LANGFUSE_HOST", stand_in.langfuse(false))
            .env("LANGFUSE_PUBLIC_KEY", PUBLIC_KEY)
            .env("LANGFUSE_SECRET_KEY", SECRET_KEY),
    )
}

/// The OpenTelemetry cookbook, if what it needs is installed.
pub fn cookbook(stand_in: &StandIn, home: &Path) -> Option<Task> {
    let authorization = authorization().replace(' ', "%20");
    Some(
        python("cookbook", "cookbook.py", stand_in, home)?
            .env(
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                traces(stand_in, false),
            )
            .env(
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                format!("Authorization={authorization}"),
            )
            .env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
    )
}

fn python(environment: &str, script: &str, stand_in: &StandIn, home: &Path) -> Option<Task> {
    let python: PathBuf = target().join("python").join(environment).join("bin/python");
    if !python.exists() {
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches/python")
        .join(script);
    let task = Task::new(python.to_str()?, &[script.to_str()?, PROMPT], home);
    Some(
        task.env("OPENAI_BASE_URL", stand_in.model(false))
            .env("OPENAI_API_KEY", MODEL_KEY),
    )
}

fn traces(stand_in: &StandIn, tls: bool) -> String {
    format!("{}/api/public/otel/v1/traces", stand_in.langfuse(tls))
}

fn authorization() -> String {
    let pair = format!("{PUBLIC_KEY}:{SECRET_KEY}");
    format!("Basic {}", STANDARD.encode(pair))
}
