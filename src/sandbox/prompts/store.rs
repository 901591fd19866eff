//! The stored prompts: a file for each, replaced as a whole and readable only by its owner. A change locks the folder, so
//! that two processes never write the same version.
//!
//! Two prompts are there from the start, so that a prompt can be tried at once.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::prompt::StoredPrompt;
use crate::json;
use crate::sandbox::hex::hex;
use crate::sandbox::store::lock_folder;

/// The prompts of a new sandbox.
const SAMPLES: &str = include_str!("samples.json");

#[derive(Debug, Clone)]
pub struct PromptStore {
    folder: PathBuf,
}

impl PromptStore {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// A prompt; without versions if there is none of this name.
    pub fn prompt(&self, name: &str) -> io::Result<StoredPrompt> {
        match fs::read(self.path(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let sample = samples().into_iter().find(|sample| sample.name == name);
                Ok(sample.unwrap_or_else(|| StoredPrompt::new(name)))
            }
            Err(error) => Err(error),
            Ok(bytes) => json::from_slice(&bytes).map_err(io::Error::other),
        }
    }

    /// All prompts that have a version, by name.
    pub fn prompts(&self) -> io::Result<Vec<StoredPrompt>> {
        let mut prompts = samples();
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            entries => Some(entries?),
        };
        for entry in entries.into_iter().flatten() {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
                && let Ok(stored) = json::from_slice::<StoredPrompt>(&fs::read(path)?)
            {
                prompts.retain(|prompt| prompt.name != stored.name);
                prompts.push(stored);
            }
        }
        prompts.retain(|prompt| !prompt.versions.is_empty());
        prompts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(prompts)
    }

    /// Changes a prompt. Nothing is written if `change` fails.
    pub fn change<T, E>(
        &self,
        name: &str,
        change: impl FnOnce(&mut StoredPrompt) -> Result<T, E>,
    ) -> io::Result<Result<T, E>> {
        let _lock = lock_folder(&self.folder)?;
        let mut prompt = self.prompt(name)?;
        let changed = change(&mut prompt);
        if changed.is_ok() {
            let draft = self.folder.join("draft");
            fs::write(&draft, serde_json::to_vec(&prompt)?)?;
            fs::rename(draft, self.path(name))?;
        }
        Ok(changed)
    }

    /// A name may be any text, so the file has its digest.
    fn path(&self, name: &str) -> PathBuf {
        self.folder
            .join(format!("{}.json", hex(&Sha256::digest(name))))
    }
}

fn samples() -> Vec<StoredPrompt> {
    serde_json::from_str(SAMPLES).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_can_be_read() {
        let names: Vec<String> = samples().into_iter().map(|sample| sample.name).collect();
        assert_eq!(names, ["answer", "support"]);
    }
}
