//! MCP clients that people use, all carrying out the same plan: the official SDKs of three languages (two generations where
//! there are two), FastMCP, and the inspector's command line.

mod inspector;
mod rust;

use std::time::Duration;

use serde_json::{Value, json};

use crate::place;
use crate::program::{command, run};

/// An official client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// npm `@modelcontextprotocol/sdk` 1.x
    TypeScript1,
    /// npm `@modelcontextprotocol/client` 2.x
    TypeScript2,
    /// PyPI `mcp` 1.x
    Python1,
    /// PyPI `mcp` 2.x
    Python2,
    /// PyPI `fastmcp` 4.x
    FastMcp,
    /// crates.io `rmcp` 3.x
    Rust,
    /// npm `@modelcontextprotocol/inspector`, its command line
    Inspector,
}

/// All of them.
pub const ALL: [Client; 7] = [
    Client::TypeScript1,
    Client::TypeScript2,
    Client::Python1,
    Client::Python2,
    Client::FastMcp,
    Client::Rust,
    Client::Inspector,
];

/// What a client connects to.
#[derive(Debug, Clone)]
pub struct Target(Value);

impl Target {
    /// A server behind a URL, with this bearer token.
    pub fn url(url: &str, token: Option<&str>) -> Self {
        Self(json!({ "url": url, "token": token }))
    }

    /// A server that the client starts and speaks to over standard input and output.
    pub fn stdio(command: &[String]) -> Self {
        Self(json!({ "command": command }))
    }
}

/// One step of a plan: a method and its parameters.
pub fn step(method: &str, params: Value) -> Value {
    json!({ "method": method, "params": params })
}

/// A step that calls a tool.
pub fn call(tool: &str, arguments: Value) -> Value {
    step("tools/call", json!({ "name": tool, "arguments": arguments }))
}

/// The step, with what the server notes meanwhile as `notes` of its answer: `{"log":…}` and `{"progress":…}`, in order.
/// The SDKs of TypeScript and Python can tell.
pub fn with_notes(mut step: Value) -> Value {
    step["notes"] = json!(true);
    step
}

impl Client {
    /// Carries out the plan. One value for each step, `{"result":…}` or `{"error":…}`; or a single `{"refused":…}` when the client couldn't
    /// connect at all.
    pub async fn carry_out(self, plan: &[Value], target: &Target) -> Vec<Value> {
        let (program, script) = match self {
            Self::TypeScript1 => (place::node(), "client-ts1.mjs"),
            Self::TypeScript2 => (place::node(), "client-ts2.mjs"),
            Self::Python1 => (place::python("mcp1", "python"), "client_py.py"),
            Self::Python2 => (place::python("mcp2", "python"), "client_py.py"),
            Self::FastMcp => (place::python("mcp2", "python"), "client_fastmcp.py"),
            Self::Rust => return rust::carry_out(plan, target).await,
            Self::Inspector => return inspector::carry_out(plan, target).await,
        };
        let args = [place::clients(script).into_os_string(), target.0.to_string().into()];
        let done = run(command(program, args), Value::from(plan).to_string(), Duration::from_secs(60)).await;
        let answers: Vec<Value> =
            done.text().lines().map(|line| serde_json::from_str(line).expect("clients print JSON lines")).collect();
        let refused = answers.first().is_some_and(|answer| answer.get("refused").is_some());
        assert!(refused || answers.len() == plan.len(), "{self:?} printed {answers:?}, and on stderr: {}", done.stderr);
        answers
    }
}
