//! What the client sends: judged, recorded, sent on or refused.

use super::super::copy::{CopyIn, Refused};
use super::super::frame::{Message, message, put};
use super::super::read::{Malformed, Reader};
use super::super::report::Report;
use super::super::rows::{Rules, format, put_field};
use super::super::texts::{Seen, Texts};
use super::super::value::{Column, Field, inspect, shown};
use super::hold::{Gate, facts};
use super::judge::{Judged, by_rule};
use super::{Asked, Conversation, Entry, Kind, MAX_KEPT, MAX_NAMES, MAX_PENDING, POISON, Sent, Statement, Wants};
use crate::approval::Command;
use crate::evidence::{Event, HitRecord, RequestOutcome};
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::sync::Arc;

impl From<Malformed> for Report {
    fn from(_: Malformed) -> Self {
        Self::fatal("08P01", "a message of the client is malformed")
    }
}

impl Conversation {
    /// Takes a message of the client. None: it has to wait, until the server has answered more; ask again then.
    ///
    /// # Errors
    /// A report to end the session with.
    pub fn client(&mut self, message: &Message) -> Result<Option<Sent>, Report> {
        if self.must_wait(message) {
            return Ok(None);
        }
        let sent = self.take(message);
        // It was about this message, and no other.
        self.verdict = None;
        sent.map(Some)
    }

    fn take(&mut self, message: &Message) -> Result<Sent, Report> {
        let tag = message.tag();
        let mut sent = Sent::default();
        match tag {
            b'X' => {
                Reader(message.body()).end()?;
                self.ended = true;
                sent.upstream.push(message.raw().clone());
            }
            b'd' | b'c' | b'f' => self.copy_data(message, &mut sent)?,
            // While data goes in, the server ignores both.
            b'S' | b'H' if self.copy_in.is_some() => {}
            _ if self.copy_in.is_some() => {
                return Err(Report::fatal("08P01", "a command came before the data of COPY had ended"));
            }
            b'S' => {
                Reader(message.body()).end()?;
                (self.skipping, self.executed, self.described, self.began) = (false, false, None, None);
                self.push(Kind::Sync, 0);
                sent.upstream.push(message.raw().clone());
            }
            b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'F' | b'H' if self.skipping => {}
            b'H' => {
                Reader(message.body()).end()?;
                sent.upstream.push(message.raw().clone());
            }
            b'Q' => self.query(message, &mut sent)?,
            b'F' => {
                let report = Report::error("0A000", "functions are not called by number here")
                    .hint("Call the function with SELECT, so that the rules can see its name.");
                let exchange = self.record(&mut sent, "function_call", None, String::new(), Vec::new(), true, None);
                self.refuse_simple(report, exchange, &mut sent);
            }
            b'P' | b'B' | b'D' | b'E' | b'C' => {
                if !self.executed && self.began.is_none() && self.queue.is_empty() {
                    self.began = Some(self.status);
                }
                if let Some(report) = self.refused_names(message)? {
                    let exchange = self.record(&mut sent, "name", None, String::new(), Vec::new(), true, None);
                    self.refuse_extended(report, exchange, &mut sent);
                    return Ok(sent);
                }
                match tag {
                    b'P' => self.parse(message, &mut sent)?,
                    b'B' => self.bind(message, &mut sent)?,
                    b'D' => self.describe(message, &mut sent)?,
                    b'E' => self.execute(message, &mut sent)?,
                    _ => self.close(message, &mut sent)?,
                }
            }
            _ => return Err(Report::fatal("08P01", format!("a message of type {tag:#04x} is not one of a client"))),
        }
        Ok(sent)
    }

    /// The names of statements and portals in a message, and the types of parameters, under every rule: they are told to the server, and names are
    /// kept on record.
    fn refused_names(&mut self, message: &Message) -> Result<Option<Report>, Report> {
        let mut body = Reader(message.body());
        let (names, types) = match message.tag() {
            b'B' => (vec![body.text()?, body.text()?], Bytes::new()),
            b'D' | b'C' => (vec![target(message)?.1], Bytes::new()),
            b'P' => {
                let name = body.text()?;
                body.text()?;
                // The types of parameters: numbers, which can be made to spell a text.
                (vec![name], body.0)
            }
            _ => (vec![body.text()?], Bytes::new()),
        };
        let names = names.into_iter().map(|name| (name, "a name")).chain([(types, "the types of parameters")]);
        for (name, what) in names.filter(|(name, _)| !name.is_empty()) {
            let seen = self.names.text(&name, None);
            let report = match seen {
                Ok(Seen::Same) if what != "a name" || std::str::from_utf8(&name).is_ok() => continue,
                Ok(Seen::Same) => Report::error("22021", "a name that is not UTF-8"),
                Ok(Seen::Changed(_)) => self.unmaskable(self.names.decisions.last(), what),
                Err(stop) => self.stopped(&stop),
            };
            self.names = Texts::new(&self.program, self.opened.policy.every_request_rule(), &self.opened.budget);
            return Ok(Some(report));
        }
        self.names.decisions.clear();
        Ok(None)
    }

    fn must_wait(&self, message: &Message) -> bool {
        if self.gates > 0 || self.queue.len() >= MAX_PENDING {
            return true;
        }
        // How a backslash in quotes is read depends on a setting. If something under way changed it, the server says so before
        // it is ready, and the session ends.
        is_sql(message) && !self.executed && message.body().contains(&b'\\') && self.runs()
    }

    /// Something is being executed.
    fn runs(&self) -> bool {
        self.queue.iter().any(|entry| matches!(entry.kind, Kind::Query { .. } | Kind::Execute { .. }))
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of a record")]
    fn record(
        &mut self,
        sent: &mut Sent,
        method: &str,
        name: Option<String>,
        body: String,
        hits: Vec<HitRecord>,
        refused: bool,
        approval: Option<String>,
    ) -> u64 {
        let exchange = self.next_exchange();
        sent.records.push(Event::Request {
            exchange,
            method: method.to_owned(),
            name,
            body,
            purpose: self.opened.purpose.clone(),
            outcome: if refused { RequestOutcome::Refused } else { RequestOutcome::Forwarded },
            hits,
            approval,
        });
        exchange
    }

    /// The text is judged; where it goes on in a batch that may have changed how it is read, it is refused.
    fn judge_in_place(&self, sql: &Bytes) -> Judged {
        let mut judged = self.judge(sql);
        if self.executed && sql.contains(&b'\\') && judged.refusal.is_none() {
            let report = Report::error(
                "0A000",
                "SQL with a backslash can't follow another statement without a Sync between them",
            );
            judged.refusal = Some(report.hint("End the batch before it, or pass the value as a parameter."));
        }
        judged
    }

    fn query(&mut self, message: &Message, sent: &mut Sent) -> Result<(), Report> {
        let mut body = Reader(message.body());
        let sql = body.text()?;
        body.end()?;
        let mut judged = self.judge_in_place(&sql);
        let mut approval = None;
        if judged.refusal.is_none() {
            let command = || {
                let facts = facts(judged.reading.as_ref());
                Command::sql("query", judged.name.clone(), &judged.body, None, facts)
            };
            match self.gate(judged.want.take(), command, sent) {
                Gate::Open(by) => approval = by,
                Gate::Held => return Ok(()),
                Gate::Shut(by, report) => (approval, judged.refusal) = (by, Some(report)),
            }
        }
        let refused = judged.refusal.is_some();
        let exchange = self.record(sent, "query", judged.name, judged.body, judged.hits, refused, approval);
        let (Some(reading), None) = (judged.reading, &judged.refusal) else {
            let report = judged.refusal.unwrap_or_else(|| Report::error("XX000", "it could not be judged"));
            self.refuse_simple(report, exchange, sent);
            return Ok(());
        };
        self.tainted |= judged.taints;
        self.defines |= judged.defines;
        if judged.taints {
            self.keep_reads(&reading);
        }
        (self.executed, self.described, self.began) = (false, None, None);
        let rules = if judged.kept { self.all_rules() } else { Rules::Of(reading) };
        self.push(Kind::Query { rules, copies: judged.copies }, exchange);
        let is_same = judged.sql == sql;
        sent.upstream.push(if is_same { message.raw().clone() } else { query(&judged.sql) });
        Ok(())
    }

    fn parse(&mut self, message: &Message, sent: &mut Sent) -> Result<(), Report> {
        let mut body = Reader(message.body());
        let (name, sql) = (body.text()?, body.text()?);
        let rest = body.0.clone();
        let mut parameters = Vec::new();
        for _ in 0..body.count()? {
            parameters.push(body.oid()?);
        }
        body.end()?;
        let mut judged = self.judge_in_place(&sql);
        if let (Some(want), None, false) = (&judged.want, &judged.refusal, name.is_empty()) {
            let report = by_rule(&want.rule, "it needs an approval, and what is kept under a name can't be approved");
            judged.refusal = Some(report.hint("Use an unnamed statement, or a simple query."));
        }
        let wants = judged.want.take().map(|want| Wants { want, sql: judged.body.clone(), name: judged.name.clone() });
        let refused = judged.refusal.is_some();
        let exchange = self.record(sent, "parse", judged.name, judged.body, judged.hits, refused, None);
        let (Some(reading), None) = (judged.reading, &judged.refusal) else {
            let report = judged.refusal.unwrap_or_else(|| Report::error("XX000", "it could not be judged"));
            self.refuse_extended(report, exchange, sent);
            return Ok(());
        };
        self.tainted |= judged.taints;
        // SQL can execute what is parsed here, and fetch from what is bound.
        self.keep_reads(&reading);
        self.described = None;
        self.make_room(&name, sql.len());
        let Judged { copies, kept, defines, .. } = judged;
        let statement = Arc::new(Statement { reading, copies, kept, defines, parameters, size: sql.len(), wants });
        self.asked.insert(name.clone(), Arc::clone(&statement));
        if judged.sql == sql {
            sent.upstream.push(message.raw().clone());
        } else {
            let mut out = BytesMut::new();
            put(&mut out, b'P', |out| {
                [&name, &judged.sql].into_iter().for_each(|text| {
                    out.extend_from_slice(text);
                    out.extend_from_slice(&[0]);
                });
                out.extend_from_slice(&rest);
            });
            sent.upstream.push(out.freeze());
        }
        self.push(Kind::Parse { name, statement }, exchange);
        Ok(())
    }

    /// A statement that others may run later.
    fn keep_reads(&mut self, reading: &sluice_dsl::Reading) {
        if self.follows {
            reading.sql().flatten().for_each(|facts| self.kept_reads.add(&facts.reads));
        }
    }

    /// Makes room for a statement of this many bytes. What is forgotten is read under every rule from then on.
    fn make_room(&mut self, name: &Bytes, size: usize) {
        self.forget(name);
        self.kept += size;
        let is_full = self.asked.len() >= MAX_NAMES || self.asked_portals.len() >= MAX_NAMES;
        if self.kept > MAX_KEPT || is_full {
            self.kept = size;
            // What has no name may want an approval, which is not forgotten.
            self.asked.retain(|name, _| name.is_empty());
            self.asked_portals.retain(|name, _| name.is_empty());
            self.statements.clear();
            self.portals.values_mut().for_each(|portal| portal.statement = None);
        }
    }

    /// The client uses a name for something else.
    fn forget(&mut self, name: &Bytes) {
        if let Some(statement) = self.asked.remove(name) {
            self.kept = self.kept.saturating_sub(statement.size);
        }
    }

    fn bind(&mut self, message: &Message, sent: &mut Sent) -> Result<(), Report> {
        let mut body = Reader(message.body());
        let (portal, name) = (body.text()?, body.text()?);
        let mut formats = Vec::new();
        for _ in 0..body.count()? {
            formats.push(format(body.short()?)?);
        }
        let mut values = Vec::new();
        for _ in 0..body.count()? {
            values.push(body.value()?);
        }
        let rest = body.0.clone();
        for _ in 0..body.count()? {
            format(body.short()?)?;
        }
        body.end()?;
        let binary = |at: usize| match formats.as_slice() {
            [] => Ok(false),
            [all] => Ok(*all),
            each => each.get(at).copied().ok_or(Malformed),
        };
        let statement = self.asked.get(&name).cloned();
        let rules = match &statement {
            Some(statement) => statement.reading.request_rules(),
            // Prepared by SQL, or long ago.
            None => self.opened.policy.every_request_rule(),
        };
        let mut texts = Texts::new(&self.program, rules, &self.opened.budget);
        let (mut masked, mut shown_values, mut hits) = (false, Vec::new(), Vec::new());
        let mut refusal = None;
        for (at, value) in values.iter_mut().enumerate() {
            let oid = statement.as_ref().and_then(|statement| statement.parameters.get(at)).copied().unwrap_or(0);
            let column = Column { name: None, oid, binary: binary(at)?, selected: false };
            let Some(bytes) = value else {
                shown_values.push(Value::Null);
                continue;
            };
            match inspect(&column, bytes, &mut texts) {
                Ok(Field::Same) => {}
                Ok(Field::New(new)) => {
                    *bytes = new.into();
                    masked = true;
                }
                Ok(Field::Null) => {
                    refusal = Some(self.unmaskable(texts.decisions.last(), "a parameter"));
                    break;
                }
                Err(stop) => {
                    refusal = Some(self.stopped(&stop));
                    break;
                }
            }
            shown_values.push(shown(&column, bytes).into());
        }
        self.count(&mut hits, &texts.decisions);
        if let (Some(wants), false) =
            (statement.as_ref().and_then(|statement| statement.wants.as_ref()), portal.is_empty())
        {
            let report =
                by_rule(&wants.want.rule, "it needs an approval, and what is kept under a name can't be approved");
            refusal.get_or_insert(report.hint("Use an unnamed portal."));
        }
        let shown_name = (!name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned());
        let body = if refusal.is_some() { String::new() } else { Value::Array(shown_values).to_string() };
        let wants = statement.as_ref().is_some_and(|statement| statement.wants.is_some());
        let parameters = if wants { (body.clone(), message.body()) } else { Default::default() };
        let exchange = self.record(sent, "bind", shown_name, body, hits, refusal.is_some(), None);
        if let Some(report) = refusal {
            self.refuse_extended(report, exchange, sent);
            return Ok(());
        }
        self.described = None;
        if self.asked_portals.len() >= MAX_NAMES {
            // Portals end with their transaction; it is only asked whether one takes data.
            self.asked_portals.retain(|name, _| name.is_empty());
        }
        match statement {
            Some(statement) => {
                let asked = Asked { statement, parameters, cleared: false };
                self.asked_portals.insert(portal.clone(), asked);
            }
            None => drop(self.asked_portals.remove(&portal)),
        }
        if masked {
            let mut out = BytesMut::new();
            put(&mut out, b'B', |out| {
                [&portal, &name].into_iter().for_each(|text| {
                    out.extend_from_slice(text);
                    out.extend_from_slice(&[0]);
                });
                let short = |count: usize| i16::try_from(count).expect("as many as came").to_be_bytes();
                out.extend_from_slice(&short(formats.len()));
                formats.iter().for_each(|binary| out.extend_from_slice(&i16::from(*binary).to_be_bytes()));
                out.extend_from_slice(&short(values.len()));
                values.iter().for_each(|value| put_field(out, value.as_deref()));
                out.extend_from_slice(&rest);
            });
            sent.upstream.push(out.freeze());
        } else {
            sent.upstream.push(message.raw().clone());
        }
        self.push(Kind::Bind { portal, statement: name }, exchange);
        Ok(())
    }

    fn describe(&mut self, message: &Message, sent: &mut Sent) -> Result<(), Report> {
        let (what, name) = target(message)?;
        self.described = None;
        let kind = if what == b'S' {
            Kind::DescribeStatement
        } else {
            self.described = Some(name.clone());
            Kind::DescribePortal { portal: name, hidden: false }
        };
        self.push(kind, 0);
        sent.upstream.push(message.raw().clone());
        Ok(())
    }

    fn execute(&mut self, message: &Message, sent: &mut Sent) -> Result<(), Report> {
        let mut body = Reader(message.body());
        let portal = body.text()?;
        body.int()?;
        body.end()?;
        let name = (!portal.is_empty()).then(|| String::from_utf8_lossy(&portal).into_owned());
        let approval = match self.execute_gate(&portal, sent) {
            Gate::Open(by) => by,
            Gate::Held => return Ok(()),
            Gate::Shut(by, report) => {
                let exchange = self.record(sent, "execute", name, String::new(), Vec::new(), true, by);
                self.refuse_extended(report, exchange, sent);
                return Ok(());
            }
        };
        let exchange = self.record(sent, "execute", name, String::new(), Vec::new(), false, approval);
        // What the portal's columns are is asked anew each time: SQL can have changed what its name stands for.
        if self.described.take().as_ref() != Some(&portal) {
            let mut out = BytesMut::new();
            put(&mut out, b'D', |out| {
                out.extend_from_slice(b"P");
                out.extend_from_slice(&portal);
                out.extend_from_slice(&[0]);
            });
            sent.upstream.push(out.freeze());
            self.push(Kind::DescribePortal { portal: portal.clone(), hidden: true }, 0);
        }
        sent.upstream.push(message.raw().clone());
        self.executed = true;
        self.defines |= self.asked_portals.get(&portal).is_none_or(|asked| asked.statement.defines);
        let gated =
            self.asked_portals.get(&portal).is_some_and(|asked| asked.statement.copies.iter().any(|copy| copy.from));
        if gated {
            // The server is asked to say whether it takes data before anything else is sent.
            self.gates += 1;
            sent.upstream.push(super::super::frame::message(b'H', b""));
        }
        self.push(Kind::Execute { portal, gated }, exchange);
        Ok(())
    }

    /// Whether a portal may be executed: once approved, what is left of it comes without asking again.
    fn execute_gate(&mut self, portal: &Bytes, sent: &mut Sent) -> Gate {
        let Some(asked) = self.asked_portals.get(portal).filter(|asked| !asked.cleared) else {
            return Gate::Open(None);
        };
        let (statement, (shown, exact)) = (Arc::clone(&asked.statement), asked.parameters.clone());
        let Some(wants) = &statement.wants else { return Gate::Open(None) };
        let command = || {
            let facts = facts(Some(&statement.reading));
            Command::sql("execute", wants.name.clone(), &wants.sql, Some((&shown, &exact)), facts)
        };
        let gate = self.gate(Some(wants.want.clone()), command, sent);
        if let (Gate::Open(_), Some(asked)) = (&gate, self.asked_portals.get_mut(portal)) {
            asked.cleared = true;
        }
        gate
    }

    fn close(&mut self, message: &Message, sent: &mut Sent) -> Result<(), Report> {
        let (what, name) = target(message)?;
        self.described = None;
        let kind = if what == b'S' {
            self.forget(&name);
            Kind::CloseStatement { name }
        } else {
            self.asked_portals.remove(&name);
            Kind::ClosePortal { portal: name }
        };
        self.push(kind, 0);
        sent.upstream.push(message.raw().clone());
        Ok(())
    }

    /// Data of COPY, and its end.
    fn copy_data(&mut self, message: &Message, sent: &mut Sent) -> Result<(), Report> {
        let Some(copy) = &mut self.copy_in else {
            // What is left of a COPY that ended early; the server would ignore it.
            return Ok(());
        };
        let exchange = self.queue.front().map_or(0, |entry| entry.exchange);
        let released = match message.tag() {
            b'd' => copy.data(message),
            b'c' => copy.finish(),
            // The client gives up: what waits is of no use.
            _ => Ok(Vec::new()),
        };
        let (mut hits, decisions) = (Vec::new(), std::mem::take(&mut copy.decisions));
        if message.tag() == b'c' {
            Reader(message.body()).end()?;
        }
        self.count(&mut hits, &decisions);
        match released {
            Ok(released) => {
                let body: Vec<u8> = released.iter().flat_map(|data| data[5..].iter().copied()).collect();
                if !body.is_empty() || !hits.is_empty() {
                    sent.records.push(self.copied(exchange, &body, hits, false));
                }
                sent.upstream.extend(released);
                match message.tag() {
                    b'd' => {}
                    b'c' => {
                        self.copy_in = None;
                        sent.upstream.push(message.raw().clone());
                    }
                    _ => {
                        self.copy_in = None;
                        sent.upstream.push(self.given_up(message)?);
                    }
                }
            }
            Err(refused) => {
                let report = match &refused {
                    Refused::Stop(stop) => self.stopped(stop),
                    Refused::Masked(decision) => self.unmaskable(Some(decision), "the data of COPY"),
                    Refused::Undecided => Report::error("54000", "the data of COPY could not be decided about in time"),
                };
                sent.records.push(self.copied(exchange, b"", hits, true));
                // The server undoes what has gone in.
                sent.upstream.push(super::super::frame::message(b'f', b"refused by sluice\0"));
                self.copy_in = None;
                if let Some(front) = self.queue.front_mut() {
                    front.instead = Some(report);
                }
            }
        }
        Ok(())
    }

    /// CopyFail, whose text comes back in the server's error.
    fn given_up(&mut self, message: &Message) -> Result<Bytes, Report> {
        let mut body = Reader(message.body());
        let reason = body.text()?;
        body.end()?;
        if matches!(self.names.text(&reason, None), Ok(Seen::Same)) {
            return Ok(message.raw().clone());
        }
        self.names = Texts::new(&self.program, self.opened.policy.every_request_rule(), &self.opened.budget);
        Ok(super::super::frame::message(b'f', b"withheld by sluice\0"))
    }

    fn copied(&self, exchange: u64, body: &[u8], hits: Vec<HitRecord>, refused: bool) -> Event {
        Event::Request {
            exchange,
            method: "copy_data".to_owned(),
            name: None,
            body: String::from_utf8_lossy(body).into_owned(),
            purpose: self.opened.purpose.clone(),
            outcome: if refused { RequestOutcome::Refused } else { RequestOutcome::Forwarded },
            hits,
            approval: None,
        }
    }

    /// Begins to take data.
    pub(super) fn take_data(&mut self, facts: &sluice_dsl::sql::CopyFacts, rules: &Rules) {
        let rules = match rules {
            Rules::Of(reading) => reading.request_rules(),
            Rules::All(..) => self.opened.policy.every_request_rule(),
        };
        self.copy_in = Some(CopyIn::new(facts, rules, &self.program, &self.opened.budget));
    }

    /// Whether a refusal has to undo what the batch did before it, as an error of the server would.
    fn must_undo(&self) -> bool {
        self.executed && !matches!(self.began, Some(b'T' | b'E'))
    }

    /// Refuses what is answered with an error and that the client may go on.
    fn refuse_simple(&mut self, report: Report, exchange: u64, sent: &mut Sent) {
        if self.must_undo() {
            let rules = self.all_rules();
            let kind = Kind::Query { rules, copies: Arc::default() };
            self.queue.push_back(Entry { kind, exchange, instead: Some(report) });
            sent.upstream.push(query(POISON.as_bytes()));
        } else {
            self.push(Kind::Local { report, ready: true }, exchange);
        }
        (self.executed, self.described, self.began) = (false, None, None);
    }

    /// Refuses a part of a batch: what follows is passed over up to its Sync.
    fn refuse_extended(&mut self, report: Report, exchange: u64, sent: &mut Sent) {
        if self.must_undo() {
            self.queue.push_back(Entry { kind: Kind::Poison, exchange, instead: Some(report) });
            sent.upstream.push(message(b'P', format!("\0{POISON}\0\0\0").as_bytes()));
        } else {
            self.push(Kind::Local { report, ready: false }, exchange);
        }
        self.skipping = true;
    }
}

fn is_sql(message: &Message) -> bool {
    matches!(message.tag(), b'Q' | b'P')
}

fn query(sql: &[u8]) -> Bytes {
    message(b'Q', &[sql, &[0]].concat())
}

/// What a Describe or Close speaks of: `S` a statement, `P` a portal; and its name.
fn target(message: &Message) -> Result<(u8, Bytes), Malformed> {
    let mut body = Reader(message.body());
    let what = body.byte()?;
    let name = body.text()?;
    body.end()?;
    if matches!(what, b'S' | b'P') { Ok((what, name)) } else { Err(Malformed) }
}
