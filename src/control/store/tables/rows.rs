//! Rows out of the database and into it. What is put together as SQL here are names out of [`TABLES`] and nothing else;
//! values are bound.

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::{Cell, Column, Kind, Row, TABLES, Table};
use crate::config::Database;
use crate::control::store::{Change, Store, StoreError};

impl Table {
    /// Every column, with names in place of the numbers of other rows.
    fn selected(&self) -> String {
        let name = |column: &Column| match column.kind {
            Kind::Account => format!("(SELECT a.name FROM accounts a WHERE a.id = t.{0}) AS {0}", column.name),
            Kind::User => format!("(SELECT u.name FROM users u WHERE u.id = t.{0}) AS {0}", column.name),
            _ => format!("t.{}", column.name),
        };
        self.columns.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    fn select_all(&self) -> String {
        let order: Vec<String> = self.order.split(", ").map(|column| format!("t.{column}")).collect();
        format!("SELECT {} FROM {} t ORDER BY {}", self.selected(), self.name, order.join(", "))
    }

    /// The rows with some cells. What is nothing is not bound.
    fn select_by(&self, names: &[&str], values: &[&Cell]) -> String {
        let wanted = |(n, (name, value)): (usize, (&&str, &&Cell))| {
            let kind = self.columns.iter().find(|column| column.name == *name).map(|column| column.kind);
            match kind {
                _ if **value == Cell::Null => format!("t.{name} IS NULL"),
                Some(Kind::User) => format!("t.{name} = (SELECT u.id FROM users u WHERE u.name = ${})", n + 1),
                Some(Kind::Account) => format!("t.{name} = (SELECT a.id FROM accounts a WHERE a.name = ${})", n + 1),
                _ => format!("t.{name} = ${}", n + 1),
            }
        };
        let place = |at: usize| values.iter().take(at).filter(|value| ***value != Cell::Null).count();
        let pairs = names.iter().zip(values).enumerate().map(|(at, pair)| (place(at), pair));
        let wanted: Vec<String> = pairs.map(wanted).collect();
        format!("SELECT {} FROM {} t WHERE {}", self.selected(), self.name, wanted.join(" AND "))
    }

    fn insert(&self) -> String {
        let value = |(n, column): (usize, &Column)| match column.kind {
            Kind::Account => format!("(SELECT id FROM accounts WHERE name = ${})", n + 1),
            Kind::User => format!("(SELECT id FROM users WHERE name = ${})", n + 1),
            _ => format!("${}", n + 1),
        };
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        let values: Vec<String> = self.columns.iter().enumerate().map(value).collect();
        format!("INSERT INTO {} ({}) VALUES ({})", self.name, names.join(", "), values.join(", "))
    }

    fn read(&self, row: &AnyRow) -> Result<Row, StoreError> {
        let cell = |column: &Column| {
            Ok::<_, StoreError>(match column.kind {
                Kind::Number(..) => row.try_get::<Option<i64>, _>(column.name)?.map_or(Cell::Null, Cell::Number),
                Kind::Bytes(_) => row.try_get::<Option<Vec<u8>>, _>(column.name)?.map_or(Cell::Null, Cell::Bytes),
                _ => row.try_get::<Option<String>, _>(column.name)?.map_or(Cell::Null, Cell::Text),
            })
        };
        self.columns.iter().map(cell).collect()
    }
}

type Query = sqlx::query::Query<'static, sqlx::Any, sqlx::any::AnyArguments>;

/// Binds a value; nothing as nothing of the column's type.
fn bind(query: Query, column: &Column, cell: &Cell) -> Query {
    match (column.kind, cell) {
        (_, Cell::Text(text)) => query.bind(text.clone()),
        (_, Cell::Number(number)) => query.bind(*number),
        (_, Cell::Bytes(bytes)) => query.bind(bytes.clone()),
        (Kind::Number(..), Cell::Null) => query.bind(None::<i64>),
        (Kind::Bytes(_), Cell::Null) => query.bind(None::<Vec<u8>>),
        (_, Cell::Null) => query.bind(None::<String>),
    }
}

/// The rows of a table whose columns have these values.
pub(super) async fn find(
    change: &mut Change,
    table: &'static Table,
    names: &[&str],
    values: &[&Cell],
) -> Result<Vec<Row>, StoreError> {
    let mut query = sqlx::query(AssertSqlSafe(table.select_by(names, values)));
    for (name, value) in names.iter().zip(values).filter(|(_, value)| ***value != Cell::Null) {
        if let Some(column) = table.columns.iter().find(|column| column.name == *name) {
            query = bind(query, column, value);
        }
    }
    query.fetch_all(&mut **change).await?.iter().map(|row| table.read(row)).collect()
}

/// Adds a row.
pub(super) async fn add(change: &mut Change, table: &'static Table, row: &Row) -> Result<(), StoreError> {
    let mut query = sqlx::query(AssertSqlSafe(table.insert()));
    for (column, cell) in table.columns.iter().zip(row) {
        query = bind(query, column, cell);
    }
    query.execute(&mut **change).await?;
    Ok(())
}

impl Store {
    /// Hands over every row of every table as they were at one moment, in an order in which they can be put into another
    /// database. Not more than one of them is held.
    pub(in crate::control) async fn each_row<E>(
        &self,
        mut take: impl FnMut(&'static Table, Row) -> Result<(), E>,
    ) -> Result<Result<(), E>, StoreError> {
        use futures_util::TryStreamExt as _;
        let mut moment = self.pool.begin().await?;
        if matches!(self.database, Database::Server(_)) {
            sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(&mut *moment).await?;
        }
        for table in TABLES {
            let mut rows = sqlx::query(AssertSqlSafe(table.select_all())).fetch(&mut *moment);
            while let Some(row) = rows.try_next().await? {
                if let Err(error) = take(table, table.read(&row)?) {
                    return Ok(Err(error));
                }
            }
        }
        moment.rollback().await?;
        Ok(Ok(()))
    }
}
