//! Uploads the images and files of a run, each for the observation that shows it, and finds the texts that replace the
//! references to those that could not be uploaded.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use crate::console::Console;
use crate::exec::journal::{Journal, JournalRecord};
use crate::langfuse::Api;
use crate::langfuse::api_error::ApiError;
use crate::langfuse::media::{Field, Owner};
use crate::trace::media;

/// How many are uploaded at a time.
const CONCURRENCY: usize = 4;

/// An image or a file of a run, and the observations that show it.
#[derive(Clone, Debug)]
pub struct ShownMedia {
    /// The place of its record in the journal.
    pub at: u64,
    /// What texts have in its place, and what they get if it is not uploaded.
    pub reference: String,
    pub placeholder: String,
    pub places: Vec<(Owner, Field)>,
}

/// Texts in place of references; empty where all was uploaded.
#[derive(Clone, Debug, Default)]
pub struct MediaTexts(BTreeMap<String, String>);

impl MediaTexts {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text with what replaces its references; `None` if it stays as it is.
    pub fn applied_to(&self, text: &str) -> Option<String> {
        let mut changed: Option<String> = None;
        for (reference, by) in &self.0 {
            let present = changed.as_deref().unwrap_or(text);
            if present.contains(reference.as_str()) {
                changed = Some(present.replace(reference.as_str(), by));
            }
        }
        changed
    }
}

/// What became of the uploads.
#[derive(Debug, Default)]
pub struct Uploaded {
    pub texts: MediaTexts,
    /// How many were not uploaded, and why the first of them was not.
    failed: usize,
    why: Option<String>,
    /// Whether a later attempt may succeed.
    pub is_passing: bool,
}

impl Uploaded {
    /// Says what was not uploaded.
    pub fn warn(&self, console: &Console) {
        if let Some(why) = &self.why {
            let what = match self.failed {
                1 => "an image or file was".to_owned(),
                count => format!("{count} images or files were"),
            };
            console.warn(&format!(
                "{what} not uploaded; the trace has type and size instead: {why}"
            ));
        }
    }

    /// Why the first of those that were not uploaded was not.
    pub fn failure(&self) -> Option<&str> {
        self.why.as_deref()
    }
}

/// Uploads what is shown, until `deadline`.
pub async fn upload(
    journal: &Journal,
    shown: &[ShownMedia],
    api: &Api,
    deadline: Instant,
) -> Uploaded {
    let running = shown
        .iter()
        .map(|one| async move { (one, upload_one(journal, one, api, deadline).await) });
    let mut ended = stream::iter(running).buffer_unordered(CONCURRENCY);
    let mut uploaded = Uploaded::default();
    while let Some((one, result)) = ended.next().await {
        uploaded.note(one, result);
    }
    uploaded
}

/// The texts where nothing was uploaded.
pub fn not_uploaded(shown: &[ShownMedia], why: &str) -> Uploaded {
    let mut uploaded = Uploaded::default();
    for one in shown {
        uploaded.note(one, Err(unread(why)));
    }
    uploaded
}

fn unread(why: &str) -> ApiError {
    ApiError::unanswered(why.to_owned())
}

/// Uploads one for the first observation that shows it, and links it to the others. Returns the reference to it.
async fn upload_one(
    journal: &Journal,
    one: &ShownMedia,
    api: &Api,
    deadline: Instant,
) -> Result<String, ApiError> {
    let media = match journal.read(one.at) {
        Ok(JournalRecord::Media(record)) => record.media(),
        _ => None,
    };
    let media = media.ok_or_else(|| unread("it cannot be read from the journal"))?;
    let mut places = one.places.iter();
    let (owner, field) = places
        .next()
        .ok_or_else(|| unread("no observation shows it"))?;
    let uploading = api.upload(media.clone(), owner, *field);
    let id = timeout_at(deadline, uploading)
        .await
        .map_err(|_| unread("the upload took longer than --export-timeout"))??;
    for (owner, field) in places {
        // The references are good without the links, which only list it beside the observation.
        let linking = api.upload(media.clone(), owner, *field);
        if timeout_at(deadline, linking).await.is_err() {
            break;
        }
    }
    Ok(media::reference(&media.content_type, &id))
}

impl Uploaded {
    fn note(&mut self, one: &ShownMedia, result: Result<String, ApiError>) {
        let text = match result {
            Ok(reference) => reference,
            Err(error) => {
                self.failed += 1;
                self.is_passing |= error.is_passing();
                self.why.get_or_insert(error.message);
                one.placeholder.clone()
            }
        };
        if text != one.reference {
            self.texts.0.insert(one.reference.clone(), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        let mut texts = MediaTexts::default();
        let reference = media::reference("image/png", "abc");
        texts.0.insert(reference.clone(), "[image/png]".to_owned());
        let text = format!(r#"[{{"url":"{reference}"}},"{reference}"]"#);
        assert_eq!(
            texts.applied_to(&text).as_deref(),
            Some(r#"[{"url":"[image/png]"},"[image/png]"]"#)
        );
        assert_eq!(texts.applied_to("@@@langfuseMedia:"), None);
    }
}
