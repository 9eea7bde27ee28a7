//! The inspector's command line: one process for each step, as a shell script would use it.

use std::time::Duration;

use serde_json::{Value, json};

use super::Target;
use crate::place;
use crate::program::{command, run};

/// The inspector's exit code for a server that asks who is there.
const UNAUTHORIZED: i32 = 3;

/// Carries out each step with a process of its own.
pub(super) async fn carry_out(plan: &[Value], target: &Target) -> Vec<Value> {
    let mut answers = Vec::with_capacity(plan.len());
    for step in plan {
        let answer = carry_out_step(step, target).await;
        if answer.get("refused").is_some() {
            return vec![answer];
        }
        answers.push(answer);
    }
    answers
}

async fn carry_out_step(step: &Value, Target(target): &Target) -> Value {
    let home = tempfile::tempdir().unwrap();
    let script = place::node_package("@modelcontextprotocol/inspector").join("clients/cli/build/index.js");
    let mut inspector = command(place::node(), [script]);
    inspector.env("HOME", home.path()).args(["--format", "json", "--method", text(&step["method"])]);
    let params = &step["params"];
    match text(&step["method"]) {
        "tools/call" => {
            let arguments = params["arguments"].to_string();
            inspector.args(["--tool-name", text(&params["name"]), "--tool-args-json", &arguments]);
        }
        "resources/read" => {
            inspector.args(["--uri", text(&params["uri"])]);
        }
        "prompts/get" => {
            inspector.args(["--prompt-name", text(&params["name"])]);
        }
        _ => {}
    }
    if let Some(url) = target["url"].as_str() {
        inspector.args(["--transport", "http", "--server-url", url]);
        if let Some(token) = target["token"].as_str() {
            inspector.args(["--header", &format!("Authorization: Bearer {token}")]);
        }
    } else {
        inspector.arg("--").args(target["command"].as_array().unwrap().iter().map(text));
    }
    let done = run(inspector, "", Duration::from_secs(60)).await;
    if done.code == Some(UNAUTHORIZED) {
        return json!({ "refused": { "message": done.stderr } });
    }
    // What went wrong is a line of JSON among what the server logs.
    let problem = || {
        let mut lines = done.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.next_back().unwrap_or_else(|| panic!("the inspector said nothing readable: {}", done.stderr))
    };
    match done.text().trim() {
        "" => json!({ "error": problem()["error"] }),
        answer => serde_json::from_str(answer).expect("the inspector prints JSON"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
