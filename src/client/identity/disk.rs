//! Identity files on a disk: read only if nobody else can, written whole or not at all, never over another by mistake.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, iter};

use aws_lc_rs::rand::fill;
use zeroize::Zeroizing;

use crate::client::identity::file::FILE_MAX_BYTES;

/// Rights of the group and of others.
const OTHERS_MASK: u32 = 0o077;
/// Read and write, for the owner.
const MODE: u32 = 0o600;

/// Why an identity file can't be read or written.
#[derive(Debug)]
pub enum DiskError {
    /// There is none.
    NotFound(PathBuf),
    /// There is one already, and it was left as it is.
    Exists(PathBuf),
    /// Others can read or write it: the owner's fault, and for the owner to mend.
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its rights, the lower 12 bits of its mode.
        mode: u32,
    },
    /// It isn't a regular file, or over [`FILE_MAX_BYTES`]: no identity.
    Unlikely(PathBuf),
    /// The system failed to read or write it.
    Io(PathBuf, io::Error),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(path) => write!(f, "{}: there is no such file", path.display()),
            Self::Exists(path) => write!(f, "{}: there is a file already, which was not changed", path.display()),
            Self::Exposed { path, mode } => {
                let shown = path.display();
                let path = quoted(path);
                write!(
                    f,
                    "{shown}: others can read this private key (mode {mode:04o}); run: chmod 600 {path}"
                )
            }
            Self::Unlikely(path) => write!(f, "{}: this is no identity file of npchat", path.display()),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

/// Reads a file that the owner alone can read or write.
///
/// # Errors
/// Any [`DiskError`] but [`DiskError::Exists`].
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, DiskError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => DiskError::NotFound(path.into()),
        _ => DiskError::Io(path.into(), error),
    };
    // To open a pipe is to wait for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(DiskError::Unlikely(path.into()));
    }
    let file = File::open(path).map_err(failed)?;
    // Of the file that was opened, whatever has had its name before.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_file() || metadata.len() > FILE_MAX_BYTES as u64 {
        return Err(DiskError::Unlikely(path.into()));
    }
    if mode & OTHERS_MASK != 0 {
        return Err(DiskError::Exposed {
            path: path.into(),
            mode,
        });
    }
    // One byte more than allowed is enough to see that it has grown.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX_BYTES + 1));
    file.take(FILE_MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > FILE_MAX_BYTES {
        return Err(DiskError::Unlikely(path.into()));
    }
    Ok(bytes)
}

/// Writes a new file with mode 0600. After a crash at any moment it is there as a whole or not at all.
///
/// # Errors
/// [`DiskError::Exists`], whatever it is that has the name, and [`DiskError::Io`].
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    write(path, bytes, |temporary| {
        // A rename would take the place of another file. What has no hard links has no rights to enforce either.
        fs::hard_link(temporary, path)?;
        // The file is there by now: if its other name stays, that is no failure.
        let _ = fs::remove_file(temporary);
        Ok(())
    })
}

/// Writes the file anew with mode 0600, in the place of the one that is there: for another passphrase, name or key.
/// After a crash at any moment the old one or the new one is there.
///
/// # Errors
/// [`DiskError::NotFound`] and [`DiskError::Io`].
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    // What a symbolic link leads to is replaced, not the link.
    let target = fs::canonicalize(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => DiskError::NotFound(path.into()),
        _ => DiskError::Io(path.into(), error),
    })?;
    write(&target, bytes, |temporary| fs::rename(temporary, &target))
}

fn write(path: &Path, bytes: &[u8], publish: impl Fn(&Path) -> io::Result<()>) -> Result<(), DiskError> {
    let temporary = temporary_path(path).map_err(|error| DiskError::Io(path.into(), error))?;
    let result = write_temporary(&temporary, bytes)
        .and_then(|()| publish(&temporary))
        .and_then(|()| sync_directory(path));
    result.map_err(|error| {
        // There is nothing to be done if it fails, too: the file has a name of its own, and nobody else can read it.
        let _ = fs::remove_file(&temporary);
        match error.kind() {
            io::ErrorKind::AlreadyExists => DiskError::Exists(path.into()),
            io::ErrorKind::NotFound => DiskError::NotFound(path.into()),
            _ => DiskError::Io(path.into(), error),
        }
    })
}

fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Without this the new name might be lost in a crash, and with it the only copy of a key.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A name beside it that nothing else has.
fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut random = [0; 8];
    fill(&mut random).map_err(io::Error::other)?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:016x}", u64::from_be_bytes(random)));
    Ok(directory(path).join(temporary))
}

/// As a shell takes it as one word.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    if path.bytes().all(is_plain) {
        return path;
    }
    let quote = iter::once("'");
    let text = path.replace('\'', r"'\''");
    quote.clone().chain([text.as_str()]).chain(quote).collect()
}

#[cfg(test)]
mod tests;
