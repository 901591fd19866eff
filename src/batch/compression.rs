//! Files that are read and written compressed, as their names say.

use std::fs::File;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
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

    /// Whether a file begins as one that is packed so, which may have been cut off.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn may_be_of(self, file: &File) -> io::Result<bool> {
        let mut begun = [0; 4];
        let count = file.read_at(&mut begun, 0)?;
        let is_begun = |magic: &[u8]| {
            let common = magic.len().min(count);
            magic[..common] == begun[..common]
        };
        Ok(match self {
            Self::Plain => true,
            Self::Gzip => is_begun(&[0x1f, 0x8b]),
            // Before the first frame there may be one that readers skip.
            Self::Zstd => {
                is_begun(&[0x28, 0xb5, 0x2f, 0xfd])
                    || (0x50..=0x5f).any(|kind| is_begun(&[kind, 0x2a, 0x4d, 0x18]))
            }
        })
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "Zstandard",
        }
    }

    /// Reads what was packed, all members and frames of it.
    pub fn unpack<'a>(self, source: impl BufRead + Send + 'a) -> Box<dyn Read + Send + 'a> {
        match self {
            Self::Plain => Box::new(source),
            Self::Gzip => Box::new(Unpacked {
                packing: self,
                reader: MultiGzDecoder::new(source),
            }),
            Self::Zstd => Box::new(Unpacked {
                packing: self,
                reader: Frames::new(source),
            }),
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

/// A reader whose errors say what they mean for the file.
struct Unpacked<R> {
    packing: Packing,
    reader: R,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            if is_of_the_system(&error) {
                return error;
            }
            let name = self.packing.name();
            let message = format!("it is cut off or no {name} file: {error}");
            io::Error::new(error.kind(), message)
        })
    }
}

/// Whether an error is the disk's, and not one of the packing: then nothing is known of what follows.
pub fn is_of_the_system(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.raw_os_error().is_some()) {
            return true;
        }
        // An I/O error's own source leaves out the error that it wraps.
        cause = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
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

    /// Whether the frame that has ended is what was packed, as far as it tells.
    fn is_sound(&self) -> bool {
        let told = self.decoder.get_checksum_from_data();
        told.is_none() || told == self.decoder.get_calculated_checksum()
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
                let damaged = "its checksum tells that it is damaged";
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

    #[test]
    fn what_the_disk_cannot_read_is_no_cut_end() {
        let of_the_disk = || io::Error::from_raw_os_error(5);
        assert!(is_of_the_system(&of_the_disk()));
        assert!(is_of_the_system(&io::Error::other(of_the_disk())));
        assert!(!is_of_the_system(&ErrorKind::UnexpectedEof.into()));
        let of_the_packing = io::Error::new(ErrorKind::InvalidData, "a frame is wrong");
        assert!(!is_of_the_system(&of_the_packing));
    }
}
