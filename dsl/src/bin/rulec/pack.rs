//! `rulec pack`: which packs rules import, pinned by digest.

use crate::check::render;
use crate::output::{Failure, Format, complain, print};
use sluice_dsl::bundle::{Bundle, ENDING};
use sluice_dsl::lock::{LOCK, Lock, LockError, Pin, digest, head};
use sluice_dsl::{Code, CompileOptions, PackSource, Severity, compile_files};
use sluice_engine::Keyring;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Pin the packs that rules import, as they are now: writes `rules.lock`.
    Lock {
        /// Files and directories with rules.
        #[arg(default_value = ".")]
        paths: Vec<PathBuf>,
    },
    /// Pin a pack that is a file of one's own, so that it can be imported by name.
    Add {
        /// The pack.
        file: PathBuf,
        /// The folder of the rules that shall import it.
        #[arg(long, default_value = ".")]
        to: PathBuf,
    },
    /// Say whether every pinned pack is what was pinned, or whether a bundle is what was built.
    Verify {
        /// The folder of `rules.lock`, or a bundle.
        #[arg(default_value = ".")]
        path: PathBuf,
        /// A public key of Ed25519 (PEM): the bundle must be signed by it.
        #[arg(long, value_name = "KEY")]
        key: Vec<PathBuf>,
    },
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        Self::Because(error.to_string())
    }
}

pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    match &args.command {
        Command::Lock { paths } => lock(paths),
        Command::Add { file, to } => add(file, to),
        Command::Verify { path, key } if path.extension().is_some_and(|ending| ending == ENDING) => bundle(path, key),
        Command::Verify { key, .. } if !key.is_empty() => {
            Err(Failure::Because("`--key` is for a bundle; a lock isn't signed".into()))
        }
        Command::Verify { path, .. } => verify(path),
    }
}

/// The lock of a folder: the one that is there, or where it would be.
fn lock_of(path: &Path) -> Result<(PathBuf, Lock), Failure> {
    let path = path.canonicalize().map_err(|error| Failure::of(&path.display().to_string(), &error))?;
    if let Some(found) = Lock::find(std::slice::from_ref(&path))? {
        return Ok(found);
    }
    let folder = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(&path) };
    Ok((folder.join(LOCK), Lock { version: 1, ..Lock::default() }))
}

fn write(path: &Path, lock: &Lock) -> Result<(), Failure> {
    std::fs::write(path, lock.text()).map_err(|error| Failure::of(&path.display().to_string(), &error))?;
    let mut out = String::new();
    for (name, pin) in &lock.pack {
        // A String takes every write.
        let _ = writeln!(out, "{name} {} {}", pin.version, pin.digest);
    }
    print(&format!("{out}{}: {} packs pinned\n", path.display(), lock.pack.len()))
}

fn lock(paths: &[PathBuf]) -> Result<bool, Failure> {
    let first = paths.first().map_or(Path::new("."), PathBuf::as_path);
    let (path, known) = lock_of(first)?;
    // What is pinned today doesn't count: it is what is to be written anew.
    let packs = PackSource::embedded().with_files(&path, &known)?;
    let options = CompileOptions { packs, ..CompileOptions::new(Keyring::for_tests()) };
    let compilation = compile_files(&crate::files::find(paths)?, &options);
    // A folder of patterns and lists has no rules, and packs all the same.
    if compilation.diagnostics.iter().any(|d| d.severity == Severity::Error && d.code != Code::ZeroRules) {
        complain(render(&compilation, Format::Full, std::io::stderr().is_terminal()).trim_end());
        return Err(Failure::Told);
    }
    write(&path, &Lock::of(&compilation, &known))?;
    Ok(false)
}

fn add(file: &Path, to: &Path) -> Result<bool, Failure> {
    let text = crate::files::read(file)?;
    let shown = file.display();
    let (name, version) = head(&text).ok_or_else(|| {
        Failure::Because(format!("{shown}: it doesn't say which pack it is; write `pack NAME \"VERSION\"`"))
    })?;
    let (path, mut lock) = lock_of(to)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let real = file.canonicalize().map_err(|error| Failure::of(&shown.to_string(), &error))?;
    let inside = real.strip_prefix(folder).map_err(|_| {
        Failure::Because(format!("{shown}: a pack lies in the folder of its lock, {}; copy it there", folder.display()))
    })?;
    let file = inside.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
    lock.pack.insert(name, Pin { version, digest: digest(&text), file: Some(file) });
    write(&path, &lock)?;
    Ok(false)
}

fn verify(path: &Path) -> Result<bool, Failure> {
    let found = Lock::find(&[path.to_owned()])?;
    let (path, lock) = found.ok_or_else(|| Failure::Because(format!("{}: there is no `{LOCK}`", path.display())))?;
    let packs = PackSource::embedded().with_files(&path, &lock)?;
    let (mut out, mut differing) = (String::new(), false);
    for (name, pin) in &lock.pack {
        let told = match packs.text(name) {
            None => Some("there is no such pack; remove the pin, or put the pack back".to_owned()),
            Some(text) => {
                let is = digest(text);
                let told =
                    format!("{} is pinned, this is {is}; look at what changed, then `rulec pack lock`", pin.digest);
                (is != pin.digest).then_some(told)
            }
        };
        differing |= told.is_some();
        // A String takes every write.
        let _ = match told {
            Some(told) => writeln!(out, "{}: {name}: {told}", path.display()),
            None => writeln!(out, "ok      {name} {}", pin.version),
        };
    }
    print(&out)?;
    Ok(differing)
}

fn bundle(path: &Path, keys: &[PathBuf]) -> Result<bool, Failure> {
    let checked = Bundle::read(path).and_then(|bundle| match keys {
        [] => Ok(bundle),
        keys => bundle.verify(path, keys).map(|()| bundle),
    });
    match checked {
        Ok(bundle) => {
            let how = match (keys.is_empty(), bundle.is_signed()) {
                (false, _) => "signed by a key that you trust",
                (true, true) => "signed; name the key to check it: `--key`",
                (true, false) => "not signed",
            };
            print(&format!("ok      {} {}\n{how}\n", path.display(), bundle.digest()))?;
            Ok(false)
        }
        Err(
            error @ (sluice_dsl::bundle::BundleError::Tampered { .. }
            | sluice_dsl::bundle::BundleError::Untrusted { .. }),
        ) => {
            print(&format!("{error}\n"))?;
            Ok(true)
        }
        Err(error) => Err(Failure::Because(error.to_string())),
    }
}
