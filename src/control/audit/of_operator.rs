//! What an operator changes, as a record: the operation with what was said, but for secrets.

use serde_json::Value;

use crate::control::keys;
use crate::control::operation::{Operation, WhatToRevoke};
use crate::control::store::{About, Store, StoreError};
use crate::telemetry::audit::{Event, Head, Moment, Record, Who};

/// What may be on record of an operation. What is not listed is not told, so a field that is new and perhaps a secret
/// stays out until somebody has thought of it.
const TOLD: [&str; 29] = [
    "name",
    "uid",
    "gid",
    "home",
    "status",
    "change",
    "with_users",
    "account",
    "services",
    "view",
    "uploads",
    "forwards",
    "programs",
    "user",
    "path",
    "mode",
    "no_exec",
    "key",
    "logins",
    "conn",
    "holder",
    "authority",
    "principals",
    "id",
    "who",
    "ends",
    "reason",
    "label",
    "own_keys",
];
/// What stands in its place.
const UNTOLD: &str = "(not recorded)";

impl Operation {
    /// Whether it only asks.
    pub(in crate::control) fn only_asks(&self) -> bool {
        matches!(
            self,
            Operation::AccountList
                | Operation::AccountShow { .. }
                | Operation::UserList { .. }
                | Operation::UserShow { .. }
                | Operation::GrantList { .. }
                | Operation::KeyList { .. }
                | Operation::InviteList { .. }
                | Operation::CaList
                | Operation::CaRevoked
                | Operation::BanList
                | Operation::SessionList
                | Operation::Status
                | Operation::Facts { .. }
                | Operation::Explain(_)
                | Operation::Audit { .. }
                | Operation::AuditSummary { .. }
        )
    }
}

/// The record of an operation that was done; `None` for one that only asks.
pub(in crate::control) fn record_of(node: &str, operator: u32, whose: Who, operation: &Operation) -> Option<Record> {
    if operation.only_asks() {
        return None;
    }
    let Ok(Value::Object(said)) = serde_json::to_value(operation) else { return None };
    let (mut name, mut detail) = (String::new(), serde_json::Map::new());
    for (field, value) in said {
        match (field.as_str(), value) {
            ("operation", Value::String(text)) => name = text,
            (_, value) if TOLD.contains(&field.as_str()) => drop(detail.insert(field, escaped(value))),
            (_, _) => drop(detail.insert(field, UNTOLD.into())),
        }
    }
    if let Operation::CaRevoke { what } = operation {
        detail.insert("what".to_owned(), revoked(what));
    }
    if let Operation::KeyAdd { text, .. } | Operation::CaAdd { text, .. } = operation {
        let fingerprints = keys::parse(text).unwrap_or_default().into_iter().map(|key| key.fingerprint.into());
        detail.insert("text".to_owned(), Value::Array(fingerprints.collect()));
    }
    let who = Who { node: node.to_owned(), operator: Some(operator), ..whose };
    let event = Event::PolicyChanged { operation: name, detail: Value::Object(detail) };
    Some(Record { at: Moment::now(), head: Head::new(who), event })
}

/// What was revoked; of files only that it was one.
fn revoked(what: &WhatToRevoke) -> Value {
    match what {
        WhatToRevoke::File { .. } => "keys or certificates of a file".into(),
        WhatToRevoke::Krl { .. } => "a key revocation list".into(),
        named => serde_json::to_value(named).map_or_else(|_| UNTOLD.into(), escaped),
    }
}

/// Of which user or account it is, so that it is found by them.
pub(in crate::control) async fn whom(store: &Store, operation: &Operation) -> Result<Who, StoreError> {
    Ok(match (operation.about(), operation) {
        (About::User(user), Operation::UserAdd { account, .. }) => {
            Who { user: Some(user), account: Some(account.clone()), ..Who::default() }
        }
        (About::User(user) | About::Password(user), _) => {
            let account = store.user(user.as_str()).await?.map(|(account, _)| account.name);
            Who { user: Some(user), account, ..Who::default() }
        }
        (About::Account(account), _) => Who { account: Some(account), ..Who::default() },
        (About::Bans | About::Anyone, _) => Who::default(),
    })
}

/// Texts within a value, escaped.
fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(crate::domain::Escaped::new(text.as_bytes()).to_string()),
        Value::Array(values) => Value::Array(values.into_iter().map(escaped).collect()),
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(k, v)| (k, escaped(v))).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    fn line(operation: &Operation) -> Option<String> {
        let whose = Who { user: Some("bob".parse().expect("a name")), ..Who::default() };
        record_of("web1", 7, whose, operation).map(|record| record.line())
    }

    #[test]
    fn secrets_are_not_told() {
        let secret = || Secret::new("hunter2").expect("short");
        let user = || "bob".parse().expect("a name");
        for operation in [
            Operation::Passwd { user: user(), password: Some(secret()) },
            Operation::PasswdHash { user: user(), hash: secret() },
            Operation::KeyAdd { user: user(), text: "hunter2".to_owned(), change: Default::default() },
        ] {
            let line = line(&operation).expect("a record");
            assert!(!line.contains("hunter2") && line.contains("\"bob\"") && line.contains("\"operator\":7"), "{line}");
        }
    }

    #[test]
    fn a_change_is_told_with_what_was_said_and_a_question_is_not() {
        let name = "bob".parse().expect("a name");
        let status = crate::domain::Status::Disabled;
        let told = line(&Operation::UserSetStatus { name, status }).expect("a record");
        assert!(
            told.contains(r#""operation":"user-set-status","detail":{"name":"bob","status":"disabled"}"#),
            "{told}"
        );
        assert!(told.contains(r#""user":"bob""#), "{told}");
        assert!(line(&Operation::SessionList).is_none() && line(&Operation::AccountList).is_none());
    }
}
