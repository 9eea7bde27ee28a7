//! Reads files and packs, and what they import.

use crate::codes::Code;
use crate::diagnostic::{Applicability, Diagnostic, Fix, Source};
use crate::lock::{Lock, LockError, digest};
use crate::syntax::tree::{File, ImportSource, ItemKind};
use crate::{CompileOptions, syntax};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where packs are found by name.
#[derive(Clone, Debug)]
pub struct PackSource {
    packs: BTreeMap<String, Arc<str>>,
    /// The lock that pins them, and its path; without one, any text of the right version will do.
    pins: Option<Arc<(PathBuf, Lock)>>,
}

impl PackSource {
    /// The packs that are part of this program.
    #[must_use]
    pub fn embedded() -> Self {
        let packs = STD.iter().map(|(name, text)| ((*name).to_owned(), Arc::from(*text))).collect();
        Self { packs, pins: None }
    }

    /// No packs.
    #[must_use]
    pub fn none() -> Self {
        Self { packs: BTreeMap::new(), pins: None }
    }

    /// The same, with a pack more, or in the place of one.
    #[must_use]
    pub fn with(mut self, name: &str, text: &str) -> Self {
        self.packs.insert(name.to_owned(), Arc::from(text));
        self
    }

    /// The same, with the packs that a lock has files for. From now on only what the lock pins can be imported.
    ///
    /// # Errors
    /// [`LockError::Pack`] where a file can't be read.
    pub fn pinned(mut self, path: &Path, lock: &Lock) -> Result<Self, LockError> {
        self = self.with_files(path, lock)?;
        self.pins = Some(Arc::new((path.to_owned(), lock.clone())));
        Ok(self)
    }

    /// The same, with the packs that a lock has files for, whatever their digests.
    ///
    /// # Errors
    /// [`LockError::Pack`] where a file can't be read.
    pub fn with_files(mut self, path: &Path, lock: &Lock) -> Result<Self, LockError> {
        for (name, pin) in &lock.pack {
            let Some(file) = &pin.file else { continue };
            let text = text_of(&path.with_file_name(file)).map_err(|reason| {
                let (path, pack, file) = (path.to_owned(), name.clone(), file.clone());
                LockError::Pack { path, pack, file, reason }
            })?;
            self = self.with(name, &text);
        }
        Ok(self)
    }

    /// Why the text of a pack isn't what its lock pins, with what is pinned and what is there.
    fn unpinned(&self, name: &str, text: &str) -> Option<(String, String)> {
        let (path, lock) = self.pins.as_deref()?;
        let path = path.display();
        match lock.pack.get(name) {
            None => Some((format!("pack `{name}` is not pinned in `{path}`"), "not pinned".into())),
            Some(pin) => {
                let is = digest(text);
                let differs = format!("pack `{name}` is not the one that `{path}` pins");
                (is != pin.digest).then(|| (differs, format!("{} is pinned, this is {is}", pin.digest)))
            }
        }
    }

    /// The names of the packs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.packs.keys().map(String::as_str)
    }

    /// The text of a pack.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.packs.get(name).map(AsRef::as_ref)
    }
}

/// The packs that are part of this program.
const STD: &[(&str, &str)] = &[
    ("std.pii", include_str!("../../rules/std/pii.rules")),
    ("std.secrets", include_str!("../../rules/std/secrets.rules")),
    ("std.sql", include_str!("../../rules/std/sql.rules")),
];

/// The names of the packs that are part of this program.
pub(crate) fn standard() -> impl Iterator<Item = &'static str> {
    STD.iter().map(|(name, _)| *name)
}

/// A file that was read.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) source: Arc<Source>,
    pub(crate) tree: Arc<File>,
    /// The pack's name, or the file's without ending.
    pub(crate) pack: String,
    /// True where the file says its pack.
    pub(crate) named: bool,
    /// False where an item of it can't be read.
    pub(crate) whole: bool,
    /// False where it was only imported.
    pub(crate) given: bool,
    /// Prefix and unit.
    pub(crate) imports: Vec<(String, usize)>,
}

/// Everything that was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) units: Vec<Unit>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// The unit that a name's prefix means, seen from a unit, and the last part of the name.
    pub(crate) fn split<'n>(&self, unit: usize, name: &'n str) -> Option<(usize, &'n str)> {
        let Some((prefix, last)) = name.rsplit_once('.') else { return Some((unit, name)) };
        let this = &self.units[unit];
        let imported = this.imports.iter().find(|(p, _)| p == prefix).map(|(_, target)| *target);
        imported.or((this.named && this.pack == prefix).then_some(unit)).map(|target| (target, last))
    }
}

struct Loader<'a> {
    options: &'a CompileOptions,
    loaded: Loaded,
    /// By canonical path or `<pack>`; the units that are being read stand on the stack.
    known: BTreeMap<String, usize>,
    stack: Vec<usize>,
    /// Texts that stand in the place of files, by canonical path.
    texts: BTreeMap<String, String>,
    /// True where the texts are all there is, and no file is read.
    closed: bool,
    /// Files that are read and parsed, by canonical path, and wait for their turn.
    ready: HashMap<String, (Arc<Source>, syntax::Parsed)>,
}

pub(crate) fn load_files(paths: &[PathBuf], options: &CompileOptions) -> Loaded {
    load_open(paths, BTreeMap::new(), options)
}

/// The same, with texts that stand in the place of files, by canonical path: what an editor has open and has not written.
pub(crate) fn load_open(paths: &[PathBuf], open: BTreeMap<String, String>, options: &CompileOptions) -> Loaded {
    let mut loader = Loader::new(options);
    loader.texts = open;
    let mut files = Vec::new();
    for path in paths {
        files.extend(rule_files(path, &mut loader.loaded.diagnostics));
    }
    // Reading and parsing need nothing of each other; what follows goes in the order of the files.
    let open = &loader.texts;
    let one = |file: &PathBuf| {
        let key = canonical(file);
        let text = open.get(&key).map_or_else(|| text_of(file), |text| bounded(text.clone()));
        (key, text.map(|text| parse(file, text)))
    };
    let read: Vec<_> = files.par_iter().map(one).collect();
    let mut given = Vec::new();
    for (file, (key, read)) in files.iter().zip(read) {
        match read {
            Ok(parsed) => {
                loader.ready.entry(key.clone()).or_insert(parsed);
                given.push((file, key));
            }
            Err(reason) => loader.loaded.diagnostics.push(unreadable(file, &reason)),
        }
    }
    for (file, key) in given {
        loader.unit(&file.display().to_string(), &key, String::new(), true);
    }
    loader.loaded
}

fn parse(path: &Path, text: String) -> (Arc<Source>, syntax::Parsed) {
    let source = Arc::new(Source { path: path.display().to_string(), text });
    let parsed = syntax::parse(&source);
    (source, parsed)
}

pub(crate) fn load_texts(texts: &[(&str, &str)], options: &CompileOptions) -> Loaded {
    let mut loader = Loader::new(options);
    // One may import another, whichever comes first.
    let place = |(path, text): &(&str, &str)| (canonical(Path::new(path)), (*text).to_owned());
    loader.texts = texts.iter().map(place).collect();
    for (path, text) in texts {
        loader.unit(path, &canonical(Path::new(path)), (*text).to_owned(), true);
    }
    loader.loaded
}

/// Texts of which those that are given hold, and the others may be imported; no file is read.
pub(crate) fn load_closed(texts: &[(&str, &str, bool)], options: &CompileOptions) -> Loaded {
    let mut loader = Loader::new(options);
    loader.closed = true;
    loader.texts = texts.iter().map(|(path, text, _)| (lexical(Path::new(path)), (*text).to_owned())).collect();
    for (path, text, _) in texts.iter().filter(|(.., given)| *given) {
        loader.unit(path, &lexical(Path::new(path)), (*text).to_owned(), true);
    }
    loader.loaded
}

/// A path without `.` and `..`, as it reads; what goes above its root stays there.
fn lexical(path: &Path) -> String {
    let mut parts: Vec<&std::ffi::OsStr> = Vec::new();
    for component in path.components() {
        match component {
            std::path::Component::Normal(part) => parts.push(part),
            std::path::Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.iter().collect::<PathBuf>().display().to_string()
}

pub(crate) fn load_packs(names: &[&str], options: &CompileOptions) -> Loaded {
    let mut loader = Loader::new(options);
    for name in names {
        let key = format!("<{name}>");
        match options.packs.text(name) {
            Some(text) => {
                loader.unit(&key, &key, text.to_owned(), true);
            }
            None => {
                let diagnostic = Diagnostic::placeless(Code::MissingImport, format!("there is no pack `{name}`"));
                loader.loaded.diagnostics.push(diagnostic);
            }
        }
    }
    loader.loaded
}

pub(crate) fn canonical(path: &Path) -> String {
    path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// The longest file that is read, in bytes. Rules that people can answer for are far below.
pub(crate) const MAX_FILE: usize = 4 * 1024 * 1024;

/// The text of a file, or in words why there is none.
pub(crate) fn text_of(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > MAX_FILE {
        return Err(too_long());
    }
    String::from_utf8(bytes).map_err(|error| format!("it is not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
}

fn bounded(text: String) -> Result<String, String> {
    if text.len() > MAX_FILE { Err(too_long()) } else { Ok(text) }
}

fn too_long() -> String {
    format!("it is longer than {} MiB", MAX_FILE >> 20)
}

fn unreadable(path: &Path, reason: &str) -> Diagnostic {
    let path = path.display().to_string();
    let help = if reason.contains("UTF-8") { "save it as UTF-8 text" } else { "name a file of rules that can be read" };
    let message = format!("`{path}` can't be read: {reason}");
    Diagnostic { path, ..Diagnostic::placeless(Code::Unreadable, message) }.help(help)
}

fn rule_files(path: &Path, diagnostics: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let mut files = Vec::new();
    for entry in ignore::WalkBuilder::new(path).sort_by_file_path(Path::cmp).build() {
        match entry {
            Ok(entry) if entry.path().extension().is_some_and(|e| e == "rules") && !entry.path().is_dir() => {
                files.push(entry.into_path());
            }
            Ok(_) => {}
            Err(error) => diagnostics.push(Diagnostic::placeless(Code::Unreadable, error.to_string())),
        }
    }
    files
}

impl<'a> Loader<'a> {
    fn new(options: &'a CompileOptions) -> Self {
        Self {
            options,
            loaded: Loaded::default(),
            known: BTreeMap::new(),
            stack: Vec::new(),
            texts: BTreeMap::new(),
            closed: false,
            ready: HashMap::new(),
        }
    }

    fn unit(&mut self, path: &str, key: &str, text: String, given: bool) -> usize {
        if let Some(&index) = self.known.get(key) {
            self.loaded.units[index].given |= given;
            return index;
        }
        let (source, parsed) = self.ready.remove(key).unwrap_or_else(|| parse(Path::new(path), text));
        // What is wrong with characters alone leaves the items as they are.
        let whole = parsed.diagnostics.iter().all(|diagnostic| diagnostic.code == Code::Character);
        self.loaded.diagnostics.extend(parsed.diagnostics);
        let tree = Arc::new(parsed.file);
        let named = tree.items.iter().find_map(|item| match &item.kind {
            ItemKind::Pack(pack) => Some(pack.name.value.clone()),
            _ => None,
        });
        let stem = Path::new(path).file_stem().map_or_else(|| path.to_owned(), |s| s.to_string_lossy().into_owned());
        let index = self.loaded.units.len();
        let unit = Unit {
            source: source.clone(),
            tree: tree.clone(),
            named: named.is_some(),
            pack: named.unwrap_or(stem),
            whole,
            given,
            imports: Vec::new(),
        };
        self.loaded.units.push(unit);
        self.known.insert(key.to_owned(), index);
        self.stack.push(index);
        for item in &tree.items {
            if let ItemKind::Import(import) = &item.kind {
                let found = match &import.source {
                    ImportSource::Pack { name, version } => self.pack(&source, name, version),
                    ImportSource::File(file) => self.file(&source, Path::new(path), file),
                };
                if let Some(other) = found {
                    let prefix = match (&import.alias, &import.source) {
                        (Some(alias), _) => alias.value.clone(),
                        (None, ImportSource::Pack { name, .. }) => name.value.clone(),
                        (None, ImportSource::File(_)) => self.loaded.units[other].pack.clone(),
                    };
                    if self.loaded.units[index].imports.iter().any(|(p, _)| *p == prefix) {
                        let message = format!("two imports have the prefix `{prefix}`");
                        let diagnostic = Diagnostic::new(&source, item.span.clone(), Code::DuplicateName, message);
                        self.loaded.diagnostics.push(diagnostic.help("give one of them another with `as NAME`"));
                    }
                    self.loaded.units[index].imports.push((prefix, other));
                }
            }
        }
        self.stack.pop();
        index
    }

    fn pack(&mut self, from: &Source, written: &syntax::tree::Name, version: &syntax::tree::Text) -> Option<usize> {
        let (name, span) = (written.value.as_str(), version.span.clone());
        let Some(text) = self.options.packs.text(name) else {
            let message = format!("there is no pack `{name}`");
            let diagnostic = Diagnostic::new(from, written.span.clone(), Code::MissingImport, message);
            let known = self.options.packs.names().collect::<Vec<_>>().join(", ");
            let otherwise = format!("the packs are: {known}");
            let near = crate::fields::nearest(name, self.options.packs.names());
            self.loaded.diagnostics.push(diagnostic.meant(near, &written.span, otherwise));
            return None;
        };
        if let Some((message, label)) = self.options.packs.unpinned(name, text) {
            let diagnostic = Diagnostic::new(from, written.span.clone(), Code::MissingImport, message);
            let help = "look at what the pack says now, then pin it: `rulec pack lock`";
            self.loaded.diagnostics.push(diagnostic.label(label).help(help));
            return None;
        }
        let key = format!("<{name}>");
        let text = text.to_owned();
        let index = self.enter(from, span.clone(), &key, &key, text)?;
        let actual = self.loaded.units[index].tree.items.iter().find_map(|item| match &item.kind {
            ItemKind::Pack(pack) => Some(pack.version.value.clone()),
            _ => None,
        });
        let actual = actual.unwrap_or_default();
        let fits = actual.strip_prefix(&version.value).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if !fits {
            let message = format!("pack `{name}` has version `{actual}`, not `{}`", version.value);
            let major = actual.split('.').next().unwrap_or_default();
            let fix = Fix::new(
                format!("import version {major}"),
                Applicability::Suggested,
                span.clone(),
                format!("\"{major}\""),
            );
            let diagnostic = Diagnostic::new(from, span, Code::MissingImport, message);
            self.loaded.diagnostics.push(diagnostic.help(format!("write `import {name} \"{major}\"`")).fix(fix));
        }
        Some(index)
    }

    fn file(&mut self, from: &Source, path: &Path, file: &syntax::tree::Text) -> Option<usize> {
        let target = path.parent().unwrap_or(Path::new("")).join(file.value.trim_start_matches("./"));
        let known = if self.closed { lexical(&target) } else { canonical(&target) };
        let text = match self.texts.get(&known) {
            Some(text) => Ok(text.clone()),
            None if self.known.contains_key(&known) || self.ready.contains_key(&known) => Ok(String::new()),
            None if self.closed => Err("the bundle doesn't hold it".to_owned()),
            None => text_of(&target),
        };
        match text {
            Ok(text) => self.enter(from, file.span.clone(), &target.display().to_string(), &known, text),
            Err(reason) => {
                let message = format!("`{}` can't be imported: {reason}", file.value);
                let diagnostic = Diagnostic::new(from, file.span.clone(), Code::MissingImport, message);
                self.loaded.diagnostics.push(diagnostic.help("the path is relative to the file that imports"));
                None
            }
        }
    }

    fn enter(
        &mut self,
        from: &Source,
        span: std::ops::Range<usize>,
        path: &str,
        key: &str,
        text: String,
    ) -> Option<usize> {
        if self.known.get(key).is_some_and(|index| self.stack.contains(index)) {
            let message = format!("`{path}` imports itself, through this import");
            let diagnostic = Diagnostic::new(from, span, Code::ImportCycle, message);
            self.loaded.diagnostics.push(diagnostic.help("move what both need into a file of its own"));
            return None;
        }
        Some(self.unit(path, key, text, false))
    }
}
