//! The bundled MCP server: a database of invented customers on standard input and output. It has no protection of its own.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListResourcesResult,
        ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
        Resource, ResourceContents, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use rusqlite::{Connection, types::ValueRef};
use serde_json::{Map, Value, json};

use super::data::database;
use crate::cli::Outcome;

/// Counts the statements the server was asked to execute; the resource that tells.
pub(super) const COUNT_URI: &str = "demo://statements";
const CUSTOMER_URI: &str = "demo://customers/";
/// More rows are not returned.
const MAX_ROWS: usize = 1000;

/// Serves standard input and output until the client is gone.
pub async fn run() -> Outcome {
    let server = match database() {
        Ok(connection) => Server { connection: Arc::new(Mutex::new(connection)), statements: Arc::default() },
        Err(error) => return crate::cli::failed(&error),
    };
    let running = match server.serve(rmcp::transport::stdio()).await {
        Ok(running) => running,
        Err(error) => return crate::cli::failed(&error),
    };
    match running.waiting().await {
        Ok(_) => Outcome::Clean,
        Err(error) => crate::cli::failed(&error),
    }
}

#[derive(Clone)]
struct Server {
    connection: Arc<Mutex<Connection>>,
    statements: Arc<AtomicU64>,
}

impl Server {
    fn select(&self, sql: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<Vec<Value>, String> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection.prepare(sql).map_err(|error| error.to_string())?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query(parameters).map_err(|error| error.to_string())?;
        let mut found = Vec::new();
        while found.len() < MAX_ROWS
            && let Some(row) = rows.next().map_err(|error| error.to_string())?
        {
            let mut object = Map::new();
            for (index, column) in columns.iter().enumerate() {
                let value = match row.get_ref(index).map_err(|error| error.to_string())? {
                    ValueRef::Null => Value::Null,
                    ValueRef::Integer(number) => number.into(),
                    ValueRef::Real(number) => number.into(),
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
                    ValueRef::Blob(bytes) => data_encoding::BASE64.encode(bytes).into(),
                };
                object.insert(column.clone(), value);
            }
            found.push(Value::Object(object));
        }
        Ok(found)
    }

    fn call(&self, name: &str, arguments: &Map<String, Value>) -> Result<Value, String> {
        match name {
            "query" => {
                let sql = arguments.get("sql").and_then(Value::as_str).ok_or("`sql` is missing")?;
                self.statements.fetch_add(1, Ordering::SeqCst);
                self.select(sql, &[]).map(|rows| json!({ "rows": rows }))
            }
            "get_customer" => {
                let id = arguments.get("id").and_then(Value::as_i64).ok_or("`id` is missing")?;
                let mut found = self.select("SELECT * FROM customers WHERE id = ?1", &[&id])?;
                found.pop().ok_or_else(|| "no such customer".to_owned())
            }
            "list_customers" => self
                .select("SELECT id, name, email FROM customers ORDER BY id", &[])
                .map(|rows| json!({ "customers": rows })),
            "export_customers" => {
                self.select("SELECT * FROM customers ORDER BY id", &[]).map(|rows| json!({ "customers": rows }))
            }
            _ => Err("no such tool".to_owned()),
        }
    }
}

fn tool(name: &'static str, description: &'static str, properties: Value, required: &[&str]) -> Tool {
    let schema = json!({ "type": "object", "properties": properties, "required": required });
    let Value::Object(schema) = schema else { unreachable!("an object was just made") };
    Tool::new(name, description, Arc::new(schema))
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_resources().build())
            .with_server_info(Implementation::new("sluice-demo", env!("CARGO_PKG_VERSION")))
            .with_instructions("A database of invented customers.")
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![
            tool("query", "Executes any SQL statement", json!({ "sql": { "type": "string" } }), &["sql"]),
            tool("get_customer", "One customer with all fields", json!({ "id": { "type": "integer" } }), &["id"]),
            tool("list_customers", "The names and addresses of all customers", json!({}), &[]),
            tool("export_customers", "All customers with all fields", json!({}), &[]),
        ]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        Ok(match self.call(&request.name, &arguments) {
            // As text that is JSON, and as structured content: the same value stands twice.
            Ok(value) => CallToolResult::structured(value).into(),
            Err(reason) => CallToolResult::error(vec![ContentBlock::text(reason)]).into(),
        })
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let customers = self
            .select("SELECT id, name FROM customers ORDER BY id", &[])
            .map_err(|reason| ErrorData::internal_error(reason, None))?;
        let mut resources = vec![Resource::new(COUNT_URI, "How many statements `query` executed")];
        resources.extend(customers.iter().map(|row| {
            Resource::new(format!("{CUSTOMER_URI}{}", row["id"]), row["name"].as_str().unwrap_or_default())
        }));
        Ok(ListResourcesResult::with_all_items(resources))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri;
        let text = if uri == COUNT_URI {
            Some(self.statements.load(Ordering::SeqCst).to_string())
        } else {
            let id = uri.strip_prefix(CUSTOMER_URI).and_then(|id| id.parse::<i64>().ok());
            let found = id.and_then(|id| self.select("SELECT * FROM customers WHERE id = ?1", &[&id]).ok()?.pop());
            found.map(|customer| customer.to_string())
        };
        let text = text.ok_or_else(|| ErrorData::resource_not_found("no such resource", None))?;
        Ok(ReadResourceResult::new(vec![ResourceContents::text(text, uri)]).into())
    }
}
