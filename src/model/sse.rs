//! Decodes server-sent events: bytes in, cut anywhere, and the data of complete events out.
//!
//! Follows the WHATWG HTML standard, section 9.2.6: lines end in LF, CR or CRLF, comments and unknown fields are
//! ignored, the `data` lines of an event are joined by a newline, an event without its blank line is dropped.

/// The rest of a longer line is dropped, so that a server cannot fill the memory.
const LONGEST_LINE: usize = 64 << 20;

/// A decoder of one event stream.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The bytes of the current line.
    line: Vec<u8>,
    /// The data lines of the current event.
    data: Option<String>,
    /// Whether the last byte was a CR. An LF that follows belongs to the same line end.
    after_cr: bool,
    /// Whether any line has been read; only the first may start with a byte order mark.
    started: bool,
}

impl Decoder {
    /// Consumes the next bytes. Returns the data of each event that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ if self.line.len() < LONGEST_LINE => self.line.push(byte),
                _ => {}
            }
        }
        events
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            return self.data.take();
        }
        let value = match line.strip_prefix(b"data") {
            Some([]) => &[][..],
            Some([b':', value @ ..]) => value.strip_prefix(b" ").unwrap_or(value),
            _ => return None,
        };
        let value = String::from_utf8_lossy(value);
        match &mut self.data {
            Some(data) => {
                data.push('\n');
                data.push_str(&value);
            }
            None => self.data = Some(value.into_owned()),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "\u{feff}: comment\r\ndata: a\r\rdata:é\ndata: 2\nevent: x\n\nid: 7\n\ndata\n\ndata: [DONE]\r\n\r\ndata: cut";

    fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut decoder = Decoder::default();
        chunks
            .into_iter()
            .flat_map(|chunk| decoder.push(chunk))
            .collect()
    }

    #[test]
    fn events_are_decoded_as_the_standard_says() {
        assert_eq!(decode([STREAM.as_bytes()]), ["a", "é\n2", "", "[DONE]"]);
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
