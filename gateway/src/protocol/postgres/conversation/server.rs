//! What the server sends: matched with the command that it answers, masked, passed on.

use super::super::copy::{CopyOut, is_utf8};
use super::super::frame::{Message, Run, put};
use super::super::origins::{Relations, sources};
use super::super::read::{Malformed, Reader};
use super::super::report::{self, Report};
use super::super::rows::{COLUMN, Described, Means, RowError, Rows, Rules, described, renamed};
use super::super::texts::Seen;
use super::judge::named;
use super::{Conversation, Entry, Kind, MAX_NAMES, Note, Out, Portal, ready, seen};
use crate::evidence::ResponseOutcome;
use bytes::{Bytes, BytesMut};
use sluice_dsl::Origins;
use sluice_dsl::sql::CopyFacts;
use sluice_engine::{Decision, Stop};
use std::sync::Arc;

/// The server said something that does not fit what it was asked.
fn unexpected(tag: u8) -> Report {
    Report::fatal("08P01", format!("a message of type {tag:#04x} of the server is malformed or answers nothing"))
}

impl Conversation {
    /// Takes a message of the server.
    ///
    /// # Errors
    /// A report to end the session with; nothing of the message leaves.
    pub fn server(&mut self, message: &Message, out: &mut Out) -> Result<(), Report> {
        self.general.next_record();
        // An answer of the gateway's own may stand before the one that this belongs to, and nobody has asked for it yet.
        self.settle(out);
        self.answer(message, out)?;
        self.settle(out);
        Ok(())
    }

    /// Takes rows of the server's that came together.
    ///
    /// # Errors
    /// As for [`Conversation::server`]: nothing of the row that it is about leaves, nor of those after it.
    pub fn rows(&mut self, run: &Run, out: &mut Out) -> Result<(), Report> {
        self.settle(out);
        self.data_rows(run, out)?;
        self.settle(out);
        Ok(())
    }

    /// The tables that a message speaks of and that have to be known to read what comes with it: [`Conversation::knows`].
    #[must_use]
    pub fn tables(&self, message: &Message) -> Vec<u32> {
        if message.tag() != b'T' || !self.follows || self.muted {
            return Vec::new();
        }
        let mut asked = self.queue.iter().map(|entry| &entry.kind).filter(|kind| !matches!(kind, Kind::Local { .. }));
        if !matches!(asked.next(), Some(Kind::Query { .. } | Kind::DescribePortal { .. })) {
            return Vec::new();
        }
        let mut tables: Vec<u32> = sources(message)
            .unwrap_or_default()
            .into_iter()
            .map(|(table, _)| table)
            .filter(|table| *table != 0)
            .collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// What is known of the tables that the next message speaks of. Of one that isn't there nothing is: each of its columns counts as
    /// any that a rule claims.
    pub fn knows(&mut self, relations: Relations) {
        self.relations = relations;
    }

    /// Says of each column where its values come from.
    fn follow(&mut self, columns: &mut [Described], rules: &Rules) {
        let relations = std::mem::take(&mut self.relations);
        if !self.follows {
            return;
        }
        let count = columns.len();
        for (place, column) in columns.iter_mut().enumerate() {
            column.origins = match column.source {
                (0, _) => rules.computed(place, count),
                (table, at) => relations.get(&table).map_or(Origins::Unknown, |relation| relation.column(at)),
            };
        }
    }

    /// Gives the answers of the gateway's own whose turn it is.
    pub fn settle(&mut self, out: &mut Out) {
        out.client.append(&mut self.notices);
        while let Some(Entry { kind: Kind::Local { report, ready: is_ready }, exchange, .. }) = self.queue.front() {
            if !self.muted {
                out.client.push(report.to_message());
                if *is_ready {
                    out.client.push(ready(self.status));
                }
            }
            out.line(*exchange, &report.line());
            out.notes.push(Note::Done(*exchange, ResponseOutcome::Blocked, Some("refused".to_owned())));
            self.queue.pop_front();
        }
    }

    fn answer(&mut self, message: &Message, out: &mut Out) -> Result<(), Report> {
        let wrong = |_: Malformed| unexpected(message.tag());
        if b"123nsIc".contains(&message.tag()) {
            Reader(message.body()).end().map_err(wrong)?;
        }
        match message.tag() {
            b'D' => self.data_rows(&message.clone().into(), out),
            b'd' => self.copy_row(message, out),
            b'E' => self.error(message, out),
            b'N' => self.notice(message, out).map_err(wrong),
            b'A' => self.notification(message, out).map_err(wrong),
            b'S' => self.parameter(message, out),
            b'T' => self.row_description(message, out),
            b'n' => self.no_data(message, out),
            b't' => match self.front() {
                Some(Kind::DescribeStatement) => {
                    let mut body = Reader(message.body());
                    let count = body.count().map_err(wrong)?;
                    body.exactly(4 * count).map_err(wrong)?;
                    self.unread(&message.body(), message)?;
                    self.pass(message, out)
                }
                _ => Err(unexpected(message.tag())),
            },
            b'1' => match self.front() {
                Some(Kind::Parse { name, statement }) => {
                    let (name, statement) = (name.clone(), Arc::clone(statement));
                    self.statements.insert(name, statement);
                    self.done(message, out)
                }
                _ => Err(unexpected(message.tag())),
            },
            b'2' => self.bound(message, out),
            b'3' => {
                match self.front() {
                    Some(Kind::CloseStatement { name }) => {
                        let name = name.clone();
                        self.statements.remove(&name);
                    }
                    Some(Kind::ClosePortal { portal }) => {
                        let portal = portal.clone();
                        self.portals.remove(&portal);
                    }
                    _ => return Err(unexpected(message.tag())),
                }
                self.done(message, out)
            }
            b'C' | b'I' => {
                if message.tag() == b'C' {
                    return self.complete(message, out);
                }
                self.result_over(out);
                match self.front() {
                    Some(Kind::Query { .. }) => self.pass(message, out),
                    Some(Kind::Execute { .. }) => self.done(message, out),
                    _ => Err(unexpected(message.tag())),
                }
            }
            b's' => {
                self.result_over(out);
                match self.front() {
                    Some(Kind::Execute { .. }) => self.done(message, out),
                    _ => Err(unexpected(message.tag())),
                }
            }
            b'G' => self.copy_in_begins(message, out),
            b'H' => self.copy_out_begins(message, out),
            b'c' if self.copy_out.is_some() || self.muted => self.pass(message, out),
            b'Z' => self.ready(message, out),
            _ => Err(unexpected(message.tag())),
        }
    }

    /// CommandComplete. Its tag is a word and numbers; a server of another make may say more.
    fn complete(&mut self, message: &Message, out: &mut Out) -> Result<(), Report> {
        let exchange = self.exchange();
        let mut body = Reader(message.body());
        let tag = body.text().map_err(|_| unexpected(message.tag()))?;
        body.end().map_err(|_| unexpected(message.tag()))?;
        self.unread(&tag, message)?;
        if !self.muted {
            out.line(exchange, &String::from_utf8_lossy(&tag));
        }
        self.result_over(out);
        match self.front() {
            Some(Kind::Query { .. }) => self.pass(message, out),
            Some(Kind::Execute { .. }) => self.done(message, out),
            _ => Err(unexpected(message.tag())),
        }
    }

    /// A text that stands outside of rows as it may leave; None where a rule blocks it.
    fn quiet(&mut self, text: &Bytes) -> Option<Bytes> {
        let seen = self.general.text(text, None);
        self.general.decisions.clear();
        match seen {
            Ok(Seen::Same) => Some(text.clone()),
            Ok(Seen::Changed(text)) => Some(text.into()),
            Err(_) => {
                self.renew();
                None
            }
        }
    }

    /// What passes as it stands, words and numbers of the protocol: it is not what it should be where a rule would change it.
    fn unread(&mut self, part: &Bytes, message: &Message) -> Result<(), Report> {
        if self.quiet(part).as_ref() == Some(part) { Ok(()) } else { Err(unexpected(message.tag())) }
    }

    /// A RowDescription whose names are inspected: whoever can choose a name can put a value there.
    fn names(&mut self, message: &Message, columns: &[Described], out: &mut Out) -> Result<(), Report> {
        let mut names = Vec::with_capacity(columns.len());
        let mut changed = false;
        let mut body = Reader(message.body());
        body.count().map_err(|_| unexpected(message.tag()))?;
        for column in columns {
            let numbers = body.text().and_then(|_| body.take(COLUMN)).map_err(|_| unexpected(message.tag()))?;
            self.unread(&numbers, message)?;
            let name = Bytes::copy_from_slice(column.name.as_bytes());
            let quiet = self.quiet(&name).unwrap_or_default();
            changed |= quiet != name;
            names.push(quiet);
        }
        if self.muted {
            return Ok(());
        }
        out.client.push(if changed {
            renamed(message, &names).map_err(|_| unexpected(message.tag()))?
        } else {
            message.raw().clone()
        });
        Ok(())
    }

    fn front(&self) -> Option<&Kind> {
        self.queue.front().map(|entry| &entry.kind)
    }

    /// The number of the command that is being answered; 0 where none is.
    fn exchange(&self) -> u64 {
        self.queue.front().map_or(0, |entry| entry.exchange)
    }

    fn pass(&self, message: &Message, out: &mut Out) -> Result<(), Report> {
        if !self.muted {
            out.client.push(message.raw().clone());
        }
        Ok(())
    }

    /// The command at the front is answered with this.
    fn done(&mut self, message: &Message, out: &mut Out) -> Result<(), Report> {
        self.pass(message, out)?;
        self.pop(out, ResponseOutcome::Complete, None);
        Ok(())
    }

    fn pop(&mut self, out: &mut Out, outcome: ResponseOutcome, reason: Option<String>) {
        let Some(entry) = self.queue.pop_front() else { return };
        if matches!(entry.kind, Kind::Execute { gated: true, .. }) {
            self.gates = self.gates.saturating_sub(1);
        }
        // What was parsed or bound is on record as asked; there is nothing to see in the answer.
        let silent =
            matches!(entry.kind, Kind::Parse { .. } | Kind::Bind { .. }) && outcome == ResponseOutcome::Complete;
        if entry.exchange != 0 && (!silent || reason.is_some() || self.was_seen(out, entry.exchange)) {
            out.notes.push(Note::Done(entry.exchange, outcome, reason));
        }
    }

    fn was_seen(&self, out: &Out, exchange: u64) -> bool {
        matches!(out.notes.last(), Some(Note::Seen(known, _) | Note::Decided(known, _)) if *known == exchange)
    }

    fn bound(&mut self, message: &Message, out: &mut Out) -> Result<(), Report> {
        let Some(Kind::Bind { portal, statement }) = self.front() else { return Err(unexpected(message.tag())) };
        let (portal, named) = (portal.clone(), !statement.is_empty());
        let statement = self.statements.get(statement).cloned();
        if self.portals.len() >= MAX_NAMES && !self.portals.contains_key(&portal) {
            // Portals end with their transaction; what is not known any more is read under every rule.
            self.portals.clear();
        }
        self.portals.insert(portal, Portal { statement, named, columns: None });
        self.done(message, out)
    }

    fn row_description(&mut self, message: &Message, out: &mut Out) -> Result<(), Report> {
        let mut columns = described(message.body()).map_err(|_| unexpected(message.tag()))?;
        match self.front() {
            Some(Kind::Query { rules, .. }) => {
                let rules = rules.clone();
                self.follow(&mut columns, &rules);
                if !self.muted {
                    self.rows = Some(self.rows_of(&columns, &rules));
                    self.header(&columns, out);
                }
                self.names(message, &columns, out)
            }
            Some(Kind::DescribeStatement) => {
                self.names(message, &columns, out)?;
                self.pop(out, ResponseOutcome::Complete, None);
                Ok(())
            }
            Some(Kind::DescribePortal { portal, hidden }) => {
                let (portal, hidden) = (portal.clone(), *hidden);
                if !hidden {
                    self.names(message, &columns, out)?;
                }
                let rules = self.portal_rules(&portal);
                self.follow(&mut columns, &rules);
                self.portals.entry(portal).or_default().columns = Some(columns.into());
                self.pop(out, ResponseOutcome::Complete, None);
                Ok(())
            }
            _ => Err(unexpected(message.tag())),
        }
    }

    fn rows_of(&self, columns: &[Described], rules: &Rules) -> Rows {
        Rows::new(columns, rules, self.means())
    }

    fn means(&self) -> Means<'_> {
        Means {
            program: &self.program,
            budget: &self.opened.budget,
            claims: &self.claims,
            refuses: self.opened.refuses_unmaskable,
            counter: self.opened.counter.as_ref(),
        }
    }

    /// The line of the columns' names, for the record.
    fn header(&mut self, columns: &[Described], out: &mut Out) {
        let names = columns.iter().map(|column| self.quiet(&Bytes::copy_from_slice(column.name.as_bytes())));
        let names: Vec<String> =
            names.map(|name| String::from_utf8_lossy(&name.unwrap_or_default()).into_owned()).collect();
        let exchange = self.exchange();
        out.line(exchange, &names.join("\t"));
    }

    fn no_data(&mut self, message: &Message, out: &mut Out) -> Result<(), Report> {
        match self.front() {
            Some(Kind::DescribeStatement) => self.done(message, out),
            Some(Kind::DescribePortal { portal, hidden }) => {
                let (portal, hidden) = (portal.clone(), *hidden);
                self.portals.entry(portal).or_default().columns = None;
                if !hidden {
                    self.pass(message, out)?;
                }
                self.pop(out, ResponseOutcome::Complete, None);
                Ok(())
            }
            _ => Err(unexpected(message.tag())),
        }
    }

    /// The rules for what the portal gives: those of its statement, where that is certain.
    fn portal_rules(&self, name: &Bytes) -> Rules {
        let portal = self.portals.get(name);
        let is_nameless = |portal: &&Portal| !portal.named && name.is_empty();
        let certain = portal.filter(|portal| !self.tainted || is_nameless(portal));
        match certain.and_then(|portal| portal.statement.as_ref()).filter(|statement| !statement.kept) {
            Some(statement) => Rules::Of(statement.reading.clone()),
            None => self.all_rules(),
        }
    }

    fn data_rows(&mut self, run: &Run, out: &mut Out) -> Result<(), Report> {
        if self.muted {
            return match self.front() {
                Some(Kind::Query { .. } | Kind::Execute { .. }) => Ok(()),
                _ => Err(unexpected(b'D')),
            };
        }
        let exchange = self.exchange();
        if let (None, Some(Kind::Execute { portal, .. })) = (&self.rows, self.front()) {
            let columns = self.portals.get(portal).and_then(|portal| portal.columns.clone());
            let columns = columns.ok_or_else(|| unexpected(b'D'))?;
            self.rows = Some(self.rows_of(&columns, &self.portal_rules(portal)));
            self.header(&columns, out);
        }
        if !matches!(self.front(), Some(Kind::Query { .. } | Kind::Execute { .. })) {
            return Err(unexpected(b'D'));
        }
        let rows = self.rows.as_mut().ok_or_else(|| unexpected(b'D'))?;
        let Out { client, notes } = out;
        let passed = rows.run(run, seen(notes, exchange), client);
        if rows.has_much_to_tell() {
            let decisions = rows.decisions();
            out.decided(exchange, decisions);
        }
        match passed {
            Ok(()) => Ok(()),
            Err(error) => self.row_failed(error, b'D', out),
        }
    }

    /// A row does not pass: its result ends, or the session.
    fn row_failed(&mut self, error: RowError, tag: u8, out: &mut Out) -> Result<(), Report> {
        match error {
            RowError::Malformed => return Err(unexpected(tag)),
            RowError::TooLong => return Err(Report::fatal("54000", error.to_string())),
            RowError::Unmaskable(decision) => self.unmaskable_result(decision, out),
            RowError::Stop(stop) => self.stop_result(&stop, out),
        }
        Ok(())
    }

    /// The result ends, and what was decided about it is told.
    fn result_over(&mut self, out: &mut Out) {
        let exchange = self.exchange();
        if let Some(mut rows) = self.rows.take() {
            out.decided(exchange, rows.decisions());
        }
        if let Some(mut copy) = self.copy_out.take() {
            out.decided(exchange, copy.decisions());
        }
    }

    /// A rule ends a result in the middle.
    fn stop_result(&mut self, stop: &Stop, out: &mut Out) {
        let blocked = if let Stop::Blocked(decision) = stop { Some(decision.clone()) } else { None };
        self.end_result(self.stopped(stop), blocked, out);
    }

    /// A value that can't be masked in place ends a result in the middle.
    fn unmaskable_result(&mut self, decision: Option<Decision>, out: &mut Out) {
        let report =
            Report::error("42501", "a value that a rule masks can't be masked as its type, so the result ends");
        let advice = "Cast the column to text (`column::text`), or leave it out.";
        let report = report.hint(match &decision {
            Some(decision) => format!("{} {advice}", named(self.policy().rule(decision.rule))),
            None => advice.to_owned(),
        });
        self.end_result(report, None, out);
    }

    /// A result ends in the middle: the client gets an error, and then nothing until it can go on.
    fn end_result(&mut self, report: Report, decision: Option<Decision>, out: &mut Out) {
        self.result_over(out);
        out.client.push(report.to_message());
        let exchange = self.exchange();
        out.line(exchange, &report.line());
        out.decided(exchange, decision.into_iter().collect());
        out.notes.push(Note::Done(exchange, ResponseOutcome::Blocked, Some(report.message)));
        if let Some(front) = self.queue.front_mut() {
            front.exchange = 0;
        }
        self.muted = true;
        let in_batch = matches!(self.front(), Some(Kind::Execute { .. }));
        if in_batch && !self.queue.iter().any(|entry| matches!(entry.kind, Kind::Sync)) {
            self.skipping = true;
        }
    }

    fn copies(&self) -> (Vec<CopyFacts>, Rules) {
        match self.front() {
            Some(Kind::Query { rules, copies }) => (copies.to_vec(), rules.clone()),
            Some(Kind::Execute { portal, .. }) => {
                let statement = self.portals.get(portal).and_then(|portal| portal.statement.as_ref());
                let copies = statement.map(|statement| statement.copies.to_vec()).unwrap_or_default();
                (copies, self.portal_rules(portal))
            }
            _ => (Vec::new(), self.all_rules()),
        }
    }

    fn copy_in_begins(&mut self, message: &Message, out: &mut Out) -> Result<(), Report> {
        let (copies, rules) = self.copies();
        let facts =
            copies.iter().find(|copy| copy.from).filter(|_| !self.muted).ok_or_else(|| unexpected(message.tag()))?;
        match self.queue.front_mut().map(|entry| &mut entry.kind) {
            Some(Kind::Query { .. }) => {}
            Some(Kind::Execute { gated, .. }) if *gated => {
                *gated = false;
                self.gates = self.gates.saturating_sub(1);
            }
            _ => return Err(unexpected(message.tag())),
        }
        self.take_data(facts, &rules);
        self.unread(&message.body(), message)?;
        self.pass(message, out)
    }

    fn copy_out_begins(&mut self, message: &Message, out: &mut Out) -> Result<(), Report> {
        if self.muted && matches!(self.front(), Some(Kind::Query { .. } | Kind::Execute { .. })) {
            return Ok(());
        }
        let (copies, rules) = self.copies();
        let facts = copies.iter().find(|copy| !copy.from).ok_or_else(|| unexpected(message.tag()))?;
        let copy = CopyOut::new(facts, message.body(), &rules, self.means());
        self.copy_out = Some(copy.map_err(|_| unexpected(message.tag()))?);
        self.pass(message, out)
    }

    fn copy_row(&mut self, message: &Message, out: &mut Out) -> Result<(), Report> {
        if self.muted {
            return Ok(());
        }
        let exchange = self.exchange();
        let copy = self.copy_out.as_mut().ok_or_else(|| unexpected(message.tag()))?;
        match copy.row(message, out.seen(exchange)) {
            Ok(row) => {
                out.client.push(row);
                if copy.has_much_to_tell() {
                    let decisions = copy.decisions();
                    out.decided(exchange, decisions);
                }
                Ok(())
            }
            Err(error) => self.row_failed(error, message.tag(), out),
        }
    }

    fn ready(&mut self, message: &Message, out: &mut Out) -> Result<(), Report> {
        let mut body = Reader(message.body());
        let status =
            body.byte().ok().filter(|status| b"ITE".contains(status)).ok_or_else(|| unexpected(message.tag()))?;
        body.end().map_err(|_| unexpected(message.tag()))?;
        match self.front() {
            Some(Kind::Query { .. } | Kind::Sync) => {}
            _ => return Err(unexpected(message.tag())),
        }
        self.result_over(out);
        self.copy_in = None;
        self.status = status;
        if status == b'I' {
            self.redefined |= std::mem::take(&mut self.defines);
        }
        self.muted = false;
        self.done(message, out)
    }

    fn error(&mut self, message: &Message, out: &mut Out) -> Result<(), Report> {
        let fields = report::fields(message.body()).map_err(|_| unexpected(message.tag()))?;
        self.result_over(out);
        self.copy_in = None;
        // What the client hears of it, and the line for the record.
        let exchange = match self.front() {
            Some(Kind::DescribePortal { hidden: true, .. }) => self.queue.get(1).map_or(0, |entry| entry.exchange),
            _ => self.exchange(),
        };
        let instead = self.queue.front_mut().and_then(|entry| entry.instead.take());
        let (told, line) = match instead {
            Some(report) => (report.to_message(), report.line()),
            None => self.masked_report(message, &fields, exchange, out),
        };
        if !self.muted {
            out.client.push(told);
            out.line(exchange, &line);
            if exchange == 0 {
                out.notes.push(Note::Done(0, ResponseOutcome::Complete, None));
            }
        }
        if let Some(Kind::Query { .. } | Kind::Sync) = self.front() {
            return Ok(());
        }
        // In a batch: what follows is passed over up to its Sync.
        if self.queue.is_empty() {
            return Ok(());
        }
        let mut first = true;
        loop {
            match self.front() {
                Some(Kind::Sync) => return Ok(()),
                None => {
                    (self.skipping, self.executed) = (true, false);
                    return Ok(());
                }
                Some(Kind::DescribePortal { hidden: true, .. }) => drop(self.queue.pop_front()),
                Some(_) => {
                    let reason = (!first).then(|| "passed over: an earlier part of the batch failed".to_owned());
                    let outcome = if first { ResponseOutcome::Complete } else { ResponseOutcome::Cancelled };
                    self.pop(out, outcome, reason);
                    first = false;
                }
            }
        }
    }

    fn notice(&mut self, message: &Message, out: &mut Out) -> Result<(), Malformed> {
        let fields = report::fields(message.body())?;
        let exchange = self.exchange();
        let (told, line) = self.masked_report(message, &fields, exchange, out);
        if !self.muted {
            out.client.push(told);
            out.line(exchange, &line);
            if exchange == 0 {
                out.notes.push(Note::Done(0, ResponseOutcome::Complete, None));
            }
        }
        Ok(())
    }

    /// An error or a notice with its fields masked, and its line for the record.
    fn masked_report(
        &mut self,
        message: &Message,
        fields: &[(u8, Bytes)],
        exchange: u64,
        out: &mut Out,
    ) -> (Bytes, String) {
        let state = fields.iter().find(|(code, _)| *code == b'C').map(|(_, state)| state.clone()).unwrap_or_default();
        // Data that was found wanting: its report quotes values, and says of none which column it is from.
        let quotes = !self.claims.is_empty() && (state.starts_with(b"22") || state.starts_with(b"23"));
        let mut changed = false;
        let mut masked = Vec::with_capacity(fields.len());
        for (code, value) in fields {
            let mut value = value.clone();
            if !self.claims.is_empty() && matches!(code, b'D' | b'W' | b'q') {
                value = Bytes::from_static(b"withheld, since a rule masks columns by name");
                changed = true;
            } else if quotes && *code == b'M' {
                value = unquoted(&value);
                changed = true;
            }
            match self.general.text(&value, None) {
                Ok(Seen::Same) => {}
                Ok(Seen::Changed(text)) => {
                    value = text.into();
                    changed = true;
                }
                Err(stop) => {
                    value = Bytes::from(format!("withheld: {}", self.stopped(&stop).message));
                    changed = true;
                    self.renew();
                }
            }
            masked.push((*code, value));
        }
        out.decided(exchange, std::mem::take(&mut self.general.decisions));
        let line = report::line(&masked);
        if !changed {
            return (message.raw().clone(), line);
        }
        let mut told = BytesMut::new();
        put(&mut told, message.tag(), |told| {
            for (code, value) in &masked {
                told.extend_from_slice(&[*code]);
                told.extend(value.iter().filter(|byte| **byte != 0));
                told.extend_from_slice(&[0]);
            }
            told.extend_from_slice(&[0]);
        });
        (told.freeze(), line)
    }

    /// A stopped inspector lets nothing more through; texts that don't belong together go on with a new one.
    fn renew(&mut self) {
        let general = super::Texts::new(&self.program, self.every.clone(), &self.opened.budget);
        self.general = general.counting(self.opened.counter.clone());
    }

    fn notification(&mut self, message: &Message, out: &mut Out) -> Result<(), Malformed> {
        let mut body = Reader(message.body());
        let (process, channel, payload) = (body.oid()?, body.text()?, body.text()?);
        body.end()?;
        let (mut changed, mut texts) = (false, Vec::new());
        for text in [channel, payload] {
            match self.general.text(&text, None) {
                Ok(Seen::Same) => texts.push(text),
                Ok(Seen::Changed(masked)) => {
                    texts.push(masked.into());
                    changed = true;
                }
                Err(_) => {
                    // A rule blocks it: it does not arrive.
                    let decisions = std::mem::take(&mut self.general.decisions);
                    out.decided(0, decisions);
                    out.notes.push(Note::Done(0, ResponseOutcome::Blocked, Some("a notification".to_owned())));
                    self.renew();
                    return Ok(());
                }
            }
        }
        let shown: Vec<_> = texts.iter().map(|text| String::from_utf8_lossy(text)).collect();
        let line = format!("notification on {}", shown.join(": "));
        let (own, told) = self.opened.processes;
        let process_told = if process == own { told } else { process };
        if changed || process_told != process {
            let mut notification = BytesMut::new();
            put(&mut notification, b'A', |out| {
                out.extend_from_slice(&process_told.to_be_bytes());
                for text in &texts {
                    out.extend(text.iter().filter(|byte| **byte != 0));
                    out.extend_from_slice(&[0]);
                }
            });
            out.client.push(notification.freeze());
        } else {
            out.client.push(message.raw().clone());
        }
        // It may come in the middle of an answer, and is no part of it.
        out.line(0, &line);
        out.decided(0, std::mem::take(&mut self.general.decisions));
        out.notes.push(Note::Done(0, ResponseOutcome::Complete, None));
        Ok(())
    }

    fn parameter(&mut self, message: &Message, out: &mut Out) -> Result<(), Report> {
        let wrong = |_: Malformed| unexpected(message.tag());
        let mut body = Reader(message.body());
        let (name, value) = (body.text().map_err(wrong)?, body.text().map_err(wrong)?);
        body.end().map_err(wrong)?;
        self.unread(&name, message)?;
        let is_followed = match &name[..] {
            b"client_encoding" => std::str::from_utf8(&value).is_ok_and(is_utf8),
            b"standard_conforming_strings" => &value[..] == b"on",
            _ => true,
        };
        if !is_followed {
            let name = String::from_utf8_lossy(&name).into_owned();
            let message = format!("`{name}` was changed, and what follows could not be read; the session ends");
            return Err(Report::fatal("0A000", message));
        }
        match self.general.text(&value, None) {
            Ok(Seen::Same) => out.client.push(message.raw().clone()),
            Ok(Seen::Changed(text)) => {
                let mut parameter = BytesMut::new();
                put(&mut parameter, b'S', |out| {
                    out.extend_from_slice(&name);
                    out.extend_from_slice(&[0]);
                    out.extend(text.iter().filter(|byte| **byte != 0));
                    out.extend_from_slice(&[0]);
                });
                out.client.push(parameter.freeze());
            }
            Err(_) => self.renew(),
        }
        let exchange = self.exchange();
        let decisions = std::mem::take(&mut self.general.decisions);
        if exchange != 0 {
            out.decided(exchange, decisions);
        }
        Ok(())
    }
}

/// A text whose quoted parts are left out.
fn unquoted(text: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(text.len());
    for (at, part) in text.split(|byte| *byte == b'"').enumerate() {
        if at > 0 {
            out.push(b'"');
        }
        if at % 2 == 0 {
            out.extend_from_slice(part);
        } else {
            out.extend_from_slice("…".as_bytes());
        }
    }
    out.into()
}
