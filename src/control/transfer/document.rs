//! The file: one JSON object. `format` and `version` come first; `tables` has a list of rows for each table, whose fields are
//! the columns by name. What a row says nothing about is left away; bytes are base64; accounts and users are referred to by
//! name. Rows stand in an order in which each comes after what it refers to, and grants in the order in which they were given.

use std::fmt;
use std::io::{self, BufReader, Read, Write};

use base64ct::{Base64, Encoding};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serializer};
use serde_json::Value;

use super::{Dump, TABLES, table};
use crate::control::store::tables::{Cell, Column, Kind, Row, Table};

/// What the file says it is.
const FORMAT: &str = "enclos-export";
/// Raised when an older release would misread what a newer one writes.
const VERSION: u64 = 1;
/// Largest file that is read: some two million users.
const LARGEST: u64 = 2 * 1024 * 1024 * 1024;

/// Why a file cannot be read as an export.
#[derive(Debug, thiserror::Error)]
pub enum BadDocument {
    /// It is no JSON of this form.
    #[error("it is no export of this server: {0}")]
    Form(String),
    /// It cannot be read, or is larger than any.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// There is more than is read.
    #[error("it is larger than {most} bytes; import the accounts in several files", most = LARGEST)]
    Large,
}

/// Writes the file bit by bit.
pub(super) struct Writer<'a, W> {
    to: &'a mut W,
    current: Option<&'static str>,
}

impl<'a, W: Write> Writer<'a, W> {
    pub(super) fn begin(to: &'a mut W) -> io::Result<Self> {
        write!(to, "{{\n\"format\": \"{FORMAT}\",\n\"version\": {VERSION},\n\"tables\": {{")?;
        Ok(Writer { to, current: None })
    }

    pub(super) fn row(&mut self, table: &Table, row: &Row) -> io::Result<()> {
        match self.current {
            Some(current) if current == table.name => self.to.write_all(b",\n")?,
            Some(_) => write!(self.to, "\n],\n\"{}\": [\n", table.name)?,
            None => write!(self.to, "\n\"{}\": [\n", table.name)?,
        }
        self.current = TABLES.iter().map(|t| t.name).find(|name| *name == table.name);
        let cells = table.columns.iter().zip(row);
        let fields = cells.filter_map(|(column, cell)| Some((column.name, value(cell)?)));
        Ok(serde_json::Serializer::new(&mut *self.to).collect_map(fields)?)
    }

    pub(super) fn end(self) -> io::Result<()> {
        let end: &[u8] = if self.current.is_some() { b"\n]\n}\n}\n" } else { b"}\n}\n" };
        self.to.write_all(end)?;
        self.to.flush()
    }
}

fn value(cell: &Cell) -> Option<Value> {
    match cell {
        Cell::Null => None,
        Cell::Number(number) => Some((*number).into()),
        Cell::Text(text) => Some(text.as_str().into()),
        Cell::Bytes(bytes) => Some(Base64::encode_string(bytes).into()),
    }
}

/// Reads a file. Its values are not looked at beyond their type.
pub(super) fn read(from: impl Read, now: i64) -> Result<Dump, BadDocument> {
    let mut bounded = Bounded { from: BufReader::with_capacity(1 << 16, from), left: LARGEST };
    let mut json = serde_json::Deserializer::from_reader(&mut bounded);
    let read = Root { now }.deserialize(&mut json).and_then(|dump| json.end().map(|()| dump));
    match read {
        Err(_) if bounded.left == 0 => Err(BadDocument::Large),
        Err(error) if error.is_io() => Err(BadDocument::Read(error.into())),
        Err(error) => Err(BadDocument::Form(error.to_string())),
        Ok(dump) => Ok(dump),
    }
}

/// Ends after so many bytes, and is known to have.
struct Bounded<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let count = self.from.read(into.get_mut(..most).unwrap_or_default())?;
        self.left -= u64::try_from(count).unwrap_or(0);
        Ok(count)
    }
}

struct Root {
    now: i64,
}

impl<'de> DeserializeSeed<'de> for Root {
    type Value = Dump;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Dump, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Root {
    type Value = Dump;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object that begins with \"format\": \"{FORMAT}\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Dump, A::Error> {
        let (mut format, mut version) = (false, false);
        let mut dump = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "format" => format = map.next_value::<String>()? == FORMAT,
                "version" => match map.next_value::<u64>()? {
                    VERSION => version = true,
                    other => {
                        return Err(A::Error::custom(format!(
                            "its version is {other}, and this release reads {VERSION}"
                        )));
                    }
                },
                "tables" if format && version && dump.is_none() => {
                    dump = Some(map.next_value_seed(Tables { now: self.now })?);
                }
                "tables" => return Err(A::Error::custom("format and version have to stand before the tables")),
                other => return Err(A::Error::custom(format!("{:?} is not known", short(other)))),
            }
        }
        dump.ok_or_else(|| A::Error::custom("there are no tables in it"))
    }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

struct Tables {
    now: i64,
}

impl<'de> DeserializeSeed<'de> for Tables {
    type Value = Dump;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Dump, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Tables {
    type Value = Dump;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of rows for each table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Dump, A::Error> {
        let mut dump = Dump::default();
        while let Some(name) = map.next_key::<String>()? {
            let unknown = || {
                A::Error::custom(format!("there is no table {:?}; was it written by a newer release?", short(&name)))
            };
            let table = table(&name).ok_or_else(unknown)?;
            let rows = map.next_value_seed(Rows { table, now: self.now })?;
            if dump.0.insert(table.name, rows).is_some() {
                return Err(A::Error::custom(format!("table {name} stands there twice")));
            }
        }
        Ok(dump)
    }
}

struct Rows {
    table: &'static Table,
    now: i64,
}

impl<'de> DeserializeSeed<'de> for Rows {
    type Value = Vec<Row>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<Row>, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows {
    type Value = Vec<Row>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of rows of {}", self.table.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Row>, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = list.next_element_seed(OneRow { table: self.table, now: self.now })? {
            rows.push(row);
        }
        Ok(rows)
    }
}

struct OneRow {
    table: &'static Table,
    now: i64,
}

impl<'de> DeserializeSeed<'de> for OneRow {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Row, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneRow {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a row of {}", self.table.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let Self { table, now } = self;
        let mut said: Vec<Option<Cell>> = vec![None; table.columns.len()];
        while let Some(name) = map.next_key::<String>()? {
            let wrong = |what: &str| A::Error::custom(format!("{} of {} {what}", short(&name), table.name));
            let place = table.column(&name).and_then(|at| Some((table.columns.get(at)?, said.get_mut(at)?)));
            let (column, said) = place.ok_or_else(|| wrong("is not known; was it written by a newer release?"))?;
            let cell = match column.kind {
                Kind::Number(..) => Cell::Number(map.next_value()?),
                Kind::Bytes(_) => {
                    Cell::Bytes(Base64::decode_vec(&map.next_value::<String>()?).map_err(|_| wrong("is no base64"))?)
                }
                _ => Cell::Text(map.next_value()?),
            };
            if said.replace(cell).is_some() {
                return Err(wrong("stands there twice"));
            }
        }
        let cells = table.columns.iter().zip(said);
        Ok(cells.map(|(column, cell): (&Column, _)| cell.unwrap_or_else(|| column.unsaid(now))).collect())
    }
}
