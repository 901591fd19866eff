//! `langspan config init`: asks for what a first call needs, and writes the settings file.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::app::signals::SignalListener;
use crate::app::{secrets, settings_file, terminal};
use crate::console::{Console, OutputFormat};
use crate::failure::Failure;
use crate::http::url::complete_http_url;
use crate::langfuse::base;
use crate::model::endpoint::proposed_base;
use crate::output::Printer;
use crate::settings::file::SettingsFile;
use crate::settings::{Sources, variables};

const OPENAI: &str = "https://api.openai.com/v1";
const MODEL: &str = "gpt-4o-mini";
/// Variables that override what the file says.
const VARIABLES: [&str; 6] = [
    "LANGFUSE_BASE_URL",
    "LANGFUSE_PUBLIC_KEY",
    "LANGFUSE_SECRET_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "LANGSPAN_MODEL",
];

/// What to write, printed where no questions can be asked.
const TEMPLATE: &str = "\
model = \"gpt-4o-mini\"
openai_base_url = \"https://api.openai.com/v1\"
openai_api_key_command = [\"pass\", \"show\", \"openai\"]
langfuse_base_url = \"https://cloud.langfuse.com\"
public_key = \"pk-lf-…\"
secret_key_command = [\"pass\", \"show\", \"langfuse\"]
";

/// A settings file that is not written yet.
#[derive(Debug)]
pub struct Answers {
    path: PathBuf,
    text: Text,
}

/// The text of the file. It holds keys.
struct Text(String);

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Text")
    }
}

/// Asks for everything that the file holds.
///
/// # Errors
/// If there is no terminal, or the person does not want to replace a file.
pub async fn ask(console: &Console) -> Result<Answers, Failure> {
    let path = settings_file::path().ok_or_else(settings_file::homeless)?;
    if !terminal::is_there() {
        return Err(without_terminal(&path));
    }
    try_folder(&path)?;
    let mut questions = Questions {
        console,
        interrupt: SignalListener::listen().map_err(anyhow::Error::from)?,
    };
    if path.exists() {
        let question = format!("{} exists. Replace it? [y/N]", path.display());
        let answer = questions.line(&question, "").await?;
        if !matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") {
            return Err(Failure::usage(format!("{} was kept", path.display()))
                .hint("edit it, or move it away first"));
        }
    }
    let text = questions.all().await?;
    Ok(Answers {
        path,
        text: Text(text),
    })
}

/// Writes a file where the settings file will be, or would have its folder, and removes it: before the questions, since
/// nobody wants to type keys twice.
fn try_folder(path: &Path) -> Result<(), Failure> {
    let target = target(path);
    let folder = target.ancestors().skip(1).find(|folder| folder.exists());
    let probe = folder.unwrap_or(Path::new("/"));
    let probe = probe.join(format!(".langspan-{}", std::process::id()));
    // Unlike that of a temporary file, this error does not name another file than the message.
    File::create_new(&probe)
        .and_then(|_| fs::remove_file(&probe))
        .map_err(|error| Failure::unwritable(path.display(), &error))
}

/// The file itself: a link to it, as of a folder of dotfiles, stays one.
fn target(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn without_terminal(path: &Path) -> Failure {
    let mut printer = Printer::new(OutputFormat::Text);
    printer.text(TEMPLATE);
    printer.take_failure().unwrap_or_else(|| {
        Failure::usage("config init asks questions, and stdin is not a terminal").hint(format!(
            "write the lines above, with your own values, to {}",
            path.display()
        ))
    })
}

/// The questions, one after the other.
struct Questions<'a> {
    console: &'a Console,
    interrupt: SignalListener,
}

impl Questions<'_> {
    /// The text of the settings file.
    async fn all(&mut self) -> Result<String, Failure> {
        self.console
            .note("Enter takes the value in brackets. Keys are not shown while you type.");
        let langfuse = self.url("Langfuse URL", base::CLOUD).await?;
        let public = self.key("Langfuse public key (pk-lf-…)").await?;
        let secret = self.key("Langfuse secret key (sk-lf-…)").await?;
        let endpoint = self.endpoint().await?;
        let question =
            "Key of the model endpoint (Enter for none, or to keep it in OPENAI_API_KEY):";
        let key = self.hidden(question).await?;
        let model = self.line("Model", MODEL).await?;
        let mut lines = vec![
            ("model", model),
            ("openai_base_url", endpoint),
            ("openai_api_key", key),
            ("langfuse_base_url", langfuse),
            ("public_key", public),
            ("secret_key", secret),
        ];
        lines.retain(|(_, value)| !value.is_empty());
        let lines = lines.iter().map(|(name, value)| {
            // A JSON string is a TOML string.
            format!("{name} = {}\n", Value::from(value.as_str()))
        });
        Ok(lines.collect())
    }

    async fn line(&mut self, question: &str, default: &str) -> Result<String, Failure> {
        let question = if default.is_empty() {
            format!("{question} ")
        } else {
            format!("{question} [{default}]: ")
        };
        let answer = terminal::ask(&question, self.console, &mut self.interrupt).await?;
        Ok(if answer.is_empty() {
            default.to_owned()
        } else {
            answer
        })
    }

    /// A URL, asked for until it is one.
    async fn url(&mut self, question: &str, default: &str) -> Result<String, Failure> {
        loop {
            let answer = self.line(question, default).await?;
            match complete_http_url(&answer) {
                Ok(_) if answer.contains("://") => return Ok(answer),
                Ok(url) => return Ok(url.as_str().trim_end_matches('/').to_owned()),
                Err(error) => self.console.warn(&error),
            }
        }
    }

    /// The model endpoint, asked for a second time where the first answer is probably incomplete.
    async fn endpoint(&mut self) -> Result<String, Failure> {
        let answer = self.url("Model endpoint", OPENAI).await?;
        let proposed = complete_http_url(&answer)
            .ok()
            .and_then(|url| proposed_base(&url));
        match proposed {
            Some(proposed) => {
                self.console.note(
                    "Most endpoints end in /v1. Enter adds it; type your URL again to keep it.",
                );
                self.url("Model endpoint", proposed.as_str()).await
            }
            None => Ok(answer),
        }
    }

    /// A key, asked for until there is one.
    async fn key(&mut self, question: &str) -> Result<String, Failure> {
        loop {
            let answer = self.hidden(&format!("{question}:")).await?;
            if !answer.is_empty() {
                return Ok(answer);
            }
        }
    }

    async fn hidden(&mut self, question: &str) -> Result<String, Failure> {
        terminal::ask_hidden(&format!("{question} "), self.console, &mut self.interrupt).await
    }
}

impl Answers {
    /// The settings, before every variable: what is checked is what will be written.
    ///
    /// # Errors
    /// If an answer cannot be written as a setting.
    pub fn sources(&self) -> Result<Sources, Failure> {
        let file = SettingsFile::parse(&self.path, &self.text.0)?;
        variables::check_environment()?;
        Ok(Sources::default().trying(file, secrets::read))
    }

    /// Writes the file, as a whole, readable by its owner alone.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, console: &Console) -> Result<(), Failure> {
        self.try_write()
            .map_err(|error| Failure::unwritable(self.path.display(), &error))?;
        console.note(&format!("written: {} (mode 0600)", self.path.display()));
        let is_set = |name: &&&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let set: Vec<&str> = VARIABLES.iter().filter(is_set).copied().collect();
        if !set.is_empty() {
            console.warn(&format!(
                "{} are set and override the file: unset them to use it",
                set.join(", ")
            ));
        }
        console.note("try it: langspan chat \"Hello\"; langspan config shows what is in force");
        Ok(())
    }

    fn try_write(&self) -> io::Result<()> {
        let path = target(&self.path);
        let folder = path.parent().unwrap_or_else(|| Path::new("/"));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(self.text.0.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}
