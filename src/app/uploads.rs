//! Uploads the base64 content of requests and responses to Langfuse, and replaces it with references in the trace.
//!
//! One [`Uploads`] serves a whole run and limits how much content is decoded at a time; an [`Upload`] is the content of
//! one body. Uploads never delay a call, and a failed upload is only a warning.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use crate::console::Console;
use crate::langfuse::Api;
use crate::langfuse::media::{Field, Owner};
use crate::model::Request;
use crate::trace::media::{self, Slot};
use crate::trace::{Exchange, TraceContext};

/// The number of concurrent uploads.
const CONCURRENCY: usize = 4;

/// The uploads of a run. Clones share the limit.
#[derive(Clone, Debug)]
pub struct Uploads {
    /// `None` if nothing is uploaded.
    api: Option<Api>,
    permits: Arc<Semaphore>,
    console: Console,
}

/// The pending upload of the content of one body.
#[derive(Debug)]
pub struct Upload(JoinHandle<Body>);

/// A body with base64 content, and its uploads.
#[derive(Debug)]
struct Body {
    json: Arc<str>,
    slots: Vec<Slot>,
    /// For each slot, the index of the first slot with the same content.
    firsts: Vec<usize>,
    /// For each first slot, the text that replaces it, or why it was not uploaded.
    tasks: JoinSet<(usize, Result<String, String>)>,
}

impl Uploads {
    /// With an `api`, content is uploaded there. Without one, it is only removed from traces.
    pub fn new(api: Option<Api>, console: Console) -> Self {
        Self {
            api,
            permits: Arc::new(Semaphore::new(CONCURRENCY)),
            console,
        }
    }

    /// Where content goes; `None` if nothing is uploaded.
    pub fn api(&self) -> Option<&Api> {
        self.api.as_ref()
    }

    /// Whether an exchange may have content. A cheap search.
    pub fn may_be_in(exchange: &Exchange) -> bool {
        let mut fields = exchange.request.fields();
        let response = exchange.response.as_ref();
        fields.any(|(_, value)| media::may_be_in(value.get()))
            || response.is_some_and(|response| media::may_be_in(response.get()))
    }

    /// Starts to upload the content of a request; `None` if it has none.
    pub fn begin(&self, request: &Request, owner: &Owner) -> Option<Upload> {
        let is_there = request
            .fields()
            .any(|(_, value)| media::may_be_in(value.get()));
        is_there.then(|| self.start(request.to_json(), owner, Field::Input))
    }

    /// Replaces the content of an exchange with references to the uploads. Content that could not be uploaded by the
    /// deadline becomes a placeholder with type and size, with a warning. `begun` is the upload of the request, if it
    /// was already started.
    pub async fn traced<'a>(
        &self,
        exchange: &'a Exchange,
        begun: Option<Upload>,
        owner: &Owner,
        deadline: Instant,
    ) -> Cow<'a, Exchange> {
        let request = begun.or_else(|| self.begin(&exchange.request, owner));
        let answer =
            response_with_media(exchange).map(|json| self.start(json, owner, Field::Output));
        let mut failures = Failures::default();
        let request = match request {
            Some(upload) => upload.finish(deadline, &mut failures).await,
            None => None,
        };
        let answer = match answer {
            Some(upload) => upload.finish(deadline, &mut failures).await,
            None => None,
        };
        failures.warn(&self.console);
        if failures.is_broken {
            return with_placeholders(exchange);
        }
        with_texts(exchange, request.as_deref(), answer.as_deref())
    }

    /// The exchange as if all uploads had succeeded. Nothing is uploaded.
    pub fn planned<'a>(&self, exchange: &'a Exchange) -> Cow<'a, Exchange> {
        rewritten(exchange, |json, slot| match media::read(json, slot) {
            Ok(media) if self.api.is_some() && !media.bytes.is_empty() => media.reference(),
            Ok(media) => media.placeholder(),
            Err(placeholder) => placeholder,
        })
    }

    fn start(&self, json: String, owner: &Owner, field: Field) -> Upload {
        let (uploads, owner) = (self.clone(), owner.clone());
        // On a thread of its own, so that a search of megabytes does not delay the call.
        Upload(spawn_blocking(move || uploads.body(json, &owner, field)))
    }

    fn body(&self, json: String, owner: &Owner, field: Field) -> Body {
        let json: Arc<str> = json.into();
        let slots = media::find(&json);
        let firsts = firsts(&json, &slots);
        let mut tasks = JoinSet::new();
        for (index, slot) in slots.iter().enumerate() {
            if let Some(api) = self.api.clone()
                && firsts[index] == index
            {
                let (json, slot, owner) = (Arc::clone(&json), slot.clone(), owner.clone());
                let permits = Arc::clone(&self.permits);
                tasks.spawn(async move {
                    let _permit = permits.acquire_owned().await;
                    (index, upload(&api, json, slot, &owner, field).await)
                });
            }
        }
        Body {
            json,
            slots,
            firsts,
            tasks,
        }
    }
}

/// The observation of an exchange, to which uploads belong.
pub fn owner(context: &TraceContext, exchange: &Exchange) -> Owner {
    let ids = context.span_ids(exchange.start);
    Owner {
        trace_id: context.trace_id.to_string(),
        observation_id: ids.generation.to_string(),
    }
}

/// Replaces the content of an exchange with placeholders.
pub fn with_placeholders(exchange: &Exchange) -> Cow<'_, Exchange> {
    rewritten(exchange, media::placeholder)
}

/// Uploads the content of a slot. Returns the text that replaces it, or why it was not uploaded.
async fn upload(
    api: &Api,
    json: Arc<str>,
    slot: Slot,
    owner: &Owner,
    field: Field,
) -> Result<String, String> {
    let read = spawn_blocking(move || media::read(&json, &slot)).await;
    let media = match read {
        Ok(Ok(media)) if media.bytes.is_empty() => return Ok(media.placeholder()),
        Ok(Ok(media)) => media,
        Ok(Err(placeholder)) => return Ok(placeholder),
        Err(_) => return Err("it could not be decoded".to_owned()),
    };
    let content_type = media.content_type.clone();
    match api.upload(media, owner, field).await {
        Ok(id) => Ok(media::reference(&content_type, &id)),
        Err(error) => Err(error.message),
    }
}

impl Upload {
    /// The body with its content replaced; `None` if it has none.
    async fn finish(self, deadline: Instant, failures: &mut Failures) -> Option<String> {
        let Ok(mut body) = self.0.await else {
            failures.is_broken = true;
            return None;
        };
        let mut texts: HashMap<usize, String> = HashMap::new();
        let mut pending = body.tasks.len();
        while let Ok(Some(ended)) = timeout_at(deadline, body.tasks.join_next()).await {
            pending -= 1;
            match ended {
                Ok((index, Ok(text))) => {
                    texts.insert(index, text);
                }
                Ok((_, Err(why))) => failures.add(1, &why),
                Err(_) => failures.add(1, "the upload ended unexpectedly"),
            }
        }
        failures.add(pending, "the upload took longer than --export-timeout");
        if body.slots.is_empty() {
            return None;
        }
        let texts: Vec<String> = body
            .firsts
            .iter()
            .zip(&body.slots)
            .map(|(first, slot)| match texts.get(first) {
                Some(text) => text.clone(),
                None => media::placeholder(&body.json, slot),
            })
            .collect();
        Some(media::replace(&body.json, &body.slots, &texts))
    }
}

/// The uploads that failed.
#[derive(Debug, Default)]
struct Failures {
    count: usize,
    first: Option<String>,
    /// Whether the search for content failed.
    is_broken: bool,
}

impl Failures {
    fn add(&mut self, count: usize, why: &str) {
        self.count += count;
        if count > 0 {
            self.first.get_or_insert_with(|| why.to_owned());
        }
    }

    fn warn(&self, console: &Console) {
        if let Some(why) = &self.first {
            let what = match self.count {
                1 => "an image or file was".to_owned(),
                count => format!("{count} images or files were"),
            };
            console.warn(&format!(
                "{what} not uploaded; the trace has type and size instead: {why}"
            ));
        }
    }
}

/// For each slot, the index of the first one with the same text.
fn firsts(json: &str, slots: &[Slot]) -> Vec<usize> {
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut first = |(index, slot): (usize, &Slot)| *known.entry(slot.text(json)).or_insert(index);
    slots.iter().enumerate().map(&mut first).collect()
}

/// Replaces each slot of an exchange with the result of `text`.
pub fn rewritten(
    exchange: &Exchange,
    mut text: impl FnMut(&str, &Slot) -> String,
) -> Cow<'_, Exchange> {
    let mut rewrite = |json: String| {
        let slots = media::find(&json);
        let texts: Vec<String> = slots.iter().map(|slot| text(&json, slot)).collect();
        (!slots.is_empty()).then(|| media::replace(&json, &slots, &texts))
    };
    let is_asked = exchange
        .request
        .fields()
        .any(|(_, value)| media::may_be_in(value.get()));
    let request = is_asked
        .then(|| exchange.request.to_json())
        .and_then(&mut rewrite);
    let answer = response_with_media(exchange).and_then(&mut rewrite);
    with_texts(exchange, request.as_deref(), answer.as_deref())
}

/// The response, if it may have content.
fn response_with_media(exchange: &Exchange) -> Option<String> {
    let response = exchange.response.as_ref()?.get();
    media::may_be_in(response).then(|| response.to_owned())
}

fn with_texts<'a>(
    exchange: &'a Exchange,
    request: Option<&str>,
    answer: Option<&str>,
) -> Cow<'a, Exchange> {
    if request.is_none() && answer.is_none() {
        return Cow::Borrowed(exchange);
    }
    let mut rewritten = exchange.clone();
    // Both are still JSON, since only strings were replaced with strings.
    if let Some(fields) = request.and_then(|json| serde_json::from_str(json).ok()) {
        rewritten.request = exchange.request.with_fields(fields);
    }
    if let Some(body) = answer {
        rewritten.set_body(body);
    }
    Cow::Owned(rewritten)
}
