//! What a server estimates that a statement touches: EXPLAIN on a connection of the gateway's own, which runs nothing.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::postgres::{ConnectError, Server, connect};
use crate::protocol::postgres::frame::message;
use crate::protocol::postgres::origins::values;

/// How long the server may take; approvers decide without an estimate otherwise.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest plan that is read, in bytes.
const MAX_PLAN: usize = 1 << 20;

/// The rows and the cost that the server expects of a single statement, or why they are not known.
pub(crate) async fn estimate(server: &Server, sql: &str) -> Value {
    match timeout(PATIENCE, explain(server, sql)).await {
        Ok(Ok(Some(plan))) => read(&plan).unwrap_or_else(|| json!("the server's plan can't be read")),
        Ok(Ok(None)) => json!("the server has none"),
        Ok(Err(error)) => {
            tracing::warn!(host = server.host, %error, "a server gives no estimate");
            json!("the server can't be asked")
        }
        Err(_) => json!("the server takes too long"),
    }
}

async fn explain(server: &Server, sql: &str) -> Result<Option<String>, ConnectError> {
    // Whatever the statement is, this connection changes nothing.
    let settings = [("default_transaction_read_only", "on"), ("application_name", "sluice estimate")];
    let mut connected = connect(server, &settings.map(|(name, value)| (name.to_owned(), value.to_owned()))).await?;
    connected.ask(&question(sql)).await?;
    let mut plan = None;
    while let Some(said) = connected.answer().await? {
        if said.tag() == b'D' && plan.is_none() {
            let first = values(&said).ok().and_then(|row| row.into_iter().next().flatten());
            plan = first.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()).filter(|plan| plan.len() <= MAX_PLAN);
        }
    }
    let _ = connected.socket.write_all(&message(b'X', b"")).await;
    Ok(plan)
}

/// To be prepared, so that the server refuses it should it read more than one statement in it.
fn question(sql: &str) -> Vec<u8> {
    let parse = format!("\0EXPLAIN (FORMAT JSON) {sql}\0\0\0");
    [message(b'P', parse.as_bytes()), message(b'B', &[0; 8]), message(b'E', &[0; 5]), message(b'S', &[])].concat()
}

/// A statement that changes rows returns none: how many it changes stands one level below.
fn read(plan: &str) -> Option<Value> {
    let plan: Value = serde_json::from_str(plan).ok()?;
    let top = plan.get(0)?.get("Plan")?;
    let changes = top.get("Node Type").and_then(Value::as_str) == Some("ModifyTable");
    let rows = if changes { top.get("Plans")?.get(0)? } else { top };
    Some(json!({ "rows": rows.get("Plan Rows")?, "cost": top.get("Total Cost")? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_a_change_stand_below_it() {
        let select = r#"[{"Plan": {"Node Type": "Seq Scan", "Plan Rows": 7, "Total Cost": 1.5}}]"#;
        assert_eq!(read(select), Some(json!({ "rows": 7, "cost": 1.5 })));
        let delete = r#"[{"Plan": {"Node Type": "ModifyTable", "Plan Rows": 0, "Total Cost": 9, "Plans": [{"Plan Rows": 40}]}}]"#;
        assert_eq!(read(delete), Some(json!({ "rows": 40, "cost": 9 })));
        assert_eq!((read("[]"), read("nothing")), (None, None));
    }
}
