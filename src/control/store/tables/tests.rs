//! Nothing of the schema is forgotten.

use std::collections::BTreeSet;

use super::*;
use crate::control::store::Store;
use crate::control::store::testing::on_sqlite;

/// Fails for whoever adds a table or a column and does not say whether an export takes it along.
#[tokio::test]
async fn every_table_and_column_is_exported_or_left_out_on_purpose() {
    let fresh = on_sqlite();
    let store = Store::open(&fresh.database).await.expect("a database");
    let schema = "SELECT m.name || '.' || c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
        WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'";
    let columns: Vec<String> = sqlx::query_scalar(schema).fetch_all(&store.pool).await.expect("the schema");
    assert!(columns.len() > 40, "{columns:?}");
    let named = |name: &str| LEFT_OUT.iter().any(|(left, why)| *left == name && !why.is_empty());
    let taken: BTreeSet<String> =
        TABLES.iter().flat_map(|t| t.columns.iter().map(move |c| format!("{}.{}", t.name, c.name))).collect();
    for column in &columns {
        let (table, _) = column.split_once('.').expect("both");
        let is_left = named(column) || named(table);
        assert!(
            taken.contains(column) != is_left,
            "{column} is new: add it to TABLES of src/control/store/tables, or say in LEFT_OUT why no export has it"
        );
    }
    let known = |name: &&str| columns.iter().any(|c| c == name || c.split('.').next() == Some(name));
    let gone: Vec<&str> = LEFT_OUT.iter().map(|(name, _)| *name).filter(|name| !known(name)).collect();
    assert!(gone.is_empty() && taken.iter().all(|name| columns.contains(name)), "no longer in the schema: {gone:?}");
    store.close().await;
}

#[test]
fn tables_come_after_those_that_they_lean_on() {
    let place = |name: &str| TABLES.iter().position(|table| table.name == name).expect("a table");
    for (at, table) in TABLES.iter().enumerate() {
        for column in table.columns {
            match column.kind {
                Kind::Account => assert!(place("accounts") < at),
                Kind::User => {
                    let hangs_on_it = column.name == table.columns[0].name || matches!(column.unsaid, Unsaid::Null);
                    assert!(place("users") < at && hangs_on_it, "{}", table.name);
                }
                _ => {}
            }
            let unsaid = column.unsaid(1);
            assert!(unsaid == Cell::Null || column.read(&unsaid).is_ok(), "{}.{}", table.name, column.name);
        }
        assert!(table.key.iter().all(|name| table.column(name).is_some()), "{}", table.name);
    }
}

/// Whoever reads an export reads what its fields are.
#[test]
fn every_field_is_documented() {
    let page = include_str!("../../../../docs/export.md");
    for table in TABLES {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", table.name)));
        let row = row.unwrap_or_else(|| panic!("docs/export.md has no row for {}", table.name));
        for column in table.columns {
            assert!(row.contains(&format!("`{}`", column.name)), "docs/export.md: {}.{}", table.name, column.name);
        }
    }
}
