//! Where values come from besides the command line: the environment, the file of `--env-file`, and the settings file
//! with its profiles.
//!
//! The order is: option, profile named by `--profile`, environment, env file, profile named by `LANGSPAN_PROFILE` or
//! `default_profile`, top level of the settings file, default.
//!
//! A variable that is set but is not UTF-8 is an error, never "unset": an unreadable `LANGFUSE_BASE_URL` must not send
//! keys to the default host. Paths are taken as bytes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::key::nearest;
use super::file::{FileEntry, SecretPlace, SettingsFile, Table, key};
pub use super::origin::{Origin, Sourced};
use crate::failure::Failure;
use crate::secret::Secret;

/// A source of values besides the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// The profile that `--profile` names: who types it means it, also where variables are exported.
    NamedProfile,
    Environment,
    EnvFile,
    /// The profile that `LANGSPAN_PROFILE` or `default_profile` names.
    Profile,
    /// The keys of the settings file outside every profile.
    TopLevel,
}

impl Rank {
    /// The strongest first.
    pub const ALL: [Self; 5] = [
        Self::NamedProfile,
        Self::Environment,
        Self::EnvFile,
        Self::Profile,
        Self::TopLevel,
    ];
}

/// Reads a secret from its place, for a key of that name.
pub type ReadSecret = fn(&SecretPlace, &Origin) -> Result<Secret, Failure>;

/// The settings file of a run, and how its secrets are read: only when one is needed.
#[derive(Clone, Debug)]
struct Opened {
    file: Arc<SettingsFile>,
    read_secret: ReadSecret,
}

/// The profile in force.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Profile {
    /// None for the top level, in place of a profile.
    name: Option<Sourced<String>>,
    is_named: bool,
}

/// All sources but the options.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    variables: HashMap<String, String>,
    settings: Option<Opened>,
    profile: Option<Profile>,
}

impl Sources {
    /// Adds the content of an env file, which may begin with a byte order mark.
    ///
    /// # Errors
    /// If the file is not UTF-8 or an entry is malformed; no value is shown.
    pub fn with_env_file(self, path: &Path, content: &[u8]) -> Result<Self, Failure> {
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        let text = std::str::from_utf8(content).map_err(|error| {
            let before = String::from_utf8_lossy(&content[..error.valid_up_to()]);
            let line = before.lines().last().unwrap_or_default();
            let name = line.split('=').next().unwrap_or_default();
            let name = name.trim().trim_start_matches("export ").trim();
            not_text(&format!("{name} in {}", path.display()))
        })?;
        let mut variables = HashMap::new();
        for (index, item) in dotenvy::from_read_iter(text.as_bytes()).enumerate() {
            let (name, value) = item.map_err(|_| {
                Failure::config(format!(
                    "entry {} of {} is malformed",
                    index + 1,
                    path.display()
                ))
                .hint("each line is NAME=VALUE; quote a value that holds spaces")
            })?;
            variables.insert(name, value);
        }
        Ok(Self {
            file: Some(path.to_owned()),
            variables,
            ..self
        })
    }

    /// Adds the settings file, with the profile that is in force.
    ///
    /// # Errors
    /// If the file has no profile of that name.
    pub fn with_settings_file(
        mut self,
        file: SettingsFile,
        named: Option<&str>,
        read_secret: ReadSecret,
    ) -> Result<Self, Failure> {
        let by_option = named.map(|name| Sourced::new(name.to_owned(), Origin::Flag("--profile")));
        let by_default = file
            .default_profile
            .as_ref()
            .map(|(name, line)| Sourced::new(name.clone(), file.origin(*line)));
        let chosen = by_option
            .or_else(|| self.get("LANGSPAN_PROFILE"))
            .or(by_default);
        if let Some(chosen) = &chosen
            && !file.profiles.contains_key(&chosen.value)
        {
            return Err(unknown_profile(&file, chosen));
        }
        self.profile = chosen.map(|chosen| Profile {
            is_named: chosen.is_flag(),
            name: Some(chosen),
        });
        self.settings = Some(Opened {
            file: Arc::new(file),
            read_secret,
        });
        Ok(self)
    }

    /// With a settings file that comes before every variable: to try it out.
    #[must_use]
    pub fn trying(mut self, file: SettingsFile, read_secret: ReadSecret) -> Self {
        self.profile = Some(Profile {
            name: None,
            is_named: true,
        });
        self.settings = Some(Opened {
            file: Arc::new(file),
            read_secret,
        });
        self
    }

    /// The settings file, when there is one.
    pub fn settings_file(&self) -> Option<&SettingsFile> {
        self.settings.as_ref().map(|opened| &*opened.file)
    }

    /// The name of the profile in force.
    pub fn profile(&self) -> Option<&Sourced<String>> {
        self.profile.as_ref()?.name.as_ref()
    }

    /// The variables that `--profile` overrides: they are set, and the profile sets the same.
    pub fn overridden(&self) -> Vec<&'static str> {
        let Some(table) = self.table(Rank::NamedProfile) else {
            return Vec::new();
        };
        let keys = table.keys().filter_map(key::find);
        let mut names: Vec<&str> = keys
            .flat_map(|key| key.variables)
            .copied()
            .filter(|name| self.get(name).is_some())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The keys of a rank; none of one that has none.
    pub fn table(&self, rank: Rank) -> Option<&Table> {
        let file = self.settings_file()?;
        let of_profile = |is_named| {
            let profile = self.profile.as_ref()?;
            let is_meant = profile.is_named == is_named;
            match &profile.name {
                _ if !is_meant => None,
                Some(name) => file.profiles.get(&name.value),
                None => Some(&file.top),
            }
        };
        match rank {
            Rank::NamedProfile => of_profile(true),
            Rank::Profile => of_profile(false),
            Rank::TopLevel => Some(&file.top),
            Rank::Environment | Rank::EnvFile => None,
        }
    }

    /// What the settings file says about a key at a rank.
    pub fn entry(&self, rank: Rank, key: &str) -> Option<Sourced<&FileEntry>> {
        let entry = self.table(rank)?.get(key)?;
        let origin = self.settings_file()?.origin(entry.line);
        Some(Sourced::new(entry, origin))
    }

    /// A single value of the settings file.
    pub fn text(&self, rank: Rank, key: &str) -> Option<Sourced<String>> {
        let found = self.entry(rank, key)?;
        let text = found.value.texts.first()?.clone();
        Some(Sourced::new(text, found.origin))
    }

    /// Where a secret of the settings file is kept, and the line that says so.
    pub fn secret_place(&self, rank: Rank, key: &str) -> Option<Sourced<&SecretPlace>> {
        let (place, line) = self.table(rank)?.secret(key)?;
        Some(Sourced::new(place, self.settings_file()?.origin(*line)))
    }

    /// Reads a secret of the settings file.
    ///
    /// # Errors
    /// If its file cannot be read, or its command fails.
    pub fn read_secret(&self, found: &Sourced<&SecretPlace>) -> Result<Secret, Failure> {
        let Some(opened) = &self.settings else {
            return Err(anyhow::anyhow!("a secret of no settings file").into());
        };
        (opened.read_secret)(found.value, &found.origin)
    }

    /// The value of a variable; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<Sourced<String>> {
        self.variable(Rank::Environment, name)
            .or_else(|| self.variable(Rank::EnvFile, name))
    }

    /// The path in a variable, of any bytes; an empty one counts as unset.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let set = std::env::var_os(name).filter(|value| !value.is_empty());
        let path = set.map(PathBuf::from);
        path.or_else(|| self.get(name).map(|found| PathBuf::from(found.value)))
    }

    /// The value of a variable in the environment or in the env file; an empty one counts as unset.
    pub fn variable(&self, rank: Rank, name: &str) -> Option<Sourced<String>> {
        let filled = |value: &String| !value.trim().is_empty();
        match rank {
            Rank::Environment => {
                let value = std::env::var(name).ok().filter(filled)?;
                Some(Sourced::new(value, Origin::Environment(name.to_owned())))
            }
            Rank::EnvFile => {
                let value = self.variables.get(name).filter(|value| filled(value))?;
                let file = self.file.clone()?;
                let name = name.to_owned();
                Some(Sourced::new(value.clone(), Origin::EnvFile { name, file }))
            }
            _ => None,
        }
    }

    /// The first of several variables that is set: in the environment, else in the env file.
    pub fn first(&self, names: &[&str]) -> Option<Sourced<String>> {
        [Rank::Environment, Rank::EnvFile]
            .into_iter()
            .find_map(|rank| self.first_at(rank, names))
    }

    /// The first of several variables that is set at a rank.
    pub fn first_at(&self, rank: Rank, names: &[&str]) -> Option<Sourced<String>> {
        names.iter().find_map(|name| self.variable(rank, name))
    }

    /// The value of a key, or of the variables that set the same.
    pub fn setting(&self, key: &str, names: &[&str]) -> Option<Sourced<String>> {
        Rank::ALL
            .into_iter()
            .find_map(|rank| self.text(rank, key).or_else(|| self.first_at(rank, names)))
    }

    /// Whether a variable is set to yes.
    ///
    /// # Errors
    /// If it is neither yes nor no: a mistyped yes must not mean no.
    pub fn is_on(&self, name: &str) -> Result<bool, Failure> {
        self.get(name).map_or(Ok(false), |found| yes_or_no(&found))
    }

    /// A switch: on by its flag, else as its key or its variables say.
    ///
    /// # Errors
    /// If a variable is neither yes nor no.
    pub fn switch(
        &self,
        flag: &'static str,
        given: bool,
        names: &[&str],
    ) -> Result<Option<Sourced<bool>>, Failure> {
        if given {
            return Ok(Some(Sourced::new(true, Origin::Flag(flag))));
        }
        let found = self.setting(&key_of(flag), names);
        found
            .map(|found| Ok(Sourced::new(yes_or_no(&found)?, found.origin)))
            .transpose()
    }

    /// A flag, else its key or the first variable that is set.
    ///
    /// # Errors
    /// If the flag is there and empty: what a script left unset must not silently mean something else.
    pub fn flag_or(
        &self,
        flag: &'static str,
        given: Option<&str>,
        names: &[&str],
    ) -> Result<Option<Sourced<String>>, Failure> {
        match given {
            Some("") => Err(empty_flag(flag)),
            Some(value) => Ok(Some(Sourced::new(value.to_owned(), Origin::Flag(flag)))),
            None => Ok(self.setting(&key_of(flag), names)),
        }
    }

    /// A value that `parse` reads, as the command line does: of the flag, else of its key or the first variable.
    ///
    /// # Errors
    /// If a key or a variable holds something else.
    pub fn parsed<T>(
        &self,
        flag: &'static str,
        given: Option<T>,
        names: &[&str],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<Sourced<T>>, Failure> {
        if let Some(value) = given {
            return Ok(Some(Sourced::new(value, Origin::Flag(flag))));
        }
        let found = self.setting(&key_of(flag), names);
        found
            .map(|found| {
                let value = parse_found(&found, &parse)?;
                Ok(Sourced::new(value, found.origin))
            })
            .transpose()
    }
}

/// Reads a value that was found, as the command line does.
///
/// # Errors
/// If it is another.
pub fn parse_found<T>(
    found: &Sourced<String>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    parse(found.value.trim()).map_err(|error| {
        Failure::config(format!("{}: `{}`: {error}", found.origin, found.value))
            .hint(format!("correct the value of {}", found.origin))
    })
}

fn yes_or_no(found: &Sourced<String>) -> Result<bool, Failure> {
    match found.value.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        other => Err(
            Failure::config(format!("{}: `{other}` is neither yes nor no", found.origin))
                .hint("set it to true or false"),
        ),
    }
}

/// The key of an option.
fn key_of(flag: &str) -> String {
    flag.trim_start_matches('-').replace('-', "_")
}

fn unknown_profile(file: &SettingsFile, chosen: &Sourced<String>) -> Failure {
    let path = file.path.display();
    let (name, origin) = (&chosen.value, &chosen.origin);
    let failure = Failure::config(format!("{origin}: {path} has no profile `{name}`"));
    match nearest(name, file.profiles.keys().map(String::as_str)) {
        Some(nearest) => failure.hint(format!(
            "did you mean `{nearest}`? langspan config profiles lists them"
        )),
        None => failure.hint(format!("add [profile.{name}] to {path}")),
    }
}

/// A variable that is not UTF-8.
pub fn not_text(variable: &str) -> Failure {
    Failure::config(format!("{variable} is not UTF-8 text")).hint("set it again, or unset it")
}

/// A flag whose value is empty.
pub fn empty_flag(flag: &str) -> Failure {
    Failure::usage(format!("{flag} is empty"))
        .hint("give a value or omit the option; a variable of the script may be unset")
}
