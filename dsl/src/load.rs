//! Reads files and packs, and what they import.

use crate::codes::Code;
use crate::diagnostic::{Applicability, Diagnostic, Fix, Source};
use crate::syntax::tree::{File, ImportSource, ItemKind};
use crate::{CompileOptions, syntax};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where packs are found by name.
#[derive(Clone, Debug)]
pub struct PackSource {
    packs: BTreeMap<String, Arc<str>>,
}

impl PackSource {
    /// The packs that are part of this program.
    #[must_use]
    pub fn embedded() -> Self {
        let packs = STD.iter().map(|(name, text)| ((*name).to_owned(), Arc::from(*text))).collect();
        Self { packs }
    }

    /// No packs.
    #[must_use]
    pub fn none() -> Self {
        Self { packs: BTreeMap::new() }
    }

    /// The same, with a pack more, or in the place of one.
    #[must_use]
    pub fn with(mut self, name: &str, text: &str) -> Self {
        self.packs.insert(name.to_owned(), Arc::from(text));
        self
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

/// A file that was read.
#[derive(Debug)]
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
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) units: Vec<Unit>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

struct Loader<'a> {
    options: &'a CompileOptions,
    loaded: Loaded,
    /// By canonical path or `<pack>`; the units that are being read stand on the stack.
    known: BTreeMap<String, usize>,
    stack: Vec<usize>,
    /// Texts that stand in the place of files, by canonical path.
    texts: BTreeMap<String, String>,
}

pub(crate) fn load_files(paths: &[PathBuf], options: &CompileOptions) -> Loaded {
    let mut loader = Loader::new(options);
    for path in paths {
        for file in rule_files(path, &mut loader.loaded.diagnostics) {
            match text_of(&file) {
                Ok(text) => {
                    loader.unit(&file.display().to_string(), &canonical(&file), text, true);
                }
                Err(reason) => loader.loaded.diagnostics.push(unreadable(&file, &reason)),
            }
        }
    }
    loader.loaded
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

fn canonical(path: &Path) -> String {
    path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// The longest file that is read, in bytes. Rules that people can answer for are far below.
pub(crate) const MAX_FILE: usize = 4 * 1024 * 1024;

/// The text of a file, or in words why there is none.
fn text_of(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > MAX_FILE {
        return Err(format!("it is longer than {} MiB", MAX_FILE >> 20));
    }
    String::from_utf8(bytes).map_err(|error| format!("it is not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
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
        Self { options, loaded: Loaded::default(), known: BTreeMap::new(), stack: Vec::new(), texts: BTreeMap::new() }
    }

    fn unit(&mut self, path: &str, key: &str, text: String, given: bool) -> usize {
        if let Some(&index) = self.known.get(key) {
            self.loaded.units[index].given |= given;
            return index;
        }
        let source = Arc::new(Source { path: path.to_owned(), text });
        let parsed = syntax::parse(&source);
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
        let known = canonical(&target);
        let text = match self.texts.get(&known) {
            Some(text) => Ok(text.clone()),
            None if self.known.contains_key(&known) => Ok(String::new()),
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
