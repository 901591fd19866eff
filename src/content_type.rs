//! The media type of a file: by its first bytes, then by the suffix of its name.
//!
//! Knows the types that models accept. Nothing here reads files.

use std::path::Path;

/// The type of unrecognised content.
pub const UNKNOWN: &str = "application/octet-stream";
const ZIP: &str = "application/zip";

/// Signatures: their offset, their bytes, the type.
const SIGNATURES: &[(usize, &[u8], &str)] = &[
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypmif1", "image/heic"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"ID3\x02", "audio/mpeg"),
    (0, b"ID3\x03", "audio/mpeg"),
    (0, b"ID3\x04", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf2", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"PK\x03\x04", ZIP),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/msword"),
    (0, b"{\\rtf", "application/rtf"),
];

/// Types by file-name suffix, for content without a signature of its own.
const SUFFIXES: &[(&str, &str)] = &[
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("bmp", "image/bmp"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("avif", "image/avif"),
    ("heic", "image/heic"),
    ("svg", "image/svg+xml"),
    ("pdf", "application/pdf"),
    ("wav", "audio/wav"),
    ("mp3", "audio/mpeg"),
    ("flac", "audio/flac"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/opus"),
    ("aac", "audio/aac"),
    ("m4a", "audio/mp4"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("doc", "application/msword"),
    ("xls", "application/vnd.ms-excel"),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    (
        "pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("epub", "application/epub+zip"),
    ("parquet", "application/vnd.apache.parquet"),
];

/// The type by the signature of the bytes.
pub fn of_bytes(bytes: &[u8]) -> Option<&'static str> {
    let begins = |at: usize, signature: &[u8]| {
        bytes
            .get(at..)
            .is_some_and(|bytes| bytes.starts_with(signature))
    };
    if begins(0, b"RIFF") {
        return match bytes.get(8..12) {
            Some(b"WEBP") => Some("image/webp"),
            Some(b"WAVE") => Some("audio/wav"),
            _ => None,
        };
    }
    SIGNATURES
        .iter()
        .find(|(at, signature, _)| begins(*at, signature))
        .map(|(_, _, content_type)| *content_type)
}

/// The type of a file: by its signature, else by its name. Container formats share a signature, so for them the name
/// decides.
pub fn of_file(path: &Path, bytes: &[u8]) -> Option<&'static str> {
    let is_container = |found: &str| matches!(found, ZIP | "application/msword");
    match of_bytes(bytes) {
        Some(found) if !is_container(found) => Some(found),
        found => of_name(path).or(found),
    }
}

fn of_name(path: &Path) -> Option<&'static str> {
    let suffix = path.extension()?.to_str()?.to_ascii_lowercase();
    SUFFIXES
        .iter()
        .find(|(known, _)| *known == suffix)
        .map(|(_, content_type)| *content_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, bytes: &[u8]) -> Option<&'static str> {
        of_file(Path::new(name), bytes)
    }

    #[test]
    fn the_bytes_decide_before_the_name() {
        assert_eq!(of("a.jpg", b"\x89PNG\r\n\x1a\n..."), Some("image/png"));
        assert_eq!(of("a", b"RIFF1234WEBPVP8 "), Some("image/webp"));
        assert_eq!(of("a.txt", b"%PDF-1.7"), Some("application/pdf"));
        assert_eq!(of("a.PNG", b"?"), Some("image/png"));
        assert_eq!(of("a.xyz", b"?"), None);
        assert_eq!(of("a", b""), None);
    }

    #[test]
    fn containers_are_distinguished_by_name() {
        let word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        assert_eq!(of("a.docx", b"PK\x03\x04"), Some(word));
        assert_eq!(of("a.bin", b"PK\x03\x04"), Some("application/zip"));
    }
}
