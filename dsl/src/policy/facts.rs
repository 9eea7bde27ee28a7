//! What a policy is asked about: the session and the request.

use super::origin::Origins;

/// Who acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserKind {
    /// A person.
    #[default]
    Person,
    /// A program with an identity of its own.
    Service,
}

impl UserKind {
    /// The word that rules and records have for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Service => "service",
        }
    }
}

/// What is known when a session opens, and doesn't change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFacts {
    /// `mcp`, `postgres`, …
    pub protocol: String,
    /// The name of the connection.
    pub target: String,
    /// The user: an e-mail or a subject.
    pub user_id: String,
    /// The user's e-mail.
    pub user_email: Option<String>,
    /// Person or program.
    pub user_kind: UserKind,
    /// The user's groups.
    pub user_groups: Vec<String>,
    /// What the session is for.
    pub purpose: Option<String>,
    /// The client program.
    pub client: Option<String>,
    /// The client's address.
    pub ip: Option<String>,
}

/// What is known of one request. What is `None` doesn't apply to it.
#[derive(Clone, Debug, Default)]
pub struct RequestFacts {
    /// The MCP method.
    pub mcp_method: Option<String>,
    /// The MCP tool.
    pub tool_name: Option<String>,
    /// Its arguments.
    pub tool_args: Option<serde_json::Value>,
    /// The MCP resource.
    pub resource_uri: Option<String>,
    /// The MCP prompt.
    pub prompt_name: Option<String>,
    /// The SQL text of a native SQL protocol.
    pub sql: Option<String>,
    /// The column whose value is inspected, by its name in the result.
    pub column: Option<String>,
    /// Where the values of that column come from.
    pub origins: Origins,
    /// The size of the request in bytes.
    pub size: u64,
    /// The time; now, where none is given.
    pub now: Option<jiff::ZonedDateTime>,
}
