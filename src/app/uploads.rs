//! Base64 content of requests and answers: uploaded beside the call that it belongs to, and out of its trace.
//!
//! One [`Uploads`] serves a whole run, and bounds how much content is decoded at a time; an [`Upload`] is the content
//! of one body. Nothing here delays a call, and a failed upload is a warning.

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
use crate::trace::ids::SpanIds;
use crate::trace::media::{self, Slot};
use crate::trace::{Exchange, TraceContext};

/// How many contents are decoded and on their way at a time.
const AT_ONCE: usize = 4;

/// Where the content of a run goes. Clones share the bound.
#[derive(Clone, Debug)]
pub struct Uploads {
    /// None where nothing is uploaded.
    api: Option<Api>,
    permits: Arc<Semaphore>,
    console: Console,
}

/// The content of one body, under way.
#[derive(Debug)]
pub struct Upload(JoinHandle<Body>);

/// A body that holds base64 content, and what becomes of it.
#[derive(Debug)]
struct Body {
    json: Arc<str>,
    slots: Vec<Slot>,
    /// For each slot the one that holds the same content first.
    firsts: Vec<usize>,
    /// What stands for the content of a first slot in the trace, or why it was not uploaded.
    tasks: JoinSet<(usize, Result<String, String>)>,
}

impl Uploads {
    /// With an `api` content is uploaded there, without it only left out of the traces.
    pub fn new(api: Option<Api>, console: Console) -> Self {
        Self {
            api,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            console,
        }
    }

    /// Whether an exchange may hold content: a search that is done in no time.
    pub fn may_be_in(exchange: &Exchange) -> bool {
        let mut fields = exchange.request.fields();
        let response = exchange.response.as_ref();
        fields.any(|(_, value)| media::may_be_in(value.get()))
            || response.is_some_and(|response| media::may_be_in(response.get()))
    }

    /// Begins with the content of a request; none when it holds none.
    pub fn begin(&self, request: &Request, owner: &Owner) -> Option<Upload> {
        let is_there = request
            .fields()
            .any(|(_, value)| media::may_be_in(value.get()));
        is_there.then(|| self.start(request.to_json(), owner, Field::Input))
    }

    /// The exchange as it may be traced: its content is uploaded, and references stand for it. What is not there by
    /// the deadline leaves its type and size; so does what could not be uploaded, and a warning says why. `begun` is
    /// what was begun of the request, which begins now where it was not.
    pub async fn traced<'a>(
        &self,
        exchange: &'a Exchange,
        begun: Option<Upload>,
        owner: &Owner,
        deadline: Instant,
    ) -> Cow<'a, Exchange> {
        let request = begun.or_else(|| self.begin(&exchange.request, owner));
        let answer = answer_with_media(exchange).map(|json| self.start(json, owner, Field::Output));
        let mut failures = Failures::default();
        let request = match request {
            Some(upload) => upload.finish(deadline, &mut failures).await,
            None => None,
        };
        let answer = match answer {
            Some(upload) => upload.finish(deadline, &mut failures).await,
            None => None,
        };
        failures.say(&self.console);
        if failures.is_broken {
            return outlined(exchange);
        }
        with_texts(exchange, request.as_deref(), answer.as_deref())
    }

    /// The exchange as it would be traced if everything went well; nothing is uploaded.
    pub fn planned<'a>(&self, exchange: &'a Exchange) -> Cow<'a, Exchange> {
        rewritten(exchange, |json, slot| match media::read(json, slot) {
            Ok(media) if self.api.is_some() && !media.bytes.is_empty() => media.reference(),
            Ok(media) => media.placeholder(),
            Err(outline) => outline,
        })
    }

    fn start(&self, json: String, owner: &Owner, field: Field) -> Upload {
        let (uploads, owner) = (self.clone(), owner.clone());
        // On a thread of its own: megabytes are searched while the call is on its way.
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

/// The observation that an exchange becomes.
pub fn owner(context: &TraceContext, exchange: &Exchange) -> Owner {
    let ids = SpanIds::derive(context.trace_id, exchange.start.as_nanosecond());
    Owner {
        trace_id: context.trace_id.to_string(),
        observation_id: ids.generation.to_string(),
    }
}

/// The exchange with type and size in the place of its content.
pub fn outlined(exchange: &Exchange) -> Cow<'_, Exchange> {
    rewritten(exchange, media::placeholder)
}

/// What stands for the content of a slot once it is uploaded; an error says why it is not.
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
        Ok(Err(outline)) => return Ok(outline),
        Err(_) => return Err("it could not be decoded".to_owned()),
    };
    let content_type = media.content_type.clone();
    match api.upload(media, owner, field).await {
        Ok(id) => Ok(media::reference(&content_type, &id)),
        Err(error) => Err(error.message),
    }
}

impl Upload {
    /// The body with a text in the place of each content; none when it turned out to hold none.
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
                Err(_) => failures.add(1, "the upload was lost"),
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

/// What could not be uploaded.
#[derive(Debug, Default)]
struct Failures {
    count: usize,
    first: Option<String>,
    /// It is not known what content there is.
    is_broken: bool,
}

impl Failures {
    fn add(&mut self, count: usize, why: &str) {
        self.count += count;
        if count > 0 {
            self.first.get_or_insert_with(|| why.to_owned());
        }
    }

    fn say(&self, console: &Console) {
        if let Some(why) = &self.first {
            let what = match self.count {
                1 => "an image or file was".to_owned(),
                count => format!("{count} images or files were"),
            };
            console.warn(&format!(
                "{what} not uploaded, the trace holds type and size instead: {why}"
            ));
        }
    }
}

/// For each slot the first one with the same text.
fn firsts(json: &str, slots: &[Slot]) -> Vec<usize> {
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut first = |(index, slot): (usize, &Slot)| *known.entry(slot.text(json)).or_insert(index);
    slots.iter().enumerate().map(&mut first).collect()
}

/// The exchange with what `text` says in the place of each content.
fn rewritten(exchange: &Exchange, text: impl Fn(&str, &Slot) -> String) -> Cow<'_, Exchange> {
    let rewrite = |json: String| {
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
        .and_then(rewrite);
    let answer = answer_with_media(exchange).and_then(rewrite);
    with_texts(exchange, request.as_deref(), answer.as_deref())
}

/// The answer as JSON, when it may hold content.
fn answer_with_media(exchange: &Exchange) -> Option<String> {
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
    // Both were JSON before, and strings have taken the place of strings.
    if let Some(request) = request.and_then(|json| serde_json::from_str(json).ok()) {
        rewritten.request = request;
    }
    if let Some(body) = answer {
        rewritten.set_body(body);
    }
    Cow::Owned(rewritten)
}
