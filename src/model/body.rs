//! Tells a stream of events from JSON by how a body begins.
//!
//! The content type is a hint only: some servers stream without `text/event-stream`, and some answer a request for a
//! stream with JSON that is labelled as one. Reading the body is done elsewhere.

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// The fields of server-sent events. A line that begins with a colon is a comment.
const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];

/// Whether a body is a stream of events, by its first bytes `start`. `is_labelled` says whether its content type is that
/// of events, `is_whole` whether these bytes are all. `None` if more bytes are needed.
pub fn is_event_stream(start: &[u8], is_labelled: bool, is_whole: bool) -> Option<bool> {
    if !is_whole && start.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(start) {
        return None;
    }
    let start = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start);
    match start.trim_ascii_start() {
        [] => is_whole.then_some(is_labelled),
        [b'{' | b'[', ..] => Some(false),
        _ if is_labelled => Some(true),
        text if FIELDS.iter().any(|field| text.starts_with(field)) => Some(true),
        text => {
            let may_become = FIELDS.iter().any(|field| field.starts_with(text));
            (is_whole || !may_become).then_some(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide() {
        for (start, unlabelled, labelled) in [
            ("data: {", Some(true), Some(true)),
            ("\u{feff}event: x", Some(true), Some(true)),
            (": PROCESSING", Some(true), Some(true)),
            ("dat", None, Some(true)),
            ("date", Some(false), Some(true)),
            (" \n{\"id\":", Some(false), Some(false)),
            ("\u{feff}[", Some(false), Some(false)),
            ("<html>", Some(false), Some(true)),
            ("\r\n", None, None),
            ("", None, None),
        ] {
            let start = start.as_bytes();
            assert_eq!(is_event_stream(start, false, false), unlabelled);
            assert_eq!(is_event_stream(start, true, false), labelled);
        }
        assert_eq!(is_event_stream(b"\xEF\xBB", true, false), None);
        assert_eq!(is_event_stream(b"dat", false, true), Some(false));
        assert_eq!(is_event_stream(b"", true, true), Some(true));
    }
}
