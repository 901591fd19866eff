//! Compressed input and output files: gzip for `.gz`, Zstandard for `.zst`, by the suffix of the name.

use std::fs::File;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::encoding::{CompressionLevel, compress};

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl Compression {
    /// The compression that the suffix of a file's name means.
    pub fn of_name(path: &Path) -> Self {
        match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// Whether a file begins like one of this compression. A file shorter than the magic number may.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn may_begin(self, file: &File) -> io::Result<bool> {
        let mut begun = [0; 4];
        let count = file.read_at(&mut begun, 0)?;
        let is_begun = |magic: &[u8]| {
            let common = magic.len().min(count);
            magic[..common] == begun[..common]
        };
        Ok(match self {
            Self::Plain => true,
            Self::Gzip => is_begun(&[0x1f, 0x8b]),
            // The first frame may be a skippable one.
            Self::Zstd => {
                is_begun(&[0x28, 0xb5, 0x2f, 0xfd])
                    || (0x50..=0x5f).any(|kind| is_begun(&[kind, 0x2a, 0x4d, 0x18]))
            }
        })
    }

    /// The name that messages use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "Zstandard",
        }
    }

    /// Decompresses `source`: all gzip members or Zstandard frames of it.
    pub fn reader<'a>(self, source: impl BufRead + Send + 'a) -> Box<dyn Read + Send + 'a> {
        if self == Self::Plain {
            return Box::new(source);
        }
        self.decompressor(Box::new(source))
    }

    /// Boxed, so that there is one decoder, not one for each type of source.
    fn decompressor<'a>(self, source: Box<dyn BufRead + Send + 'a>) -> Box<dyn Read + Send + 'a> {
        match self {
            Self::Plain => Box::new(source),
            Self::Gzip => Box::new(Decompressor {
                compression: self,
                reader: MultiGzDecoder::new(source),
            }),
            Self::Zstd => Box::new(Decompressor {
                compression: self,
                reader: Frames::new(source),
            }),
        }
    }

    /// Compresses what is written to `sink`.
    pub fn writer<W: Write>(self, sink: W) -> CompressedWriter<W> {
        match self {
            Self::Plain => CompressedWriter::Plain(sink),
            Self::Gzip => {
                CompressedWriter::Gzip(GzEncoder::new(sink, flate2::Compression::default()))
            }
            Self::Zstd => CompressedWriter::Zstd(sink),
        }
    }
}

/// A writer that compresses. The bytes of every [`write_lines`](Self::write_lines) can be decompressed even when
/// nothing follows them, so a killed run leaves a readable file.
#[derive(Debug)]
pub enum CompressedWriter<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    /// Each call of `write_lines` writes a frame.
    Zstd(W),
}

impl<W: Write> CompressedWriter<W> {
    /// Writes whole lines and flushes them.
    ///
    /// # Errors
    /// When the sink cannot be written.
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

    /// Writes the end of the compressed stream.
    ///
    /// # Errors
    /// When the sink cannot be written.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(sink) | Self::Zstd(sink) => Ok(sink),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

/// A reader that turns decoding errors into words about the file.
struct Decompressor<R> {
    compression: Compression,
    reader: R,
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            if is_system_error(&error) {
                return error;
            }
            let name = self.compression.name();
            let message = format!("the file is truncated or not {name}: {error}");
            io::Error::new(error.kind(), message)
        })
    }
}

/// Whether an error comes from the operating system, not from the decoder: the rest of the file may be sound.
pub fn is_system_error(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.raw_os_error().is_some()) {
            return true;
        }
        // `source` of an I/O error skips the error that it wraps.
        cause = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

/// All frames of a Zstandard file, one after the other.
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

    /// Whether the checksum of the frame that has ended matches; true for a frame without one.
    fn is_sound(&self) -> bool {
        let stored = self.decoder.get_checksum_from_data();
        stored.is_none() || stored == self.decoder.get_calculated_checksum()
    }

    /// Begins the next frame; false at the end of the file.
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
                Err(error) => return Err(io::Error::new(ErrorKind::InvalidData, error)),
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
                    .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            } else if !self.is_sound() {
                let damaged = "checksum mismatch: the file is damaged";
                return Err(io::Error::new(ErrorKind::InvalidData, damaged));
            } else if !self.begin()? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(compression: Compression, pieces: &[&str]) -> Vec<u8> {
        let mut writer = compression.writer(Vec::new());
        for piece in pieces {
            writer.write_lines(piece.as_bytes()).unwrap();
        }
        writer.finish().unwrap()
    }

    fn decompressed(compression: Compression, bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        compression.reader(bytes).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn pieces_and_appended_streams_are_decompressed_whole() {
        for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
            let mut file = compressed(compression, &["one\n", "two\nthree\n"]);
            file.extend(compressed(compression, &["four\n"]));
            assert_eq!(
                decompressed(compression, &file).unwrap(),
                "one\ntwo\nthree\nfour\n",
                "{compression:?}"
            );
        }
    }

    #[test]
    fn a_truncated_file_is_an_error() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let file = compressed(compression, &[&"line\n".repeat(100)]);
            assert!(
                decompressed(compression, &file[..file.len() - 5]).is_err(),
                "{compression:?}"
            );
        }
    }

    #[test]
    fn a_disk_error_is_not_a_truncated_file() {
        let disk_error = || io::Error::from_raw_os_error(5);
        assert!(is_system_error(&disk_error()));
        assert!(is_system_error(&io::Error::other(disk_error())));
        assert!(!is_system_error(&ErrorKind::UnexpectedEof.into()));
        let decoder_error = io::Error::new(ErrorKind::InvalidData, "a frame is wrong");
        assert!(!is_system_error(&decoder_error));
    }
}
