//! One session with one request, made up: what conditions are decided over, and what a message shows as an example.

use super::axes::collect;
use crate::fields::{FieldId, SQL_PROTOCOLS};
use crate::policy::condition::{Cond, Facts, View, glob, select};
use crate::policy::{Decode, RequestFacts, SessionFacts, UserKind};
use crate::sql::SqlFacts;
use sluice_engine::{JsonPath, PathStep};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What an MCP message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    Tool,
    Resource,
    Prompt,
    Other,
}

impl Channel {
    /// The method that stands for the channel.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Tool => "tools/call",
            Self::Resource => "resources/read",
            Self::Prompt => "prompts/get",
            Self::Other => "tools/list",
        }
    }

    /// What comes over it, in words.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Tool => "what tools return",
            Self::Resource => "resources",
            Self::Prompt => "prompts",
            Self::Other => "other messages",
        }
    }
}

/// One session with one request.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) session: SessionFacts,
    pub(crate) request: RequestFacts,
    channel: Channel,
    sql: SqlFacts,
    sql_state: SqlState,
    now: jiff::ZonedDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SqlState {
    Parsed,
    Unparsable,
    None,
}

/// What may be assumed about all worlds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// True where `decode` gives MCP its SQL.
    pub(crate) decoded: bool,
    pub(crate) today: jiff::civil::Date,
    /// True where SQL that can't be parsed is a case too.
    pub(crate) unparsable: bool,
}

/// A value of one field.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    Text(FieldId, Option<String>),
    Texts(FieldId, Vec<String>),
    Argument(JsonPath, Option<String>),
    Channel(Channel, Option<String>),
    Number(FieldId, f64),
    Flag(bool),
    Sql(SqlState),
}

impl World {
    pub(crate) fn new(today: jiff::civil::Date) -> Self {
        let now = today.at(12, 0, 0, 0).to_zoned_datetime(jiff::tz::TimeZone::UTC);
        let session = SessionFacts {
            protocol: "mcp".into(),
            target: "any".into(),
            user_id: "someone".into(),
            ..SessionFacts::default()
        };
        let sql = SqlFacts { verbs: vec!["select".into()], statements: 1, has_where: true, ..SqlFacts::default() };
        Self {
            session,
            request: RequestFacts::default(),
            channel: Channel::Tool,
            sql,
            sql_state: SqlState::None,
            // Noon of a day that the time zone has.
            now: now.unwrap_or_else(|_| jiff::ZonedDateTime::now()),
        }
    }

    pub(crate) fn facts(&self) -> Facts<'_> {
        let sql = match self.sql_state {
            SqlState::Parsed => Some(Ok(&self.sql)),
            SqlState::Unparsable => Some(Err(())),
            SqlState::None => None,
        };
        Facts { session: &self.session, request: Some(View { facts: &self.request, sql, now: &self.now }) }
    }

    /// The same session, with a request of another channel.
    pub(crate) fn on(&self, channel: Channel) -> Self {
        let request = RequestFacts { size: self.request.size, ..RequestFacts::default() };
        let mut other = Self { channel, request, sql_state: SqlState::None, ..self.clone() };
        other.settle(false);
        other
    }

    pub(crate) fn channel(&self) -> Option<Channel> {
        (self.session.protocol == "mcp").then_some(self.channel)
    }

    pub(crate) fn set(&mut self, choice: &Choice) {
        match choice.clone() {
            Choice::Text(field, value) => {
                let required = value.clone().unwrap_or_default();
                match field {
                    FieldId::Protocol => self.session.protocol = required,
                    FieldId::Target => self.session.target = required,
                    FieldId::UserId => self.session.user_id = required,
                    FieldId::UserEmail => self.session.user_email = value,
                    FieldId::UserKind if required == "service" => self.session.user_kind = UserKind::Service,
                    FieldId::UserKind => self.session.user_kind = UserKind::Person,
                    FieldId::SessionPurpose => self.session.purpose = value,
                    FieldId::SessionClient => self.session.client = value,
                    FieldId::SessionIp => self.session.ip = value,
                    FieldId::ToolName => self.request.tool_name = value,
                    FieldId::ResourceUri => self.request.resource_uri = value,
                    FieldId::PromptName => self.request.prompt_name = value,
                    FieldId::Column => self.request.column = value,
                    FieldId::TimeWeekday => self.weekday(&required),
                    _ => {}
                }
            }
            Choice::Texts(field, values) => match field {
                FieldId::UserGroup => self.session.user_groups = values,
                FieldId::SqlTables => self.sql.tables = values,
                FieldId::SqlFunctions => self.sql.functions = values,
                _ => self.sql.verbs = values,
            },
            Choice::Argument(path, value) => {
                let args = self.request.tool_args.get_or_insert_with(|| serde_json::json!({}));
                if let Some(value) = value {
                    put(args, &path.steps, value);
                }
            }
            Choice::Channel(channel, method) => {
                self.channel = channel;
                self.request.mcp_method = method;
            }
            Choice::Number(FieldId::Size, number) => self.request.size = number as u64,
            Choice::Number(FieldId::TimeHour, number) => {
                // The numbers are hours of a day.
                self.now = self.now.with().hour(number as i8).build().unwrap_or_else(|_| self.now.clone());
            }
            Choice::Number(_, number) => self.sql.statements = number as usize,
            Choice::Flag(flag) => self.sql.has_where = flag,
            Choice::Sql(state) => self.sql_state = state,
        }
    }

    fn weekday(&mut self, word: &str) {
        for _ in 0..7 {
            if crate::policy::condition::weekday(&self.now) == word {
                return;
            }
            self.now = self.now.tomorrow().unwrap_or_else(|_| self.now.clone());
        }
    }

    /// Takes away what the protocol doesn't have.
    pub(crate) fn settle(&mut self, decoded: bool) {
        let (mcp, native) = (self.session.protocol == "mcp", SQL_PROTOCOLS.contains(&self.session.protocol.as_str()));
        let channel = mcp.then_some(self.channel);
        let keep = |value: &mut Option<String>, here: bool, or: &str| match here {
            true => drop(value.get_or_insert_with(|| or.to_owned())),
            false => *value = None,
        };
        keep(&mut self.request.tool_name, channel == Some(Channel::Tool), "any_tool");
        keep(&mut self.request.resource_uri, channel == Some(Channel::Resource), "file:///any");
        keep(&mut self.request.prompt_name, channel == Some(Channel::Prompt), "any_prompt");
        if channel != Some(Channel::Tool) {
            self.request.tool_args = None;
        }
        match channel {
            Some(Channel::Other) => {}
            Some(channel) => keep(&mut self.request.mcp_method, true, channel.method()),
            None => self.request.mcp_method = None,
        }
        if !native {
            self.request.column = None;
        }
        match (native, channel == Some(Channel::Tool) && decoded) {
            (true, _) if self.sql_state == SqlState::None => self.sql_state = SqlState::Parsed,
            (false, false) => self.sql_state = SqlState::None,
            _ => {}
        }
    }

    /// The request as a policy is asked about it. None where no SQL can be written that has these facts.
    pub(crate) fn request(&self) -> Option<RequestFacts> {
        let mut request = RequestFacts { now: Some(self.now.clone()), ..self.request.clone() };
        match self.sql_state {
            SqlState::None => {}
            // A tool's SQL stands in its arguments, where `decode` says; that is not made up here.
            _ if self.session.protocol == "mcp" => return None,
            SqlState::Unparsable => request.sql = Some("this is no SQL".into()),
            SqlState::Parsed => request.sql = Some(statements(&self.sql)?),
        }
        Some(request)
    }

    /// The same; the SQL of a tool stands in its arguments, where `decode` says.
    pub(crate) fn request_through(&self, decode: &Decode) -> Option<RequestFacts> {
        let sql = match self.sql_state {
            _ if self.channel() != Some(Channel::Tool) => return None,
            SqlState::None => return None,
            SqlState::Unparsable => "this is no SQL".to_owned(),
            SqlState::Parsed => statements(&self.sql)?,
        };
        let mut request = RequestFacts { now: Some(self.now.clone()), ..self.request.clone() };
        if !request.tool_name.as_ref().is_some_and(|tool| glob(&decode.tool, tool)) {
            request.tool_name = Some(decode.tool.replace(['*', '?'], "x"));
        }
        put(request.tool_args.get_or_insert_with(|| serde_json::json!({})), &decode.path.steps, sql);
        Some(request)
    }

    /// How many kinds of statements the SQL holds.
    pub(crate) fn verbs(&self) -> usize {
        self.sql.verbs.len()
    }

    /// As the `given` of a test has it, as far as the fields that the conditions speak of.
    pub(crate) fn given(&self, direction: &str, conditions: &[&Cond]) -> String {
        let mut tests = Vec::new();
        conditions.iter().for_each(|condition| collect(condition, &mut tests));
        let fields: BTreeSet<usize> = tests.iter().map(|test| test.field as usize).collect();
        let has = |field: FieldId| fields.contains(&(field as usize));
        let mut out = format!("given {direction} {{ protocol {}", self.session.protocol);
        let mut text = |field: FieldId, value: Option<&String>| {
            if let Some(value) = value.filter(|_| has(field)) {
                // A String takes every write.
                let _ = write!(out, " {} {value:?}", field.info().name);
            }
        };
        let session = &self.session;
        text(FieldId::Target, Some(&session.target));
        text(FieldId::UserId, Some(&session.user_id));
        text(FieldId::UserEmail, session.user_email.as_ref());
        text(FieldId::SessionPurpose, session.purpose.as_ref());
        text(FieldId::SessionClient, session.client.as_ref());
        text(FieldId::SessionIp, session.ip.as_ref());
        if has(FieldId::UserKind) {
            out.push_str(if session.user_kind == UserKind::Service {
                " user.kind service"
            } else {
                " user.kind person"
            });
        }
        if has(FieldId::UserGroup) {
            let _ = write!(out, " user.group {:?}", session.user_groups);
        }
        let request = &self.request;
        let named = [
            (FieldId::McpMethod, &request.mcp_method),
            (FieldId::ToolName, &request.tool_name),
            (FieldId::ResourceUri, &request.resource_uri),
            (FieldId::PromptName, &request.prompt_name),
            (FieldId::Column, &request.column),
        ];
        // What an MCP message is about is said also where only another kind of message is tested for.
        let about = self.channel().is_some() && tests.iter().any(|test| test.field.info().protocols == ["mcp"]);
        for (field, value) in named {
            let told = has(field) || (about && !matches!(field, FieldId::McpMethod | FieldId::Column));
            if let Some(value) = value.as_ref().filter(|_| told) {
                let _ = write!(out, " {} {value:?}", field.info().name);
            }
        }
        let mut paths: Vec<&JsonPath> = tests.iter().filter_map(|test| test.path.as_ref()).collect();
        paths.dedup();
        for path in paths {
            let args = request.tool_args.iter().flat_map(|args| select(args, &path.steps));
            if let (Some(text), Some(path)) = (args.into_iter().find_map(|value| value.as_str()), plain(path)) {
                let _ = write!(out, " tool.arg({path:?}) {text:?}");
            }
        }
        out.push_str(" }");
        out
    }

    /// The same, and behind it in words what no test can give.
    pub(crate) fn describe(&self, direction: &str, conditions: &[&Cond]) -> String {
        let mut tests = Vec::new();
        conditions.iter().for_each(|condition| collect(condition, &mut tests));
        let has = |field: FieldId| tests.iter().any(|test| test.field == field);
        let mut out = self.given(direction, conditions);
        if tests.iter().any(|test| test.field.info().name.starts_with("sql.")) {
            let written = self.request().and_then(|request| request.sql);
            let _ = write!(out, " after `{}`", written.unwrap_or_default());
        }
        for (field, value) in [
            (FieldId::Size, self.request.size.to_string()),
            (FieldId::TimeHour, self.now.hour().to_string()),
            (FieldId::TimeWeekday, crate::policy::condition::weekday(&self.now).to_owned()),
        ] {
            if has(field) {
                let _ = write!(out, " at {} {value}", field.info().name);
            }
        }
        out
    }
}

/// The path as a test gives a value for it: of names alone.
fn plain(path: &JsonPath) -> Option<String> {
    let name = |step: &PathStep| match step {
        PathStep::Key(key) if !key.contains(['.', '[']) => Some(format!(".{key}")),
        _ => None,
    };
    let names: Option<String> = path.steps.iter().map(name).collect();
    names.map(|names| format!("${names}"))
}

/// SQL that does what the facts say. Whether it does is for the parser to say.
fn statements(facts: &SqlFacts) -> Option<String> {
    let table = facts.tables.first().map_or("t", String::as_str);
    let filter = if facts.has_where { " WHERE id = 1" } else { "" };
    let calls = facts.functions.iter().map(|name| format!("{name}()")).collect::<Vec<_>>().join(", ");
    let what = if calls.is_empty() { "id" } else { calls.as_str() };
    let statement = |verb: &String| {
        Some(match verb.as_str() {
            "select" => format!("SELECT {what} FROM {table}{filter}"),
            "insert" => format!("INSERT INTO {table} VALUES (1)"),
            "update" => format!("UPDATE {table} SET id = 2{filter}"),
            "delete" => format!("DELETE FROM {table}{filter}"),
            "truncate" => format!("TRUNCATE {table}"),
            "create" => format!("CREATE TABLE {table} (id int)"),
            "alter" => format!("ALTER TABLE {table} ADD more int"),
            "drop" => format!("DROP TABLE {table}"),
            "grant" => format!("GRANT SELECT ON {table} TO someone"),
            _ => return None,
        })
    };
    let statements: Option<Vec<String>> = facts.verbs.iter().map(statement).collect();
    statements.filter(|list| !list.is_empty()).map(|list| list.join("; "))
}

/// Puts a text at a path; a step over any member goes to one called `any`.
fn put(value: &mut serde_json::Value, steps: &[PathStep], text: String) {
    let Some((step, rest)) = steps.split_first() else {
        *value = serde_json::Value::String(text);
        return;
    };
    let key = match step {
        PathStep::Descend => return put(value, rest, text),
        PathStep::Index(index) => {
            let mut items = vec![serde_json::Value::Null; index + 1];
            put(&mut items[*index], rest, text);
            *value = serde_json::Value::Array(items);
            return;
        }
        PathStep::Key(key) => key.as_str(),
        PathStep::Any => "any",
    };
    if !value.is_object() {
        *value = serde_json::json!({});
    }
    put(&mut value[key], rest, text);
}
