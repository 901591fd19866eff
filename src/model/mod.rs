//! An OpenAI-compatible chat endpoint: requests and answers as values, then the wire.
//!
//! All is pure but `client`, which does the I/O. Nothing here knows of
//! traces.

pub mod client;
pub mod completion;
pub mod endpoint;
pub mod failed;
pub mod provider;
pub mod rate_limiter;
pub mod request;
pub mod sse;
pub mod stream;
pub mod usage;

pub use client::{Client, NullSink, Progress, Retried, Sink};
pub use completion::Completion;
pub use endpoint::Endpoint;
pub use provider::Provider;
pub use rate_limiter::{RateLimiter, Stopped};
pub use request::Request;
pub use usage::Usage;
