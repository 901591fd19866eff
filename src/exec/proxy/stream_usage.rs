//! `--stream-usage`: streams of chat completions are asked for their token counts, and the client does not see the chunk
//! that carries them, since programs that read the first choice of each chunk would fail on it.

use axum::body::Bytes;
use serde_json::{Map, Value, json};

use crate::json::{self, lenient};
use crate::model::Request;

const OPTIONS: &str = "stream_options";
const INCLUDE: &str = "include_usage";

/// The body of a request that asks for the counts of its stream; `None` if it is no stream, or says itself whether it
/// wants them.
pub fn asking(body: &[u8]) -> Option<Bytes> {
    let mut request: Request = json::from_slice(body).ok()?;
    if request.get::<bool>("stream") != Some(true) {
        return None;
    }
    let mut options: Map<String, Value> = match request.get::<Value>(OPTIONS) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(options)) => options,
        Some(_) => return None,
    };
    if options.contains_key(INCLUDE) {
        return None;
    }
    options.insert(INCLUDE.to_owned(), json!(true));
    request.set(OPTIONS, &options);
    Some(request.to_json().into())
}

/// Leaves the chunk with the counts out of a stream of events.
#[derive(Debug, Default)]
pub struct UsageFilter {
    /// The begin of an event whose end has not come.
    begun: Vec<u8>,
}

impl UsageFilter {
    /// What of the stream goes on to the client after the next bytes; events go on whole.
    pub fn push(&mut self, bytes: &Bytes) -> Bytes {
        if self.begun.is_empty() && ends_event(bytes) && !may_hold_usage(bytes) {
            return bytes.clone();
        }
        self.begun.extend_from_slice(bytes);
        let mut passed = Vec::new();
        while let Some(end) = event_end(&self.begun) {
            let rest = self.begun.split_off(end);
            let event = std::mem::replace(&mut self.begun, rest);
            if !is_usage(&event) {
                passed.extend_from_slice(&event);
            }
        }
        passed.into()
    }

    /// What is left when the stream has ended.
    pub fn rest(&mut self) -> Option<Bytes> {
        let rest = std::mem::take(&mut self.begun);
        (!rest.is_empty()).then(|| rest.into())
    }
}

fn ends_event(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n\n") || bytes.ends_with(b"\r\n\r\n")
}

fn may_hold_usage(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains("\"usage\"")
}

/// The place behind the first event.
fn event_end(bytes: &[u8]) -> Option<usize> {
    let after = |end: &[u8]| {
        let start = bytes.windows(end.len()).position(|window| window == end)?;
        Some(start + end.len())
    };
    after(b"\n\n").into_iter().chain(after(b"\r\n\r\n")).min()
}

/// Whether an event is the chunk with the counts, and without any choice.
fn is_usage(event: &[u8]) -> bool {
    let text = String::from_utf8_lossy(event);
    let data = text.lines().find_map(|line| line.strip_prefix("data:"));
    let Some(Ok(chunk)) = data.map(|data| lenient::parse(data.trim())) else {
        return false;
    };
    chunk["usage"].is_object() && chunk["choices"].as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_streams_that_say_nothing_of_it_are_asked() {
        let asked = |body: &str| asking(body.as_bytes()).map(|body| body.to_vec());
        assert_eq!(
            asked(r#"{"stream":true,"n":1.0}"#).unwrap(),
            br#"{"stream":true,"n":1.0,"stream_options":{"include_usage":true}}"#
        );
        assert_eq!(
            asked(r#"{"stream_options":{"a":1},"stream":true}"#).unwrap(),
            br#"{"stream_options":{"a":1,"include_usage":true},"stream":true}"#
        );
        for body in [
            r#"{"stream":false}"#,
            "{}",
            "no JSON",
            r#"{"stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"stream":true,"stream_options":7}"#,
        ] {
            assert_eq!(asked(body), None, "{body}");
        }
    }

    #[test]
    fn the_chunk_with_the_counts_is_left_out_however_the_stream_is_cut() {
        let kept =
            "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\"\"}}],\"usage\":null}\n\n";
        let counts = "data: {\"choices\": [], \"usage\": {\"total_tokens\": 3}}\n\n";
        let stream = format!("{kept}{counts}data: [DONE]\n\n: the rest");
        for size in 1..stream.len() {
            let mut filter = UsageFilter::default();
            let mut passed = Vec::new();
            for piece in stream.as_bytes().chunks(size) {
                passed.extend_from_slice(&filter.push(&Bytes::copy_from_slice(piece)));
            }
            passed.extend(filter.rest().unwrap_or_default());
            let expected = format!("{kept}data: [DONE]\n\n: the rest");
            assert_eq!(String::from_utf8(passed).unwrap(), expected, "{size}");
        }
    }

    #[test]
    fn whole_events_pass_at_once() {
        let mut filter = UsageFilter::default();
        let event = Bytes::from_static(b"data: {\"choices\":[{}]}\n\n");
        assert_eq!(filter.push(&event), event);
        assert_eq!(filter.rest(), None);
    }
}
