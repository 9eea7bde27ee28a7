//! How files are changed: shown as a diff, or written whole or not at all.

use crate::output::Failure;
use std::io::Write as _;
use std::path::Path;

/// The lines that change, as a unified diff.
pub(crate) fn diff(path: &Path, old: &str, new: &str) -> String {
    let path = path.display().to_string();
    similar::TextDiff::from_lines(old, new).unified_diff().header(&path, &path).to_string()
}

/// Puts `new` in the place of `old`: the file is the one or the other at any moment, and keeps its permissions. A file that
/// somebody changed in the meantime is left alone.
pub(crate) fn atomically(path: &Path, old: &str, new: &str) -> Result<(), Failure> {
    let failed = |error: &std::io::Error| Failure::of(&path.display().to_string(), error);
    // Behind a symbolic link the file itself is replaced, not the link.
    let target = path.canonicalize().map_err(|error| failed(&error))?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    file.write_all(new.as_bytes()).map_err(|error| failed(&error))?;
    let permissions = std::fs::metadata(&target).map_err(|error| failed(&error))?.permissions();
    file.as_file().set_permissions(permissions).map_err(|error| failed(&error))?;
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    if std::fs::read(&target).map_err(|error| failed(&error))? != old.as_bytes() {
        return Err(Failure::Because(format!("{}: changed by somebody else; nothing was written", path.display())));
    }
    file.persist(&target).map_err(|error| failed(&error.error))?;
    Ok(())
}
