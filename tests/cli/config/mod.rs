//! The settings file: its keys and profiles, their order, secrets, and the commands about it.

// What a file may hold, and what is wrong with one that cannot be used.
mod file;
// Which source wins.
mod order;
// Keys stay with their host.
mod hosts;
// Secrets from files and commands.
mod secrets;
// `langspan config`.
mod listing;
// `langspan config init`.
mod init;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::harness::{Langspan, Scripted};

use serde_json::json;

use crate::support::harness::Reply;

/// A call in a home with a settings file of mode 0600.
fn call(arguments: &[&str], settings: &str) -> Langspan {
    let call = Langspan::new(arguments);
    write(&call, settings);
    call
}

/// Puts a settings file into the home of a call.
fn write(call: &Langspan, settings: &str) -> PathBuf {
    let folder = call.home().join(".config/langspan");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("config.toml");
    fs::write(&path, settings).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// A scripted model and Langfuse.
struct Servers {
    model: Scripted,
    langfuse: Scripted,
}

impl Servers {
    fn start() -> Self {
        Self {
            model: Scripted::model("hi"),
            langfuse: Scripted::langfuse(|_, _| Reply::json(200, &json!({}))),
        }
    }

    /// The keys of a table for both.
    fn settings(&self) -> String {
        format!(
            "langfuse_base_url = '{}'\npublic_key = 'pk-lf-of-file'\nsecret_key = 'sk-lf-of-file-0123456789'\nopenai_base_url = '{}/v1'\n",
            self.langfuse.url(),
            self.model.url()
        )
    }

    /// The body of the last request to the model.
    fn body(&self) -> serde_json::Value {
        let requests = self.model.requests_to("/v1/chat/completions");
        requests.last().unwrap().json()
    }
}
