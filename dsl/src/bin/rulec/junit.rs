//! Outcomes of tests as JUnit XML, which CI systems show.

use crate::output::Failure;
use crate::test::diff;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use sluice_dsl::testing::TestOutcome;
use std::path::Path;

/// Writes one suite for each file.
pub(crate) fn write(path: &Path, outcomes: &[TestOutcome]) -> Result<(), Failure> {
    let mut report = Report::new("rulec");
    for suite in outcomes.chunk_by(|a, b| a.path == b.path) {
        let mut cases = TestSuite::new(suite[0].path.as_str());
        for outcome in suite {
            let mut case = TestCase::new(outcome.name.as_str(), status(outcome));
            case.set_classname(outcome.path.as_str());
            case.extra.insert("file".into(), outcome.path.as_str().into());
            case.extra.insert("line".into(), outcome.line.to_string().into());
            cases.add_test_case(case);
        }
        report.add_test_suite(cases);
    }
    let text = report.to_string().map_err(|error| Failure::Because(format!("JUnit: {error}")))?;
    std::fs::write(path, text).map_err(|error| Failure::of(&path.display().to_string(), &error))
}

fn status(outcome: &TestOutcome) -> TestCaseStatus {
    if outcome.passed {
        return TestCaseStatus::success();
    }
    let TestOutcome { path, line, expected, got, cut, .. } = outcome;
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    let cut = cut.as_ref().map(|cut| format!(" ({cut})")).unwrap_or_default();
    let change = diff(outcome).map(|diff| format!("\nchange: {diff}")).unwrap_or_default();
    status.set_message(format!("expected {expected}, got {got}{cut}")).set_type("expectation");
    status.set_description(format!("{path}:{line}\nexpected: {expected}\ngot: {got}{cut}{change}"));
    status
}
