//! The rows of a result: one look tells which values have to be inspected, one by one, and what nothing changes leaves as it came.

mod gathered;
mod passing;

use super::frame::{MAX_MESSAGE, Message, Run, put};
use super::origins::{computed, output};
use super::read::{Malformed, Reader};
use super::texts::Texts;
use super::value::{Column, Field, Named, inspect, inspect_guessed};
use crate::limits::Counter;
use bytes::{Bytes, BytesMut};
use gathered::{Gathered, NULL, show};
use passing::Passing;
use sluice_dsl::{Origins, Reading};
use sluice_engine::{Budget, Decision, Program, RuleSet, Stop};
use thiserror::Error;

/// What a RowDescription says of a column after its name, in bytes: numbers alone.
pub(super) const COLUMN: usize = 18;
/// Decisions that wait to be told at once.
const MANY: usize = 256;
/// The longest row that masks may make of one, in bytes.
const MAX_MASKED: usize = 4 * MAX_MESSAGE;

/// A column as a RowDescription tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) oid: u32,
    pub(super) binary: bool,
    /// The numbers of the table and of the column there that it is; 0 and 0 where it is none.
    pub(super) source: (u32, i16),
    /// What that means, where it matters.
    pub(super) origins: Origins,
}

/// The columns of a RowDescription.
pub(super) fn described(body: Bytes) -> Result<Vec<Described>, Malformed> {
    let mut body = Reader(body);
    let count = body.count()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let name = String::from_utf8_lossy(&body.text()?).into_owned();
        let source = (body.oid()?, body.short()?);
        let oid = body.oid()?;
        // The size of the type and its modifier.
        body.short()?;
        body.int()?;
        columns.push(Described { name, oid, binary: format(body.short()?)?, source, origins: Origins::Untold });
    }
    body.end()?;
    Ok(columns)
}

/// A RowDescription with other names for its columns.
pub(super) fn renamed(description: &Message, names: &[Bytes]) -> Result<Bytes, Malformed> {
    let mut body = Reader(description.body());
    let count = body.count()?;
    let mut rest = BytesMut::new();
    for name in names.iter().take(count) {
        body.text()?;
        rest.extend(name.iter().filter(|byte| **byte != 0));
        rest.extend_from_slice(&[0]);
        rest.extend_from_slice(&body.take(COLUMN)?);
    }
    let mut renamed = BytesMut::new();
    put(&mut renamed, b'T', |out| {
        out.extend_from_slice(&description.body()[..2]);
        out.extend_from_slice(&rest);
    });
    Ok(renamed.freeze())
}

/// A format code: 0 text, 1 binary.
pub(super) fn format(code: i16) -> Result<bool, Malformed> {
    match code {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    }
}

/// Why a row does not pass.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum RowError {
    #[error("a row that is not as it was described")]
    Malformed,
    #[error("a row that masks make longer than {MAX_MASKED} bytes")]
    TooLong,
    /// A value that can't be masked in place, where such ones are refused; which rule masks it.
    #[error("a value that can't be masked in place")]
    Unmaskable(Option<Decision>),
    #[error(transparent)]
    Stop(#[from] Stop),
}

impl From<Malformed> for RowError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Which rules hold for a result.
#[derive(Clone, Debug)]
pub(super) enum Rules {
    /// Those of the command that it answers.
    Of(Reading),
    /// These, whatever the command; and what its computed columns may be made of.
    All(RuleSet, Origins),
}

impl Rules {
    fn of(&self, column: &Described) -> RuleSet {
        match self {
            Self::Of(reading) => reading.response_rules(Some((&column.name, &column.origins))),
            Self::All(rules, _) => rules.clone(),
        }
    }

    /// What the column of this place is made of, of this many, where the server names no table.
    pub(super) fn computed(&self, at: usize, count: usize) -> Origins {
        let reading = match self {
            Self::Of(reading) => reading,
            Self::All(_, origins) => return origins.clone(),
        };
        let mut texts = reading.sql();
        let (Some(Some(facts)), None) = (texts.next(), texts.next()) else { return Origins::Unknown };
        match &facts.outputs {
            Some(outputs) if outputs.len() == count => output(facts, at),
            _ => computed(&facts.reads),
        }
    }
}

/// What results are read with.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) program: &'a Program,
    pub(super) budget: &'a Budget,
    /// The names of columns that rules claim.
    pub(super) claims: &'a [String],
    /// A value that can't be masked in place ends the result, and is not NULL.
    pub(super) refuses: bool,
    /// Counts what rules with a limit match.
    pub(super) counter: Option<&'a Counter>,
}

/// A result that is being read.
#[derive(Debug)]
pub(super) struct Rows {
    refuses: bool,
    /// Each with the texts that it is inspected by.
    columns: Vec<(Column, usize)>,
    /// One for each set of rules.
    texts: Vec<(RuleSet, Texts)>,
    /// Memory for rows that come together.
    gathered: Gathered,
}

impl Rows {
    pub(super) fn new(described: &[Described], rules: &Rules, means: Means<'_>) -> Self {
        let Means { program, budget, claims, refuses, counter } = means;
        let counter = counter.map(Counter::apart);
        let mut texts: Vec<(RuleSet, Texts)> = Vec::new();
        let mut columns = Vec::with_capacity(described.len());
        for column in described {
            let set = rules.of(column);
            let at = texts.iter().position(|(known, _)| *known == set).unwrap_or_else(|| {
                texts.push((set.clone(), Texts::new(program, set, budget).counting(counter.clone())));
                texts.len() - 1
            });
            let Described { name, oid, binary, origins, .. } = column.clone();
            let also = claims.iter().filter(|claim| !claim.eq_ignore_ascii_case(&name) && origins.answer(claim));
            let name = Named { also: also.cloned().collect(), label: name };
            let selected = texts[at].1.selects(&name);
            columns.push((Column { name: Some(name), oid, binary, selected }, at));
        }
        Self { refuses, columns, texts, gathered: Gathered::default() }
    }

    /// No rule holds for any column.
    pub(super) fn is_idle(&self) -> bool {
        self.texts.iter().all(|(_, texts)| texts.is_idle())
    }

    /// Another row begins.
    pub(super) fn next_row(&self) {
        // They count together.
        if let Some((_, texts)) = self.texts.first() {
            texts.next_record();
        }
    }

    /// The columns have no names that are known.
    pub(super) fn forget_names(&mut self) {
        self.columns.iter_mut().for_each(|(column, _)| (column.name, column.selected) = (None, false));
    }

    /// A value of the column of this place; `header` where it is the column's name.
    pub(super) fn value(&mut self, at: usize, header: bool, value: &Bytes) -> Result<Field, RowError> {
        let (column, texts) = &self.columns[at];
        let texts = &mut self.texts[*texts].1;
        if header {
            return Ok(texts.text(value, None)?.into());
        }
        let field = inspect(column, value, texts)?;
        settled(field, texts, self.refuses)
    }

    /// A value in the binary format of the column of this place, whose type is a guess; `seen` gets what the user sees of it.
    pub(super) fn guessed(
        &mut self,
        at: usize,
        oid: u32,
        value: &Bytes,
        seen: &mut Vec<u8>,
    ) -> Result<Field, RowError> {
        let (column, texts) = &self.columns[at];
        let texts = &mut self.texts[*texts].1;
        let column = Column { oid, ..column.clone() };
        let field = settled(inspect_guessed(&column, value, texts)?, texts, self.refuses)?;
        if at > 0 {
            seen.push(b'\t');
        }
        match &field {
            Field::Same => drop(show(&column, value, seen)),
            Field::New(value) => drop(show(&column, value, seen)),
            Field::Null => seen.extend_from_slice(NULL),
        }
        Ok(field)
    }

    /// A value of this column that is NULL.
    pub(super) fn null(&mut self, at: usize, seen: &mut Vec<u8>) -> Field {
        if at > 0 {
            seen.push(b'\t');
        }
        seen.extend_from_slice(NULL);
        Field::Same
    }

    /// Many decisions wait to be told.
    pub(super) fn has_much_to_tell(&self) -> bool {
        self.texts.iter().any(|(_, texts)| texts.decisions.len() > MANY)
    }

    /// What was decided since this was last asked.
    pub(super) fn decisions(&mut self) -> Vec<Decision> {
        self.texts.iter_mut().flat_map(|(_, texts)| std::mem::take(&mut texts.decisions)).collect()
    }

    /// Rows as they may leave, up to the first that may not; `seen` gets a line of each for the record.
    ///
    /// # Errors
    /// [`RowError`]: nothing of the row that it is about leaves, nor of those after it.
    pub(super) fn run(&mut self, run: &Run, seen: &mut Vec<u8>, client: &mut Vec<Bytes>) -> Result<(), RowError> {
        let mut gathered = std::mem::take(&mut self.gathered);
        let read = gathered.read(run, self.columns.iter().map(|(column, _)| column));
        self.glance(&mut gathered);
        let passed = self.pass(run, &gathered, seen, client);
        self.gathered = gathered.emptied();
        passed.and(read.map_err(RowError::from))
    }

    /// Finds the values that have to be inspected: by one look at all of them for each set of rules.
    fn glance(&self, gathered: &mut Gathered) {
        let Gathered { lines, rows, cells } = gathered;
        let count = self.columns.len();
        for (at, (_, texts)) in self.texts.iter().enumerate() {
            let of = |index: usize| self.columns[index % count].1 == at;
            let own = || cells.iter().enumerate().filter(|(index, cell)| cell.plain && of(*index));
            let mut places: Vec<_> = own().map(|(_, cell)| cell.shown.clone()).collect();
            texts.glance(lines, &mut places);
            let mut places = places.into_iter().peekable();
            let own = cells.iter_mut().enumerate().filter(|(index, cell)| cell.plain && of(*index));
            own.for_each(|(_, cell)| cell.clean = places.next_if_eq(&cell.shown).is_none());
        }
        for (row, cells) in rows.iter_mut().zip(cells.chunks(count.max(1))) {
            row.clean = cells.iter().all(|cell| cell.clean);
        }
    }

    /// Inspects the values that have to be, and puts together what leaves.
    fn pass(
        &mut self,
        run: &Run,
        gathered: &Gathered,
        seen: &mut Vec<u8>,
        client: &mut Vec<Bytes>,
    ) -> Result<(), RowError> {
        let (mut passing, count) = (Passing::new(run), self.columns.len());
        // What of the lines is on record.
        let mut told = 0;
        for (index, row) in gathered.rows.iter().enumerate().filter(|(_, row)| !row.clean) {
            seen.extend_from_slice(&gathered.lines[told..row.line]);
            told = row.line;
            let before = seen.len();
            self.next_row();
            for (at, cell) in
                gathered.cells[index * count..][..count].iter().enumerate().filter(|(_, cell)| !cell.clean)
            {
                let replaced = self.value(at, false, &run.raw().slice(cell.value.clone())).and_then(|field| {
                    let value = match &field {
                        Field::Same => return Ok(()),
                        Field::New(value) => Some(value.as_slice()),
                        Field::Null => None,
                    };
                    seen.extend_from_slice(&gathered.lines[told..cell.shown.start as usize]);
                    told = cell.shown.end as usize;
                    match value {
                        Some(value) => drop(show(&self.columns[at].0, value, seen)),
                        None => seen.extend_from_slice(NULL),
                    }
                    passing.replace(row, cell, value)
                });
                if let Err(error) = replaced {
                    seen.truncate(before);
                    passing.finish(row.message.start, client);
                    return Err(error);
                }
            }
            passing.end_row(row);
        }
        seen.extend_from_slice(&gathered.lines[told..]);
        passing.finish(gathered.rows.last().map_or(0, |row| row.message.end), client);
        Ok(())
    }
}

/// What becomes of a value, where one that can't be masked in place may be refused.
fn settled(field: Field, texts: &mut Texts, refuses: bool) -> Result<Field, RowError> {
    let lost = std::mem::take(&mut texts.lost) || field == Field::Null;
    if lost && refuses { Err(RowError::Unmaskable(texts.decisions.last().cloned())) } else { Ok(field) }
}

pub(super) fn put_field(out: &mut BytesMut, value: Option<&[u8]>) {
    match value {
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        Some(value) => {
            let length = i32::try_from(value.len()).expect("values come from messages below the cap");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(value);
        }
    }
}
