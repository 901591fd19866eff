//! What of the attributes of a span that another program made may be traced and kept.

use serde_json::value::RawValue;

use super::filter::{Filter, Rules, truncate};
use super::{Capture, Privacy};

/// What an attribute holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// What was said to a model, or by it.
    Content,
    /// A name of the format: a model, an id, a type. Only keys are looked for in it.
    Format,
    Other,
}

/// What becomes of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Kept,
    Changed(String),
    Dropped,
}

impl Privacy {
    /// What becomes of the text of an attribute, and how many passages were redacted.
    pub fn attribute(&self, text: &str, holds: Holds) -> (Fate, usize) {
        if holds == Holds::Content && self.capture == Capture::None {
            return (Fate::Dropped, 0);
        }
        let mut filter = Filter {
            privacy: self,
            redactions: 0,
        };
        let changed = filter.attribute(text, holds);
        (changed.map_or(Fate::Kept, Fate::Changed), filter.redactions)
    }
}

impl Filter<'_> {
    fn attribute(&mut self, text: &str, holds: Holds) -> Option<String> {
        if holds == Holds::Format {
            let keys = self.keys(text);
            return self.redact(text, keys);
        }
        if text.starts_with(['{', '[']) && serde_json::from_str::<&RawValue>(text).is_ok() {
            let rules = Rules {
                is_content: holds == Holds::Content,
                ..Rules::default()
            };
            return self.json("", text, rules);
        }
        let redacted = self.text(text);
        let most = match self.privacy.capture {
            Capture::Truncate(most) if holds == Holds::Content => Some(most),
            _ => None,
        };
        let shortened = most.and_then(|most| truncate(redacted.as_deref().unwrap_or(text), most));
        shortened.or(redacted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn privacy(capture: Capture) -> Privacy {
        Privacy::new(capture, &["ada".to_owned()], &[]).unwrap()
    }

    #[test]
    fn content_is_cut_and_left_out_as_asked() {
        let fate = |capture, text: &str, holds| privacy(capture).attribute(text, holds).0;
        let changed = |text: &str| Fate::Changed(text.to_owned());
        assert_eq!(fate(Capture::None, "x", Holds::Content), Fate::Dropped);
        assert_eq!(fate(Capture::None, "x", Holds::Other), Fate::Kept);
        assert_eq!(
            fate(
                Capture::Truncate(2),
                r#"[{"role":"assistant","content":"Hello"}]"#,
                Holds::Content
            ),
            changed(r#"[{"role":"assistant","content":"He…"}]"#)
        );
        assert_eq!(
            fate(Capture::Truncate(2), "Hello", Holds::Content),
            changed("He…")
        );
        assert_eq!(
            fate(Capture::Truncate(2), "Hello", Holds::Other),
            Fate::Kept
        );
        assert_eq!(
            fate(Capture::Full, "ada", Holds::Other),
            changed("[redacted]")
        );
        assert_eq!(fate(Capture::Full, "ada", Holds::Format), Fate::Kept);
    }
}
