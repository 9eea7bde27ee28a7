//! What a test gives: the facts of its session and its request.

use crate::policy::{RequestFacts, SessionFacts, UserKind};
use crate::syntax::tree::{Field, Test, Value};

/// What a test gives.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) session: SessionFacts,
    pub(crate) request: RequestFacts,
}

impl Given {
    pub(crate) fn of(test: &Test) -> Self {
        let mut session = SessionFacts { user_id: "tester@example.org".into(), ..SessionFacts::default() };
        let mut request = RequestFacts { size: test.send.value.len() as u64, ..RequestFacts::default() };
        for (field, value) in &test.given {
            let first = || texts(value).into_iter().next().unwrap_or_default();
            match field.name.value.as_str() {
                "protocol" => session.protocol = first(),
                "target" => session.target = first(),
                "user.id" => session.user_id = first(),
                "user.email" => session.user_email = Some(first()),
                "user.kind" if first() == "service" => session.user_kind = UserKind::Service,
                "user.kind" => session.user_kind = UserKind::Person,
                "user.group" => session.user_groups = texts(value),
                "session.purpose" => session.purpose = Some(first()),
                "session.client" => session.client = Some(first()),
                "session.ip" => session.ip = Some(first()),
                "mcp.method" => request.mcp_method = Some(first()),
                "tool.name" => request.tool_name = Some(first()),
                "tool.arg" => argument(&mut request, field, &first()),
                "resource.uri" => request.resource_uri = Some(first()),
                "prompt.name" => request.prompt_name = Some(first()),
                "column" => request.column = Some(first()),
                // The checker names a field that no test can give.
                _ => {}
            }
        }
        Self { session, request }
    }
}

/// Puts a text at the path of `tool.arg("$.name")`, one member deep or more.
fn argument(request: &mut RequestFacts, field: &Field, text: &str) {
    let path = field.path.as_ref().map_or("", |path| path.value.trim_start_matches('$').trim_start_matches('.'));
    let mut at = request.tool_args.get_or_insert_with(|| serde_json::json!({}));
    for name in path.split('.') {
        if !at.is_object() {
            *at = serde_json::json!({});
        }
        at = &mut at[name];
    }
    *at = serde_json::Value::String(text.to_owned());
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Text(text) | Value::Word(text) => vec![text.value.clone()],
        Value::Number(number) => vec![number.value.to_string()],
        Value::Size(number) | Value::Duration(number) => vec![number.value.to_string()],
        Value::List(list) => list.value.iter().flat_map(texts).collect(),
    }
}
