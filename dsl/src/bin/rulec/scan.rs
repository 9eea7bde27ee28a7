//! `rulec scan`: bytes through rules, as a stream. Memory doesn't grow with the input.

use crate::check::compile;
use crate::output::{Failure, Format};
use bytes::Bytes;
use serde_json::json;
use sluice_dsl::{HitAction, Policy, RequestFacts, SessionFacts, UserKind};
use sluice_engine::{ActionKind, Budget, Decision, RuleSet, Sink, Stop, Stream, StreamOptions};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes read at once unless `--chunk` says otherwise.
const BLOCK: usize = 64 * 1024;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files and directories with rules.
    #[arg(long, required = true, num_args = 1)]
    rules: Vec<PathBuf>,
    /// Which way the bytes go.
    #[arg(long, value_enum, default_value_t)]
    direction: Direction,
    /// How the bytes are written.
    #[arg(long, value_enum, default_value_t)]
    protocol: Protocol,
    /// Hand the bytes to the engine so many at a time; the result is the same for every number.
    #[arg(long, value_name = "N", default_value_t = BLOCK, value_parser = chunk)]
    chunk: usize,
    /// How decisions are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The connection, so that the scopes of rules are asked. Without any of these options every rule of the direction
    /// holds, wherever its scope says.
    #[arg(long)]
    target: Option<String>,
    /// The user's id.
    #[arg(long)]
    user: Option<String>,
    /// A group of the user's; may be given again.
    #[arg(long)]
    group: Vec<String>,
    /// What the session is for.
    #[arg(long)]
    purpose: Option<String>,
    /// The column whose value the bytes are.
    #[arg(long)]
    column: Option<String>,
    /// What is scanned; `-`, or nothing, is standard input. Of several the last is scanned, the others are rules too.
    files: Vec<PathBuf>,
    #[arg(skip)]
    file: PathBuf,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Direction {
    Request,
    #[default]
    Response,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    #[default]
    Raw,
    Json,
    Sse,
    Sql,
}

fn chunk(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=1 << 24).contains(n)).ok_or_else(|| "a number from 1 to 16777216".into())
}

pub(crate) fn run(mut args: Args) -> Result<bool, Failure> {
    args.file = args.files.pop().unwrap_or_else(|| "-".into());
    args.rules.append(&mut args.files);
    let (_, policy) = compile(&args.rules, args.format)?;
    let input: Box<dyn Read> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(&args.file).map_err(|error| Failure::of(&args.file.display().to_string(), &error))?)
    };
    Scan::new(&args, &policy)?.run(input)
}

struct Scan<'a> {
    args: &'a Args,
    policy: &'a Policy,
    rules: RuleSet,
    out: Out<'a>,
}

impl<'a> Scan<'a> {
    fn new(args: &'a Args, policy: &'a Policy) -> Result<Self, Failure> {
        let rules = rules(args, policy);
        if rules.is_empty() && !(args.protocol == Protocol::Sql && args.direction == Direction::Request) {
            return Err(Failure::Because("no rule holds for these bytes".into()));
        }
        let out = Out {
            policy,
            format: args.format,
            bytes: BufWriter::with_capacity(BLOCK, io::stdout().lock()),
            words: BufWriter::new(io::stderr().lock()),
            decided: false,
            failed: None,
        };
        Ok(Self { args, policy, rules, out })
    }

    fn run(mut self, mut input: Box<dyn Read>) -> Result<bool, Failure> {
        if self.args.protocol == Protocol::Sql && self.args.direction == Direction::Request {
            // A statement is held whole: a block must leave nothing of it.
            let mut text = Vec::new();
            let most = sluice_dsl::sql::MAX_SQL as u64;
            input.by_ref().take(most + 1).read_to_end(&mut text).map_err(|e| self.unreadable(&e))?;
            if self.out.decide(&session(self.args), self.policy, &text)? {
                return Ok(true);
            }
            input = Box::new(io::Cursor::new(text).chain(input));
        }
        let format = match self.args.protocol {
            Protocol::Json => sluice_engine::Format::Json,
            Protocol::Sse => sluice_engine::Format::Sse,
            Protocol::Raw | Protocol::Sql => sluice_engine::Format::Raw,
        };
        let column = self.args.column.clone();
        let options = StreamOptions { format, rules: Some(self.rules.clone()), column, ..StreamOptions::default() };
        let mut stream = Stream::open(self.policy.program(), options, &Budget::unlimited());
        let mut buffer = vec![0; self.args.chunk.max(BLOCK)];
        let ended = loop {
            let read = match input.read(&mut buffer) {
                Ok(0) => break stream.finish(&mut self.out),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.unreadable(&error)),
            };
            let pushed = buffer[..read]
                .chunks(self.args.chunk)
                .try_for_each(|part| stream.push(Bytes::copy_from_slice(part), &mut self.out));
            // What is decided doesn't wait for the next read.
            self.out.flush()?;
            if pushed.is_err() {
                break pushed;
            }
        };
        self.out.flush()?;
        match ended {
            Ok(()) => Ok(self.out.decided),
            Err(Stop::Blocked(_)) => Ok(true),
            Err(stop) => Err(Failure::Because(stop.to_string())),
        }
    }

    fn unreadable(&self, error: &io::Error) -> Failure {
        Failure::of(&self.args.file.display().to_string(), error)
    }
}

/// The pattern rules that hold for the bytes.
fn rules(args: &Args, policy: &Policy) -> RuleSet {
    let in_session = args.target.is_some() || args.user.is_some() || !args.group.is_empty() || args.purpose.is_some();
    let request = RequestFacts { column: args.column.clone(), ..RequestFacts::default() };
    match (in_session, args.direction) {
        (true, Direction::Request) => policy.specialise(&session(args)).request_rules(&request),
        (true, Direction::Response) => policy.specialise(&session(args)).response_rules(&request),
        (false, Direction::Request) => policy.request_patterns(),
        (false, Direction::Response) => policy.response_patterns(),
    }
}

fn session(args: &Args) -> SessionFacts {
    let protocol = if args.protocol == Protocol::Sql { "postgres" } else { "mcp" };
    SessionFacts {
        protocol: protocol.into(),
        target: args.target.clone().unwrap_or_default(),
        user_id: args.user.clone().unwrap_or_default(),
        user_email: args.user.clone().filter(|user| user.contains('@')),
        user_kind: UserKind::Person,
        user_groups: args.group.clone(),
        purpose: args.purpose.clone(),
        client: None,
        ip: None,
    }
}

/// Standard output for the bytes, standard error for the decisions. The first error ends the scan.
struct Out<'a> {
    policy: &'a Policy,
    format: Format,
    bytes: BufWriter<io::StdoutLock<'static>>,
    words: BufWriter<io::StderrLock<'static>>,
    decided: bool,
    failed: Option<io::Error>,
}

impl Out<'_> {
    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.bytes.write_all(bytes).err();
        }
    }

    fn say(&mut self, line: &str) {
        self.decided = true;
        // Where nobody listens to the decisions, the bytes are still wanted.
        let _ = writeln!(self.words, "{line}");
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let _ = self.words.flush();
        if let Some(error) = self.failed.take() {
            return Err(error.into());
        }
        Ok(self.bytes.flush()?)
    }

    /// Asks the rules that look at a statement as a whole. True where it may not go on.
    fn decide(&mut self, session: &SessionFacts, policy: &Policy, text: &[u8]) -> Result<bool, Failure> {
        let sql = String::from_utf8_lossy(text).into_owned();
        let request = RequestFacts { size: sql.len() as u64, sql: Some(sql), ..RequestFacts::default() };
        let mut refused = false;
        for hit in policy.specialise(session).decide(&request) {
            let (action, message) = match &hit.action {
                HitAction::Block { message } => ("block", message.as_str()),
                HitAction::Approve { .. } => ("approve", ""),
                HitAction::Alert => ("alert", ""),
            };
            refused |= action != "alert";
            let (rule, detail) = (&hit.rule.name, hit.detail.as_deref().unwrap_or_default());
            let line = match self.format {
                Format::Json | Format::Sarif => {
                    json!({"rule": rule, "action": action, "detail": detail, "message": message}).to_string()
                }
                Format::Github => format!("::warning title={rule}::{action} {detail}"),
                Format::Full | Format::Concise => {
                    format!("{action} by {rule}: {detail} {message}").trim_end().to_owned()
                }
            };
            self.say(&line);
        }
        self.flush()?;
        Ok(refused)
    }
}

impl Sink for Out<'_> {
    fn clean(&mut self, bytes: Bytes) {
        self.write(&bytes);
    }

    fn masked(&mut self, replacement: &[u8]) {
        self.write(replacement);
    }

    fn decision(&mut self, decision: &Decision) {
        let rule = &self.policy.rule(decision.rule).name;
        let pattern = self.policy.program().pattern_name(decision.pattern);
        let (start, end) = (decision.span.start, decision.span.end);
        let action = match decision.action {
            ActionKind::Alert => "alert",
            ActionKind::Mask => "mask",
            ActionKind::Block => "block",
        };
        let line = match self.format {
            Format::Json | Format::Sarif => {
                json!({"rule": rule, "pattern": pattern, "span": [start, end], "action": action}).to_string()
            }
            Format::Github => format!("::warning title={rule}::{action} {pattern} at bytes {start} to {end}"),
            Format::Full | Format::Concise => format!("{start}..{end}: {action} {pattern} by {rule}"),
        };
        self.say(&line);
    }
}
