//! The suite of operations, run on PostgreSQL. It stands once, in `tests.rs`.

use super::*;
use crate::control::store::testing::on_postgres as fresh;

#[path = "tests.rs"]
#[expect(clippy::duplicate_mod, reason = "one suite is compiled for each database")]
mod tests;
