//! Both sides of a session after its startup: which command each answer belongs to, what is refused, what is masked.
//!
//! Commands wait in a queue in the order in which the server answers them. What names stand for (statements, portals) is
//! learnt from the answers, in their order, so that it is what the server takes them for.

mod client;
mod hold;
mod judge;
mod server;

use super::copy::{CopyIn, CopyOut};
use super::frame::put;
use super::origins::{Kept, Relations};
use super::report::Report;
use super::rows::{Described, Rows, Rules};
use super::texts::Texts;
use crate::approval::Want;
use crate::evidence::{Event, ResponseOutcome};
use crate::limits::Counter;
use bytes::{Bytes, BytesMut};
pub use hold::{Hold, Verdict};
pub use judge::judge_setting;
use sluice_dsl::sql::CopyFacts;
use sluice_dsl::{Reading, SessionPolicy};
use sluice_engine::{Budget, Decision, Program, RuleSet};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Commands that may wait for their answer; then the client waits.
const MAX_PENDING: usize = 16_384;
/// Names of statements and portals that are known at once.
const MAX_NAMES: usize = 4_096;
/// The SQL of statements that is known at once, in bytes.
const MAX_KEPT: usize = 4 * 1024 * 1024;
/// A statement that the server refuses: sent where an earlier part of a batch has to be undone.
const POISON: &str = "refused by sluice";

/// What a session begins with.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The rules that hold.
    pub policy: SessionPolicy,
    /// Bounds the memory of the inspector.
    pub budget: Budget,
    /// What the session is for.
    pub purpose: Option<String>,
    /// Counts what rules with a limit let through.
    pub counter: Option<Counter>,
    /// A value that can't be masked in place ends its result; otherwise it is NULL.
    pub refuses_unmaskable: bool,
    /// The server's number for its process, and the one that the client was given.
    pub processes: (u32, u32),
}

/// What a message of the client leads to.
#[derive(Debug, Default)]
pub struct Sent {
    /// To be stored, durably, before anything goes on.
    pub records: Vec<Event>,
    /// To be sent to the server, in order.
    pub upstream: Vec<Bytes>,
    /// The message waits for an approval: nothing came of it, and it is to be given again once that is [decided](Conversation::decided).
    pub hold: Option<Box<Hold>>,
}

/// What messages of the server lead to.
#[derive(Debug, Default)]
pub struct Out {
    /// To be sent to the client, in order.
    pub client: Vec<Bytes>,
    /// For the record, in order.
    pub notes: Vec<Note>,
}

/// Something about the answer to a command, for the record. Commands are numbered; 0 stands for what answers none.
#[derive(Debug, PartialEq, Eq)]
pub enum Note {
    /// What the user saw.
    Seen(u64, Vec<u8>),
    /// What rules did.
    Decided(u64, Vec<Decision>),
    /// The answer is over.
    Done(u64, ResponseOutcome, Option<String>),
}

/// Where in the notes to write what the user saw of an answer.
fn seen(notes: &mut Vec<Note>, exchange: u64) -> &mut Vec<u8> {
    if !matches!(notes.last(), Some(Note::Seen(known, _)) if *known == exchange) {
        notes.push(Note::Seen(exchange, Vec::new()));
    }
    match notes.last_mut() {
        Some(Note::Seen(_, text)) => text,
        _ => unreachable!("it was put there"),
    }
}

impl Out {
    /// Where to write what the user saw of an answer.
    fn seen(&mut self, exchange: u64) -> &mut Vec<u8> {
        seen(&mut self.notes, exchange)
    }

    fn line(&mut self, exchange: u64, line: &str) {
        let seen = self.seen(exchange);
        seen.extend_from_slice(line.as_bytes());
        seen.push(b'\n');
    }

    fn decided(&mut self, exchange: u64, decisions: Vec<Decision>) {
        if !decisions.is_empty() {
            self.notes.push(Note::Decided(exchange, decisions));
        }
    }
}

/// A statement that was parsed.
#[derive(Debug)]
struct Statement {
    reading: Reading,
    copies: Arc<[CopyFacts]>,
    /// Its rows come from a statement that was kept, such as a cursor's.
    kept: bool,
    /// It may change what tables are called.
    defines: bool,
    /// The types of its parameters, as far as the client said them.
    parameters: Vec<u32>,
    /// The length of its SQL, in bytes.
    size: usize,
    /// What has to be approved before it is executed.
    wants: Option<Wants>,
}

/// What has to be approved before a statement is executed.
#[derive(Debug)]
struct Wants {
    want: Want,
    /// Its SQL as it went on.
    sql: String,
    /// Its verbs.
    name: Option<String>,
}

/// A portal as the client means it.
#[derive(Debug)]
struct Asked {
    statement: Arc<Statement>,
    /// Its parameters as they are shown, and the message that has them, where they have to be approved.
    parameters: (String, Bytes),
    /// It was approved: what is left of its rows comes without asking again.
    cleared: bool,
}

/// A portal: a statement with its parameters.
#[derive(Debug, Default)]
struct Portal {
    /// None where the statement isn't known, since SQL prepared it.
    statement: Option<Arc<Statement>>,
    /// The statement has a name.
    named: bool,
    columns: Option<Arc<[Described]>>,
}

/// A command that was sent, or an answer that waits for its turn.
#[derive(Debug)]
struct Entry {
    kind: Kind,
    /// Its number; 0 where it has none, or its answer is on record.
    exchange: u64,
    /// What the client is told in the place of the server's error.
    instead: Option<Report>,
}

#[derive(Debug)]
enum Kind {
    Query {
        rules: Rules,
        copies: Arc<[CopyFacts]>,
    },
    Parse {
        name: Bytes,
        statement: Arc<Statement>,
    },
    Bind {
        portal: Bytes,
        statement: Bytes,
    },
    DescribeStatement,
    /// `hidden`: the client doesn't know of it.
    DescribePortal {
        portal: Bytes,
        hidden: bool,
    },
    /// `gated`: the client waits until the server says whether data is to come.
    Execute {
        portal: Bytes,
        gated: bool,
    },
    CloseStatement {
        name: Bytes,
    },
    ClosePortal {
        portal: Bytes,
    },
    Sync,
    /// A statement that fails, in the place of one that was refused.
    Poison,
    /// An answer of the gateway's own; `ready` where the client may go on after it.
    Local {
        report: Report,
        ready: bool,
    },
}

/// A session in the middle.
#[derive(Debug)]
pub struct Conversation {
    opened: Opened,
    program: Program,
    /// Every rule for answers that may hold in this session.
    every: RuleSet,
    /// The names of columns by which rules claim values.
    claims: Arc<[String]>,
    /// It matters which table a column comes from.
    follows: bool,
    /// Tables that the next message of the server speaks of.
    relations: Relations,
    /// What statements that were kept may compute their columns of.
    kept_reads: Kept,
    /// Since the transaction began something may have changed what tables are called.
    defines: bool,
    /// That is so since it was last asked, and others can see it.
    redefined: bool,
    /// For texts outside of rows.
    general: Texts,
    /// For names that the client chooses.
    names: Texts,
    exchanges: u64,
    queue: VecDeque<Entry>,
    /// The transaction's status as the server last said it: `I`, `T` or `E`.
    status: u8,

    // What the client does.
    /// Everything up to the next Sync is passed over, as the server does after an error.
    skipping: bool,
    /// Since the last Sync something was executed.
    executed: bool,
    /// The transaction's status at the last Sync, if it was known when the batch began.
    began: Option<u8>,
    /// The portal that the last message described.
    described: Option<Bytes>,
    /// What the client means by its names.
    asked: HashMap<Bytes, Arc<Statement>>,
    asked_portals: HashMap<Bytes, Asked>,
    /// The SQL behind them, in bytes.
    kept: usize,
    /// SQL that changes what names stand for has gone on.
    tainted: bool,
    /// Answers that the client waits for before it may send more.
    gates: usize,
    copy_in: Option<CopyIn>,
    ended: bool,
    /// What was decided about the command of this hash, which comes again.
    verdict: Option<(String, Verdict)>,
    /// What the gateway has to say meanwhile.
    notices: Vec<Bytes>,

    // What the server does.
    statements: HashMap<Bytes, Arc<Statement>>,
    portals: HashMap<Bytes, Portal>,
    rows: Option<Rows>,
    copy_out: Option<CopyOut>,
    /// A rule ended a result: the client hears nothing more before it can go on.
    muted: bool,
}

impl Conversation {
    /// A session whose startup the server has accepted: it will say that it is ready, once.
    #[must_use]
    pub fn new(opened: Opened) -> Self {
        let program = opened.policy.policy().program().clone();
        let every = opened.policy.every_response_rule();
        Self {
            claims: opened.policy.claimed_columns().into(),
            follows: opened.policy.asks_origins(),
            relations: Relations::new(),
            kept_reads: Kept::default(),
            defines: false,
            redefined: false,
            general: Texts::new(&program, every.clone(), &opened.budget).counting(opened.counter.clone()),
            names: Texts::new(&program, opened.policy.every_request_rule(), &opened.budget),
            every,
            program,
            opened,
            exchanges: 0,
            queue: VecDeque::from([Entry { kind: Kind::Sync, exchange: 0, instead: None }]),
            status: b'I',
            skipping: false,
            executed: false,
            began: None,
            described: None,
            asked: HashMap::new(),
            asked_portals: HashMap::new(),
            kept: 0,
            tainted: false,
            gates: 0,
            copy_in: None,
            ended: false,
            verdict: None,
            notices: Vec::new(),
            statements: HashMap::new(),
            portals: HashMap::new(),
            rows: None,
            copy_out: None,
            muted: false,
        }
    }

    /// Nothing is under way; a transaction may be open.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// The client said goodbye.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended
    }

    /// Whether tables may be called otherwise since this was last asked.
    pub fn has_redefined(&mut self) -> bool {
        std::mem::take(&mut self.redefined)
    }

    /// Every rule that may hold in the session, for what comes from a statement that isn't known.
    fn all_rules(&self) -> Rules {
        Rules::All(self.every.clone(), self.kept_reads.origins())
    }

    fn next_exchange(&mut self) -> u64 {
        self.exchanges += 1;
        self.exchanges
    }

    fn push(&mut self, kind: Kind, exchange: u64) {
        self.queue.push_back(Entry { kind, exchange, instead: None });
    }
}

/// ReadyForQuery.
fn ready(status: u8) -> Bytes {
    let mut out = BytesMut::new();
    put(&mut out, b'Z', |out| out.extend_from_slice(&[status]));
    out.freeze()
}

#[cfg(test)]
mod tests;
