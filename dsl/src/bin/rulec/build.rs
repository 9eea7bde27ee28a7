//! `rulec build`: rules with all that they import in one file.

use crate::check::compile;
use crate::output::{Failure, Format, print};
use serde_json::json;
use sluice_dsl::bundle::{Bundle, ENDING};
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files and directories with rules.
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// The bundle to write; its name ends in `.bundle`.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Sign it with this private key of Ed25519 (PKCS #8, PEM).
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// How it is told what was built.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    if args.out.extension().is_none_or(|ending| ending != ENDING) {
        return Err(Failure::Because(format!("{}: the name of a bundle ends in `.{ENDING}`", args.out.display())));
    }
    let (compilation, policy) = compile(&args.paths, args.format)?;
    let mut bundle = Bundle::of(&compilation).ok_or_else(|| Failure::Because("the rules have errors".into()))?;
    if let Some(key) = &args.sign {
        bundle.sign(key).map_err(|error| Failure::Because(error.to_string()))?;
    }
    write(&args.out, &bundle.text())?;
    let (files, packs) = bundle.counts();
    let out = args.out.display();
    print(&match args.format {
        Format::Json | Format::Sarif => {
            let (digest, signed) = (bundle.digest(), bundle.is_signed());
            let (path, policy) = (out.to_string(), policy.digest());
            let told = json!({
                "bundle": path, "digest": digest, "policy": policy, "signed": signed, "files": files, "packs": packs,
            });
            format!("{told}\n")
        }
        _ => {
            let signed = if bundle.is_signed() { "signed" } else { "not signed" };
            format!("{out}: {files} files, {packs} packs, {signed}\n{}\n", bundle.digest())
        }
    })?;
    Ok(false)
}

/// The file is the old one or the new one at any moment: a gateway may read it meanwhile.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: &std::io::Error| Failure::of(&path.display().to_string(), error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new();
    // As any other file that is made: who may read it is for the user's mask to say.
    #[cfg(unix)]
    file.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = file.tempfile_in(folder).map_err(|error| failed(&error))?;
    file.write_all(text.as_bytes()).map_err(|error| failed(&error))?;
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error.error))?;
    Ok(())
}
