//! What a PostgreSQL server's tables are called, asked over a connection of the gateway's own: no client has a say in it.
//!
//! What was learnt holds for a while, and until a session of the gateway changes a table. Views are followed by letting the server
//! describe their definitions.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use sluice_dsl::{Origin, Origins, sql};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::postgres::{ConnectError, Connected, Server, connect};
use crate::protocol::postgres::frame::{Message, message};
use crate::protocol::postgres::origins::{Relation, Relations, output, sources, values};

/// How long something that was learnt holds: others than the gateway's users change tables, too.
const FRESH: Duration = Duration::from_secs(30);
/// How long an unused connection stays open.
const UNUSED: Duration = Duration::from_secs(20);
/// How long a question may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Tables that are remembered.
const MAX_KNOWN: usize = 16_384;
/// Views of views are followed this deep.
const MAX_DEPTH: usize = 16;

/// The catalog of one connection's server. Shared by its sessions.
pub(crate) struct Catalog {
    upstream: Arc<Server>,
    known: Lock<Known>,
    connection: Mutex<Option<Open>>,
}

#[derive(Default)]
struct Known {
    /// Counts what made everything stale.
    changes: u64,
    tables: HashMap<u32, Learnt>,
}

struct Learnt {
    relation: Arc<Relation>,
    at: Instant,
    changes: u64,
}

struct Open {
    connected: Connected,
    used: Instant,
}

impl Catalog {
    pub(crate) fn new(upstream: &Arc<Server>) -> Arc<Self> {
        Arc::new(Self { upstream: Arc::clone(upstream), known: Lock::default(), connection: Mutex::default() })
    }

    fn all(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of these tables, if it is known of all.
    pub(crate) fn known(&self, tables: &[u32]) -> Option<Relations> {
        let known = self.all();
        let fresh = |table: &u32| {
            let learnt = known.tables.get(table)?;
            (learnt.changes == known.changes && learnt.at.elapsed() < FRESH).then(|| Arc::clone(&learnt.relation))
        };
        tables.iter().map(|table| Some((*table, fresh(table)?))).collect()
    }

    /// Tables may be called otherwise now.
    pub(crate) fn forget(&self) {
        self.all().changes += 1;
    }

    /// These tables, asked for where they are not known. One that the server doesn't show is left out, and all of them are where it
    /// can't be asked.
    pub(crate) async fn ask(self: &Arc<Self>, tables: &[u32]) -> Relations {
        if let Some(known) = self.known(tables) {
            return known;
        }
        let mut connection = self.connection.lock().await;
        // Somebody else may have asked meanwhile.
        if let Some(known) = self.known(tables) {
            return known;
        }
        let changes = self.all().changes;
        let asking = timeout(ANSWER, self.learn(&mut connection, tables));
        let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long").into());
        match asking.await.unwrap_or_else(late) {
            Ok(learnt) => self.keep(learnt, changes),
            Err(error) => {
                *connection = None;
                let host = &self.upstream.host;
                tracing::warn!(host, %error, "a server's catalog can't be read: columns count as unknown");
                Relations::new()
            }
        }
    }

    fn keep(&self, learnt: HashMap<u32, Relation>, changes: u64) -> Relations {
        let mut known = self.all();
        if known.tables.len() + learnt.len() > MAX_KNOWN {
            known.tables.clear();
        }
        let mut relations = Relations::new();
        for (table, mut relation) in learnt {
            if let Some(before) = known.tables.get(&table) {
                relation.remember(&before.relation);
            }
            let relation = Arc::new(relation);
            relations.insert(table, Arc::clone(&relation));
            known.tables.insert(table, Learnt { relation, at: Instant::now(), changes });
        }
        relations
    }

    async fn learn(
        self: &Arc<Self>,
        connection: &mut Option<Open>,
        tables: &[u32],
    ) -> Result<HashMap<u32, Relation>, ConnectError> {
        // One that the server has closed is found out by using it; a new one is then to be had once.
        let kept = connection.is_some();
        match self.read(connection, tables).await {
            Err(ConnectError::Io(_) | ConnectError::Closed) if kept => {
                *connection = None;
                self.read(connection, tables).await
            }
            read => read,
        }
    }

    async fn read(
        self: &Arc<Self>,
        connection: &mut Option<Open>,
        tables: &[u32],
    ) -> Result<HashMap<u32, Relation>, ConnectError> {
        let open = match connection {
            Some(open) => open,
            none => {
                // Nothing that a name could stand for instead.
                let settings = [("search_path", "pg_catalog"), ("application_name", "sluice catalog")];
                let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
                let connected = connect(&self.upstream, &settings).await?;
                tokio::spawn(close_unused(Arc::downgrade(self)));
                none.insert(Open { connected, used: Instant::now() })
            }
        };
        open.used = Instant::now();
        let mut reading = Reading::new(&mut open.connected);
        reading.tables(tables).await
    }
}

/// Closes the connection when nobody has used it for a while.
async fn close_unused(catalog: Weak<Catalog>) {
    loop {
        tokio::time::sleep(UNUSED).await;
        let Some(catalog) = catalog.upgrade() else { return };
        let mut connection = catalog.connection.lock().await;
        match &mut *connection {
            Some(open) if open.used.elapsed() < UNUSED => {}
            Some(open) => {
                let _ = open.connected.socket.write_all(&message(b'X', b"")).await;
                *connection = None;
                return;
            }
            None => return,
        }
    }
}

/// Reading some tables of the catalog, and what they lead to.
struct Reading<'a> {
    connected: &'a mut Connected,
    /// Tables as the catalog has them.
    tables: HashMap<u32, Relation>,
    /// Where the columns of a view come from, in their order; None where the server can't tell.
    views: HashMap<u32, Option<Vec<Source>>>,
    /// Tables with what their columns come from by way of views; None while that is being found out.
    followed: HashMap<u32, Option<Relation>>,
}

/// The number of a table and of its column, or what is computed.
enum Source {
    Column(u32, i16),
    Computed(Origins),
}

impl<'a> Reading<'a> {
    fn new(connected: &'a mut Connected) -> Self {
        Self { connected, tables: HashMap::new(), views: HashMap::new(), followed: HashMap::new() }
    }

    async fn tables(&mut self, asked: &[u32]) -> Result<HashMap<u32, Relation>, ConnectError> {
        let (mut next, mut seen): (Vec<u32>, HashSet<u32>) = (asked.to_vec(), HashSet::new());
        for _ in 0..MAX_DEPTH {
            next.retain(|table| seen.insert(*table));
            if next.is_empty() {
                break;
            }
            let views = self.columns(&next).await?;
            next.clear();
            for view in views {
                let sources = self.view(view).await?;
                next.extend(sources.iter().flatten().filter_map(|source| match source {
                    Source::Column(table, _) => Some(*table),
                    Source::Computed(_) => None,
                }));
                self.views.insert(view, sources);
            }
        }
        let mut found = HashMap::new();
        for table in asked {
            if let Some(relation) = self.follow(*table) {
                found.insert(*table, relation);
            }
        }
        Ok(found)
    }

    /// A table with what its columns come from by way of views. None where it isn't known, and for a view that reads itself.
    fn follow(&mut self, table: u32) -> Option<Relation> {
        if let Some(followed) = self.followed.get(&table) {
            return followed.clone();
        }
        self.followed.insert(table, None);
        let mut relation = self.tables.get(&table)?.clone();
        if let Some(sources) = self.views.remove(&table) {
            let sources = sources.unwrap_or_default();
            for at in relation.numbers() {
                let source = usize::try_from(at).ok().and_then(|at| sources.get(at.checked_sub(1)?));
                let origins = match source {
                    Some(Source::Computed(origins)) => origins.clone(),
                    Some(Source::Column(table, column)) => {
                        self.follow(*table).map_or(Origins::Unknown, |relation| relation.column(*column))
                    }
                    None => Origins::Unknown,
                };
                relation.add(at, origins);
            }
        }
        self.followed.insert(table, Some(relation.clone()));
        Some(relation)
    }

    /// Reads the columns of tables under their own names and those of what they inherit from; gives those that are views.
    async fn columns(&mut self, tables: &[u32]) -> Result<Vec<u32>, ConnectError> {
        let mut sql = String::from("WITH RECURSIVE up (asked, oid) AS (SELECT oid, oid FROM pg_class WHERE oid IN (0");
        for table in tables {
            let _ = write!(sql, ",{table}");
        }
        sql.push_str(
            ") UNION SELECT up.asked, i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.oid) \
             SELECT up.asked, asked.relkind IN ('v', 'm'), n.nspname, c.relname, own.attnum, own.attname \
             FROM up JOIN pg_class c ON c.oid = up.oid JOIN pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_class asked ON asked.oid = up.asked \
             JOIN pg_attribute own ON own.attrelid = up.asked AND NOT own.attisdropped \
             JOIN pg_attribute a ON a.attrelid = up.oid AND a.attname = own.attname AND NOT a.attisdropped",
        );
        let mut views = Vec::new();
        for row in self.query(&sql).await? {
            let malformed = || ConnectError::Protocol("a row of the catalog");
            let row = values(&row).map_err(|_| malformed())?;
            let [table, is_view, schema, name, at, column] = row.as_slice() else { return Err(malformed()) };
            let text = |value: &Option<Bytes>| {
                value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
            };
            let (Ok(table), Ok(at)) = (text(table).parse::<u32>(), text(at).parse::<i16>()) else {
                return Err(malformed());
            };
            let origin = Origin { schema: Some(text(schema)), table: Some(text(name)), column: text(column) };
            self.tables.entry(table).or_default().add(at, Origins::Of(vec![origin]));
            if text(is_view) == "t" && !views.contains(&table) {
                views.push(table);
            }
        }
        Ok(views)
    }

    /// The sources of a view's columns, as the server describes its definition.
    async fn view(&mut self, view: u32) -> Result<Option<Vec<Source>>, ConnectError> {
        let definition = self.query(&format!("SELECT pg_get_viewdef({view}::oid)")).await?;
        let definition = definition.first().and_then(|row| values(row).ok()?.into_iter().next().flatten());
        // Dropped a moment ago.
        let Some(definition) = definition else { return Ok(None) };
        let parse = [&b"\0"[..], &definition, b"\0\0\0"].concat();
        let asked = [message(b'P', &parse), message(b'D', b"S\0"), message(b'S', b"")].concat();
        self.connected.ask(&asked).await?;
        let mut described = None;
        while let Some(message) = self.next().await? {
            if message.tag() == b'T' {
                let sources = sources(&message).map_err(|_| ConnectError::Protocol("the description of a view"))?;
                described = Some(sources);
            }
        }
        let facts = sql::facts(&String::from_utf8_lossy(&definition)).ok();
        let unnamed = |at: usize| facts.as_ref().map_or(Origins::Unknown, |facts| output(facts, at));
        let source = |(at, source)| match source {
            (0, _) => Source::Computed(unnamed(at)),
            (table, column) => Source::Column(table, column),
        };
        Ok(described.map(|described| described.into_iter().enumerate().map(source).collect()))
    }

    /// The rows of a query.
    async fn query(&mut self, sql: &str) -> Result<Vec<Message>, ConnectError> {
        self.connected.ask(&message(b'Q', &[sql.as_bytes(), &[0]].concat())).await?;
        let mut rows = Vec::new();
        while let Some(message) = self.next().await? {
            if message.tag() == b'D' {
                rows.push(message);
            }
        }
        Ok(rows)
    }

    /// The next message of an answer; None at its end.
    async fn next(&mut self) -> Result<Option<Message>, ConnectError> {
        let message = self.connected.answer().await?;
        if message.as_ref().is_some_and(|message| message.tag() == b'E') {
            tracing::debug!("the server refused a question about its catalog");
        }
        Ok(message)
    }
}
