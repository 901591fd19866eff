//! Files that are read and written compressed, as their names say.

use std::io::{self, BufRead, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::encoding::{CompressionLevel, compress};

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// What the suffix of the file's name says.
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// Whether a file that begins with `bytes` may be packed so, perhaps cut off.
    pub fn may_begin(self, bytes: &[u8]) -> bool {
        let magic: &[u8] = match self {
            Self::Plain => &[],
            Self::Gzip => &[0x1f, 0x8b],
            Self::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
        };
        bytes.starts_with(magic) || magic.starts_with(bytes)
    }

    /// Reads what was packed, all members and frames of it.
    pub fn unpack<'a>(self, source: impl BufRead + Send + 'a) -> Box<dyn Read + Send + 'a> {
        match self {
            Self::Plain => Box::new(source),
            Self::Gzip => Box::new(MultiGzDecoder::new(source)),
            Self::Zstd => Box::new(Frames::new(source)),
        }
    }

    /// Packs what is written to `sink`.
    pub fn pack<W: Write>(self, sink: W) -> Packed<W> {
        match self {
            Self::Plain => Packed::Plain(sink),
            Self::Gzip => Packed::Gzip(GzEncoder::new(sink, Compression::default())),
            Self::Zstd => Packed::Zstd(sink),
        }
    }
}

/// A writer that packs. What was written and flushed can be unpacked, even when nothing more follows.
#[derive(Debug)]
pub enum Packed<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    /// Each piece is a frame of its own.
    Zstd(W),
}

impl<W: Write> Packed<W> {
    /// Writes whole lines and sees them through.
    ///
    /// # Errors
    /// When the sink takes no more.
    pub fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(sink) => {
                sink.write_all(lines)?;
                sink.flush()
            }
            Self::Gzip(encoder) => {
                encoder.write_all(lines)?;
                encoder.flush()
            }
            Self::Zstd(sink) => {
                let mut frame = Vec::new();
                compress(lines, &mut frame, CompressionLevel::Fastest);
                sink.write_all(&frame)?;
                sink.flush()
            }
        }
    }

    /// Ends what was begun.
    ///
    /// # Errors
    /// When the sink takes no more.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(sink) | Self::Zstd(sink) => Ok(sink),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

/// All frames of a zstd file, one after the other.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            decoder: FrameDecoder::new(),
        }
    }

    /// Begins the next frame; says whether there is one.
    fn begin(&mut self) -> io::Result<bool> {
        use FrameDecoderError::ReadFrameHeaderError as Header;
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.init(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(Header(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let mut skipped = self.source.by_ref().take(length.into());
                    io::copy(&mut skipped, &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder
                    .decode_blocks(&mut self.source, one)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            } else if !self.begin()? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(packing: Packing, pieces: &[&str]) -> Vec<u8> {
        let mut packed = packing.pack(Vec::new());
        for piece in pieces {
            packed.write_lines(piece.as_bytes()).unwrap();
        }
        packed.finish().unwrap()
    }

    fn unpacked(packing: Packing, bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        packing.unpack(bytes).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn what_is_packed_in_pieces_and_runs_is_unpacked_whole() {
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let mut file = packed(packing, &["one\n", "two\nthree\n"]);
            file.extend(packed(packing, &["four\n"]));
            assert_eq!(
                unpacked(packing, &file).unwrap(),
                "one\ntwo\nthree\nfour\n",
                "{packing:?}"
            );
        }
    }

    #[test]
    fn a_file_that_ends_too_soon_is_an_error() {
        for packing in [Packing::Gzip, Packing::Zstd] {
            let file = packed(packing, &[&"line\n".repeat(100)]);
            assert!(
                unpacked(packing, &file[..file.len() - 5]).is_err(),
                "{packing:?}"
            );
        }
    }
}
