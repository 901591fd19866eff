//! Trace and span ids: random, or derived so that the same input gives the same id.

use opentelemetry::trace::{SpanId, SpanKind, TraceId};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample,
};
use sha2::{Digest, Sha256};

/// A random trace id.
pub fn random() -> TraceId {
    RandomIdGenerator::default().new_trace_id()
}

/// A random span id.
pub fn random_span() -> SpanId {
    RandomIdGenerator::default().new_span_id()
}

/// The trace id of a seed: the first 16 bytes of its SHA-256, as the Langfuse SDKs derive it.
pub fn from_seed(seed: &str) -> TraceId {
    TraceId::from_bytes(first_bytes(seed))
}

/// Whether a trace is sampled at `rate` (0 to 1): the decision of OpenTelemetry's ratio sampler.
pub fn is_sampled(trace_id: TraceId, rate: f64) -> bool {
    let sampler = Sampler::TraceIdRatioBased(rate);
    let result = sampler.should_sample(None, trace_id, "", &SpanKind::Internal, &[], &[]);
    result.decision != SamplingDecision::Drop
}

/// Reads a trace id of 32 hexadecimal digits.
///
/// # Errors
/// One line that says what is wrong.
pub fn parse_trace_id(text: &str) -> Result<TraceId, String> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!(
            "`{text}` is not a trace id: expected 32 hexadecimal digits"
        ));
    }
    match TraceId::from_hex(text) {
        Ok(TraceId::INVALID) | Err(_) => Err("a trace id must not be all zeros".to_owned()),
        Ok(id) => Ok(id),
    }
}

/// Reads a span id of 16 hexadecimal digits; `None` if it is none.
pub fn parse_span_id(text: &str) -> Option<SpanId> {
    let id = SpanId::from_hex(text).ok()?;
    (text.len() == 16 && id != SpanId::INVALID).then_some(id)
}

/// The ids of the two spans of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanIds {
    pub parent: SpanId,
    pub generation: SpanId,
}

impl SpanIds {
    /// Derives the ids from the trace id and the start of the generation, in nanoseconds since the epoch. So a re-emitted
    /// recording has the same ids, and a new run has others.
    pub fn derive(trace: TraceId, start_nanos: i128) -> Self {
        let stem = Sha256::new_with_prefix(format!("{trace}/{start_nanos}/"));
        let id =
            |span: &str| SpanId::from_bytes(first(&stem.clone().chain_update(span).finalize()));
        Self {
            parent: id("parent"),
            generation: id("generation"),
        }
    }
}

/// The first 64 bits of a text's SHA-256: enough to distinguish a million ids.
pub fn digest64(text: impl AsRef<[u8]>) -> u64 {
    u64::from_be_bytes(first_bytes(text))
}

/// The first bytes of the SHA-256 of `text`.
pub fn first_bytes<const N: usize>(text: impl AsRef<[u8]>) -> [u8; N] {
    first(&Sha256::digest(text.as_ref()))
}

fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    std::array::from_fn(|index| digest[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_give_the_ids_of_the_langfuse_sdks() {
        // printf %s my-seed | sha256sum
        assert_eq!(
            from_seed("my-seed").to_string(),
            "e47b450a58ba3f9ba4a36ec20b7f7c18"
        );
    }

    #[test]
    fn trace_ids_are_32_digits_and_not_zero() {
        assert!(parse_trace_id("0af7651916cd43dd8448eb211c80319c").is_ok());
        assert!(parse_trace_id("0AF7651916CD43DD8448EB211C80319C").is_ok());
        for wrong in [
            "",
            "0af7",
            "0af7651916cd43dd8448eb211c80319g",
            "00000000000000000000000000000000",
            "+af7651916cd43dd8448eb211c80319c",
        ] {
            assert!(parse_trace_id(wrong).is_err(), "{wrong}");
        }
    }
}
