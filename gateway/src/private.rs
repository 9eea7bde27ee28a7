//! Files that only their owner may read: keys.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

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
    // Written beside and linked into place, so that nobody reads half a key.
    let draft = path.with_extension(format!("new-{}", uuid::Uuid::new_v4()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&draft).and_then(|mut file| {
        file.write_all(&make()?)?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    });
    let _ = fs::remove_file(&draft);
    written?;
    read(path)
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
    let mut content = Vec::new();
    file.take(64 * 1024).read_to_end(&mut content)?;
    Ok(content)
}
