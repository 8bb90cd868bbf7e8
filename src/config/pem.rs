//! PEM from a file or from memory.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::CredentialLocation;
use crate::secrets;

/// Certificates or a private key in PEM from a file or from memory.
///
/// `Debug` shows a file's path, but never any content.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(PemSource);

#[derive(Clone, PartialEq, Eq)]
enum PemSource {
    File(PathBuf),
    Bytes(Arc<Zeroizing<Vec<u8>>>),
}

impl Pem {
    /// The largest file that is read: a root store has a few hundred KiB.
    pub(crate) const LARGEST: u64 = 4 << 20;

    /// PEM in a file of at most 4 MiB.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(PemSource::File(path.into()))
    }

    /// PEM in memory. It is overwritten with zeros when the last copy of this value is dropped.
    pub fn bytes(pem: impl Into<Vec<u8>>) -> Self {
        Self(PemSource::Bytes(Arc::new(Zeroizing::new(pem.into()))))
    }

    /// The file's path, if it is a file.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            PemSource::File(path) => Some(path),
            PemSource::Bytes(_) => None,
        }
    }

    /// Its location, for messages.
    pub(crate) fn place(&self) -> CredentialLocation {
        match &self.0 {
            PemSource::File(path) if secrets::is_no_path(path) => CredentialLocation::Value,
            PemSource::File(path) => CredentialLocation::File(path.clone()),
            PemSource::Bytes(_) => CredentialLocation::Bytes,
        }
    }

    /// The content. It is overwritten with zeros when it is dropped.
    pub(crate) fn read(&self) -> io::Result<Arc<Zeroizing<Vec<u8>>>> {
        let path = match &self.0 {
            PemSource::File(path) => path,
            PemSource::Bytes(bytes) => return Ok(Arc::clone(bytes)),
        };
        read_file(path, Self::LARGEST).map(Arc::new)
    }
}

/// Reads a file of at most `largest` bytes. The content is overwritten with zeros when it is
/// dropped.
///
/// Only regular files are read: a pipe would hang.
pub(crate) fn read_file(path: &Path, largest: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // Large enough for the whole file, because growing would leave a copy in freed memory.
    let room = metadata.len().min(largest) as usize + 1;
    let mut content = Zeroizing::new(Vec::with_capacity(room));
    File::open(path)?.take(largest + 1).read_to_end(&mut content)?;
    match content.len() as u64 > largest {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(content),
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0, self.place()) {
            (PemSource::Bytes(bytes), _) => write!(f, "Pem::bytes({} bytes)", bytes.len()),
            (PemSource::File(_), CredentialLocation::Value) => f.write_str("Pem::file(…)"),
            (PemSource::File(path), _) => f.debug_tuple("Pem::file").field(path).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_a_path_and_no_content() {
        assert_eq!(format!("{:?}", Pem::file("/a/b.key")), r#"Pem::file("/a/b.key")"#);
        assert_eq!(format!("{:?}", Pem::bytes("secret")), "Pem::bytes(6 bytes)");
        assert_eq!(format!("{:?}", Pem::file("-----BEGIN PRIVATE KEY-----")), "Pem::file(…)");
    }
}
