//! Findings as a SARIF 2.1.0 log (OASIS), as the services that show them beside the code take it.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sluice_dsl::codes::Code;
use sluice_dsl::diagnostic::{Severity, line_column};
use sluice_dsl::syntax::tree::Span;
use sluice_dsl::{Compilation, Diagnostic, Fix, Related, Source};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use url::Url;

/// What the paths of a log are relative to.
const ROOT: &str = "%SRCROOT%";

/// The findings as one log. Files of the repository of this folder are named relative to its root, other files by their
/// whole place.
pub(crate) fn log(compilation: &Compilation, successful: bool) -> Value {
    let mut log = Log {
        sources: compilation.sources.iter().map(|source| (source.path.as_str(), &**source)).collect(),
        root: repository(),
        seen: HashMap::new(),
    };
    let results: Vec<Value> = compilation.diagnostics.iter().map(|found| log.result(found)).collect();
    let rules: Vec<Value> = Code::ALL.iter().copied().map(rule).collect();
    let driver = json!({ "name": "rulec", "version": env!("CARGO_PKG_VERSION"), "rules": rules });
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": driver },
            "invocations": [{ "executionSuccessful": successful }],
            "originalUriBaseIds": { ROOT: { "description": { "text": "The root of the repository." } } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// The root of the repository that this folder belongs to; the folder itself where it belongs to none.
fn repository() -> PathBuf {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    let root = here.ancestors().find(|folder| folder.join(".git").exists());
    root.unwrap_or(&here).to_owned()
}

fn level(severity: Severity) -> &'static str {
    if severity == Severity::Error { "error" } else { "warning" }
}

/// A code as the log describes it.
fn rule(code: Code) -> Value {
    json!({
        "id": code.id(),
        "name": code.name(),
        "shortDescription": { "text": code.name() },
        "fullDescription": { "text": code.text() },
        "help": { "text": code.text(), "markdown": format!("{}\n\n{}", code.text(), code.markdown()) },
        "defaultConfiguration": { "level": level(code.severity()) },
    })
}

struct Log<'c> {
    sources: HashMap<&'c str, &'c Source>,
    root: PathBuf,
    /// How often a line was found with a code in a file.
    seen: HashMap<(&'c str, Code, String), usize>,
}

impl<'c> Log<'c> {
    fn result(&mut self, found: &'c Diagnostic) -> Value {
        let help = found.help.iter().map(|help| format!("\n{help}"));
        let text: String = std::iter::once(found.message.clone()).chain(help).collect();
        let index = Code::ALL.iter().position(|code| *code == found.code);
        let mut result = json!({
            "ruleId": found.code.id(), "ruleIndex": index, "level": level(found.severity), "message": { "text": text },
        });
        let Some(artifact) = self.artifact(&found.path).filter(|_| found.line > 0) else { return result };
        let region = self.region(&found.path, &found.span, (found.line, found.column));
        result["locations"] = json!([{ "physicalLocation": { "artifactLocation": artifact, "region": region } }]);
        result["partialFingerprints"] = json!({ "primaryLocationLineHash": self.fingerprint(found) });
        let related: Vec<Value> =
            found.related.iter().enumerate().map(|(id, related)| self.related(id, related)).collect();
        if !related.is_empty() {
            result["relatedLocations"] = related.into();
        }
        let fixes: Vec<Value> = found.fixes.iter().map(|fix| self.fix(&found.path, &artifact, fix)).collect();
        if !fixes.is_empty() {
            result["fixes"] = fixes.into();
        }
        result
    }

    /// Where a file is; None for a pack that is part of this program.
    fn artifact(&self, path: &str) -> Option<Value> {
        if path.is_empty() || path.starts_with('<') {
            return None;
        }
        let path = std::path::absolute(Path::new(path)).ok()?;
        let path = path.canonicalize().unwrap_or(path);
        let file = Url::from_file_path(&path).ok()?;
        if path.starts_with(&self.root)
            && let Some(relative) = Url::from_directory_path(&self.root).ok()?.make_relative(&file)
        {
            return Some(json!({ "uri": relative, "uriBaseId": ROOT }));
        }
        Some(json!({ "uri": file.as_str() }))
    }

    /// A stretch of a file that begins at this line and column, both from 1; the end is behind its last character.
    fn region(&self, path: &str, span: &Span, (line, column): (usize, usize)) -> Value {
        let mut region = json!({ "startLine": line, "startColumn": column });
        if let Some(inside) = self.sources.get(path).and_then(|source| source.text.get(span.clone())) {
            let (lines, last) = line_column(inside, inside.len());
            region["endLine"] = (line + lines - 1).into();
            region["endColumn"] = if lines == 1 { column + last - 1 } else { last }.into();
        }
        region
    }

    /// Says which finding of an earlier run this one is, wherever its line has moved to in its file: a hash of the line's
    /// words, and the how manieth of its kind there it is.
    fn fingerprint(&mut self, found: &'c Diagnostic) -> String {
        let text = self.sources.get(found.path.as_str()).map_or("", |source| source.text.as_str());
        let line = text.lines().nth(found.line - 1).unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(words.join(" "))[..8]);
        let count = self.seen.entry((&found.path, found.code, hash.clone())).or_default();
        *count += 1;
        format!("{hash}:{count}")
    }

    fn related(&self, id: usize, related: &Related) -> Value {
        let mut location = json!({ "id": id, "message": { "text": related.label } });
        match self.artifact(&related.path) {
            Some(artifact) => {
                let region = self.region(&related.path, &related.span, (related.line.max(1), related.column.max(1)));
                location["physicalLocation"] = json!({ "artifactLocation": artifact, "region": region });
            }
            None => {
                let pack = related.path.trim_matches(['<', '>']);
                location["logicalLocations"] = json!([{ "fullyQualifiedName": pack, "kind": "module" }]);
            }
        }
        location
    }

    fn fix(&self, path: &str, artifact: &Value, fix: &Fix) -> Value {
        let text = self.sources.get(path).map_or("", |source| source.text.as_str());
        let replace = |edit: &sluice_dsl::Edit| {
            let place = line_column(text, edit.span.start);
            json!({ "deletedRegion": self.region(path, &edit.span, place), "insertedContent": { "text": edit.text } })
        };
        let replacements: Vec<Value> = fix.edits.iter().map(replace).collect();
        json!({
            "description": { "text": fix.title },
            "artifactChanges": [{ "artifactLocation": artifact, "replacements": replacements }],
        })
    }
}
