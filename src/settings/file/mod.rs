//! The settings file: defaults at its top level, and profiles that override them. Only its text is read here; `app`
//! opens it.

pub mod key;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::failure::Failure;
use crate::secret::Secret;
use crate::settings::origin::Origin;
use key::{KEYS, Key, OF_ONE_CALL, Shape};
use value::{Position, WrongType};

/// A settings file, checked as a whole: no unknown key, and every value of the right type.
#[derive(Clone, Debug)]
pub struct SettingsFile {
    pub path: PathBuf,
    /// The keys outside every profile.
    pub top: Table,
    /// By name.
    pub profiles: BTreeMap<String, Table>,
    /// The profile where nothing names one, and its line.
    pub default_profile: Option<(String, usize)>,
}

/// The top level, or a profile.
#[derive(Clone, Debug, Default)]
pub struct Table {
    entries: BTreeMap<&'static str, FileEntry>,
    secrets: BTreeMap<&'static str, (SecretPlace, usize)>,
}

/// A value as it would be typed on the command line; a list has several.
#[derive(Clone)]
pub struct FileEntry {
    pub texts: Vec<String>,
    pub line: usize,
}

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// In the settings file itself.
    Here(Secret),
    /// In the first line of another file.
    File(PathBuf),
    /// In the first line that a program prints.
    Command(Vec<String>),
}

impl fmt::Debug for FileEntry {
    /// Without the texts: a header may hold a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl SettingsFile {
    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// If it is not TOML, has an unknown key, or a value of another type. Names line and column; shows no value.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        let reader = Reader { path, text };
        let document = DeTable::parse(text).map_err(|error| {
            let at = error.span().unwrap_or_default();
            reader
                .failure(&at, error.message())
                .hint("write it as TOML: KEY = \"VALUE\", and [profile.NAME] before the keys of a profile")
        })?;
        reader.document(document.get_ref())
    }

    /// Whether it holds a secret itself.
    pub fn holds_secret(&self) -> bool {
        let mut tables = self.profiles.values().chain([&self.top]);
        tables.any(Table::holds_secret)
    }

    /// Where in the file, for people.
    pub fn origin(&self, line: usize) -> Origin {
        Origin::SettingsFile {
            file: self.path.clone(),
            line,
        }
    }
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&FileEntry> {
        self.entries.get(key)
    }

    /// The keys that it sets, those of secrets among them.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.entries.keys().chain(self.secrets.keys()).copied()
    }

    /// The place of `secret_key` or `openai_api_key`, and the line that names it.
    pub fn secret(&self, name: &str) -> Option<&(SecretPlace, usize)> {
        self.secrets.get(name)
    }

    fn holds_secret(&self) -> bool {
        let mut secrets = self.secrets.values();
        let headers = self.get("header").map_or(&[][..], |entry| &entry.texts);
        secrets.any(|(place, _)| matches!(place, SecretPlace::Here(_)))
            || headers.iter().any(|header| is_secret_header(header))
    }
}

/// Whether the name of a `NAME:VALUE` says that its value is a secret.
pub fn is_secret_header(header: &str) -> bool {
    const SECRET: [&str; 5] = ["auth", "cookie", "key", "secret", "token"];
    let name = header.split(':').next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|word| name.contains(word))
}

/// The text of a settings file, to tell where in it something is wrong.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn document(&self, document: &DeTable<'_>) -> Result<SettingsFile, Failure> {
        let mut file = SettingsFile {
            path: self.path.to_owned(),
            top: Table::default(),
            profiles: BTreeMap::new(),
            default_profile: None,
        };
        for (name, value) in document {
            match normal(name.get_ref()).as_str() {
                "default_profile" => {
                    let profile = value::text(value.get_ref());
                    let profile =
                        profile.map_err(|wrong| self.wrong("default_profile", value, &wrong))?;
                    file.default_profile = Some((profile, self.position(&value.span()).line));
                }
                "profile" => file.profiles = self.profiles(value)?,
                _ => self.entry(&mut file.top, name, value)?,
            }
        }
        Ok(file)
    }

    fn profiles(&self, value: &Spanned<DeValue<'_>>) -> Result<BTreeMap<String, Table>, Failure> {
        let expected = |value: &Spanned<DeValue<'_>>| {
            let wrong = WrongType("a table for each profile: [profile.NAME]");
            self.wrong("profile", value, &wrong)
        };
        let DeValue::Table(profiles) = value.get_ref() else {
            return Err(expected(value));
        };
        let mut found = BTreeMap::new();
        for (name, value) in profiles {
            let DeValue::Table(keys) = value.get_ref() else {
                return Err(expected(value));
            };
            let mut table = Table::default();
            for (key, value) in keys {
                self.entry(&mut table, key, value)?;
            }
            found.insert(name.get_ref().to_string(), table);
        }
        Ok(found)
    }

    /// Adds one key to a table.
    fn entry(
        &self,
        table: &mut Table,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), Failure> {
        let given = normal(name.get_ref());
        let key = key::find(&given).ok_or_else(|| self.unknown(&given, &name.span()))?;
        let line = self.position(&value.span()).line;
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        let texts = value::texts(key.shape, value.get_ref(), folder)
            .map_err(|wrong| self.wrong(key.name, value, &wrong))?;
        let is_new = match secret_place(key, &texts) {
            Some((name, place)) => table.secrets.insert(name, (place, line)).is_none(),
            None => match target(key, texts) {
                Some((name, texts)) => table
                    .entries
                    .insert(name, FileEntry { texts, line })
                    .is_none(),
                None => true,
            },
        };
        if is_new {
            return Ok(());
        }
        Err(self
            .failure(
                &name.span(),
                &format!("`{given}` is set a second time, under this or another name"),
            )
            .hint("keep one of them"))
    }

    fn unknown(&self, given: &str, at: &Range<usize>) -> Failure {
        if OF_ONE_CALL.contains(&given) {
            let option = given.replace('_', "-");
            return self
                .failure(
                    at,
                    &format!("`{given}` is about one call and cannot be a default"),
                )
                .hint(format!("remove it here, and pass --{option} to the call"));
        }
        let others = ["profile", "default_profile"];
        let known = KEYS.iter().map(|key| key.name).chain(others);
        let nearest = key::nearest(given, known).unwrap_or_default();
        self.failure(at, &format!("unknown key `{given}`"))
            .hint(format!("did you mean `{nearest}`?"))
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, wrong: &WrongType) -> Failure {
        let found = value::kind(value.get_ref());
        let expected = wrong.0;
        self.failure(
            &value.span(),
            &format!("`{key}` expects {expected}, not {found}"),
        )
        .hint(format!("give `{key}` {expected}"))
    }

    fn failure(&self, at: &Range<usize>, message: &str) -> Failure {
        let Position { line, column } = self.position(at);
        Failure::config(format!(
            "{}:{line}:{column}: {message}",
            self.path.display()
        ))
    }

    fn position(&self, at: &Range<usize>) -> Position {
        Position::of(self.text, at.start)
    }
}

/// Hyphens and underscores are equal.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// The key that a value is kept under: its own, or the one that it is an alias of.
fn target(key: &Key, texts: Vec<String>) -> Option<(&'static str, Vec<String>)> {
    let Shape::Alias {
        key: target,
        on,
        off,
    } = key.shape
    else {
        return Some((key.name, texts));
    };
    let text = if texts == ["true"] { Some(on) } else { off };
    text.map(|text| (target, vec![text.to_owned()]))
}

/// The name and place of a secret, when the key names one.
fn secret_place(key: &Key, texts: &[String]) -> Option<(&'static str, SecretPlace)> {
    let first = || texts.first().cloned().unwrap_or_default();
    let place = match key.shape {
        Shape::Secret => SecretPlace::Here(Secret::new(first().trim())),
        Shape::SecretFile => SecretPlace::File(PathBuf::from(first())),
        Shape::SecretCommand => SecretPlace::Command(texts.to_vec()),
        _ => return None,
    };
    let name = key.name.strip_suffix("_file").unwrap_or(key.name);
    Some((name.strip_suffix("_command").unwrap_or(name), place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SettingsFile, Failure> {
        SettingsFile::parse(Path::new("/etc/c.toml"), text)
    }

    fn texts<'a>(table: &'a Table, key: &str) -> &'a [String] {
        &table.get(key).unwrap().texts
    }

    #[test]
    fn values_become_the_texts_that_would_be_typed() {
        let file = parse(
            "user = 'u'\ntag = ['a', 'b']\nca-file = 'ca.pem'\ntimeout = 1.5\nretries = 0x10\nno_stream = true\njson = true\n\
             [metadata]\nteam = 'x'\n[param]\nseed = 7\nstop = ['a']\nnested = {a = 1.5, b = true}\n",
        )
        .unwrap();
        let top = &file.top;
        assert_eq!(texts(top, "user"), ["u"]);
        assert_eq!(texts(top, "tag"), ["a", "b"]);
        assert_eq!(texts(top, "ca_file"), ["/etc/ca.pem"]);
        assert_eq!(texts(top, "timeout"), ["1.5"]);
        assert_eq!(texts(top, "retries"), ["16"]);
        assert_eq!(texts(top, "stream"), ["false"]);
        assert_eq!(texts(top, "output"), ["json"]);
        assert_eq!(texts(top, "metadata"), ["team=x"]);
        assert_eq!(
            texts(top, "param"),
            [r#"nested:={"a":1.5,"b":true}"#, "seed:=7", r#"stop:=["a"]"#]
        );
    }

    #[test]
    fn mistakes_name_line_and_column_and_what_was_meant() {
        for (text, expected) in [
            ("user = 'u'\n  modle = 'm'", "2:3: unknown key `modle`"),
            ("\ntimeout = 'x'", "2:11: `timeout` expects a number"),
            ("[profile.a]\nverify = 1", "2:10: `verify` expects true"),
            ("profile = 1", "1:11: `profile` expects"),
            ("trace-id = 'x'", "1:1: `trace_id` is about one call"),
            ("a b", "/etc/c.toml:1:"),
            ("no-stream = true\nstream = true", "is set a second time"),
            (
                "secret_key = 'a'\nsecret_key_file = 'b'",
                "is set a second time",
            ),
            ("secret_key_command = 'pass x'", "expects an array"),
            ("secret_key_command = []", "expects an array"),
        ] {
            let failure = parse(text).unwrap_err();
            assert!(failure.message.contains(expected), "{}", failure.message);
            assert_eq!(failure.kind.exit_code(), 3);
        }
    }

    #[test]
    fn secrets_are_found_and_shown_nowhere() {
        let plain = parse("[profile.a]\nsecret_key = 'sk-lf-0123456789'").unwrap();
        assert!(plain.holds_secret());
        assert!(!format!("{plain:?}").contains("0123456789"));
        let header = parse("[header]\nAuthorization = 'Bearer 0123456789'").unwrap();
        assert!(header.holds_secret());
        assert!(!format!("{header:?}").contains("0123456789"));
        let elsewhere = parse("secret_key_file = 'k'\nopenai_api_key_command = ['pass', 'x']");
        let elsewhere = elsewhere.unwrap();
        assert!(!elsewhere.holds_secret());
        assert_eq!(
            elsewhere.top.secret("secret_key").unwrap().0,
            SecretPlace::File(PathBuf::from("/etc/k"))
        );
    }
}
