//! From ProFTPD's mod_sql: its tables of users and keys (`users`, `sftpuserkeys`), out of a dump or of a live database.
//!
//! Passwords as its `SQLAuthTypes` have them: `Crypt`, `OpenSSL` (`{md5}`, `{sha1}`, ...) and whatever else reads as a hash.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding};

use super::Owners;
use super::draft::{Draft, Said};
use super::sql_dump::{self, DumpRow};
use crate::config::Database;
use crate::control::keys::{self, ParsedKey};
use crate::control::store::{StoreError, rows_of};
use crate::domain::{HomePath, Mode, Service, Services, UserName};

/// Rows of the two tables, each with its place.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) users: Vec<(String, DumpRow)>,
    pub(super) keys: Vec<(String, DumpRow)>,
}

/// What the tables are called.
#[derive(Debug, Clone)]
pub struct TableNames {
    /// Of users.
    pub users: String,
    /// Of keys.
    pub keys: String,
}

pub(super) fn from_dump(text: &str, names: &TableNames) -> Tables {
    let (users, keys) = (names.users.to_ascii_lowercase(), names.keys.to_ascii_lowercase());
    let mut rows = sql_dump::rows(text, &[&users, &keys]);
    let mut placed = |table: &str| {
        let rows = rows.remove(table).unwrap_or_default();
        rows.into_iter().map(|(line, row)| (format!("line {line}: {table}"), row)).collect()
    };
    Tables { users: placed(&users), keys: placed(&keys) }
}

/// Reads the tables where they are. Nothing is written there.
pub(super) async fn from_database(database: &Database, names: &TableNames) -> Result<Tables, StoreError> {
    let users = rows_of(database, &names.users, &["userid", "passwd", "uid", "gid", "homedir"]).await?;
    let keys = rows_of(database, &names.keys, &["name", "key"]).await?;
    let placed = |table: &str, rows: Vec<DumpRow>| {
        (1..).zip(rows).map(|(number, row)| (format!("{table} row {number}"), row)).collect()
    };
    Ok(Tables { users: placed(&names.users, users), keys: placed(&names.keys, keys) })
}

pub(super) fn read(tables: Tables, owners: &Owners) -> Draft {
    let mut draft = Draft::default();
    let mut known: BTreeMap<String, UserName> = BTreeMap::new();
    if tables.users.is_empty() {
        draft.leave("users", "no user is in it; are the tables called otherwise? (--users-table, --keys-table)");
    }
    for (place, row) in tables.users {
        match user(&mut draft, &place, &row, owners) {
            Ok(name) => drop(known.insert(field(&row, "userid").to_owned(), name)),
            Err(why) => draft.leave(format_args!("{place} {}", field(&row, "userid")), why),
        }
    }
    for (place, row) in tables.keys {
        let name = field(&row, "name");
        let place = format!("{place} {name}");
        match (known.get(name), key(field(&row, "key"))) {
            (None, _) => draft.leave(place, "its user is not carried over"),
            (Some(_), Err(why)) => draft.leave(place, why),
            (Some(user), Ok(key)) => draft.key(user, &key),
        }
    }
    draft
}

fn field<'a>(row: &'a DumpRow, name: &str) -> &'a str {
    row.get(name).map_or("", String::as_str)
}

fn user(draft: &mut Draft, place: &str, row: &DumpRow, owners: &Owners) -> Result<UserName, String> {
    let text = field(row, "userid");
    let rule = "names of users here are small letters, digits, '.', '_' and '-', at most 32";
    let name: UserName = text.parse().map_err(|_| rule.to_owned())?;
    let home: HomePath = field(row, "homedir").parse().map_err(|bad: crate::domain::BadPath| bad.to_string())?;
    let id = |name: &str| match field(row, name).trim() {
        "" => Ok(None),
        text => text.parse::<u32>().map(Some).map_err(|_| format!("{name} is no id: {text:?}")),
    };
    let (account, _, path) = owners.place(draft, &name, id("uid")?.zip(id("gid")?), &home)?;
    if !draft.user(&name, &account, Services::NONE.with(Service::Sftp), Said::new()) {
        return Err("there is a user by this name already".to_owned());
    }
    draft.grant(&name, &path, Mode::Rw);
    let passwd = field(row, "passwd");
    if !passwd.is_empty() && !passwd.starts_with(['!', '*']) {
        draft.password(format_args!("{place} {name}"), &name, &hash(passwd));
    }
    Ok(name)
}

/// OpenSSL's names of digests as LDAP has them.
pub(in crate::control) fn hash(text: &str) -> String {
    let Some((digest, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) else {
        return text.to_owned();
    };
    match digest.to_ascii_lowercase().as_str() {
        "sha1" => format!("{{SHA}}{rest}"),
        _ => text.to_owned(),
    }
}

/// A key as RFC 4716 has it, on one line or several, or as OpenSSH does.
pub(in crate::control) fn key(text: &str) -> Result<ParsedKey, String> {
    let text = text.trim();
    if !text.starts_with("----") {
        return keys::parse_line(text).map_err(|bad| crate::telemetry::Causes(&bad).to_string());
    }
    let malformed = || "it is no public key of RFC 4716".to_owned();
    let body = text.strip_prefix("---- BEGIN SSH2 PUBLIC KEY ----").ok_or_else(malformed)?;
    let (body, _) = body.split_once("---- END SSH2 PUBLIC KEY ----").ok_or_else(malformed)?;
    let (mut encoded, mut comment, mut goes_on) = (String::new(), String::new(), false);
    for line in body.lines().map(str::trim) {
        let is_header = goes_on || line.contains(": ");
        if let Some(said) = line.strip_prefix("Comment: ") {
            said.trim_matches(['"', '\\']).clone_into(&mut comment);
        }
        goes_on = is_header && line.ends_with('\\');
        if !is_header {
            encoded.extend(line.chars().filter(|c| !c.is_whitespace()));
        }
    }
    let bytes = Base64::decode_vec(&encoded).map_err(|_| malformed())?;
    let length = bytes.get(..4).and_then(|n| n.try_into().ok()).map_or(0, u32::from_be_bytes);
    let algorithm = usize::try_from(length).ok().and_then(|n| bytes.get(4..)?.get(..n)).ok_or_else(malformed)?;
    let algorithm = std::str::from_utf8(algorithm).map_err(|_| malformed())?;
    let comment: String = comment.chars().filter(|c| !c.is_control()).collect();
    let line = format!("{algorithm} {encoded} {comment}");
    keys::parse_line(line.trim()).map_err(|bad| crate::telemetry::Causes(&bad).to_string())
}
