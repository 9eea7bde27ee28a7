//! Which files a command is about.

use crate::output::Failure;
use ignore::WalkBuilder;
use std::path::{Path, PathBuf};

/// The `.rules` files under these paths, each once, in order of their names. A file that is named is taken whatever it is
/// called; directories are walked, without what `.gitignore` and its kin leave out.
pub(crate) fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let kind = std::fs::metadata(path).map_err(|error| Failure::of(&path.display().to_string(), &error))?;
        if !kind.is_dir() {
            files.push(path.clone());
            continue;
        }
        for entry in WalkBuilder::new(path).sort_by_file_name(std::ffi::OsStr::cmp).build() {
            let entry = entry.map_err(|error| Failure::Because(error.to_string()))?;
            if entry.path().extension().is_some_and(|e| e == "rules") && entry.path().is_file() {
                files.push(entry.into_path());
            }
        }
    }
    if files.is_empty() {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Failure::Because(format!("no `.rules` files in {}", names.join(", "))));
    }
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())));
    Ok(files)
}

/// Reads a file as text.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::of(&path.display().to_string(), &error))
}
