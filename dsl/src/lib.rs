//! The rule language.
#![allow(missing_docs)]
use std::{path::PathBuf, sync::Arc, time::Duration};
#[derive(Debug, Clone, Copy, PartialEq, Eq)] pub enum UserKind { Person, Service }
#[derive(Debug, Clone)] pub struct SessionFacts { pub protocol: String, pub target: String, pub user_id: String, pub user_email: Option<String>, pub user_kind: UserKind, pub user_groups: Vec<String>, pub purpose: Option<String>, pub client: Option<String>, pub ip: Option<String> }
#[derive(Debug, Default)] pub struct RequestFacts { pub mcp_method: Option<String>, pub tool_name: Option<String>, pub tool_args: Option<serde_json::Value>, pub resource_uri: Option<String>, pub prompt_name: Option<String>, pub sql: Option<String>, pub column: Option<String>, pub size: u64, pub now: Option<jiff::ZonedDateTime> }
#[derive(Debug, Clone)] pub struct RuleInfo { pub name: String, pub pack: String, pub id: Option<String>, pub severity: Option<String>, pub tags: Vec<String>, pub gdpr: Vec<String>, pub message: Option<String>, pub audit: bool }
#[derive(Debug, Clone)] pub struct Hit { pub rule: Arc<RuleInfo>, pub action: HitAction, pub detail: Option<String> }
#[derive(Debug, Clone)] pub enum HitAction { Block { message: String }, Approve { by: Vec<String>, count: u32, ttl: Duration, wait: Duration }, Alert }
#[derive(Debug, Clone)] pub struct Policy { program: sluice_engine::Program, rules: Arc<Vec<RuleInfo>> }
impl Policy { pub fn digest(&self) -> &str { "" } pub fn program(&self) -> &sluice_engine::Program { &self.program } pub fn rules(&self) -> &[RuleInfo] { &self.rules } pub fn rule(&self, id: sluice_engine::RuleId) -> &RuleInfo { let _ = id; &self.rules[0] } pub fn specialise(&self, _: &SessionFacts) -> SessionPolicy { SessionPolicy { policy: self.clone() } } }
#[derive(Debug, Clone)] pub struct SessionPolicy { policy: Policy }
impl SessionPolicy { pub fn decide(&self, _: &RequestFacts) -> Vec<Hit> { Vec::new() } pub fn request_rules(&self, _: &RequestFacts) -> sluice_engine::RuleSet { self.policy.program.all_rules() } pub fn response_rules(&self, _: &RequestFacts) -> sluice_engine::RuleSet { self.policy.program.all_rules() } pub fn policy(&self) -> &Policy { &self.policy } }
#[derive(Debug, Clone, Default)] pub struct PackSource;
#[derive(Debug, Clone)] pub struct CompileOptions { pub today: jiff::civil::Date, pub keys: sluice_engine::Keyring, pub packs: PackSource }
#[derive(Debug)] pub struct Compilation { pub policy: Option<Policy> }
impl Compilation { pub fn has_errors(&self) -> bool { false } pub fn render(&self, _: bool) -> String { String::new() } }
pub fn compile_files(_: &[PathBuf], _: &CompileOptions) -> Compilation { Compilation { policy: None } }
