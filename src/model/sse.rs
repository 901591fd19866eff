//! Decodes server-sent events: bytes in, cut anywhere, and complete events out.
//!
//! Follows the WHATWG HTML standard, section 9.2.6: lines end in LF, CR or CRLF, comments and unknown fields are
//! ignored, the `data` lines of an event are joined by a newline, an event without its blank line is dropped.

/// The rest of a longer line is dropped, so that a server cannot fill the memory.
const LONGEST_LINE: usize = 64 << 20;

/// A complete event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type; empty if the stream states none.
    pub name: String,
    pub data: String,
}

/// A decoder of one event stream.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The bytes of the current line.
    line: Vec<u8>,
    /// The type of the current event.
    name: String,
    /// The data lines of the current event.
    data: Option<String>,
    /// Whether the last byte was a CR. An LF that follows belongs to the same line end.
    after_cr: bool,
    /// Whether any line has been read; only the first may start with a byte order mark.
    started: bool,
}

impl Decoder {
    /// Consumes the next bytes. Returns the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &rest[..end.unwrap_or(rest.len())];
            let room = LONGEST_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let Some(end) = end else { break };
            self.after_cr = rest[end] == b'\r';
            events.extend(self.end_line());
            rest = &rest[end + 1..];
        }
        events
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            return self.data.take().map(|data| Event { name, data });
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let value = String::from_utf8_lossy(value);
        match (field, &mut self.data) {
            (b"event", _) => self.name = value.into_owned(),
            (b"data", Some(data)) => {
                data.push('\n');
                data.push_str(&value);
            }
            (b"data", data) => *data = Some(value.into_owned()),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "\u{feff}: comment\r\ndata: a\r\rdata:é\ndata: 2\nevent: x\n\nid: 7\n\ndata\n\ndata: [DONE]\r\n\r\ndata: cut";

    fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
        let mut decoder = Decoder::default();
        let chunks = chunks.into_iter();
        chunks.flat_map(|chunk| decoder.push(chunk)).collect()
    }

    #[test]
    fn events_are_decoded_as_the_standard_says() {
        let events = decode([STREAM.as_bytes()]);
        let events: Vec<_> = events
            .iter()
            .map(|event| (event.name.as_str(), event.data.as_str()))
            .collect();
        assert_eq!(events, [("", "a"), ("x", "é\n2"), ("", ""), ("", "[DONE]")]);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(cuts in prop::collection::vec(0..STREAM.len(), 0..12)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|pair| &STREAM.as_bytes()[pair[0]..pair[1]]);
            prop_assert_eq!(decode(chunks), decode([STREAM.as_bytes()]));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            decode([bytes.as_slice()]);
        }
    }
}
