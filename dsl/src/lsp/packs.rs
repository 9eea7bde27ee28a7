//! The packs of this program as files that an editor can show.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The name of the pack that stands as `<name>` where files stand as paths.
pub(super) fn name(file: &str) -> Option<&str> {
    file.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'))
}

/// `<name>` for the written copy of a pack.
pub(super) fn key(path: &str) -> Option<String> {
    let path = Path::new(path);
    let name = path.file_stem()?.to_str()?;
    (path.parent()?.parent()? == folder()?).then(|| format!("<{name}>"))
}

/// Where the text of a pack can be read: in the user's cache, under its digest, read-only. Written where it isn't yet.
pub(super) fn written(name: &str, text: &str) -> Option<PathBuf> {
    let digest = HEXLOWER.encode(&Sha256::digest(text.as_bytes())[..8]);
    let folder = folder()?.join(digest);
    let path = folder.join(format!("{name}.rules"));
    if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Some(path);
    }
    std::fs::create_dir_all(&folder).ok()?;
    // Another server may write the same at the same time; each puts a whole file there.
    let fresh = folder.join(format!(".{name}.{}", std::process::id()));
    std::fs::write(&fresh, text).ok()?;
    let mut permissions = std::fs::metadata(&fresh).ok()?.permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&fresh, permissions).ok()?;
    std::fs::rename(&fresh, &path).ok()?;
    Some(path)
}

/// `$XDG_CACHE_HOME/rulec/packs`, or what stands for it.
fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    cache.or_else(|| absolute("LOCALAPPDATA")).map(|cache| cache.join("rulec/packs"))
}
