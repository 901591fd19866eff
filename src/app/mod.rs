//! What the verbs share, ordered bottom up: signals, clients, files, the call, the spans, their delivery, the report.
//! Nothing here knows a verb.

pub mod attachments;
pub mod clients;
pub mod confirm;
pub mod deliver;
pub mod delivery_report;
pub mod embedded_sandbox;
pub mod env_file;
pub mod hints;
pub mod jsonl;
pub mod judge;
pub mod ledgered;
pub mod managed_prompt;
pub mod model_call;
pub mod price_cache;
pub mod price_lookup;
pub mod project_lookup;
pub mod prompt;
pub mod record_file;
pub mod redeliver;
pub mod run;
pub mod score_sender;
pub mod secrets;
pub mod settings_file;
pub mod setup;
pub mod signals;
pub mod span_maker;
pub mod terminal;
pub mod text_files;
pub mod thread;
pub mod trace_link;
pub mod trace_reader;
pub mod trace_reference;
pub mod uploads;
pub mod usage_error;
pub mod verify;
