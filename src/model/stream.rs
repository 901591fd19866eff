//! Reads a streamed answer: bytes in, and out the text on the way and the body received so far.

use serde_json::Value;

use super::dialect::{AnswerAssembler, ModelDialect, StreamError};
use super::sse::Decoder;

/// A streamed answer as far as it was read.
#[derive(Debug)]
pub struct StreamReader {
    decoder: Decoder,
    answer: Box<dyn AnswerAssembler>,
}

impl StreamReader {
    pub fn new(dialect: &dyn ModelDialect) -> Self {
        Self {
            decoder: Decoder::default(),
            answer: dialect.assembler(),
        }
    }

    /// Consumes the next bytes. `on_text` receives the text that each event adds to the first choice.
    ///
    /// # Errors
    /// If the rest of the stream is not the rest of the response. The part received before is kept.
    pub fn push(&mut self, bytes: &[u8], mut on_text: impl FnMut(&str)) -> Result<(), StreamError> {
        for event in self.decoder.push(bytes) {
            self.answer.push(event, &mut on_text)?;
        }
        Ok(())
    }

    /// Whether the stream has sent its end marker.
    pub fn is_done(&self) -> bool {
        self.answer.is_done()
    }

    /// Whether any part of the answer has begun. From then on, a retry would print text twice.
    pub fn has_content(&self) -> bool {
        self.answer.has_content()
    }

    /// Whether the response is complete if the stream ends here.
    pub fn is_whole(&self) -> bool {
        self.answer.is_whole()
    }

    /// Takes the type of an event that is not known and was ignored.
    pub fn unknown_event(&mut self) -> Option<String> {
        self.answer.unknown_event()
    }

    /// The body, as far as it was received.
    pub fn into_body(self) -> Value {
        self.answer.into_body()
    }
}
