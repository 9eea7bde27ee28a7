//! `rulec lsp`: rules in an editor.

use crate::output::Failure;

/// Serves the editor to its end. One that leaves without a goodbye is a finding, as the protocol wants it: exit code 1.
pub(crate) fn run() -> Result<bool, Failure> {
    let options = sluice_dsl::CompileOptions::new(sluice_engine::Keyring::for_tests());
    let orderly = sluice_dsl::lsp::run(options).map_err(|error| Failure::Because(error.to_string()))?;
    Ok(!orderly)
}
