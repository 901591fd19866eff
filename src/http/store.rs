//! The operating system's store of certificates, or the one that `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead of it.
//!
//! A store may have hundreds of files, and reading them takes milliseconds. So a bundle is read before the files of a
//! folder, and reading ends with the first file that has what is wanted; the rest waits for the next question.

use std::collections::{HashSet, VecDeque};
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, TrustAnchor};

/// The variable that names a file of certificates.
pub const FILE: &str = "SSL_CERT_FILE";
const FOLDERS: &str = "SSL_CERT_DIR";

/// The certificates that were read, and the places that were not.
#[derive(Debug)]
pub struct CertificateStore {
    known: Vec<Trusted>,
    files: VecDeque<PathBuf>,
    folders: VecDeque<PathBuf>,
    /// Device and inode of each file that was read: folders have several links to one file.
    seen: HashSet<(u64, u64)>,
}

/// A trusted certificate.
#[derive(Clone, Debug)]
pub struct Trusted {
    pub certificate: CertificateDer<'static>,
    pub anchor: TrustAnchor<'static>,
}

impl CertificateStore {
    /// The store of this process's environment. Nothing is read yet.
    pub fn from_environment() -> Self {
        let files = env::var_os(FILE).map(PathBuf::from);
        let folders = env::var_os(FOLDERS).unwrap_or_default();
        let folders = env::split_paths(&folders).filter(|path| !path.as_os_str().is_empty());
        let (files, folders): (VecDeque<_>, VecDeque<_>) =
            (files.into_iter().collect(), folders.collect());
        if files.is_empty() && folders.is_empty() {
            let probed = openssl_probe::probe();
            return Self::of(
                probed.cert_file.into_iter().collect(),
                probed.cert_dir.into(),
            );
        }
        Self::of(files, folders)
    }

    fn of(files: VecDeque<PathBuf>, folders: VecDeque<PathBuf>) -> Self {
        Self {
            known: Vec::new(),
            files,
            folders,
            seen: HashSet::new(),
        }
    }

    /// The first certificate that `is_wanted`, among those of `subjects` only (DER without the outer tag). Files are
    /// read until there is one.
    pub fn find<T>(
        &mut self,
        subjects: &[&[u8]],
        mut is_wanted: impl FnMut(&[&Trusted]) -> Option<T>,
    ) -> Option<T> {
        let is_of = |trusted: &&Trusted| subjects.contains(&trusted.anchor.subject.as_ref());
        let mut number = 0;
        loop {
            let candidates: Vec<&Trusted> = self.known.iter().filter(is_of).collect();
            if candidates.len() > number {
                number = candidates.len();
                if let Some(found) = is_wanted(&candidates) {
                    return Some(found);
                }
            }
            let file = self.next_file()?;
            self.read(&file);
        }
    }

    /// The next file to read. A folder that is missing or unreadable is an empty one.
    fn next_file(&mut self) -> Option<PathBuf> {
        while self.files.is_empty() {
            let folder = self.folders.pop_front()?;
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            self.files = entries.map(|entry| entry.path()).collect();
        }
        self.files.pop_front()
    }

    /// Adds the certificates of a file. One without any, or that cannot be read, adds none: a container image without
    /// a store is not an error, and a folder may hold other things.
    fn read(&mut self, path: &Path) {
        let Ok(metadata) = fs::metadata(path) else {
            return;
        };
        if !metadata.is_file() || !self.seen.insert((metadata.dev(), metadata.ino())) {
            return;
        }
        let pem = fs::read(path).unwrap_or_default();
        let found = CertificateDer::pem_slice_iter(&pem).flatten();
        self.known.extend(found.filter_map(Trusted::new));
    }
}

impl Trusted {
    /// None for a certificate that cannot be an authority's.
    pub fn new(certificate: CertificateDer<'static>) -> Option<Self> {
        let anchor = webpki::anchor_from_trusted_cert(&certificate).ok()?;
        Some(Self {
            anchor: anchor.to_owned(),
            certificate,
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};
    use tempfile::TempDir;

    use super::*;

    /// A certificate of this name, as PEM.
    fn pem(name: &str) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    fn subject(pem: &str) -> Vec<u8> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        Trusted::new(certificate).unwrap().anchor.subject.to_vec()
    }

    /// A file with a certificate, and a folder with two others, one of them under two names.
    fn store(folder: &TempDir) -> (CertificateStore, [Vec<u8>; 3]) {
        let pems = ["a", "b", "c"].map(pem);
        let certificates = folder.path().join("certificates");
        fs::create_dir(&certificates).unwrap();
        let bundle = folder.path().join("bundle");
        fs::write(&bundle, &pems[0]).unwrap();
        fs::write(certificates.join("1"), &pems[1]).unwrap();
        fs::write(certificates.join("2"), &pems[2]).unwrap();
        fs::write(certificates.join("README"), "no certificate").unwrap();
        std::os::unix::fs::symlink("1", certificates.join("3")).unwrap();
        let missing = folder.path().join("missing");
        let store = CertificateStore::of([bundle].into(), [missing, certificates].into());
        (store, pems.map(|pem| subject(&pem)))
    }

    fn find(store: &mut CertificateStore, subject: &[u8]) -> Option<usize> {
        store.find(&[subject], |candidates| Some(candidates.len()))
    }

    #[test]
    fn no_folder_is_listed_when_the_file_has_the_issuer() {
        let folder = TempDir::new().unwrap();
        let (mut store, [of_file, ..]) = store(&folder);
        assert_eq!(find(&mut store, &of_file), Some(1));
        assert_eq!((store.known.len(), store.folders.len()), (1, 2));
    }

    #[test]
    fn reading_goes_on_where_it_ended_and_reads_no_file_twice() {
        let folder = TempDir::new().unwrap();
        let (mut store, [of_file, b, c]) = store(&folder);
        for subject in [&b, &c, &of_file, &b] {
            assert_eq!(find(&mut store, subject), Some(1));
        }
        assert_eq!(find(&mut store, b"other"), None);
        assert_eq!(store.known.len(), 3);
    }

    #[test]
    fn candidates_that_are_not_wanted_are_followed_by_more() {
        let folder = TempDir::new().unwrap();
        let (mut store, [of_file, b, _]) = store(&folder);
        let mut asked = Vec::new();
        let found: Option<()> = store.find(&[&of_file, &b], |candidates| {
            asked.push(candidates.len());
            None
        });
        assert_eq!((found, asked), (None, vec![1, 2]));
    }
}
