//! From what was read to a policy: names, types, lowering.

use crate::load::Loaded;
use crate::{CheckedFile, Compilation, CompileOptions};

pub(crate) fn compile(loaded: Loaded, _options: &CompileOptions) -> Compilation {
    let files = loaded.units.iter().filter(|u| u.given);
    let files = files.map(|u| CheckedFile { source: u.source.clone(), pack: u.pack.clone(), tree: u.tree.clone() }).collect();
    let sources = loaded.units.iter().map(|u| u.source.clone()).collect();
    Compilation { policy: None, diagnostics: loaded.diagnostics, files, sources }
}
