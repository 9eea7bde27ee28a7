//! Files that only their owner may read: keys, and the logins of a user.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

/// Longer keys are cut off, in bytes.
const MAX: u64 = 64 * 1024;

/// Reads a private file, or creates it (mode 0600, never over an existing one) with what `make` gives. Two processes that
/// start at once end up with the same content.
pub(crate) fn read_or_create(path: &Path, make: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir(parent)?;
    }
    // Linked into place, so that nobody reads half a key.
    draft(path, make, |draft| match fs::hard_link(draft, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    })?;
    read(path)
}

/// Writes what `make` gives to a private file beside `path`, durably, and lets `place` bring it there; the draft doesn't stay.
fn draft<C: AsRef<[u8]>>(
    path: &Path,
    make: impl FnOnce() -> io::Result<C>,
    place: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let draft = path.with_extension(format!("new-{}", uuid::Uuid::new_v4()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&draft).and_then(|mut file| {
        file.write_all(make()?.as_ref())?;
        file.sync_all()?;
        place(&draft)
    });
    // Where it was moved it is gone already.
    let _ = fs::remove_file(&draft);
    written
}

/// Creates a directory that only its owner may enter.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Reads a file of at most 64 KiB; refuses one that others can read.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(MAX).read_to_end(&mut content)?;
    Ok(content)
}

/// Reads a file; refuses one that others can read, or that is longer than `max` bytes.
pub(crate) fn read_within(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(max.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is longer than {max} bytes")));
    }
    Ok(content)
}

/// Writes a private file (mode 0600) in the place of what was there: durably, and nobody reads half of it.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    draft(path, || Ok(content), |draft| fs::rename(draft, path))?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Refuses a directory in which others could put files in the place of ours.
pub(crate) fn is_own(directory: &Path) -> io::Result<()> {
    let found = fs::metadata(directory)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        if found.permissions().mode() & 0o077 != 0 || found.uid() != rustix::process::geteuid().as_raw() {
            let reason = "others can get into it; make it yours and private (chmod 700)";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<fs::File> {
    let file = fs::File::open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "others can read it; make it private (chmod 600)",
            ));
        }
    }
    Ok(file)
}
