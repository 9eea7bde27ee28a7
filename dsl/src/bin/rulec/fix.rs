//! `rulec check --fix`

use crate::output::{Failure, complain, print};
use crate::write;
use sluice_dsl::{Applicability, Compilation, CompileOptions, fix};
use std::path::Path;

/// Corrects the files. True where something changed, or would with `diff`.
pub(crate) fn run(
    compilation: &Compilation,
    options: &CompileOptions,
    suggested: bool,
    diff: bool,
) -> Result<bool, Failure> {
    let most = if suggested { Applicability::Suggested } else { Applicability::Safe };
    let fixed = fix::fix(compilation, options, most);
    for file in &fixed.files {
        let path = Path::new(&file.path);
        if diff {
            print(&write::diff(path, &file.before, &file.after))?;
        } else {
            write::atomically(path, &file.before, &file.after)?;
        }
    }
    for done in &fixed.done {
        let would = if diff { "would fix" } else { "fixed" };
        complain(&format!("{would} {}:{}: {}: {}", done.path, done.line, done.code.id(), done.title));
    }
    if fixed.withheld > 0 {
        complain(&format!("{} not applied: with them there would be new errors, or other decisions", fixed.withheld));
    }
    Ok(!fixed.files.is_empty())
}
