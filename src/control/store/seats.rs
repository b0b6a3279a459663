//! Rows of seats: sessions of which there may be only so many, on all nodes. Whoever is silent for too long has no sessions any
//! more: its node has died, or does not reach this database.

use sqlx::{AssertSqlSafe, Row};

use super::{Store, StoreError};
use crate::config::Database;
use crate::domain::{Common, ConnId, ForEach, MonitorId, Seat};

/// Seconds after which a monitor that is not heard of has no sessions. It says that it is there every five.
const SILENT: i64 = 20;
/// Seconds after which its rows are forgotten.
const FORGOTTEN: i64 = 3600;
/// Rows of `seat_turns`.
const TURNS: u64 = 64;

const ADD: &str = "INSERT INTO seats (monitor, conn, account, login, key) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (monitor, conn) DO NOTHING";

impl Store {
    /// Takes a seat, if those of other monitors leave one; otherwise says what those have in common that are too many. Two
    /// that come at the same moment, by whichever nodes, take turns.
    pub(in crate::control) async fn take_seat(
        &self,
        monitor: MonitorId,
        conn: ConnId,
        seat: &Seat,
        left: &ForEach<Option<u32>>,
    ) -> Result<Option<Common>, StoreError> {
        let mut change = self.pool.begin().await?;
        let turn = sqlx::query("UPDATE seat_turns SET taken = taken + 1 WHERE id = $1").bind(turn(seat));
        turn.execute(&mut *change).await?;
        let others = format!(
            "SELECT COUNT(*) AS of_account, COALESCE(SUM(CASE WHEN login = $2 THEN 1 ELSE 0 END), 0) AS of_user, \
             COALESCE(SUM(CASE WHEN login = $2 AND key = $3 AND key <> '' THEN 1 ELSE 0 END), 0) AS of_key \
             FROM seats JOIN monitors ON monitors.id = seats.monitor \
             WHERE account = $1 AND monitor <> $4 AND seen >= {} - {SILENT}",
            self.clock()
        );
        let row = sqlx::query(AssertSqlSafe(others))
            .bind(seat.account.as_str())
            .bind(seat.user.as_str())
            .bind(seat.key.as_deref().unwrap_or_default())
            .bind(monitor.0)
            .fetch_one(&mut *change)
            .await?;
        let number = |column| row.try_get::<i64, _>(column).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let others = ForEach { account: number("of_account")?, user: number("of_user")?, key: number("of_key")? };
        if let Some(full) = left.reached(&others) {
            change.rollback().await?;
            return Ok(Some(full));
        }
        sqlx::query(AssertSqlSafe(self.is_here())).bind(monitor.0).execute(&mut *change).await?;
        add(monitor, conn, seat).execute(&mut *change).await?;
        change.commit().await?;
        Ok(None)
    }

    /// Writes down a session that was let in before it could be counted.
    pub(in crate::control) async fn add_seat(
        &self,
        monitor: MonitorId,
        conn: ConnId,
        seat: &Seat,
    ) -> Result<(), StoreError> {
        add(monitor, conn, seat).execute(&self.pool).await?;
        Ok(())
    }

    /// A session has ended.
    pub(in crate::control) async fn leave_seat(&self, monitor: MonitorId, conn: ConnId) -> Result<(), StoreError> {
        let leave = sqlx::query("DELETE FROM seats WHERE monitor = $1 AND conn = $2");
        leave.bind(monitor.0).bind(conn_number(conn)).execute(&self.pool).await?;
        Ok(())
    }

    /// All sessions of a monitor have ended, or are about to be written down anew.
    pub(in crate::control) async fn leave_all_seats(&self, monitor: MonitorId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM seats WHERE monitor = $1").bind(monitor.0).execute(&self.pool).await?;
        sqlx::query("DELETE FROM monitors WHERE id = $1").bind(monitor.0).execute(&self.pool).await?;
        Ok(())
    }

    /// A monitor is there.
    pub(in crate::control) async fn monitor_is_here(&self, monitor: MonitorId) -> Result<(), StoreError> {
        sqlx::query(AssertSqlSafe(self.is_here())).bind(monitor.0).execute(&self.pool).await?;
        Ok(())
    }

    /// Forgets those that have long been silent.
    pub(in crate::control) async fn forget_silent_monitors(&self) -> Result<(), StoreError> {
        let silent = format!("seen < {} - {FORGOTTEN}", self.clock());
        let seats = format!("DELETE FROM seats WHERE monitor IN (SELECT id FROM monitors WHERE {silent})");
        sqlx::query(AssertSqlSafe(seats)).execute(&self.pool).await?;
        sqlx::query(AssertSqlSafe(format!("DELETE FROM monitors WHERE {silent}"))).execute(&self.pool).await?;
        Ok(())
    }

    fn is_here(&self) -> String {
        let clock = self.clock();
        format!(
            "INSERT INTO monitors (id, seen) VALUES ($1, {clock}) ON CONFLICT (id) DO UPDATE SET seen = excluded.seen"
        )
    }

    /// Seconds since 1970 by the clock that all nodes share, which theirs need not agree with.
    fn clock(&self) -> &'static str {
        match self.database {
            Database::File(_) => "unixepoch()",
            Database::Server(_) => "CAST(EXTRACT(EPOCH FROM now()) AS BIGINT)",
        }
    }
}

fn add(monitor: MonitorId, conn: ConnId, seat: &Seat) -> sqlx::query::Query<'_, sqlx::Any, sqlx::any::AnyArguments> {
    sqlx::query(ADD)
        .bind(monitor.0)
        .bind(conn_number(conn))
        .bind(seat.account.as_str())
        .bind(seat.user.as_str())
        .bind(seat.key.as_deref().unwrap_or_default())
}

/// Numbers of connections are counted up from one; the database knows signed ones only.
fn conn_number(conn: ConnId) -> i64 {
    i64::from_ne_bytes(conn.0.to_ne_bytes())
}

/// Where those of an account wait for each other.
fn turn(seat: &Seat) -> i64 {
    let sum: u64 = seat.account.as_str().bytes().map(u64::from).sum();
    i64::try_from(sum % TURNS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::store::testing::{Fresh, on_postgres, on_sqlite};

    const HERE: MonitorId = MonitorId(i64::MIN);
    const THERE: MonitorId = MonitorId(7);

    fn seat(user: &str, key: &str) -> Seat {
        let key = Some(key.to_owned()).filter(|key| !key.is_empty());
        Seat { account: "acme".parse().expect("a name"), user: user.parse().expect("a name"), key }
    }

    fn left(account: Option<u32>, user: Option<u32>, key: Option<u32>) -> ForEach<Option<u32>> {
        ForEach { account, user, key }
    }

    async fn those_of_other_nodes_count(fresh: Fresh) {
        let store = Store::open(&fresh.database).await.expect("a database");
        let take = async |monitor, conn, seat: &Seat, left| {
            store.take_seat(monitor, ConnId(conn), seat, &left).await.expect("an answer")
        };
        let bob = seat("bob", "k");
        assert_eq!(take(HERE, 1, &bob, left(None, Some(1), None)).await, None, "nobody is on another node");
        assert_eq!(take(HERE, 1, &bob, left(None, Some(1), None)).await, None, "asked again");
        assert_eq!(take(THERE, 1, &bob, left(Some(2), Some(1), None)).await, Some(Common::User));
        assert_eq!(take(THERE, 1, &bob, left(Some(1), Some(1), None)).await, Some(Common::Account));
        assert_eq!(take(THERE, 1, &bob, left(None, None, Some(1))).await, Some(Common::Key));
        assert_eq!(take(THERE, 2, &seat("bob", "l"), left(Some(2), Some(2), Some(1))).await, None, "another key");
        assert_eq!(take(HERE, 3, &seat("eve", "k"), left(None, Some(1), Some(1))).await, None, "another user's");
        assert_eq!(take(HERE, 4, &seat("eve", ""), left(None, None, Some(1))).await, None, "no key is no key");
        // Whatever ends leaves room, and whoever is silent has ended.
        store.leave_seat(HERE, ConnId(1)).await.expect("left");
        assert_eq!(take(THERE, 3, &bob, left(None, Some(1), None)).await, None);
        assert_eq!(take(HERE, 5, &bob, left(None, Some(2), None)).await, Some(Common::User));
        let silent = format!("UPDATE monitors SET seen = seen - {SILENT} - 2 WHERE id = $1");
        sqlx::query(AssertSqlSafe(silent)).bind(THERE.0).execute(&store.pool).await.expect("silent");
        assert_eq!(take(HERE, 5, &bob, left(None, Some(1), None)).await, None);
        store.forget_silent_monitors().await.expect("forgotten");
        store.monitor_is_here(THERE).await.expect("it is there");
        assert_eq!(take(HERE, 6, &bob, left(None, Some(1), None)).await, Some(Common::User), "it is back");
        let long = format!("UPDATE monitors SET seen = seen - {FORGOTTEN} - 2 WHERE id = $1");
        sqlx::query(AssertSqlSafe(long)).bind(THERE.0).execute(&store.pool).await.expect("silent");
        store.forget_silent_monitors().await.expect("forgotten");
        store.monitor_is_here(THERE).await.expect("it is there");
        assert_eq!(take(HERE, 6, &bob, left(None, Some(1), None)).await, None, "its rows are gone");
        store.leave_all_seats(HERE).await.expect("left");
        assert_eq!(take(THERE, 9, &bob, left(Some(1), None, None)).await, None);
        store.close().await;
    }

    #[tokio::test]
    async fn those_of_other_nodes_count_on_sqlite() {
        those_of_other_nodes_count(on_sqlite()).await;
    }

    #[tokio::test]
    async fn those_of_other_nodes_count_on_postgres() {
        those_of_other_nodes_count(on_postgres()).await;
    }

    /// Twenty nodes and one seat each time.
    async fn of_many_at_the_same_moment_one_gets_the_last(fresh: Fresh) {
        let store = Store::open(&fresh.database).await.expect("a database");
        for round in 0..5 {
            let comers = (0..20).map(|number| {
                let store = store.clone();
                tokio::spawn(async move {
                    let (seat, left) = (seat("bob", "k"), left(None, Some(1), None));
                    store.take_seat(MonitorId(round * 20 + number), ConnId(1), &seat, &left).await.expect("an answer")
                })
            });
            let mut seated = Vec::new();
            for (comer, number) in comers.collect::<Vec<_>>().into_iter().zip(0..) {
                seated.extend(comer.await.expect("a task").is_none().then_some(MonitorId(round * 20 + number)));
            }
            assert_eq!(seated.len(), 1, "round {round}");
            store.leave_all_seats(seated[0]).await.expect("left");
        }
        store.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_at_the_same_moment_one_gets_the_last_on_sqlite() {
        of_many_at_the_same_moment_one_gets_the_last(on_sqlite()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_at_the_same_moment_one_gets_the_last_on_postgres() {
        of_many_at_the_same_moment_one_gets_the_last(on_postgres()).await;
    }

    /// Nobody commits, and nobody closes the connection.
    #[tokio::test]
    async fn a_node_that_is_gone_in_its_turn_holds_up_nobody_for_long_on_postgres() {
        let fresh = on_postgres();
        let (gone, store) =
            (Store::open(&fresh.database).await.expect("a database"), Store::open(&fresh.database).await.expect("it"));
        let mut change = gone.pool.begin().await.expect("a change");
        let turn = sqlx::query("UPDATE seat_turns SET taken = taken + 1 WHERE id = $1").bind(turn(&seat("bob", "k")));
        turn.execute(&mut *change).await.expect("its turn");
        let left = left(None, Some(1), None);
        assert_eq!(store.take_seat(HERE, ConnId(1), &seat("bob", "k"), &left).await.expect("an answer"), None);
        change.commit().await.expect_err("its turn is over");
        store.close().await;
    }
}
