//! The documents of `replay`: chat-completions bodies, OpenAI Batch lines and recordings, one or many in a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::app::prompt::MOST_INPUT_BYTES;
use crate::failure::Failure;
use crate::model::Request;
use crate::model::dialect::Preference;
use crate::model::fields::BodyFields;
use crate::trace::Recording;

/// One document.
#[derive(Debug)]
pub enum Document {
    Request(Request),
    Recording(Box<Recording>),
}

impl Document {
    /// The request, sent or recorded.
    pub fn request(&self) -> &Request {
        match self {
            Self::Request(request) => request,
            Self::Recording(recording) => &recording.request,
        }
    }
}

/// Reads all documents of a file; `-` is stdin. Every one is checked before any is used.
///
/// # Errors
/// When the file cannot be read, or one of its documents is wrong.
pub fn read(path: &Path, api: Option<Preference>) -> Result<Vec<Document>, Failure> {
    let name = if path == Path::new("-") {
        "stdin".to_owned()
    } else {
        path.display().to_string()
    };
    documents(&name, &text_of(path, &name)?, api)
}

/// All documents of the text of the file `name`.
fn documents(name: &str, text: &str, api: Option<Preference>) -> Result<Vec<Document>, Failure> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let value = value.map_err(|error| malformed(name, &error))?;
        let read =
            document(value.get(), api).map_err(|error| error.at(&place(name, text, value.get())));
        documents.push(read?);
    }
    if documents.is_empty() {
        return Err(Failure::input(format!("{name} is empty"))
            .hint("expected the body of a request, a Batch line or a recording"));
    }
    Ok(documents)
}

fn text_of(path: &Path, name: &str) -> Result<String, Failure> {
    let cannot = |error: io::Error| {
        Failure::unreadable(name, &error).hint("check the path and its permissions")
    };
    let mut bytes = Vec::new();
    let limit = MOST_INPUT_BYTES + 1;
    if path == Path::new("-") {
        io::stdin()
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(cannot)?;
    } else {
        let file = File::open(path).map_err(cannot)?;
        if file.metadata().map_err(cannot)?.is_dir() {
            return Err(Failure::file(format!("{name} is a directory")).hint("name a file in it"));
        }
        file.take(limit).read_to_end(&mut bytes).map_err(cannot)?;
    }
    if bytes.len() as u64 > MOST_INPUT_BYTES {
        return Err(Failure::input(format!("{name} holds more than 100 MB"))
            .hint("split it, as with split -l"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::input(format!("{name} is not UTF-8 text: byte {at} is not"))
            .hint("convert it, as with iconv")
    })
}

fn malformed(name: &str, error: &serde_json::Error) -> Failure {
    let what = match error.classify() {
        Category::Eof => "the JSON ends too soon",
        _ => "the JSON is malformed",
    };
    Failure::input(format!("{name}: {what}: {error}")).hint("check it with: jq . FILE")
}

/// Names a document by its line, when the file holds more than one.
fn place(name: &str, text: &str, value: &str) -> String {
    // Both point into the same text, so the distance is the offset.
    let offset = value.as_ptr() as usize - text.as_ptr() as usize;
    let line = text[..offset].matches('\n').count() + 1;
    format!("{name}, line {line}")
}

/// Why a document cannot be used, and what to do.
struct DocumentError {
    message: String,
    hint: &'static str,
}

impl DocumentError {
    fn at(self, place: &str) -> Failure {
        Failure::input(format!("{place}: {}", self.message)).hint(self.hint)
    }
}

/// The fields that distinguish the kinds of documents.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow)]
    request: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    url: Option<Value>,
}

fn document(text: &str, api: Option<Preference>) -> Result<Document, DocumentError> {
    let wrong = |message: String, hint| DocumentError { message, hint };
    let shape: Shape<'_> = serde_json::from_str(text).map_err(|error| {
        let is_object = text.trim_start().starts_with('{');
        let what = if is_object {
            format!("the JSON object is not a request: {error}")
        } else {
            "expected a JSON object".to_owned()
        };
        wrong(
            what,
            "a request is a JSON object with `messages` or `input`",
        )
    })?;
    match shape {
        Shape {
            messages: None,
            input: None,
            request: Some(_),
            ..
        } => recording(text, api),
        Shape {
            messages: None,
            input: None,
            body: Some(body),
            url,
            ..
        } => request(body.get(), url.as_ref(), api),
        _ => request(text, None, api),
    }
}

fn request(
    text: &str,
    url: Option<&Value>,
    api: Option<Preference>,
) -> Result<Document, DocumentError> {
    const HINT: &str =
        "a chat-completions body has `messages`: [{\"role\": \"user\", \"content\": \"…\"}]";
    let wrong = |message: String| {
        let hint = if message.starts_with("--api ") {
            "omit --api, or change the request; see langspan help dialects"
        } else if message.contains("Batch line") {
            "langspan help dialects lists the known URLs"
        } else {
            HINT
        };
        DocumentError { message, hint }
    };
    let fields: BodyFields =
        serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let request = Request::of_body(fields, url, api).map_err(wrong)?;
    Ok(Document::Request(request))
}

fn recording(text: &str, api: Option<Preference>) -> Result<Document, DocumentError> {
    const HINT: &str = "a recording is a line that --record wrote";
    let recording = Recording::read(text).map_err(|error| DocumentError {
        message: format!("invalid recording: {error}"),
        hint: HINT,
    })?;
    let dialect = recording.request.dialect();
    if let Some(api) = api.filter(|api| api.is_option && api.dialect != dialect) {
        let (named, own) = (api.dialect.name(), dialect.name());
        return Err(DocumentError {
            message: format!("--api {named} contradicts the recording, which is one for {own}"),
            hint: "omit --api: a recording has its own",
        });
    }
    recording
        .request
        .validate()
        .map_err(|message| DocumentError {
            message,
            hint: HINT,
        })?;
    recording.trace_id().map_err(|message| DocumentError {
        message,
        hint: HINT,
    })?;
    Ok(Document::Recording(Box::new(recording)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(text: &str) -> &'static str {
        match document(text, None) {
            Ok(Document::Request(_)) => "request",
            Ok(Document::Recording(_)) => "recording",
            Err(_) => "wrong",
        }
    }

    #[test]
    fn documents_are_told_apart_by_their_fields() {
        assert_eq!(kind(r#"{"messages":[]}"#), "request");
        assert_eq!(
            kind(
                r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"messages":[]}}"#
            ),
            "request"
        );
        assert_eq!(kind(r#"{"request":{"messages":[]}}"#), "recording");
        assert_eq!(
            kind(r#"{"body":{"messages":[]},"url":"/v1/embeddings"}"#),
            "wrong"
        );
        assert_eq!(kind(r#"{"messages":"x"}"#), "wrong");
        assert_eq!(kind("[]"), "wrong");
        assert_eq!(
            kind(r#"{"request":{"messages":[]},"trace":{"id":"x"}}"#),
            "wrong"
        );
    }

    /// Fields of documents with values that may or may not belong there.
    fn any_document() -> impl Strategy<Value = String> {
        let field = prop::sample::select(vec![
            "messages",
            "request",
            "response",
            "error",
            "body",
            "url",
            "model",
            "start_time",
            "end_time",
            "trace",
            "id",
            "custom_id",
            "tags",
            "metadata",
            "completion_start_time",
        ]);
        let leaf = prop::sample::select(vec![
            "null",
            "1",
            "1e400",
            "[]",
            "{}",
            r#""x""#,
            r#""2026-01-02T03:04:05Z""#,
            r#""/v1/chat/completions""#,
            r#""\ud83d""#,
            r#"[{"role":"user","content":"q"}]"#,
            r#"{"choices":[{"message":{"content":"a"}}]}"#,
            r#""0af7651916cd43dd8448eb211c80319c""#,
        ]);
        leaf.prop_map(str::to_owned)
            .prop_recursive(3, 20, 6, move |inner| {
                prop::collection::vec((field.clone(), inner), 0..6).prop_map(|fields| {
                    let fields: Vec<String> = fields
                        .into_iter()
                        .map(|(name, value)| format!("\"{name}\":{value}"))
                        .collect();
                    format!("{{{}}}", fields.join(","))
                })
            })
    }

    /// Reads a file with this text, and what is in it.
    fn read_all(text: &str) {
        for document in documents("file", text, None).into_iter().flatten() {
            if let Document::Recording(recording) = document {
                let _ = recording
                    .exchange()
                    .map(|exchange| exchange.completion.answer());
                recording.to_line();
            }
        }
    }

    proptest! {
        #[test]
        fn no_documents_make_it_fail(lines in prop::collection::vec(any_document(), 0..4)) {
            read_all(&lines.join("\n"));
        }

        #[test]
        fn no_text_makes_it_fail(text in any::<String>(), json in r#"[{}\[\]:,"a0\\\\. \n-]{0,60}"#) {
            read_all(&text);
            read_all(&json);
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &bytes).unwrap();
            let _ = read(file.path(), None);
        }
    }
}
