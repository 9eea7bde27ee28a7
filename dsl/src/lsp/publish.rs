//! Findings in the protocol's words, file by file.

use super::text::Text;
use super::workspace::{Workspace, severity};
use crate::diagnostic::{Diagnostic, Source};
use crate::{Code, Compilation};
use gen_lsp_types::{DiagnosticRelatedInformation, DiagnosticTag, Location, Uri};
use std::collections::HashMap;

/// The findings of one file, as the checker and as the editor has them, in the same order.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) own: Vec<Diagnostic>,
    pub(super) shown: Vec<gen_lsp_types::Diagnostic>,
}

/// The findings of all compilations by file. A file that two of them read has each finding once.
pub(super) fn findings(workspace: &Workspace, compilations: &[Compilation]) -> HashMap<Uri, Findings> {
    let mut out: HashMap<Uri, Findings> = HashMap::new();
    for compilation in compilations {
        let mut texts: HashMap<&str, (Option<Uri>, Text)> = HashMap::new();
        for source in &compilation.sources {
            let text = Text::new(source.text.clone(), workspace.encoding);
            texts.insert(&source.path, (workspace.uri(&source.path), text));
        }
        for diagnostic in &compilation.diagnostics {
            // What is about no file is told in the one that was asked about.
            let first = compilation.files.first().map(|file| file.source.path.as_str());
            let path = if diagnostic.path.is_empty() { first } else { Some(diagnostic.path.as_str()) };
            let Some((Some(uri), text)) = path.and_then(|path| texts.get(path)) else { continue };
            // A file that is being begun has no rules yet.
            if diagnostic.code == Code::ZeroRules && is_begun(compilation) {
                continue;
            }
            let found = out.entry(uri.clone()).or_default();
            if !found.own.contains(diagnostic) {
                found.own.push(diagnostic.clone());
                found.shown.push(shown(diagnostic, text, &texts));
            }
        }
    }
    out
}

/// True where other errors, or a file that only gives names, explain that there are no rules.
fn is_begun(compilation: &Compilation) -> bool {
    let library = |source: &Source| !source.text.contains("rule");
    compilation.diagnostics.len() > 1 || compilation.files.iter().all(|file| library(&file.source))
}

fn shown(
    diagnostic: &Diagnostic,
    text: &Text,
    texts: &HashMap<&str, (Option<Uri>, Text)>,
) -> gen_lsp_types::Diagnostic {
    let mut message = diagnostic.message.clone();
    let label = Some(&diagnostic.label).filter(|label| !label.is_empty());
    for more in label.into_iter().chain(diagnostic.help.as_ref()) {
        message.push('\n');
        message.push_str(more);
    }
    let related: Vec<_> = diagnostic
        .related
        .iter()
        .filter_map(|related| {
            let (uri, text) = texts.get(related.path.as_str())?;
            let location = Location { uri: uri.clone()?, range: text.range(&related.span) };
            Some(DiagnosticRelatedInformation { location, message: related.label.clone() })
        })
        .collect();
    let unused = matches!(diagnostic.code, Code::UnusedPattern | Code::UnusedList | Code::UnusedScope);
    gen_lsp_types::Diagnostic {
        range: text.range(&diagnostic.span),
        severity: Some(severity(diagnostic.severity)),
        code: Some(diagnostic.code.id().to_owned().into()),
        source: Some("rulec".to_owned()),
        message: message.into(),
        tags: unused.then(|| vec![DiagnosticTag::Unnecessary]),
        related_information: (!related.is_empty()).then_some(related),
        ..gen_lsp_types::Diagnostic::default()
    }
}
