//! The suite of operations, run on SQLite. It stands once, in `tests.rs`.

use super::*;
use crate::control::store::testing::on_sqlite as fresh;

#[path = "tests.rs"]
mod tests;
