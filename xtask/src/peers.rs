//! The inspector's peers that come as system packages: fetched and unpacked beside the build, installed nowhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{Outcome, Step, have, target_dir};

/// A folder of the peers and the package whose library stands in it. Both packages own one file name, so they can't be
/// installed together.
const PACKAGES: &[(&str, &str)] = &[("hyperscan", "libhyperscan5"), ("vectorscan", "libvectorscan5")];
const LIBRARY: &str = "libhs.so.5";

/// Fetches what is missing; the folder that `throughput --peers` reads. Where it can't be fetched, the benches measure
/// without it and say so.
pub(crate) fn fetch() -> PathBuf {
    let folder = target_dir().join("peers");
    for (peer, package) in PACKAGES {
        let to = folder.join(peer);
        if !to.join(LIBRARY).exists()
            && let Err(problem) = unpack(package, &to)
        {
            eprintln!("xtask: {peer} is not measured: {problem}");
        }
    }
    folder
}

fn unpack(package: &str, to: &Path) -> Outcome {
    if !have("apt-get") || !have("dpkg-deb") {
        return Err(format!("no apt-get and dpkg-deb to fetch the Debian package {package} with"));
    }
    let work = to.join("unpacked");
    let failed = |what: &Path, error: std::io::Error| format!("{}: {error}", what.display());
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).map_err(|error| failed(&work, error))?;
    Step::new("apt-get").args(["download", "-q", package]).within(&work).run()?;
    let files = |dir: &Path| -> Vec<PathBuf> {
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let archive = files(&work).into_iter().find(|path| path.extension().is_some_and(|end| end == "deb"));
    let archive = archive.ok_or_else(|| format!("apt-get left no archive of {package}"))?;
    Step::new("dpkg-deb").args(["-x", &archive.to_string_lossy(), "."]).within(&work).run()?;
    let mut dirs = vec![work.clone()];
    while let Some(dir) = dirs.pop() {
        for path in files(&dir) {
            if path.file_name().is_some_and(|name| name == LIBRARY) {
                // The name is a link to the file with the whole version.
                fs::copy(&path, to.join(LIBRARY)).map_err(|error| failed(&path, error))?;
                return fs::remove_dir_all(&work).map_err(|error| failed(&work, error));
            }
            if path.is_dir() && !path.is_symlink() {
                dirs.push(path);
            }
        }
    }
    Err(format!("the package {package} has no {LIBRARY}"))
}
