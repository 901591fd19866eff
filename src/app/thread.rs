//! The file of `--thread`: a conversation that a call continues. It is locked during the call, and replaced as a whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use crate::app::text_files::is_message;
use crate::console::Console;
use crate::failure::Failure;
use crate::model::content::{is_system, text_of};
use crate::model::{Completion, Request};
use crate::trace::ids;

/// The wait between two attempts to lock the file.
const POLL: Duration = Duration::from_millis(50);
/// After this long, a note says what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The parts of an answer that servers take back as part of a conversation.
const KEPT: [&str; 4] = ["role", "content", "tool_calls", "refusal"];

/// What the file holds.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Conversation {
    session: String,
    messages: Vec<Box<RawValue>>,
}

/// A conversation under way.
#[derive(Debug)]
pub struct Thread {
    path: PathBuf,
    /// The locked file; none once the conversation is written, or when nothing will be.
    file: Option<File>,
    /// Whether this call made the file.
    is_new: bool,
    conversation: Conversation,
}

impl Thread {
    /// Opens and locks the file, and makes sure that it can be replaced. Waits up to `timeout` for a call that holds it.
    ///
    /// # Errors
    /// If it is locked for longer, cannot be read or written, or holds something else.
    pub async fn open(path: &Path, timeout: Duration, console: &Console) -> Result<Self, Failure> {
        let (file, is_new) = lock(path, timeout, console).await?;
        let mut thread = Self {
            path: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
            file: Some(file),
            is_new,
            conversation: Conversation::new(),
        };
        let text = thread.read().map_err(|error| unusable(path, &error))?;
        if !text.is_empty() {
            thread.conversation = Conversation::parse(path, &text)?;
        }
        // A call that cannot be kept must not be paid for.
        tempfile::NamedTempFile::new_in(folder(&thread.path))
            .map_err(|error| unusable(path, &error))?;
        Ok(thread)
    }

    /// The conversation, for a call that is not made.
    ///
    /// # Errors
    /// If the file cannot be read, or holds something else.
    pub fn peek(path: &Path) -> Result<Self, Failure> {
        let conversation = match fs::read_to_string(path) {
            Ok(text) if !text.is_empty() => Conversation::parse(path, &text)?,
            Ok(_) => Conversation::new(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Conversation::new(),
            Err(error) => return Err(unusable(path, &error)),
        };
        Ok(Self {
            path: path.to_owned(),
            file: None,
            is_new: false,
            conversation,
        })
    }

    pub fn session(&self) -> &str {
        &self.conversation.session
    }

    /// Gives a new conversation its session; an old one keeps its own.
    pub fn begin_session(&mut self, session: &str) {
        if self.messages().is_empty() {
            session.clone_into(&mut self.conversation.session);
        }
    }

    /// The messages so far.
    pub fn messages(&self) -> &[Box<RawValue>] {
        &self.conversation.messages
    }

    /// Refuses a system message that is not the one of the conversation.
    ///
    /// # Errors
    /// If the conversation has another.
    pub fn check_system(&self, system: &str) -> Result<(), Failure> {
        let own = self.messages().iter().find(|message| is_system(message));
        let content = |message: &RawValue| {
            let message: Option<Value> = serde_json::from_str(message.get()).ok();
            message.and_then(|message| text_of(&message["content"]))
        };
        if own.is_none_or(|own| content(own).as_deref() == Some(system)) {
            return Ok(());
        }
        let path = self.path.display();
        Err(Failure::usage(format!("{path} has another system message"))
            .hint("omit -s, or begin another thread"))
    }

    /// Writes the conversation with what was asked and answered, and unlocks it.
    ///
    /// # Errors
    /// If it cannot be written; the file is then as it was.
    pub fn extend(&mut self, request: &Request, completion: &Completion) -> Result<(), Failure> {
        let mut messages = request.conversation();
        messages.extend(completion.messages.first().and_then(answer));
        self.conversation.messages = messages;
        let written = self.write();
        if written.is_ok() {
            self.is_new = false;
        }
        let path = self.path.display().to_string();
        self.close();
        written.map_err(|error| {
            Failure::unwritable(format!("the conversation {path}"), &error)
                .hint("the answer is not in it; free disk space, and ask again")
        })
    }

    fn write(&self) -> io::Result<()> {
        // Its mode is 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder(&self.path))?;
        file.write_all(self.conversation.to_json().as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }

    fn read(&mut self) -> io::Result<String> {
        let mut text = String::new();
        if let Some(file) = &mut self.file {
            file.read_to_string(&mut text)?;
        }
        Ok(text)
    }

    /// Removes a file that this call made and did not fill, then unlocks it.
    fn close(&mut self) {
        if self.file.is_some() && self.is_new {
            // A file that stays is empty, and as good as none.
            let _ = fs::remove_file(&self.path);
        }
        self.file = None;
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.close();
    }
}

impl Conversation {
    fn new() -> Self {
        Self {
            session: ids::random().to_string(),
            messages: Vec::new(),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        let refused = |what: &str| {
            Failure::input(format!("{} is not a conversation: {what}", path.display()))
                .hint("--thread takes a new file, or one that an earlier --thread wrote")
        };
        let found: Self =
            serde_json::from_str(text).map_err(|error| refused(&error.to_string()))?;
        if !found.messages.iter().all(|message| is_message(message)) {
            return Err(refused("a message is not an object with a role"));
        }
        Ok(found)
    }

    /// With one message a line.
    fn to_json(&self) -> String {
        let messages: Vec<&str> = self.messages.iter().map(|message| message.get()).collect();
        format!(
            "{{\"session\":{},\"messages\":[\n{}\n]}}\n",
            Value::from(self.session.as_str()),
            messages.join(",\n")
        )
    }
}

/// The message of an answer, as the next call sends it.
fn answer(message: &Value) -> Option<Box<RawValue>> {
    let mut kept: Map<String, Value> = message
        .as_object()?
        .iter()
        .filter(|(name, value)| KEPT.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    kept.entry("role")
        .or_insert_with(|| Value::from("assistant"));
    if !kept.contains_key("tool_calls") {
        kept.entry("content").or_insert_with(|| Value::from(""));
    }
    to_raw_value(&kept).ok()
}

/// Opens the file, made when it is not there, and locks it.
async fn lock(path: &Path, timeout: Duration, console: &Console) -> Result<(File, bool), Failure> {
    let start = Instant::now();
    let mut is_noted = false;
    loop {
        let (file, is_new) = open(path).map_err(|error| unusable(path, &error))?;
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            let error = io::Error::other("it is not a regular file");
            return Err(unusable(path, &error));
        }
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => return Ok((file, is_new)),
            // The call that held it has replaced or removed it.
            Ok(()) => continue,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                console.warn(&format!(
                    "{} cannot be locked: another call must not use it now: {error}",
                    path.display()
                ));
                return Ok((file, is_new));
            }
        }
        if start.elapsed() >= timeout {
            return Err(Failure::file(format!(
                "{} was in use by another call for {} s",
                path.display(),
                timeout.as_secs_f64()
            ))
            .hint(
                "wait for that call, or use another thread; --timeout is how long it is waited for",
            ));
        }
        if start.elapsed() >= PATIENCE && !is_noted {
            is_noted = true;
            console.note(&format!(
                "waiting for another call that uses {}",
                path.display()
            ));
        }
        sleep(POLL).await;
    }
}

fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            options.create_new(true).mode(0o600);
            match options.open(path) {
                // Another call has just made it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    options.create_new(false);
                    Ok((options.open(path)?, false))
                }
                made => Ok((made?, true)),
            }
        }
        opened => Ok((opened?, false)),
    }
}

/// Whether the path still leads to the open file.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |metadata: io::Result<fs::Metadata>| metadata.map(|found| (found.dev(), found.ino()));
    matches!((id(file.metadata()), id(fs::metadata(path))), (Ok(a), Ok(b)) if a == b)
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new("/"))
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::file(format!("{} cannot be used: {error}", path.display())).hint(
        "--thread takes a file that can be read and written, in a folder where files can be made",
    )
}
