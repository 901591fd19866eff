//! Finds keys, tokens and private keys in a text by their usual shapes.
//!
//! Ordinary text costs one table look-up for every two bytes, which rules out that a shape begins there. Passwords, and
//! keys that look like an ordinary word, are not recognised.

use std::ops::Range;

use crate::secret::Secret;
use crate::sort;

/// What follows the prefix of a key.
#[derive(Clone, Copy, Debug)]
enum Tail {
    /// At least this many letters, digits, `-` and `_`, with a digit among them: hyphenated words have none.
    Word(usize),
    /// The same, and dots.
    Dotted(usize),
    /// Exactly this many capital letters and digits.
    Capitals(usize),
    /// The credential of an `Authorization` header, at least this long; the scheme stays.
    Credential(usize),
    /// The rest of a JSON Web Token: base64url parts, separated by dots.
    Jwt,
    /// The rest of a PEM private key, to its end line or as far as the text goes.
    Pem,
}

/// The prefixes of keys, each at least three bytes long, and what follows.
const SHAPES: [(&str, Tail); 39] = [
    ("sk-lf-", Tail::Word(8)),
    ("pk-lf-", Tail::Word(8)),
    // OpenAI, Anthropic, OpenRouter, DeepSeek, LiteLLM and others.
    ("sk-", Tail::Word(16)),
    ("gsk_", Tail::Word(20)),
    ("hf_", Tail::Word(20)),
    ("nvapi-", Tail::Word(20)),
    ("pplx-", Tail::Word(20)),
    ("r8_", Tail::Word(20)),
    ("xai-", Tail::Word(20)),
    ("ghp_", Tail::Word(20)),
    ("gho_", Tail::Word(20)),
    ("ghu_", Tail::Word(20)),
    ("ghs_", Tail::Word(20)),
    ("ghr_", Tail::Word(20)),
    ("github_pat_", Tail::Word(20)),
    ("glpat-", Tail::Dotted(16)),
    ("npm_", Tail::Word(20)),
    ("pypi-", Tail::Word(20)),
    ("dop_v1_", Tail::Word(20)),
    ("sk_live_", Tail::Word(16)),
    ("sk_test_", Tail::Word(16)),
    ("rk_live_", Tail::Word(16)),
    ("rk_test_", Tail::Word(16)),
    ("whsec_", Tail::Word(16)),
    ("xoxa-", Tail::Word(10)),
    ("xoxb-", Tail::Word(10)),
    ("xoxe-", Tail::Word(10)),
    ("xoxp-", Tail::Word(10)),
    ("xapp-", Tail::Word(10)),
    ("AKIA", Tail::Capitals(16)),
    ("ASIA", Tail::Capitals(16)),
    ("AIza", Tail::Word(30)),
    ("ya29.", Tail::Dotted(20)),
    ("SG.", Tail::Dotted(30)),
    ("Bearer ", Tail::Credential(16)),
    ("bearer ", Tail::Credential(16)),
    ("Basic ", Tail::Credential(16)),
    ("eyJ", Tail::Jwt),
    ("-----BEGIN ", Tail::Pem),
];

/// A shorter own value is not a key but a word that local servers accept, such as `lm-studio`.
const SHORTEST_OWN: usize = 12;
/// An own value of this length is a key even if it has no digit.
const LONGEST_WORD: usize = 24;

/// Finds keys of the usual shapes, and the run's own keys of any shape.
#[derive(Clone, Debug)]
pub struct KeyFinder {
    /// The keys that the run itself sends, in all forms.
    own: Vec<String>,
    /// For each of the first three bytes, the shapes that have it at that position, one bit each. Own keys share the bits
    /// behind those of the shapes.
    starts: Box<[[u64; 256]; 3]>,
    /// One bit for each pair of bytes: whether a shape or own key has it as its first or its second two bytes.
    pairs: Box<[u64; 1024]>,
}

impl KeyFinder {
    /// `own` are the keys that the run itself sends.
    pub fn new(own: &[Secret]) -> Self {
        let is_key = |secret: &&Secret| {
            let value = secret.expose();
            let has_digit = value.bytes().any(|byte| byte.is_ascii_digit());
            value.len() >= SHORTEST_OWN && (has_digit || value.len() >= LONGEST_WORD)
        };
        let own = sort::set(own.iter().filter(is_key).flat_map(Secret::forms));
        let own: Vec<String> = own.into_iter().collect();
        let mut starts = Box::new([[0; 256]; 3]);
        let mut pairs = Box::new([0; 1024]);
        let shapes = SHAPES.iter().map(|(start, _)| *start).enumerate();
        let keys = own.iter().enumerate();
        let keys = keys.map(|(index, key)| (own_bit(index), key.as_str()));
        for (bit, start) in shapes.chain(keys) {
            for (table, byte) in starts.iter_mut().zip(start.bytes()) {
                table[usize::from(byte)] |= 1 << bit;
            }
            for pair in start.as_bytes().windows(2).take(2) {
                let (word, bit) = place_of([pair[0], pair[1]]);
                pairs[word] |= 1 << bit;
            }
        }
        Self { own, starts, pairs }
    }

    /// Whether `text` may contain a key. If false, it contains none.
    pub fn may_be_in(&self, text: &str) -> bool {
        self.candidate(text.as_bytes(), 0).is_some()
    }

    /// Adds the ranges of the keys in `text`, in order.
    pub fn find(&self, text: &str, found: &mut Vec<Range<usize>>) {
        let mut from = 0;
        while let Some((at, bits)) = self.candidate(text.as_bytes(), from) {
            let key = self.key_at(text, at, bits).filter(|key| !key.is_empty());
            from = key.as_ref().map_or(at + 1, |key| key.end);
            found.extend(key);
        }
    }

    /// The first position from `from` on where a shape may begin, and the bits of these shapes.
    fn candidate(&self, text: &[u8], from: usize) -> Option<(usize, u64)> {
        let rest = text.get(from..)?;
        // Every byte that is traced passes through this loop. Of the first two pairs of a key, one has an even place.
        for (half, pair) in rest.chunks_exact(2).enumerate() {
            let (word, bit) = place_of([pair[0], pair[1]]);
            if self.pairs[word] >> bit & 1 == 0 {
                continue;
            }
            let even = from + 2 * half;
            let odd = even.checked_sub(1).filter(|odd| *odd >= from);
            for at in odd.into_iter().chain([even]) {
                let bits = self.shapes_at(&text[at..]);
                if bits != 0 {
                    return Some((at, bits));
                }
            }
        }
        None
    }

    /// The bits of the shapes that may begin with the first three bytes of `text`.
    fn shapes_at(&self, text: &[u8]) -> u64 {
        let [first, second, third] = &*self.starts;
        let [a, b, c, ..] = text else { return 0 };
        first[usize::from(*a)] & second[usize::from(*b)] & third[usize::from(*c)]
    }

    /// The range of the key that begins at `at` and has one of the shapes in `bits`.
    fn key_at(&self, text: &str, at: usize, bits: u64) -> Option<Range<usize>> {
        let here = &text.as_bytes()[at..];
        let is_possible = |bit: usize| bits & (1 << bit) != 0;
        let own = self.own.iter().enumerate();
        let own = own.filter(|(index, key)| {
            is_possible(own_bit(*index)) && here.starts_with(key.as_bytes())
        });
        // A key may begin with another one.
        if let Some(length) = own.map(|(_, key)| key.len()).max() {
            return Some(at..at + length);
        }
        if !is_boundary(&text.as_bytes()[..at]) {
            return None;
        }
        SHAPES.iter().enumerate().find_map(|(bit, (start, tail))| {
            let is_here = is_possible(bit) && here.starts_with(start.as_bytes());
            is_here.then(|| tail.range(text, at, at + start.len()))?
        })
    }
}

/// The word and the bit of a pair of bytes in [`KeyFinder::pairs`].
fn place_of(pair: [u8; 2]) -> (usize, u32) {
    let pair = u16::from_le_bytes(pair);
    (usize::from(pair >> 6), u32::from(pair & 63))
}

/// The bit of the own key with this index.
fn own_bit(index: usize) -> usize {
    let first = SHAPES.len();
    first + index % (u64::BITS as usize - first)
}

/// Whether a word may begin after `before`. A letter before it may end an escape such as `\n`.
fn is_boundary(before: &[u8]) -> bool {
    match before {
        [] | [.., b'\\', b'b' | b'f' | b'n' | b'r' | b't'] => true,
        [.., last] => !last.is_ascii_alphanumeric(),
    }
}

impl Tail {
    /// The range of the key that begins at `start`, if its prefix, which ends at `rest`, is followed by this tail.
    fn range(self, text: &str, start: usize, rest: usize) -> Option<Range<usize>> {
        let tail = &text.as_bytes()[rest..];
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let with_digit = |length: usize, least: usize| {
            let is_key = length >= least && tail[..length].iter().any(u8::is_ascii_digit);
            is_key.then_some(rest + length)
        };
        let end = match self {
            Self::Word(least) => with_digit(run(tail, is_word), least)?,
            Self::Dotted(least) => {
                with_digit(run(tail, |byte| is_word(byte) || byte == b'.'), least)?
            }
            Self::Capitals(count) => {
                let is_capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
                let is_whole = run(tail, is_capital) == count && run(&tail[count..], is_word) == 0;
                is_whole.then_some(rest + count)?
            }
            Self::Credential(least) => {
                let is_token =
                    |byte: u8| is_word(byte) || matches!(byte, b'.' | b'~' | b'+' | b'/' | b'=');
                return with_digit(run(tail, is_token), least).map(|end| rest..end);
            }
            Self::Jwt => {
                let length = run(tail, |byte| is_word(byte) || byte == b'.');
                let mut parts = tail[..length].split(|byte| *byte == b'.');
                let is_token = parts.by_ref().take(2).all(|part| part.len() >= 8);
                (is_token && parts.next().is_some()).then_some(rest + length)?
            }
            Self::Pem => rest + pem(&text[rest..])?,
        };
        Some(start..end)
    }
}

/// The number of bytes at the start of `tail` that match.
fn run(tail: &[u8], matches: impl Fn(u8) -> bool) -> usize {
    let end = tail.iter().position(|byte| !matches(*byte));
    end.unwrap_or(tail.len())
}

/// The length of the PEM private key whose label starts `text`.
fn pem(text: &str) -> Option<usize> {
    const LINE: &str = "-----";
    let label = text.find(LINE)?;
    if label > 40 || !text[..label].contains("PRIVATE KEY") {
        return None;
    }
    let body = label + LINE.len();
    let end = text[body..].find("-----END ").and_then(|end| {
        let label = body + end + "-----END ".len();
        Some(label + text[label..].find(LINE)? + LINE.len())
    });
    // Without an end line the key was truncated: redact everything that may belong to it.
    let is_body = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=\\ \t\r\n:,-".contains(&byte);
    Some(end.unwrap_or_else(|| body + run(&text.as_bytes()[body..], is_body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut places = Vec::new();
        KeyFinder::new(&[]).find(text, &mut places);
        places.into_iter().map(|place| &text[place]).collect()
    }

    /// Assembles a key, so that a scan of the repository for keys does not find one.
    fn key(start: &str, rest: &str) -> String {
        format!("{start}{rest}")
    }

    #[test]
    fn keys_of_the_usual_shapes_are_found_whole() {
        const LONG: &str = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9aB3dE5gH7jK9m";
        for (start, _) in &SHAPES[..29] {
            let key = key(start, LONG);
            assert_eq!(found(&format!("it is \"{key}\", ok?")), [key.as_str()]);
        }
        for key in [
            key("sk-lf-", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"),
            key("sk-proj-", "abc_DEF-123456789012345"),
            key("AKIA", "IOSFODNN7EXAMPLE"),
            key("AIza", "SyA-1234567890_abcdefghijklmnopqrst"),
            key("ya29.", "a0AfH6SMBx_123-456.789abcdefghij"),
            key("SG.", "abcdefghijklmnop1234.ABCDEFGHIJKLMNOP_5678"),
            key("eyJ", "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"),
        ] {
            assert_eq!(found(&key), [key.as_str()]);
            assert_eq!(found(&format!("é={key}\n")), [key.as_str()]);
            assert_eq!(found(&format!("a\\n{key}\\n")), [key.as_str()]);
        }
    }

    #[test]
    fn the_credential_of_a_header_is_found() {
        let token = "abc.DEF~ghi+jkl/mno-123==";
        for scheme in ["Bearer", "bearer", "Basic"] {
            assert_eq!(found(&format!("Authorization: {scheme} {token}")), [token]);
        }
    }

    #[test]
    fn a_private_key_ends_at_its_end_line_or_with_the_text() {
        let start = key("-----BEGIN RSA PRIVATE", " KEY-----");
        let whole = format!("{start}\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----");
        assert_eq!(found(&format!("see:\n{whole}\nok")), [whole.as_str()]);
        let cut = format!("{start}\nMIIE\nabc");
        assert_eq!(found(&cut), [cut.as_str()]);
        assert!(found("-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----").is_empty());
    }

    #[test]
    fn ordinary_text_contains_no_keys() {
        for text in [
            "risk-management-in-the-year-2024-and-after",
            "sk-learn-compatible-estimators-and-transformers",
            "sk-short1",
            "Bearer authentication-is-described-elsewhere",
            "| a | b |\n|-----|-----|\n|-----BEGIN|",
            "AKIA is a prefix, AKIAIOSFODNN7EXAMPLEX is too long",
            "eyJ is how base64 of JSON begins; eyJhbGciOiJIUzI1NiJ9 has no dots",
            "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
            "2026-11-22T10:41:00Z 0af7651916cd43dd8448eb211c80319c",
            "gh",
            "",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn the_runs_own_keys_are_found_whatever_their_shape() {
        let own = ["0123456789abcdef", "lm-studio", "no-key-is-needed"].map(Secret::new);
        let keys = KeyFinder::new(&own);
        let mut places = Vec::new();
        keys.find("x0123456789abcdefy lm-studio no-key-is-needed", &mut places);
        assert_eq!(places.len(), 1);
        assert_eq!(places[0], 1..17);
    }

    #[test]
    fn every_own_key_is_found_however_many_there_are() {
        let own: Vec<Secret> = (0..200)
            .map(|number| Secret::new(format!("own-key-{number}-of-200")))
            .collect();
        let keys = KeyFinder::new(&own);
        for secret in &own {
            for form in secret.forms() {
                let mut places = Vec::new();
                keys.find(&format!("({form})"), &mut places);
                assert_eq!(places.len(), 1, "{form}");
            }
        }
    }

    #[test]
    fn the_longest_own_key_is_found() {
        let own = ["0123456789abcdef", "0123456789abcdef-and-more"].map(Secret::new);
        let mut places = Vec::new();
        KeyFinder::new(&own).find("0123456789abcdef-and-more", &mut places);
        assert_eq!((places.len(), &places[0]), (1, &(0..25)));
    }
}
