//! An OpenAI-compatible chat endpoint: requests and answers as values, then the wire.
//!
//! All is pure but `client`, which does the I/O. Nothing here knows of
//! traces.

pub mod client;
pub mod completion;
pub mod content_type;
pub mod endpoint;
pub mod failed;
pub mod lenient;
pub mod pace;
pub mod provider;
pub mod request;
pub mod sse;
pub mod stream;
pub mod usage;

pub use client::{Client, NullSink, Progress, Retried, Sink};
pub use completion::Completion;
pub use endpoint::Endpoint;
pub use pace::{RateLimiter, Stopped};
pub use provider::Provider;
pub use request::Request;
pub use usage::Usage;
