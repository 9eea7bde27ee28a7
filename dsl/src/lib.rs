//! The rule language of Sluice: from text to checked, typed rules to a program of the engine.
//!
//! [`compile_files`] reads `.rules` files and what they import, checks all of it and gives a [`Policy`], or says what is
//! wrong. A gateway asks the policy per session ([`Policy::specialise`]) and per request ([`SessionPolicy`]). The tree
//! ([`syntax`]), the messages ([`Diagnostic`]) and the formatter ([`format`](format::format)) serve the tools.
//!
//! ```
//! use sluice_dsl::{CompileOptions, compile_source};
//!
//! let text = r#"language 1
//! pattern staff_id = /\bEMP-[0-9]{6}\b/
//! rule mask_staff { on response match staff_id then mask redact(with: "[staff]") }
//! "#;
//! let compilation = compile_source("staff.rules", text, &CompileOptions::for_tests());
//! assert!(!compilation.has_errors(), "{}", compilation.render(false));
//! let policy = compilation.policy.expect("no errors");
//! assert_eq!(policy.rules()[0].name, "mask_staff");
//! ```

pub mod bundle;
mod check;
pub mod codes;
pub mod cost;
pub mod describe;
pub mod diagnostic;
pub mod difference;
pub mod fields;
pub mod fix;
pub mod format;
pub mod grammar;
mod load;
pub mod lock;
pub mod lsp;
mod places;
pub mod policy;
pub mod reference;
pub mod sql;
pub mod syntax;
pub mod testing;
pub mod words;

pub use codes::Code;
pub use diagnostic::{Applicability, Diagnostic, Edit, Fix, Related, Severity, Source};
pub use load::PackSource;
pub use policy::{
    Held, HeldWhen, Hit, HitAction, Limited, Origin, Origins, Policy, Reading, RequestFacts, RuleInfo, SessionFacts,
    SessionLimit, SessionPolicy, UserKind,
};

use std::path::PathBuf;
use std::sync::Arc;

/// How rules are compiled.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Today, for what has a date.
    pub today: jiff::civil::Date,
    /// The keys of the masks.
    pub keys: sluice_engine::Keyring,
    /// Where `import NAME "VERSION"` finds packs.
    pub packs: PackSource,
}

impl CompileOptions {
    /// Today, these keys, and the packs that are part of this program.
    #[must_use]
    pub fn new(keys: sluice_engine::Keyring) -> Self {
        Self { today: jiff::ZonedDateTime::now().date(), keys, packs: PackSource::embedded() }
    }

    /// A fixed day (2026-11-23), the public test keys and the packs that are part of this program.
    #[must_use]
    pub fn for_tests() -> Self {
        let keys = sluice_engine::Keyring::for_tests();
        Self { today: jiff::civil::date(2026, 11, 23), keys, packs: PackSource::embedded() }
    }
}

impl CompileOptions {
    /// The same, with the packs that the `rules.lock` for these paths pins; only those can be imported then. Without a lock
    /// nothing changes.
    ///
    /// # Errors
    /// Where the lock, or a pack that it has a file for, can't be read.
    pub fn beside(mut self, paths: &[PathBuf]) -> Result<Self, lock::LockError> {
        if let Some((path, lock)) = lock::Lock::find(paths)? {
            self.packs = self.packs.pinned(&path, &lock)?;
        }
        Ok(self)
    }
}

/// What became of the files.
#[derive(Clone, Debug)]
pub struct Compilation {
    /// The policy; None where there is an error.
    pub policy: Option<Policy>,
    /// What was found, in the order of files and places.
    pub diagnostics: Vec<Diagnostic>,
    /// What could not be decided about the rule set as a whole, because too much would have to be tried. It is no finding: what
    /// isn't known is not claimed.
    pub undecided: Vec<Undecided>,
    /// The files that were given, parsed; for tools such as the test runner.
    pub files: Vec<CheckedFile>,
    /// All files that were read, imports included; for rendering.
    pub sources: Vec<Arc<Source>>,
    /// Where the rules of the policy stand, in its order.
    pub(crate) places: Vec<places::RulePlaces>,
}

/// A question about a rule that has no answer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Undecided {
    /// The rule's file.
    pub path: String,
    /// The rule's line, from 1.
    pub line: usize,
    /// The rule.
    pub rule: String,
    /// What isn't known: `whether it ever acts`.
    pub question: String,
}

/// A file that was given to the compiler.
#[derive(Clone, Debug)]
pub struct CheckedFile {
    /// Its path and text.
    pub source: Arc<Source>,
    /// The name of its pack; the name of the file without ending where it says none.
    pub pack: String,
    /// Its tree.
    pub tree: Arc<syntax::tree::File>,
}

impl Compilation {
    /// True where the rules can't be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.policy.is_none() || self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }

    /// The messages with the lines they speak of.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        diagnostic::render(&self.diagnostics, &self.sources, color)
    }
}

/// Compiles files, and the `.rules` files below directories (ignore files are respected, hidden files skipped). What they
/// import gives names; its rules hold only where it is given too.
#[must_use]
pub fn compile_files(paths: &[PathBuf], options: &CompileOptions) -> Compilation {
    check::compile(load::load_files(paths, options), options)
}

/// Compiles one text as if it were a file of this path. `import "./…"` is read relative to the path.
#[must_use]
pub fn compile_source(path: &str, text: &str, options: &CompileOptions) -> Compilation {
    check::compile(load::load_texts(&[(path, text)], options), options)
}

/// Compiles texts as if they were files of these paths; where one imports another, its text is taken and not the file.
#[must_use]
pub fn compile_texts(texts: &[(&str, &str)], options: &CompileOptions) -> Compilation {
    check::compile(load::load_texts(texts, options), options)
}

/// Compiles the packs of this program by name (`std.pii`), all of which are given: their rules hold.
#[must_use]
pub fn compile_packs(names: &[&str], options: &CompileOptions) -> Compilation {
    check::compile(load::load_packs(names, options), options)
}
