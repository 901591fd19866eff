//! Texts that the binary holds compressed, because they are long and seldom printed: together they are half a megabyte.
//!
//! `build.rs` compresses them.

use std::io::Read as _;

use flate2::read::DeflateDecoder;

/// A text of the repository; [`embedded`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedText(&'static [u8]);

impl EmbeddedText {
    pub const fn new(deflated: &'static [u8]) -> Self {
        Self(deflated)
    }

    pub fn read(self) -> String {
        let mut text = String::new();
        // What the build has written is whole.
        let _ = DeflateDecoder::new(self.0).read_to_string(&mut text);
        text
    }
}

/// The text of a file, by its path from the root of the repository. Its folder stands in `build.rs`.
macro_rules! embedded {
    ($path:literal) => {
        $crate::embedded::EmbeddedText::new(include_bytes!(concat!(
            env!("OUT_DIR"),
            "/",
            $path,
            ".deflate"
        )))
    };
}

pub(crate) use embedded;

#[cfg(test)]
mod tests {
    #[test]
    fn a_text_is_read_as_it_was_written() {
        let written = include_str!("../completions/langspan.bash");
        assert_eq!(embedded!("completions/langspan.bash").read(), written);
    }
}
