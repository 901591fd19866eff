//! Delivery: spans in, an outcome that is known out.
//!
//! One delivery is [`Exporter::export`], or its halves [`Exporter::store`] and [`Exporter::send`], and reads top to
//! bottom:
//!
//! 1. **encode** (`encode`, `payload`): spans become one OTLP export request.
//! 2. **store** (`outbox`): the request is written to the outbox, before it is sent or, in a batch without an output
//!    file, if it is not accepted within a moment.
//! 3. **send** (`client`): attempts, waits, pieces, and the question whether Langfuse has the spans already.
//! 4. **judge** (`outcome`, `result`): what the answer means, and which spans remain.
//! 5. **keep or release** (`outbox`): accepted spans leave the outbox, all others stay there for `langspan resend`.
//!
//! `presence` comes before the third step if a recording is emitted that an earlier run may have sent. `redelivery`
//! delivers an entry of the outbox, and asks before it sends. Spans of files that others wrote (`otlp_json`) need no
//! outbox, since the files hold them: a `ledger` beside each file knows what was sent.
//!
//! # Why it is built this way
//!
//! * **No span processor.** Exit code 0 promises that the server accepted every span. `BatchSpanProcessor` cannot say
//!   so: it drops spans without an error when its queue is full, discards the result of exports that its timer or the
//!   batch size triggers, `force_flush()` reports the last batch only, and `shutdown()` returns `Ok` after a 401.
//!   Spans are therefore built as values, and each group of them is exported by a call that returns its outcome.
//! * **`opentelemetry-otlp` encodes, and does not send.** Its result is a string without body or `Retry-After`, and
//!   `Ok` for a page of HTML or for rejected spans; its retries block the thread. So its HTTP client is replaced by one
//!   that catches the encoded bytes. An earlier design let that client do the whole delivery, with a task-local that
//!   carried the deadline in and the outcome out; which was hard to follow.
//! * **Bytes are decoded only when that is needed.** The outbox holds OTLP/JSON, and pieces of a request are cut from its
//!   messages. Both come from the encoded request: most requests are accepted at once, so nothing but the bytes is kept
//!   in memory. A test in `encode` holds the forms equal.
//!
//! # What must stay true
//!
//! * The order is store, send, release. Only a batch sends first, and stores what is not accepted within a moment. An
//!   entry is released only after the answer was judged to be an acceptance.
//! * Ids and times never change between attempts, pieces and redeliveries: the server merges copies of a span by id.
//! * An outcome that is not known is not a failure that may simply be repeated: a second copy of a span doubles its
//!   cost in Langfuse until the server merges it. Langfuse is asked first.
//! * Presence proves arrival. Absence proves something only when a Langfuse is asked directly (a collector may pass
//!   spans on at any later time), and not before [`PROOF_OF_ABSENCE`] has passed, or five times as long as the attempt
//!   had waited. What is not proven stays in the outbox until `resend --again` is asked for.
//! * Spans are not called lost while they lie on disk.
//! * The outbox may be a folder where others write: nothing is written through a link, and no FIFO is waited for.

pub mod ambiguity;
pub mod client;
pub mod encode;
pub mod export;
pub mod files;
pub mod ledger;
pub mod otlp_json;
pub mod outbox;
pub mod outcome;
pub mod partial_success;
pub mod payload;
pub mod presence;
pub mod redelivery;
pub mod result;
pub mod sent_key;

pub use ambiguity::PROOF_OF_ABSENCE;
pub use client::{OtlpClient, OtlpEndpoint, Protocol};
pub use encode::Encoder;
pub use export::{Delivery, Exporter, OutboxPolicy, Stored, StoredExport};
pub use outbox::{Outbox, OutboxError};
pub use outcome::Outcome;
pub use payload::{MAX_REQUEST_BYTES, MAX_REQUEST_SPANS};
