//! Images, audio and files that a text refers to, shown below it.

use maud::{Markup, html};

use crate::sandbox::media;

const START: &str = "@@@langfuseMedia:";
const END: &str = "@@@";
/// Media of one text that are shown; the browser sends a request for each.
const MOST: usize = 50;

/// A reference to content: `@@@langfuseMedia:type=…|id=…|source=…@@@`.
#[derive(Debug, PartialEq, Eq)]
struct Reference<'a> {
    content_type: &'a str,
    id: &'a str,
}

/// The media that `text` refers to, each once.
pub fn draw(text: &str) -> Markup {
    let mut references: Vec<Reference> = Vec::new();
    for reference in find(text) {
        if !references.contains(&reference) {
            references.push(reference);
        }
    }
    html! {
        @if !references.is_empty() {
            div.media {
                @for reference in references.iter().take(MOST) { (draw_one(reference)) }
                @if references.len() > MOST { p.soft { "… and " (references.len() - MOST) " more" } }
            }
        }
    }
}

/// Whether `text` refers to media.
pub fn is_in(text: &str) -> bool {
    find(text).next().is_some()
}

fn draw_one(Reference { content_type, id }: &Reference) -> Markup {
    let path = media::path(id);
    html! {
        @match content_type.split('/').next() {
            Some("image") => a href=(path) { img src=(path) alt=(content_type) loading="lazy"; },
            Some("audio") => audio controls preload="metadata" src=(path) {},
            Some("video") => video controls preload="metadata" src=(path) {},
            _ => a href=(path) { (content_type) },
        }
    }
}

fn find(text: &str) -> impl Iterator<Item = Reference<'_>> {
    text.match_indices(START).filter_map(|(at, _)| {
        let rest = &text[at + START.len()..];
        let (fields, _) = rest.split_once(END)?;
        let field = |name: &str| {
            let mut fields = fields.split('|');
            fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        let is_safe = |text: &&str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte))
        };
        Some(Reference {
            content_type: field("type")?,
            id: field("id").filter(is_safe)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_references_are_found() {
        let text = "a @@@langfuseMedia:type=image/png|id=a-_1|source=bytes@@@ b \
                    @@@langfuseMedia:type=image/png|id=../x|source=bytes@@@ @@@langfuseMedia:id=a@@@ @@@langfuseMedia:type=a";
        let expected = Reference {
            content_type: "image/png",
            id: "a-_1",
        };
        assert_eq!(find(text).collect::<Vec<_>>(), [expected]);
    }
}
