//! Keeps what arrives at the listener: export requests and model calls go into the journal before they are acknowledged.
//!
//! One recorder for each run, shared by all connections. Nothing is sent here.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use crate::app::uploads;
use crate::console::Console;
use crate::exec::call::{CallRecord, telling_texts};
use crate::exec::journal::{Journal, JournalRecord, SpansRecord};
use crate::exec::media::{MediaRules, MediaTaker};
use crate::exec::received::{Fingerprints, KnownCalls, Preparation};
use crate::trace::{Exchange, Privacy, Trace};

/// The recorder of a run.
#[derive(Debug)]
pub struct Recorder {
    pub console: Console,
    pub privacy: Privacy,
    pub prints: Fingerprints,
    /// URLs of the listener, and what they stand for; the longest first.
    pub urls: Vec<(String, String)>,
    /// Whether an environment among the resource's attributes is the user's own.
    pub keeps_environment: bool,
    /// The trace id that an option named.
    pub named_trace: Option<String>,
    /// The public key of the run.
    pub public_key: Option<String>,
    /// Whether the run is at its end: what is still under way is cut off.
    is_closing: AtomicBool,
    state: Mutex<State>,
}

/// What changes during a run.
#[derive(Debug)]
struct State {
    journal: Journal,
    known: KnownCalls,
    media: MediaRules,
    next_call: usize,
    counts: Counts,
    /// The trace ids of the child, the first one apart.
    first_trace: Option<String>,
    traces: HashSet<String>,
    /// Public keys, other than the run's, under which spans came.
    foreign_keys: BTreeSet<String>,
    is_refusal_said: bool,
    /// Printed once the child has ended: until then, stderr is the child's.
    warnings: Vec<String>,
    notes: BTreeSet<&'static str>,
}

/// What arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub spans: u64,
    pub calls: u64,
    pub redactions: usize,
}

impl Recorder {
    /// With `keeps_media`, images and files are kept to be uploaded.
    pub fn new(console: Console, privacy: Privacy, journal: Journal, keeps_media: bool) -> Self {
        Self {
            console,
            privacy,
            prints: Fingerprints::default(),
            urls: Vec::new(),
            keeps_environment: false,
            named_trace: None,
            public_key: None,
            is_closing: AtomicBool::new(false),
            state: Mutex::new(State {
                journal,
                known: KnownCalls::default(),
                media: MediaRules::new(keeps_media),
                next_call: 0,
                counts: Counts::default(),
                first_trace: None,
                traces: HashSet::new(),
                foreign_keys: BTreeSet::new(),
                is_refusal_said: false,
                warnings: Vec::new(),
                notes: BTreeSet::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an export request.
    ///
    /// # Errors
    /// If neither disk nor memory takes it: it must not be acknowledged then.
    pub fn keep_spans(&self, mut request: ExportTraceServiceRequest) -> io::Result<()> {
        let state = &mut *self.state();
        let mut preparation = Preparation {
            media: MediaTaker {
                rules: &mut state.media,
                journal: &mut state.journal,
            },
            known: &state.known,
            prints: &self.prints,
            privacy: &self.privacy,
            urls: &self.urls,
            keeps_environment: self.keeps_environment,
        };
        let (model_calls, redactions) = preparation.prepare(&mut request);
        let scopes = request
            .resource_spans
            .iter()
            .flat_map(|spans| &spans.scope_spans);
        let mut count = 0;
        for span in scopes.flat_map(|scope| &scope.spans) {
            count += 1;
            let trace = hex(&span.trace_id);
            state.first_trace.get_or_insert_with(|| trace.clone());
            state.traces.insert(trace);
        }
        if count == 0 {
            return Ok(());
        }
        let record = JournalRecord::Spans(SpansRecord {
            request,
            model_calls,
        });
        Self::append(state, &record)?;
        state.counts.spans += count;
        state.counts.redactions += redactions;
        Ok(())
    }

    /// The number of a call that begins.
    pub fn number_call(&self) -> usize {
        let state = &mut *self.state();
        state.next_call += 1;
        state.next_call - 1
    }

    /// Keeps a call.
    ///
    /// # Errors
    /// If neither disk nor memory takes it.
    pub fn keep_call(&self, mut call: CallRecord) -> io::Result<()> {
        let exchange = call.exchange();
        let completion = &exchange.completion;
        let texts = telling_texts(&exchange.request, completion);
        call.text_prints = texts.iter().map(|text| self.prints.of(text)).collect();
        let id = completion.id.as_deref().map(|id| self.prints.of(id));
        let state = &mut *self.state();
        let (filtered, redactions) = self.filter(&exchange, state);
        call.request = filtered.request;
        call.response = filtered.response;
        call.error = filtered.error;
        call.user_agent = call.user_agent.map(|agent| self.console.clean(&agent));
        state.known.add(call.number, id, &call.text_prints);
        Self::append(state, &JournalRecord::Call(Box::new(call)))?;
        state.counts.calls += 1;
        state.counts.redactions += redactions;
        Ok(())
    }

    /// The exchange as it may be kept: without base64 content, and filtered.
    fn filter(&self, exchange: &Exchange, state: &mut State) -> (Exchange, usize) {
        let mut media = MediaTaker {
            rules: &mut state.media,
            journal: &mut state.journal,
        };
        let outlined = uploads::rewritten(exchange, |json, slot| media.take(json, slot));
        let trace = Trace::default();
        let filtered = self.privacy.filter(&outlined, &trace);
        (filtered.exchange.into_owned(), filtered.redactions)
    }

    fn append(state: &mut State, record: &JournalRecord) -> io::Result<()> {
        state.journal.append(record)?;
        if state.media.take_refusal() {
            state.warnings.push(
                "the outbox has no room for an image or file: the trace has type and size instead"
                    .to_owned(),
            );
        }
        if let Some(error) = state.journal.refused()
            && !state.is_refusal_said
        {
            state.is_refusal_said = true;
            state.warnings.push(format!(
                "the outbox takes nothing ({error}): spans are kept in memory, and a kill would lose them"
            ));
        }
        Ok(())
    }

    /// Appends a record of the run itself.
    ///
    /// # Errors
    /// If neither disk nor memory takes it.
    pub fn keep(&self, record: &JournalRecord) -> io::Result<()> {
        Self::append(&mut self.state(), record)
    }

    /// Notes that what is still under way is cut off by this side.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Keeps a warning until the child has ended.
    pub fn warn_later(&self, warning: String) {
        self.state().warnings.push(warning);
    }

    /// Keeps a note for `-v`, once.
    pub fn note_once(&self, note: &'static str) {
        self.state().notes.insert(note);
    }

    /// Says what was kept back.
    pub fn speak(&self) {
        let state = &mut *self.state();
        for warning in state.warnings.drain(..) {
            self.console.warn(&warning);
        }
        for note in std::mem::take(&mut state.notes) {
            self.console.detail(1, || note.to_owned());
        }
    }

    /// Notes that spans came under another public key than the run's; returns whether that is new.
    pub fn note_foreign_key(&self, key: &str) -> bool {
        self.state().foreign_keys.insert(key.to_owned())
    }

    /// The id under which a trace of the child is delivered; `None` if it is not one of its traces, or keeps its id.
    pub fn mapped_trace(&self, trace: &str) -> Option<String> {
        let state = self.state();
        let run = self.named_trace.as_ref().or(state.first_trace.as_ref())?;
        (state.traces.contains(trace) && run != trace).then(|| run.clone())
    }

    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Hands the journal out, for good.
    pub fn take_journal(&self) -> Journal {
        std::mem::replace(&mut self.state().journal, Journal::new(None, 0))
    }
}

/// The hexadecimal form of an id.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
