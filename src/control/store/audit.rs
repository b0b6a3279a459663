//! Rows of the audit trail. They are added by many at once, and beside the changes they are about.

use sqlx::{Any, AssertSqlSafe, Row, SqlSafeStr, Transaction};

use super::{Store, StoreError};
use crate::domain::{AccountName, UserName};
use crate::telemetry::audit::Record;

/// Rows that one statement adds, largest first: so there are few statements to be prepared.
const AT_ONCE: [usize; 4] = [64, 16, 4, 1];
/// Rows that one statement removes: others wait for it.
const REMOVED_AT_ONCE: i64 = 2000;
/// Columns of a row that is added.
const COLUMNS: usize = 8;

/// A record as a row.
#[derive(Debug, Clone)]
pub(in crate::control) struct AuditRow {
    at: i64,
    connection: Option<String>,
    account: Option<String>,
    login: Option<String>,
    kind: &'static str,
    path: Option<String>,
    other_path: Option<String>,
    record: String,
}

impl From<&Record> for AuditRow {
    fn from(record: &Record) -> AuditRow {
        let who = &record.head.who;
        let (path, other_path) = record.event.paths();
        AuditRow {
            at: record.at.0,
            connection: who.connection.clone(),
            account: who.account.as_ref().map(ToString::to_string),
            login: who.user.as_ref().map(ToString::to_string),
            kind: record.event.kind(),
            path: path.map(ToString::to_string),
            other_path: other_path.map(ToString::to_string),
            record: record.line(),
        }
    }
}

/// Which events are wanted; what is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AuditQuery {
    /// Of this user.
    pub user: Option<UserName>,
    /// Of this account.
    pub account: Option<AccountName>,
    /// From this time on, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Before this time.
    pub until: Option<i64>,
    /// Of one of these kinds.
    pub kinds: Vec<String>,
    /// About this path, escaped as it is stored, or one beneath it.
    pub path: Option<String>,
    /// Of this connection, or of those with this number.
    pub connection: Option<String>,
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) struct Stored {
    /// Its number.
    pub id: i64,
    /// As JSON.
    pub record: String,
}

/// Which part of what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditPage {
    /// The last ones.
    Newest,
    /// Those after an event, from there on.
    After(i64),
}

impl Store {
    /// Adds records, all of them or none.
    pub(in crate::control) async fn add_audit(&self, rows: &[AuditRow]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        add(&mut transaction, rows).await?;
        Ok(transaction.commit().await?)
    }

    /// The events that are wanted, at most `most`, in their order.
    pub(in crate::control) async fn audit(
        &self,
        query: &AuditQuery,
        page: AuditPage,
        most: u32,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut wanted = Wanted::default();
        wanted.text("login = ", query.user.as_ref().map(ToString::to_string));
        wanted.text("account = ", query.account.as_ref().map(ToString::to_string));
        wanted.number("at >= ", query.since);
        wanted.number("at < ", query.until);
        wanted.any_of("kind", &query.kinds);
        wanted.connection(query.connection.as_deref());
        wanted.path(query.path.as_deref());
        let order = match page {
            AuditPage::Newest => "DESC",
            AuditPage::After(id) => {
                wanted.number("id > ", Some(id));
                "ASC"
            }
        };
        let sql = format!("SELECT id, record FROM audit{} ORDER BY id {order} LIMIT {most}", wanted.clause());
        let mut asked = sqlx::query(AssertSqlSafe(sql).into_sql_str());
        for value in wanted.values {
            asked = match value {
                Value::Text(text) => asked.bind(text),
                Value::Number(number) => asked.bind(number),
            };
        }
        let rows = asked.persistent(false).fetch_all(&self.pool).await?;
        let read = |row: &sqlx::any::AnyRow| Ok(Stored { id: row.try_get("id")?, record: row.try_get("record")? });
        let mut found = rows.iter().map(read).collect::<Result<Vec<_>, StoreError>>()?;
        if page == AuditPage::Newest {
            found.reverse();
        }
        Ok(found)
    }

    /// Removes what is older than `oldest`, and, where there are more than `most`, the oldest of whoever has most: whoever
    /// does a lot does not have the records of others removed. Says how many are gone.
    pub(in crate::control) async fn prune_audit(&self, oldest: i64, most: i64) -> Result<u64, StoreError> {
        let mut gone = 0;
        loop {
            let sql = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)";
            let removed = sqlx::query(sql).bind(oldest).bind(REMOVED_AT_ONCE).execute(&self.pool).await?;
            gone += removed.rows_affected();
            if removed.rows_affected() == 0 {
                break;
            }
        }
        let mut shares = self.audit_shares().await?;
        let mut excess = shares.iter().map(|(_, count)| count).sum::<i64>() - most;
        while excess > 0 {
            let Some((whose, count)) = shares.iter_mut().max_by_key(|(_, count)| *count) else { break };
            let part = excess.min(REMOVED_AT_ONCE);
            let sql = "DELETE FROM audit WHERE id IN (SELECT id FROM audit \
                WHERE COALESCE(account, '') = $1 AND COALESCE(login, '') = $2 ORDER BY id LIMIT $3)";
            let query = sqlx::query(sql).bind(whose.0.as_str()).bind(whose.1.as_str()).bind(part);
            let removed = query.execute(&self.pool).await?.rows_affected();
            gone += removed;
            *count -= part;
            excess -= part;
        }
        Ok(gone)
    }

    /// How many records there are of whom.
    async fn audit_shares(&self) -> Result<Vec<((String, String), i64)>, StoreError> {
        let rows = sqlx::query(
            "SELECT COALESCE(account, '') AS account, COALESCE(login, '') AS login, COUNT(*) AS records FROM audit \
             GROUP BY COALESCE(account, ''), COALESCE(login, '')",
        )
        .fetch_all(&self.pool)
        .await?;
        let read =
            |row: &sqlx::any::AnyRow| Ok(((row.try_get("account")?, row.try_get("login")?), row.try_get("records")?));
        rows.iter().map(read).collect()
    }
}

/// Adds records to a transaction.
pub(super) async fn add(transaction: &mut Transaction<'static, Any>, rows: &[AuditRow]) -> Result<(), StoreError> {
    let mut rest = rows;
    for size in AT_ONCE {
        while let Some((part, after)) = rest.split_at_checked(size) {
            let mut query = sqlx::query(AssertSqlSafe(statement(size)).into_sql_str());
            for row in part {
                query = query
                    .bind(row.at)
                    .bind(row.connection.as_deref())
                    .bind(row.account.as_deref())
                    .bind(row.login.as_deref())
                    .bind(row.kind)
                    .bind(row.path.as_deref())
                    .bind(row.other_path.as_deref())
                    .bind(row.record.as_str());
            }
            query.execute(&mut **transaction).await?;
            rest = after;
        }
    }
    Ok(())
}

fn statement(rows: usize) -> String {
    let row = |number: usize| {
        let places: Vec<String> = (1..=COLUMNS).map(|column| format!("${}", number * COLUMNS + column)).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO audit (at, connection, account, login, kind, path, other_path, record) VALUES {}",
        rows.join(", ")
    )
}

/// Conditions, and the values that they are about: none of what is asked for becomes part of the SQL.
#[derive(Default)]
struct Wanted {
    conditions: Vec<String>,
    values: Vec<Value>,
}

enum Value {
    Text(String),
    Number(i64),
}

impl Wanted {
    fn place(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn text(&mut self, condition: &str, value: Option<String>) {
        if let Some(value) = value {
            let place = self.place(Value::Text(value));
            self.conditions.push(format!("{condition}{place}"));
        }
    }

    fn number(&mut self, condition: &str, value: Option<i64>) {
        if let Some(value) = value {
            let place = self.place(Value::Number(value));
            self.conditions.push(format!("{condition}{place}"));
        }
    }

    fn any_of(&mut self, column: &str, values: &[String]) {
        if !values.is_empty() {
            let places: Vec<String> = values.iter().map(|value| self.place(Value::Text(value.clone()))).collect();
            self.conditions.push(format!("{column} IN ({})", places.join(", ")));
        }
    }

    /// A whole name, or the number at its end.
    fn connection(&mut self, connection: Option<&str>) {
        let Some(connection) = connection else { return };
        if connection.contains('-') {
            return self.text("connection = ", Some(connection.to_owned()));
        }
        // Only digits stand in numbers, so that nothing here is a pattern.
        let digits: String = connection.chars().filter(char::is_ascii_digit).collect();
        let place = self.place(Value::Text(format!("%-{digits}")));
        self.conditions.push(format!("connection LIKE {place}"));
    }

    /// A path, or one beneath it, whichever of the two it is that an event names.
    fn path(&mut self, path: Option<&str>) {
        let Some(path) = path else { return };
        let beneath = format!("{}/", path.trim_end_matches('/'));
        let length = i64::try_from(beneath.chars().count()).unwrap_or(i64::MAX);
        let mut either = Vec::new();
        for column in ["path", "other_path"] {
            let (whole, start) = (self.place(Value::Text(path.to_owned())), self.place(Value::Text(beneath.clone())));
            let length = self.place(Value::Number(length));
            either.push(format!("{column} = {whole} OR substr({column}, 1, CAST({length} AS INTEGER)) = {start}"));
        }
        self.conditions.push(format!("({})", either.join(" OR ")));
    }

    fn clause(&self) -> String {
        if self.conditions.is_empty() { String::new() } else { format!(" WHERE {}", self.conditions.join(" AND ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::store::testing::{Fresh, on_postgres, on_sqlite};
    use crate::domain::Escaped;
    use crate::telemetry::audit::{Event, Head, Moment, Who};

    fn record(at: i64, account: &str, user: &str, path: &str) -> Record {
        let who = Who {
            node: "web1".to_owned(),
            connection: Some("6a-12".to_owned()),
            account: Some(account.parse().expect("a name")),
            user: Some(user.parse().expect("a name")),
            ..Who::default()
        };
        let event = Event::FileRemoved { path: Escaped::new(path.as_bytes()) };
        Record { at: Moment(at), head: Head::new(who), event }
    }

    fn rows(records: &[Record]) -> Vec<AuditRow> {
        records.iter().map(AuditRow::from).collect()
    }

    async fn found(store: &Store, query: AuditQuery) -> Vec<i64> {
        let found = store.audit(&query, AuditPage::Newest, 1000).await.expect("a query");
        let id = |stored: &Stored| {
            let value: serde_json::Value = serde_json::from_str(&stored.record).expect("JSON");
            let time: jiff::Timestamp = value["time"].as_str().expect("a time").parse().expect("a time");
            time.as_millisecond()
        };
        found.iter().map(id).collect()
    }

    async fn what_is_wanted_is_found(fresh: Fresh) {
        let store = Store::open(&fresh.database).await.expect("a database");
        store
            .add_audit(&rows(&[
                record(1, "acme", "bob", "/srv/acme/www"),
                record(2, "acme", "bob", "/srv/acme/www/a'; DROP TABLE audit; --"),
                record(3, "acme", "eve", "/srv/acme/www2/%"),
                record(4, "other", "joe", "/srv/other/x\ny"),
            ]))
            .await
            .expect("added");
        let nothing_said = AuditQuery::default;
        assert_eq!(found(&store, nothing_said()).await, [1, 2, 3, 4]);
        let user = Some("bob".parse().expect("a name"));
        assert_eq!(found(&store, AuditQuery { user, ..nothing_said() }).await, [1, 2]);
        let account = Some("acme".parse().expect("a name"));
        assert_eq!(found(&store, AuditQuery { account, since: Some(2), ..nothing_said() }).await, [2, 3]);
        assert_eq!(found(&store, AuditQuery { until: Some(2), ..nothing_said() }).await, [1]);
        for (path, expected) in [
            ("/srv/acme/www", vec![1, 2]),
            ("/srv/acme/www/", vec![2]),
            ("/srv/acme", vec![1, 2, 3]),
            ("/srv/acme/ww", vec![]),
            ("/srv/acme/www2/%", vec![3]),
            ("/srv/other/x\\ny", vec![4]),
            ("%", vec![]),
        ] {
            let query = AuditQuery { path: Some(path.to_owned()), ..nothing_said() };
            assert_eq!(found(&store, query).await, expected, "{path}");
        }
        for (connection, expected) in [("6a-12", 4), ("12", 4), ("2", 0), ("a-12", 0), ("%", 0)] {
            let query = AuditQuery { connection: Some(connection.to_owned()), ..nothing_said() };
            assert_eq!(found(&store, query).await.len(), expected, "{connection}");
        }
        let kinds = vec!["login".to_owned(), "file-removed".to_owned()];
        assert_eq!(found(&store, AuditQuery { kinds, ..nothing_said() }).await.len(), 4);
        assert!(found(&store, AuditQuery { kinds: vec!["login".to_owned()], ..nothing_said() }).await.is_empty());
        let first = store.audit(&nothing_said(), AuditPage::After(0), 2).await.expect("a query");
        let rest = store.audit(&nothing_said(), AuditPage::After(first[1].id), 9).await.expect("a query");
        assert_eq!((first.len(), rest.len()), (2, 2));
        store.close().await;
    }

    #[tokio::test]
    async fn what_is_wanted_is_found_on_sqlite() {
        what_is_wanted_is_found(on_sqlite()).await;
    }

    #[tokio::test]
    async fn what_is_wanted_is_found_on_postgres() {
        what_is_wanted_is_found(on_postgres()).await;
    }

    async fn whoever_does_a_lot_loses_its_own_records(fresh: Fresh) {
        let store = Store::open(&fresh.database).await.expect("a database");
        let many: Vec<Record> = (0..2500).map(|at| record(at, "acme", "bob", "/x")).collect();
        store.add_audit(&rows(&many)).await.expect("added");
        store
            .add_audit(&rows(&[record(5, "acme", "eve", "/y"), record(6, "other", "joe", "/z")]))
            .await
            .expect("added");
        assert_eq!(store.prune_audit(3, 1_000_000).await.expect("pruned"), 3);
        assert_eq!(store.prune_audit(0, 100).await.expect("pruned"), 2399);
        let left = found(&store, AuditQuery::default()).await;
        assert_eq!(left.len(), 100);
        assert!(left.contains(&5) && left.contains(&6) && left.contains(&2499) && !left.contains(&2000), "{left:?}");
        store.close().await;
    }

    #[tokio::test]
    async fn whoever_does_a_lot_loses_its_own_records_on_sqlite() {
        whoever_does_a_lot_loses_its_own_records(on_sqlite()).await;
    }

    #[tokio::test]
    async fn whoever_does_a_lot_loses_its_own_records_on_postgres() {
        whoever_does_a_lot_loses_its_own_records(on_postgres()).await;
    }

    async fn a_change_and_its_record_are_made_together(fresh: Fresh) {
        let store = Store::open(&fresh.database).await.expect("a database");
        let noting = store.noting(Some(AuditRow::from(&record(7, "acme", "bob", "/x"))));
        drop(noting.change().await.expect("one that is never made"));
        assert!(found(&store, AuditQuery::default()).await.is_empty());
        noting.change().await.expect("a change").commit().await.expect("made");
        assert_eq!(found(&store, AuditQuery::default()).await, [7]);
        store.close().await;
    }

    #[tokio::test]
    async fn a_change_and_its_record_are_made_together_on_sqlite() {
        a_change_and_its_record_are_made_together(on_sqlite()).await;
    }

    #[tokio::test]
    async fn a_change_and_its_record_are_made_together_on_postgres() {
        a_change_and_its_record_are_made_together(on_postgres()).await;
    }
}
