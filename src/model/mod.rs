//! The endpoints of models: requests and responses as values in the dialects that models speak, and the client that
//! exchanges them.
//!
//! Only `client` does I/O, and `rate_limiter` waits; the rest are pure functions. Nothing here knows about traces.

pub mod body;
pub mod client;
pub mod completion;
pub mod content;
pub mod dialect;
pub mod endpoint;
pub mod error;
pub mod failed_attempt;
pub mod fields;
pub mod models;
pub mod outage;
pub mod provider;
pub mod rate_limit_headers;
pub mod rate_limiter;
pub mod rate_limiters;
pub mod refusals;
pub mod request;
pub mod server_error;
pub mod sse;
pub mod stream;
pub mod token_bucket;
pub mod usage;

pub use client::{Client, NullSink, Progress, RetriedAttempt, Sink};
pub use completion::Completion;
pub use endpoint::Endpoint;
pub use provider::Provider;
pub use rate_limiter::{RateLimiter, Stopped};
pub use rate_limiters::RateLimiters;
pub use request::Request;
pub use usage::{Usage, UsageDetails};
