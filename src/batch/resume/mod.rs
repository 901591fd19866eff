//! Resuming: what an earlier run left behind, and what this one still has to do.
//!
//! Two files hold the state. The output FILE holds one line for each answered input line. `FILE.acks` holds what the
//! output cannot: which traces were delivered. The spans themselves are in no file of the run; they are rebuilt from
//! input and output, since the ids derive from the run's name and the line, and the times are in the output line.
//!
//! ```text
//! state of a line     where it is recorded
//! unanswered          nowhere: no output line
//! answered            output line with a call; no ack (in memory: `PreviousOutput::unconfirmed`)
//! invalid             output line without a call, code `invalid_line`; acked as accepted
//! under way           answered, and a `begun` ack: the trace may have arrived
//! accepted            `accepted` ack: the trace arrived, or none is sent
//! spooled(entry)      `spooled` ack: the spans are in this entry of the outbox
//! unknown             answered, and Langfuse cannot be asked; only in memory, as `ArrivedSpans::Unknown`
//! redone(n)           `redone` ack: the n-th retry of a failed line; then unanswered again
//!
//! from                to                by
//! unanswered          answered          the output line is written and flushed
//! unanswered          invalid           the same; nothing was sent
//! answered            under way         the export begins
//! under way           accepted          the export was accepted
//! under way           spooled(entry)    the export failed and the outbox took the spans
//! under way           spooled(entry)    resume, behind a collector or with a plain OTLP backend: nothing can prove that
//!                                       the spans are missing, so they wait for `resend --again`, exit code 5
//! answered            accepted          the sample rate excludes the trace
//! answered            answered          a kill, or the spans are lost: the next resume rebuilds them
//! answered            accepted          resume: Langfuse has all spans of the line
//! answered            unknown           resume: Langfuse did not answer; the trace is not sent, exit code 5
//! answered            spooled(entry)    resume: an outbox entry holds its spans, but a kill came before the ack
//! spooled(entry)      accepted          resume: the entry is delivered, or gone because `resend` delivered it
//! accepted, failed    redone(n)         --retry-errors: the ack is written, then the output line is removed
//! any but unanswered  unanswered        the output has lost the line: a `forgotten` ack voids its other acks
//! ```
//!
//! Why two files. A line is written before its trace is sent, so an ack cannot be part of it, and lines of a
//! compressed file cannot be changed in place. A list of acks alone could not rebuild a trace.
//!
//! Why Langfuse is asked. It stores a second copy of a span and counts its cost twice, so an unacked trace is only
//! sent if Langfuse does not have it. Memory stays small because only unconfirmed lines have an entry; all others
//! take some bits and 4 bytes of digest.
//!
//! What was tried and dropped:
//! * Writing every group of spans to the outbox before sending it, as `chat` does. The output holds the same content,
//!   so the outbox is only used for spans that were not accepted.
//! * Waiting for `PROOF_OF_ABSENCE` from the time of the last output line: a trace that was sent just before a kill
//!   was sent again. The wait now starts when the comparison starts.
//! * Matching outbox entries to lines by trace id: lines with the same `custom_id` share a trace, and only one of them
//!   was matched. They are matched by span id.
//! * Detecting a redo by the acks alone: a kill between the `redone` ack and the rewrite of the output made every
//!   further `--resume` fail. The output line now holds its redo number.
//! * Writing the run's name to the ack file at once: after a run was refused for its `--run`, the right name was
//!   refused as well. The first line is now written after all checks.
//!
//! What a change must not break:
//! * The order of writes: output line, then trace, then ack. Each kill in between leaves a state of the table.
//! * The `redone` ack comes before the output line is removed. Otherwise a kill in between would send the line again
//!   under the trace id of the failed call.
//! * A failed line whose trace is unconfirmed or spooled is not redone: its trace could not be rebuilt any more.
//! * The output is not changed until every line of it is recognised, and not replaced in place: `rewrite` persists a
//!   complete copy.
//! * Old files must stay readable: the formats of both files are a contract.

pub mod acks;
pub mod checkpoint;
pub mod compare;
pub mod input_note;
pub mod previous_output;
pub mod state;
pub mod stretches;
