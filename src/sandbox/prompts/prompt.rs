//! A prompt with its versions: what a request may create, and the documents that the API gives of it. No I/O.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::json;
use crate::sandbox::PROJECT_ID;
use crate::sandbox::hex::uuid_of;
use crate::sandbox::reading::{expected, invalid, refused};
use crate::sandbox::time::{self, Millis};

/// The label of the newest version, which the server sets itself.
pub const LATEST: &str = "latest";
/// The label that is read unless the query names another.
pub const PRODUCTION: &str = "production";

/// All versions of a prompt, oldest first; none once it is deleted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredPrompt {
    pub name: String,
    /// The same for all versions.
    pub tags: Vec<String>,
    pub versions: Vec<PromptVersion>,
}

/// One version of a prompt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PromptVersion {
    pub version: u64,
    pub kind: PromptKind,
    /// A text, or a list of messages and placeholders.
    pub prompt: Value,
    pub config: Value,
    pub labels: Vec<String>,
    pub commit_message: Option<String>,
    pub created: Millis,
    pub updated: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptKind {
    Text,
    Chat,
}

/// A version that a request asks for.
#[derive(Debug)]
pub struct NewVersion {
    pub name: String,
    kind: PromptKind,
    prompt: Value,
    config: Value,
    labels: Vec<String>,
    tags: Option<Vec<String>>,
    commit_message: Option<String>,
}

impl NewVersion {
    /// Reads a body; the error is the body of a 400 answer.
    pub fn read(body: &[u8]) -> Result<Self, Value> {
        let body: Value = json::from_slice(body).map_err(|_| invalid("Invalid JSON"))?;
        let name = body["name"]
            .as_str()
            .ok_or_else(|| expected("string", &["name"], body.get("name")))?;
        if name.contains('|') {
            return Err(refused(&json!({
                "origin": "string", "code": "invalid_format", "format": "regex", "pattern": "/^[^|]*$/",
                "path": ["name"], "message": "Prompt name cannot contain '|' character",
            })));
        }
        let kind = match body["type"].as_str() {
            Some("chat") => PromptKind::Chat,
            _ => PromptKind::Text,
        };
        let prompt = match (kind, &body["prompt"]) {
            (PromptKind::Text, prompt @ Value::String(_))
            | (PromptKind::Chat, prompt @ Value::Array(_)) => prompt.clone(),
            (PromptKind::Text, _) => {
                return Err(expected("string", &["prompt"], body.get("prompt")));
            }
            (PromptKind::Chat, _) => {
                return Err(expected("array", &["prompt"], body.get("prompt")));
            }
        };
        Ok(Self {
            name: name.to_owned(),
            kind,
            prompt,
            config: body
                .get("config")
                .filter(|config| !config.is_null())
                .cloned()
                .unwrap_or_else(|| json!({})),
            labels: texts(&body, "labels")?.unwrap_or_default(),
            tags: texts(&body, "tags")?,
            commit_message: body["commitMessage"].as_str().map(ToOwned::to_owned),
        })
    }
}

/// The labels that a request adds to a version; the error is the body of a 400 answer.
pub fn new_labels(body: &[u8]) -> Result<Vec<String>, Value> {
    let body: Value = json::from_slice(body).map_err(|_| invalid("Invalid JSON"))?;
    texts(&body, "newLabels")?.ok_or_else(|| expected("array", &["newLabels"], None))
}

/// A list of texts; `None` if it is absent.
fn texts(body: &Value, name: &str) -> Result<Option<Vec<String>>, Value> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value.clone())
            .map(Some)
            .map_err(|_| expected("array", &[name], Some(value))),
    }
}

impl StoredPrompt {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            tags: Vec::new(),
            versions: Vec::new(),
        }
    }

    /// Adds a version, which takes its labels from the others. The error is the body of a 400 answer.
    pub fn add(&mut self, new: NewVersion) -> Result<Value, Value> {
        let newest = self.versions.last();
        if newest.is_some_and(|newest| newest.kind != new.kind) {
            return Err(invalid(
                "Previous versions have different prompt type. Create a new prompt with a different name.",
            ));
        }
        let version = newest.map_or(1, |newest| newest.version + 1);
        let mut labels: Vec<String> = Vec::new();
        for label in new.labels {
            if label != LATEST && !labels.contains(&label) {
                labels.push(label);
            }
        }
        labels.push(LATEST.to_owned());
        self.take_labels(&labels);
        self.tags = new.tags.unwrap_or_else(|| std::mem::take(&mut self.tags));
        let now = time::now();
        let added = PromptVersion {
            version,
            kind: new.kind,
            prompt: new.prompt,
            config: new.config,
            labels,
            commit_message: new.commit_message,
            created: now,
            updated: now,
        };
        let document = self.document(&added);
        self.versions.push(added);
        Ok(document)
    }

    /// Adds labels to a version, which takes them from the others; `None` if there is no such version.
    pub fn label(&mut self, version: u64, labels: &[String]) -> Option<Value> {
        let place = self
            .versions
            .iter()
            .position(|known| known.version == version)?;
        let mut all = self.versions[place].labels.clone();
        all.extend(
            labels
                .iter()
                .filter(|label| !all.contains(label))
                .cloned()
                .collect::<Vec<_>>(),
        );
        self.take_labels(labels);
        self.versions[place].labels = all;
        self.versions[place].updated = time::now();
        Some(self.document(&self.versions[place]))
    }

    fn take_labels(&mut self, labels: &[String]) {
        for known in &mut self.versions {
            if known.labels.iter().any(|label| labels.contains(label)) {
                known.labels.retain(|label| !labels.contains(label));
                known.updated = time::now();
            }
        }
    }

    /// Removes the versions that fit. The newest of the rest becomes the latest one.
    pub fn remove(&mut self, is_meant: impl Fn(&PromptVersion) -> bool) {
        self.versions.retain(|version| !is_meant(version));
        if let Some(newest) = self.versions.last_mut()
            && !newest.labels.iter().any(|label| label == LATEST)
        {
            newest.labels.push(LATEST.to_owned());
        }
    }

    /// A version as the answers to changes show it.
    fn document(&self, version: &PromptVersion) -> Value {
        json!({
            "id": version.id(&self.name),
            "createdAt": time::iso(version.created),
            "updatedAt": time::iso(version.updated),
            "projectId": PROJECT_ID,
            "createdBy": "API",
            "prompt": version.prompt,
            "name": self.name,
            "version": version.version,
            "type": version.kind,
            "isActive": null,
            "config": version.config,
            "tags": self.tags,
            "labels": version.labels,
            "commitMessage": version.commit_message,
        })
    }

    /// A version as it is read.
    pub fn readable(&self, version: &PromptVersion) -> Value {
        let mut document = self.document(version);
        let is_active = version.labels.iter().any(|label| label == PRODUCTION);
        document["isActive"] = is_active.into();
        document["resolutionGraph"] = Value::Null;
        document
    }

    /// The prompt as the list shows it; `None` without a version.
    pub fn listed(&self) -> Option<Value> {
        let newest = self.versions.last()?;
        let updated = self.versions.iter().map(|version| version.updated).max()?;
        let versions: Vec<u64> = self
            .versions
            .iter()
            .map(|version| version.version)
            .collect();
        let labels: BTreeSet<&String> = self.labels().collect();
        Some(json!({
            "name": self.name,
            "tags": self.tags,
            "lastUpdatedAt": time::iso(updated),
            "versions": versions,
            "labels": labels,
            "type": newest.kind,
            "lastConfig": newest.config,
        }))
    }

    /// The labels of all versions.
    pub fn labels(&self) -> impl Iterator<Item = &String> {
        self.versions.iter().flat_map(|version| &version.labels)
    }

    /// The version that a query asks for.
    pub fn version(&self, wanted: &WantedVersion) -> Option<&PromptVersion> {
        self.versions.iter().find(|version| match wanted {
            WantedVersion::Version(number) => version.version == *number,
            WantedVersion::Label(name) => version.labels.contains(name),
        })
    }
}

impl PromptVersion {
    /// The id of the version of a prompt.
    pub fn id(&self, name: &str) -> String {
        uuid_of(format!("{name}/{}/{}", self.version, self.created).as_bytes())
    }
}

/// Which version of a prompt is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedVersion {
    Version(u64),
    Label(String),
}

impl WantedVersion {
    /// Reads the parameters of a query; the error is the body of a 400 answer.
    pub fn read(parameters: &[(String, String)]) -> Result<Self, Value> {
        let named = |name: &str| {
            let found = parameters.iter().find(|(given, _)| given == name);
            found.map(|(_, value)| value.as_str())
        };
        match (named("version"), named("label")) {
            (Some(_), Some(_)) => Err(invalid("Cannot specify both version and label")),
            (Some(version), None) => version.parse().map(Self::Version).map_err(|_| {
                refused(&json!({
                    "expected": "number", "code": "invalid_type", "received": "NaN", "path": ["version"],
                    "message": "Invalid input: expected number, received NaN",
                }))
            }),
            (None, label) => Ok(Self::Label(label.unwrap_or(PRODUCTION).to_owned())),
        }
    }

    /// The words of the answer that there is no such version.
    pub fn missing(&self, name: &str) -> String {
        match self {
            Self::Version(version) => format!("Prompt not found: '{name}' with version {version}"),
            Self::Label(label) => format!("Prompt not found: '{name}' with label '{label}'"),
        }
    }
}
