//! What the editor has open, what it stands for on the disk, and what the checker makes of it.

use super::occurrences::{Kind, Occurrence, occurrences};
use super::packs;
use super::text::{Encoding, Text};
use crate::load::{Loaded, Unit, canonical, load_open};
use crate::syntax::tree::{Item, ItemKind, Name};
use crate::{Code, Compilation, CompileOptions, Diagnostic, Severity, check};
use gen_lsp_types::Uri;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A text that the editor has open.
pub(super) struct Document {
    pub(super) text: Text,
    pub(super) version: i32,
    /// Where it lies, or would lie.
    pub(super) path: PathBuf,
}

/// Everything that is open.
pub(super) struct Workspace {
    pub(super) options: CompileOptions,
    pub(super) encoding: Encoding,
    /// The folders of the editor.
    pub(super) roots: Vec<PathBuf>,
    /// The paths whose rules are deployed together.
    pub(super) deployed: Vec<PathBuf>,
    documents: BTreeMap<Uri, Document>,
}

/// Files that were read together, one of which the editor asks about.
pub(super) struct View {
    pub(super) loaded: Loaded,
    pub(super) options: CompileOptions,
    /// The file that is asked about.
    pub(super) unit: usize,
}

/// Something that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    /// The path of the file, or `<pack>`.
    pub(super) file: String,
    pub(super) kind: Kind,
    pub(super) name: String,
}

impl Workspace {
    pub(super) fn new(options: CompileOptions) -> Self {
        let (roots, deployed, documents) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { options, encoding: Encoding::default(), roots, deployed, documents }
    }

    pub(super) fn open(&mut self, uri: Uri, text: String, version: i32) {
        let path = path_of(&uri);
        self.documents.insert(uri, Document { text: Text::new(text, self.encoding), version, path });
    }

    /// Changes a text that is open; does nothing to one that isn't.
    pub(super) fn change(&mut self, uri: &Uri, version: i32, change: impl FnOnce(&mut Text)) {
        if let Some(document) = self.documents.get_mut(uri) {
            change(&mut document.text);
            document.version = version;
        }
    }

    pub(super) fn close(&mut self, uri: &Uri) {
        self.documents.remove(uri);
    }

    pub(super) fn document(&self, uri: &Uri) -> Option<&Document> {
        self.documents.get(uri)
    }

    pub(super) fn documents(&self) -> impl Iterator<Item = (&Uri, &Document)> {
        self.documents.iter()
    }

    /// The name that the editor has for a file: its own for one that is open. A pack that is part of this program is
    /// written to the user's cache, so that it can be looked at.
    pub(super) fn uri(&self, file: &str) -> Option<Uri> {
        let path = match packs::name(file) {
            Some(pack) => packs::written(pack, self.options.packs.text(pack)?)?,
            None => PathBuf::from(canonical(Path::new(file))),
        };
        let open = self.documents.iter().find(|(_, document)| Path::new(&canonical(&document.path)) == path);
        open.map(|(uri, _)| uri.clone()).or_else(|| Uri::from_file_path(std::path::absolute(&path).ok()?).ok())
    }

    /// The text of a file that was read, with the places of its lines.
    pub(super) fn text_of(&self, unit: &Unit) -> Text {
        Text::new(unit.source.text.clone(), self.encoding)
    }

    /// The files that hold together with this one: the deployed ones where it is among them, else itself.
    fn together(&self, path: &Path) -> Vec<PathBuf> {
        let path = PathBuf::from(canonical(path));
        let deployed: Vec<PathBuf> = self.deployed.iter().map(|p| PathBuf::from(canonical(p))).collect();
        if deployed.iter().any(|p| path.starts_with(p)) {
            let mut files = deployed;
            files.push(path);
            files
        } else {
            vec![path]
        }
    }

    /// Reads paths, and what is open in the place of what is written; packs are those that the paths' lock pins.
    fn load(&self, paths: &[PathBuf]) -> (Loaded, CompileOptions) {
        let open = self.documents.values();
        let texts = open.map(|document| (canonical(&document.path), document.text.as_str().to_owned())).collect();
        let (options, wrong) = match self.options.clone().beside(paths) {
            Ok(options) => (options, None),
            Err(error) => (self.options.clone(), Some(Diagnostic::placeless(Code::Unreadable, error.to_string()))),
        };
        let mut loaded = load_open(paths, texts, &options);
        loaded.diagnostics.extend(wrong);
        (loaded, options)
    }

    /// Reads a file that is open with what holds together with it.
    pub(super) fn view(&self, uri: &Uri) -> Option<View> {
        let document = self.document(uri)?;
        let (loaded, options) = self.load(&self.together(&document.path));
        let unit = loaded.place(&document.path)?;
        Some(View { loaded, options, unit })
    }

    /// Reads every file of the folders and everything that is open, for what is asked of all of them.
    pub(super) fn everything(&self) -> Loaded {
        let open = self.documents.values().map(|document| document.path.clone());
        let paths: Vec<PathBuf> = self.roots.iter().cloned().chain(open).collect();
        self.load(&paths).0
    }

    /// Checks everything that is open; files that hold together are checked together, once.
    pub(super) fn check(&self) -> Vec<Compilation> {
        let mut groups: BTreeSet<Vec<PathBuf>> = BTreeSet::new();
        for document in self.documents.values() {
            let mut group = self.together(&document.path);
            group.sort();
            // A file of a deployed folder is found there.
            let folders: Vec<PathBuf> = group.iter().filter(|p| p.is_dir()).cloned().collect();
            group.retain(|p| folders.iter().all(|f| f == p || !p.starts_with(f)));
            groups.insert(group);
        }
        let compile = |group: &Vec<PathBuf>| {
            let (loaded, options) = self.load(group);
            check::compile(loaded, &options)
        };
        groups.iter().map(compile).collect()
    }

    /// True where this file may be changed: it is no pack of this program.
    pub(super) fn is_editable(file: &str) -> bool {
        packs::name(file).is_none()
    }
}

/// The path of a URI. One that is no file stands in the current folder under its own name, so that its imports can be
/// followed from there.
fn path_of(uri: &Uri) -> PathBuf {
    uri.to_file_path().unwrap_or_else(|()| PathBuf::from(uri.path().rsplit('/').next().unwrap_or("untitled")))
}

impl Loaded {
    /// The unit that was read from a path.
    pub(super) fn place(&self, path: &Path) -> Option<usize> {
        let path = canonical(path);
        self.units.iter().position(|unit| canonical(Path::new(&unit.source.path)) == path)
    }

    /// The names of a file.
    pub(super) fn occurrences(&self, unit: usize) -> Vec<Occurrence> {
        occurrences(&self.units[unit].tree)
    }

    /// What a name of this kind means in a file; the item itself is there where its text could be read.
    pub(super) fn resolve(&self, unit: usize, kind: Kind, name: &str) -> Option<(usize, &Item, &Name)> {
        let (target, last) = self.split(unit, name)?;
        self.declared(target, kind, last)
    }

    /// The first declaration of a name in a file.
    pub(super) fn declared(&self, unit: usize, kind: Kind, name: &str) -> Option<(usize, &Item, &Name)> {
        let items = self.units[unit].tree.items.iter();
        let mut found = items.filter_map(|item| declares(item).map(|(k, n)| (item, k, n)));
        found.find(|(_, k, n)| *k == kind && n.value == name).map(|(item, _, n)| (unit, item, n))
    }

    /// What an occurrence means, for comparing across files.
    pub(super) fn target(&self, unit: usize, occurrence: &Occurrence) -> Option<Target> {
        let (target, _, name) = self.resolve(unit, occurrence.kind, &occurrence.name.value)?;
        Some(Target { file: self.key(target), kind: occurrence.kind, name: name.value.clone() })
    }

    /// One name for a file, however it was reached.
    pub(super) fn key(&self, unit: usize) -> String {
        let path = &self.units[unit].source.path;
        packs::key(path).unwrap_or_else(|| canonical(Path::new(path)))
    }

    /// The occurrence at a byte of a file; one that ends there counts too.
    pub(super) fn at(&self, unit: usize, at: usize) -> Option<Occurrence> {
        self.occurrences(unit).into_iter().find(|o| o.name.span.start <= at && at <= o.name.span.end)
    }
}

/// The kind and the name of what an item declares.
pub(super) fn declares(item: &Item) -> Option<(Kind, &Name)> {
    match &item.kind {
        ItemKind::List(i) => Some((Kind::List, &i.name)),
        ItemKind::Pattern(i) => Some((Kind::Pattern, &i.name)),
        ItemKind::Scope(i) => Some((Kind::Scope, &i.name)),
        ItemKind::Rule(i) => Some((Kind::Rule, &i.name)),
        _ => None,
    }
}

/// How bad a finding is, in the protocol's words.
pub(super) fn severity(severity: Severity) -> gen_lsp_types::DiagnosticSeverity {
    match severity {
        Severity::Error => gen_lsp_types::DiagnosticSeverity::Error,
        Severity::Warning => gen_lsp_types::DiagnosticSeverity::Warning,
    }
}
