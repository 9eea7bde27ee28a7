//! Bundles: rules with all that they import in one file, under one digest, signed if wanted. What a gateway loads is what was
//! checked, byte for byte, and nothing is read from elsewhere.

use crate::lock::{LockError, digest, head, pack_name};
use crate::{Compilation, CompileOptions, PackSource, check, load};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The ending of a bundle's name.
pub const ENDING: &str = "bundle";
/// The format that this program writes and reads.
const FORMAT: &str = "sluice-rules/1";
/// The longest bundle that is read, in bytes.
const MOST: u64 = 256 << 20;

/// Rules with all that they import. As a file it is one JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    format: String,
    /// Over all but the signature.
    digest: String,
    /// The digest of the policy, as evidence names it.
    policy: String,
    files: Vec<BundledFile>,
    /// What `rules.lock` would pin, with the texts.
    packs: Vec<BundledPack>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct BundledFile {
    /// From the folder that holds all of them, with `/`.
    path: String,
    /// True where its rules hold, false where it is only imported.
    given: bool,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct BundledPack {
    name: String,
    version: String,
    digest: String,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Signature {
    /// `ed25519` (RFC 8032).
    algorithm: String,
    /// The public key that checks it, 32 bytes in hexadecimal: to find the right one of several, not to trust it.
    key: String,
    /// Base64.
    value: String,
}

/// Why a bundle can't be made or used. Each says where, what and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It can't be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It is not what it says it is.
    #[error("{}: {what}; somebody changed it after it was built: build it anew", path.display())]
    Tampered {
        /// The bundle.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// It isn't signed by a key that is trusted.
    #[error("{}: {reason}", path.display())]
    Untrusted {
        /// The bundle, or the rules that are none.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A key can't be used.
    #[error("{}: {reason}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A bundle stands among other rules.
    #[error("{}: a bundle is all the rules there are; name nothing beside it", path.display())]
    NotAlone {
        /// The bundle.
        path: PathBuf,
    },
    /// The lock beside the rules can't be used.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl Bundle {
    /// Rules that were compiled without errors, with everything that was read for them. None where there are errors.
    #[must_use]
    pub fn of(compilation: &Compilation) -> Option<Self> {
        let policy = compilation.policy.as_ref()?.digest().to_owned();
        let real = |path: &str| Path::new(path).canonicalize().unwrap_or_else(|_| PathBuf::from(path));
        let given = |path: &str| compilation.files.iter().any(|file| file.source.path == path);
        let (mut packs, mut files) = (Vec::new(), Vec::new());
        for source in &compilation.sources {
            match pack_name(source) {
                Some(name) => {
                    let version = head(&source.text).map(|(_, version)| version).unwrap_or_default();
                    let (name, digest, text) = (name.to_owned(), digest(&source.text), source.text.clone());
                    packs.push(BundledPack { name, version, digest, text });
                }
                None => files.push((real(&source.path), given(&source.path), source.text.clone())),
            }
        }
        let root = root(files.iter().map(|(path, ..)| path.as_path()));
        let mut files: Vec<BundledFile> = files
            .into_iter()
            .map(|(path, given, text)| {
                let inside = path.strip_prefix(&root).unwrap_or(&path).iter();
                let parts: Vec<_> = inside.map(|part| part.to_string_lossy()).collect();
                BundledFile { path: parts.join("/"), given, text }
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        packs.sort_by(|a, b| a.name.cmp(&b.name));
        let mut bundle = Self { format: FORMAT.into(), digest: String::new(), policy, files, packs, signature: None };
        bundle.digest = bundle.computed();
        Some(bundle)
    }

    /// Signs it, with a private key of Ed25519 in PKCS #8 (PEM), as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// [`BundleError::Key`]
    pub fn sign(&mut self, key: &Path) -> Result<(), BundleError> {
        let wrong = |reason: String| BundleError::Key { path: key.to_owned(), reason };
        let pem = pem_of(key, "PRIVATE KEY")?;
        let pair = Ed25519KeyPair::from_pkcs8(pem.contents())
            .map_err(|_| wrong("it is no Ed25519 key; make one: `openssl genpkey -algorithm ed25519`".into()))?;
        self.signature = Some(Signature {
            algorithm: "ed25519".into(),
            key: HEXLOWER.encode(pair.public_key().as_ref()),
            value: BASE64.encode(pair.sign(&self.signed()).as_ref()),
        });
        Ok(())
    }

    /// As it stands in a file.
    #[must_use]
    pub fn text(&self) -> String {
        // Structs of texts can always be written.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads a bundle, and checks that it is what its digests say.
    ///
    /// # Errors
    /// [`BundleError::Unreadable`], [`BundleError::Tampered`]
    pub fn read(path: &Path) -> Result<Self, BundleError> {
        let failed = |reason: String| BundleError::Unreadable { path: path.to_owned(), reason };
        let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
        let mut text = Vec::new();
        file.take(MOST + 1).read_to_end(&mut text).map_err(|error| failed(error.to_string()))?;
        if text.len() as u64 > MOST {
            return Err(failed(format!("it is longer than {} MiB", MOST >> 20)));
        }
        let bundle: Self = serde_json::from_slice(&text)
            .map_err(|error| failed(format!("it is no bundle: {error}; build one with `rulec build`")))?;
        if bundle.format != FORMAT {
            return Err(failed(format!("its format is `{}`, and this program reads `{FORMAT}`", bundle.format)));
        }
        let changed = |what: String| BundleError::Tampered { path: path.to_owned(), what };
        for pack in &bundle.packs {
            let is = digest(&pack.text);
            if is != pack.digest {
                return Err(changed(format!("pack `{}` is {is}, and {} is pinned", pack.name, pack.digest)));
            }
        }
        let is = bundle.computed();
        if is != bundle.digest {
            return Err(changed(format!("its digest is {is}, and {} is written in it", bundle.digest)));
        }
        Ok(bundle)
    }

    /// Checks the signature against the public keys of Ed25519 in these files (PEM, as `openssl pkey -pubout` writes them).
    ///
    /// # Errors
    /// [`BundleError::Untrusted`], [`BundleError::Key`]
    pub fn verify(&self, path: &Path, trusted: &[PathBuf]) -> Result<(), BundleError> {
        let untrusted = |reason: &str| BundleError::Untrusted { path: path.to_owned(), reason: reason.to_owned() };
        let signature = self.signature.as_ref().filter(|signature| signature.algorithm == "ed25519");
        let Some(signature) = signature else {
            return Err(untrusted("it isn't signed; sign it: `rulec build --sign KEY`"));
        };
        let value = BASE64.decode(signature.value.as_bytes());
        let value = value.map_err(|_| untrusted("its signature is no base64; sign it anew"))?;
        for key in trusted {
            let pem = pem_of(key, "PUBLIC KEY")?;
            if UnparsedPublicKey::new(&ED25519, pem.contents()).verify(&self.signed(), &value).is_ok() {
                return Ok(());
            }
        }
        let keys = trusted.iter().map(|key| key.display().to_string()).collect::<Vec<_>>().join(", ");
        let reason = format!("its signature is by key {} and holds under none of: {keys}", signature.key);
        Err(untrusted(&reason))
    }

    /// The digest of the whole.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// True where it carries a signature, checked or not.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.signature.is_some()
    }

    /// How many files and packs it holds.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.files.len(), self.packs.len())
    }

    /// Compiles it. Nothing is read but what it holds: packs come from it too, and not from this program.
    #[must_use]
    pub fn compile(&self, options: &CompileOptions) -> Compilation {
        let packs = self.packs.iter().fold(PackSource::none(), |packs, pack| packs.with(&pack.name, &pack.text));
        let options = CompileOptions { packs, ..options.clone() };
        let files: Vec<_> = self.files.iter().map(|file| (&*file.path, &*file.text, file.given)).collect();
        check::compile(load::load_closed(&files, &options), &options)
    }

    fn computed(&self) -> String {
        let mut hasher = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(self.format.as_bytes());
        part(self.policy.as_bytes());
        part(&(self.files.len() as u64).to_le_bytes());
        for file in &self.files {
            part(file.path.as_bytes());
            part(&[u8::from(file.given)]);
            part(file.text.as_bytes());
        }
        for pack in &self.packs {
            [&pack.name, &pack.version, &pack.digest, &pack.text].into_iter().for_each(|text| part(text.as_bytes()));
        }
        format!("sha256:{}", HEXLOWER.encode(&hasher.finalize()))
    }

    /// What is signed: the format stands before the digest, so that a signature is of nothing else.
    fn signed(&self) -> Vec<u8> {
        format!("{FORMAT}\n{}\n", self.digest).into_bytes()
    }
}

/// Compiles what a gateway is told to enforce: one bundle, or files and folders with the `rules.lock` beside them. With keys
/// that are trusted, nothing but a bundle signed by one of them will do.
///
/// # Errors
/// Where what is there can't be read or isn't to be trusted. Errors in the rules are in the compilation.
pub fn deploy(paths: &[PathBuf], trusted: &[PathBuf], options: &CompileOptions) -> Result<Compilation, BundleError> {
    match paths.iter().find(|path| path.extension().is_some_and(|ending| ending == ENDING)) {
        Some(path) if paths.len() > 1 => Err(BundleError::NotAlone { path: path.clone() }),
        Some(path) => {
            let bundle = Bundle::read(path)?;
            if !trusted.is_empty() {
                bundle.verify(path, trusted)?;
            }
            Ok(bundle.compile(options))
        }
        None => match (paths.first(), trusted.is_empty()) {
            (Some(path), false) => {
                let reason = "keys are trusted, and this is no signed bundle; build one: `rulec build --sign KEY`";
                Err(BundleError::Untrusted { path: path.clone(), reason: reason.into() })
            }
            _ => Ok(crate::compile_files(paths, &options.clone().beside(paths)?)),
        },
    }
}

/// The folder that holds all of these files.
fn root<'p>(paths: impl Iterator<Item = &'p Path>) -> PathBuf {
    let folders = paths.map(|path| path.parent().unwrap_or(path).to_owned());
    let common = folders.reduce(|a, b| a.iter().zip(b.iter()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect());
    common.unwrap_or_default()
}

fn pem_of(path: &Path, tag: &str) -> Result<pem::Pem, BundleError> {
    let wrong = |reason: String| BundleError::Key { path: path.to_owned(), reason };
    let text = load::text_of(path).map_err(wrong)?;
    let found = pem::parse(text).ok().filter(|pem| pem.tag() == tag);
    found.ok_or_else(|| wrong(format!("it holds no `{tag}` in PEM")))
}
