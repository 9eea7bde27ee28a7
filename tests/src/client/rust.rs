//! The client of `rmcp`, in the process of the test.

use std::process::Stdio;

use rmcp::model::PaginatedRequestParams;
use rmcp::service::{ClientInitializeError, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceError, ServiceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::Target;

type Running = RunningService<RoleClient, ()>;

/// Carries out the plan over one connection.
pub(super) async fn carry_out(plan: &[Value], target: &Target) -> Vec<Value> {
    let (client, child) = match connect(target).await {
        Ok(connected) => connected,
        Err(error) => return vec![json!({ "refused": { "message": error.to_string() } })],
    };
    let mut answers = Vec::with_capacity(plan.len());
    for step in plan {
        answers.push(match carry_out_step(&client, step).await {
            Ok(result) => json!({ "result": result }),
            Err(ServiceError::McpError(error)) => json!({ "error": error }),
            Err(other) => json!({ "error": { "message": other.to_string() } }),
        });
    }
    client.cancel().await.unwrap();
    drop(child);
    answers
}

async fn connect(Target(target): &Target) -> Result<(Running, Option<Child>), ClientInitializeError> {
    if let Some(url) = target["url"].as_str() {
        let mut config = StreamableHttpClientTransportConfig::with_uri(url.to_owned());
        config.auth_header = target["token"].as_str().map(str::to_owned);
        return Ok((().serve(StreamableHttpClientTransport::from_config(config)).await?, None));
    }
    let command: Vec<&str> = target["command"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pipes = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
    Ok((().serve(pipes).await?, Some(child)))
}

async fn carry_out_step(client: &Running, step: &Value) -> Result<Value, ServiceError> {
    let params = &step["params"];
    match step["method"].as_str().unwrap() {
        "tools/list" => client.list_tools(None::<PaginatedRequestParams>).await.map(plain),
        "tools/call" => client.call_tool(typed(params)).await.map(plain),
        "resources/list" => client.list_resources(None).await.map(plain),
        "resources/read" => client.read_resource(typed(params)).await.map(plain),
        "prompts/list" => client.list_prompts(None).await.map(plain),
        "prompts/get" => client.get_prompt(typed(params)).await.map(plain),
        other => panic!("no step {other}"),
    }
}

fn typed<T: DeserializeOwned>(params: &Value) -> T {
    serde_json::from_value(params.clone()).expect("a plan has the parameters of its methods")
}

fn plain(result: impl Serialize) -> Value {
    serde_json::to_value(result).unwrap()
}
