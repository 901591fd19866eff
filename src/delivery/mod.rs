//! Spans on their way to an OTLP endpoint: encoded, sent until the answer is known, kept when it is no acceptance.
//!
//! The stock batch processor cannot say whether a span arrived, so nothing of it is used: `opentelemetry-otlp`
//! encodes, and its HTTP client is ours (`exporter`), which reads status and body of every answer (`outcome`).

pub mod exporter;
pub mod outbox;
pub mod outcome;
pub mod payload;
pub mod redelivery;
pub mod wire;

pub use exporter::{Delivery, Exporter, OutboxPolicy, Sender, Stored};
pub use outbox::Outbox;
pub use outcome::Outcome;
pub use wire::{DeliveryResult, OtlpClient, Protocol, Target};
