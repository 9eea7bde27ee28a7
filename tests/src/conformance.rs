//! The official conformance suite, run against a URL, its checks read one by one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::place;
use crate::program::{command, run};

/// A generation of the suite, and what to ask of it.
#[derive(Debug, Clone, Copy)]
pub enum Suite {
    /// 0.1.16, all scenarios of revision 2025-11-25.
    Stable,
    /// 0.2.0-alpha.12, what this revision of the protocol requires.
    Next(&'static str),
}

/// Each check by scenario, id and place among checks of that id; its status, such as `SUCCESS`.
pub type Checks = BTreeMap<(String, String, usize), String>;

/// Runs the suite. Notes on the traffic (`INFO`) are left out: only what the suite judges counts.
pub async fn run_suite(suite: Suite, url: &str) -> Checks {
    let results = tempfile::tempdir().unwrap();
    let (package, selection) = match suite {
        Suite::Stable => ("@modelcontextprotocol/conformance", ["--suite", "all"]),
        Suite::Next(revision) => ("conformance-next", ["--requirements", revision]),
    };
    let script = place::node_package(package).join("dist/index.js");
    let mut node = command(place::node(), [script]);
    node.args(["server", "--url", url]).args(selection).arg("-o").arg(results.path());
    let done = run(node, "", Duration::from_secs(300)).await;
    let mut checks = Checks::new();
    for entry in std::fs::read_dir(results.path()).unwrap() {
        let path = entry.unwrap().path();
        let scenario = scenario_of(&path);
        let Ok(file) = std::fs::read(path.join("checks.json")) else {
            // The scenario broke off before it judged anything.
            checks.insert((scenario, "judged".to_owned(), 0), "FAILURE".to_owned());
            continue;
        };
        let file: Value = serde_json::from_slice(&file).unwrap();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for check in file.as_array().unwrap() {
            let status = check["status"].as_str().unwrap();
            if status == "INFO" {
                continue;
            }
            let id = check["id"].as_str().unwrap().to_owned();
            let nth = seen.entry(id.clone()).or_default();
            checks.insert((scenario.clone(), id, *nth), status.to_owned());
            *nth += 1;
        }
    }
    assert!(!checks.is_empty(), "the suite judged nothing: {}\n{}", done.text(), done.stderr);
    checks
}

/// `…/server-tools-list-2026-11-23T21-38-31-410Z` -> `tools-list`
fn scenario_of(path: &std::path::Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy();
    let name = name.strip_prefix("server-").unwrap_or(&name);
    let stamp = "-2026-11-23T21-38-31-410Z".len();
    name[..name.len() - stamp].to_owned()
}

/// The checks that ended otherwise, one line each.
pub fn differences(directly: &Checks, through: &Checks) -> Vec<String> {
    let keys: std::collections::BTreeSet<_> = directly.keys().chain(through.keys()).collect();
    let status = |checks: &Checks, key| checks.get(key).cloned().unwrap_or_else(|| "absent".into());
    keys.into_iter()
        .map(|key| (key, status(directly, key), status(through, key)))
        .filter(|(_, before, after)| before != after)
        .map(|((scenario, id, nth), before, after)| {
            format!("{scenario}: {id} #{nth}: directly {before}, through {after}")
        })
        .collect()
}

/// Our server under the suite for the revision that it asks for.
fn fixture(suite: Suite) -> PathBuf {
    place::clients(match suite {
        Suite::Next("2026-07-28") => "conformance-server-2026.mjs",
        _ => "conformance-server.mjs",
    })
}

/// The command of our server under the suite, speaking over standard input and output.
pub fn fixture_over_stdio(suite: Suite) -> Vec<String> {
    let parts: [PathBuf; 3] = [place::node(), fixture(suite), "stdio".into()];
    parts.iter().map(|part| part.to_string_lossy().into_owned()).collect()
}

/// Our server under the suite, speaking HTTP.
pub async fn fixture_over_http(suite: Suite) -> crate::program::Server {
    let args = [fixture(suite).into_os_string(), "http".into()];
    crate::program::Server::start(command(place::node(), args)).await
}
