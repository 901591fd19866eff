//! Images and files in what arrives: their bytes leave the texts, which then refer to them as Langfuse does, and wait in
//! the journal until it is known which observation of the trace shows them.
//!
//! Where nothing is uploaded, a text says type and size instead. Uploading is done in `media_upload`.

use std::collections::HashSet;

use crate::exec::journal::{Journal, JournalRecord, KeptMedia};
use crate::trace::media::{self, Media, Slot};

/// What becomes of the images and files that arrive.
#[derive(Debug, Default)]
pub struct MediaRules {
    /// Whether they are kept, to be uploaded.
    pub keeps: bool,
    /// Those that are in the journal.
    known: HashSet<String>,
    /// Whether the journal had no room for one, and whether that was told.
    has_refused: bool,
    is_told: bool,
}

impl MediaRules {
    pub fn new(keeps: bool) -> Self {
        Self {
            keeps,
            ..Self::default()
        }
    }

    /// Whether the journal had no room for one; true once.
    pub fn take_refusal(&mut self) -> bool {
        self.has_refused && !std::mem::replace(&mut self.is_told, true)
    }
}

/// Takes images and files out of texts.
#[derive(Debug)]
pub struct MediaTaker<'a> {
    pub rules: &'a mut MediaRules,
    pub journal: &'a mut Journal,
}

impl MediaTaker<'_> {
    /// The text that stands for the content of a slot.
    pub fn take(&mut self, json: &str, slot: &Slot) -> String {
        let media = match media::read(json, slot) {
            Ok(media) => media,
            Err(placeholder) => return placeholder,
        };
        if self.rules.keeps && !media.bytes.is_empty() && self.is_kept(&media) {
            media.reference()
        } else {
            media.placeholder()
        }
    }

    fn is_kept(&mut self, media: &Media) -> bool {
        let id = media.id();
        if self.rules.known.contains(&id) {
            return true;
        }
        let record = JournalRecord::Media(Box::new(KeptMedia::of(media)));
        let is_kept = self.journal.append_if_it_fits(&record);
        self.rules.has_refused |= !is_kept;
        if is_kept {
            self.rules.known.insert(id);
        }
        is_kept
    }

    /// A text of an attribute without the content in it: JSON, or a data URI. `None` if it has none.
    pub fn without_content(&mut self, text: &str) -> Option<String> {
        if text.starts_with("data:") && !text.contains(['"', '\\']) {
            let json = format!("\"{text}\"");
            let slots = media::find(&json);
            return Some(self.take(&json, slots.first()?));
        }
        let slots = media::find(text);
        if slots.is_empty() {
            return None;
        }
        let texts: Vec<String> = slots.iter().map(|slot| self.take(text, slot)).collect();
        Some(media::replace(text, &slots, &texts))
    }
}

/// How a reference begins.
const REFERENCE: &str = "@@@langfuseMedia:";

/// The ids to which a text refers.
pub fn ids_in(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(REFERENCE).filter_map(|(at, _)| {
        let (reference, _) = text[at + REFERENCE.len()..].split_once("@@@")?;
        let (_, rest) = reference.split_once("|id=")?;
        rest.split('|').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The base64 of "Hello".
    const HELLO: &str = "SGVsbG8=";

    fn taken(keeps: bool, text: &str) -> (Option<String>, usize) {
        let mut rules = MediaRules::new(keeps);
        let mut journal = Journal::new(Some(tempfile::tempfile().unwrap()), u64::MAX);
        let mut taker = MediaTaker {
            rules: &mut rules,
            journal: &mut journal,
        };
        let changed = taker.without_content(text);
        taker.without_content(text);
        let mut records = 0;
        journal
            .for_each(|_, record| {
                let JournalRecord::Media(media) = record else {
                    panic!("{record:?}");
                };
                assert_eq!(media.media().unwrap().bytes, b"Hello");
                records += 1;
                Ok(())
            })
            .unwrap();
        (changed, records)
    }

    #[test]
    fn content_is_kept_once_and_referred_to() {
        for text in [
            format!("data:text/plain;base64,{HELLO}"),
            format!(r#"[{{"url":"data:text/plain;base64,{HELLO}"}}]"#),
            format!(
                r#"[{{"type":"base64","media_type":"text/plain","data":"{HELLO}"}},"data:text/plain;base64,{HELLO}"]"#
            ),
        ] {
            let (changed, records) = taken(true, &text);
            let changed = changed.unwrap();
            assert_eq!(records, 1, "{text}");
            assert!(!changed.contains(HELLO));
            assert!(ids_in(&changed).all(|id| id == "GF-NsyJx_iX1Yab8k4suJk"));
            assert!(ids_in(&changed).count() > 0, "{changed}");
        }
    }

    #[test]
    fn where_nothing_is_uploaded_type_and_size_are_left() {
        let (changed, records) = taken(false, &format!("data:image/png;base64,{HELLO}"));
        assert_eq!(changed.as_deref(), Some("[image/png, 5 bytes]"));
        assert_eq!(records, 0);
        assert_eq!(taken(true, "the data: none").0, None);
    }
}
