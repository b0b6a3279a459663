//! From SFTPGo: the JSON that `dumpdata` writes. Its users have a directory each and often one uid for all, so who owns the
//! files is said by the operator where the dump does not.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding};
use serde::Deserialize;
use serde_json::Value;

use super::Owners;
use super::draft::{Draft, Said, below};
use crate::control::keys;
use crate::control::store::tables::Cell;
use crate::domain::{HomePath, Mode, NamePatterns, RelPath, Service, Services, SessionLimits, Sources, UserName};

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    users: Vec<Value>,
    #[serde(default)]
    groups: Vec<Value>,
    #[serde(default)]
    folders: Vec<Folder>,
    /// Administrators, API keys, shares, actions, ...
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Deserialize, Clone)]
struct Folder {
    #[serde(default)]
    name: String,
    #[serde(default)]
    mapped_path: String,
    #[serde(default)]
    virtual_path: String,
    #[serde(default)]
    filesystem: Filesystem,
}

#[derive(Deserialize, Clone, Default)]
struct Filesystem {
    #[serde(default)]
    provider: u32,
}

#[derive(Deserialize)]
struct User {
    username: String,
    #[serde(default = "one")]
    status: i64,
    #[serde(default)]
    expiration_date: i64,
    #[serde(default)]
    password: String,
    #[serde(default)]
    public_keys: Vec<String>,
    #[serde(default)]
    home_dir: String,
    #[serde(default)]
    virtual_folders: Vec<Folder>,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default)]
    permissions: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    filters: Filters,
    #[serde(default)]
    filesystem: Filesystem,
    #[serde(default)]
    groups: Vec<Membership>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

fn one() -> i64 {
    1
}

#[derive(Deserialize, Default)]
struct Filters {
    #[serde(default)]
    allowed_ip: Option<Vec<String>>,
    #[serde(default)]
    denied_ip: Option<Vec<String>>,
    #[serde(default)]
    denied_login_methods: Option<Vec<String>>,
    #[serde(default)]
    denied_protocols: Option<Vec<String>>,
    #[serde(default)]
    file_patterns: Option<Vec<Patterns>>,
    #[serde(default)]
    max_upload_file_size: i64,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Patterns {
    #[serde(default)]
    path: String,
    #[serde(default)]
    allowed_patterns: Option<Vec<String>>,
    #[serde(default)]
    denied_patterns: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Membership {
    name: String,
    /// 1: its settings hold for the user. 2: its folders do.
    #[serde(default, rename = "type")]
    kind: u32,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    #[serde(default)]
    user_settings: Settings,
    #[serde(default)]
    virtual_folders: Vec<Folder>,
}

#[derive(Deserialize, Default, Clone)]
struct Settings {
    #[serde(default)]
    home_dir: String,
    #[serde(default)]
    permissions: BTreeMap<String, Vec<String>>,
}

/// Fields about which nothing has to be said: they describe, or say what happened.
const WORDLESS: [&str; 17] = [
    "id",
    "description",
    "email",
    "additional_emails",
    "additional_info",
    "created_at",
    "updated_at",
    "last_login",
    "first_download",
    "first_upload",
    "last_password_change",
    "last_quota_update",
    "used_quota_size",
    "used_quota_files",
    "used_upload_data_transfer",
    "used_download_data_transfer",
    "has_password",
];

/// Reads a dump.
pub(super) fn read(text: &str, owners: &Owners) -> Result<Draft, String> {
    let file: File = serde_json::from_str(text).map_err(|error| format!("it is no dump of SFTPGo: {error}"))?;
    let mut draft = Draft::default();
    for (name, value) in &file.others {
        let count = value.as_array().map_or(0, Vec::len);
        if count > 0 {
            draft.leave(name, format_args!("{count} are not carried over"));
        }
    }
    let mut groups = BTreeMap::new();
    for (at, value) in file.groups.into_iter().enumerate() {
        match serde_json::from_value::<Group>(value) {
            Ok(group) => drop(groups.insert(group.name.clone(), group)),
            Err(error) => draft.leave(format_args!("groups[{at}]"), error),
        }
    }
    let folders: BTreeMap<String, Folder> = file.folders.into_iter().map(|f| (f.name.clone(), f)).collect();
    for (at, value) in file.users.into_iter().enumerate() {
        let place = format!("users[{at}]");
        match serde_json::from_value::<User>(value) {
            Ok(user) => take(&mut draft, &place, user, owners, &groups, &folders),
            Err(error) => draft.leave(&place, error),
        }
    }
    Ok(draft)
}

fn take(
    draft: &mut Draft,
    place: &str,
    mut user: User,
    owners: &Owners,
    groups: &BTreeMap<String, Group>,
    folders: &BTreeMap<String, Folder>,
) {
    let place = format!("{place} {}", user.username);
    let Ok(name) = user.username.parse::<UserName>() else {
        return draft.leave(place, "names of users here are small letters, digits, '.', '_' and '-', at most 32");
    };
    if user.filesystem.provider != 0 {
        return draft.leave(place, "its files lie in no directory of this host");
    }
    with_groups(draft, &place, &mut user, groups);
    let home = match user.home_dir.replace("%username%", &user.username).parse::<HomePath>() {
        Ok(home) => home,
        Err(bad) => return draft.leave(place, bad),
    };
    // SFTPGo writes 0 where nothing is said.
    let ids = (user.uid > 0 && user.gid > 0).then_some((user.uid, user.gid));
    let (account, of_account, path) = match owners.place(draft, &name, ids, &home) {
        Ok(placed) => placed,
        Err(why) => return draft.leave(place, why),
    };
    let mut more = Said::new();
    filters(draft, &place, &user.filters, &mut more);
    if user.status != 1 {
        more.push(("status", "disabled".into()));
    }
    if user.expiration_date > 0 {
        more.push(("expires", Cell::Number(user.expiration_date / 1000)));
    }
    let sessions = user.others.remove("max_sessions").and_then(|number| u32::try_from(number.as_u64()?).ok());
    if let Some(most) = sessions.filter(|most| *most > 0) {
        let limits = SessionLimits { at_once: Some(most), ..SessionLimits::default() };
        more.push(("session_limits", Cell::Text(limits.to_string())));
    }
    more.dedup_by_key(|(column, _)| *column);
    if !draft.user(&name, &account, Services::NONE.with(Service::Sftp), more) {
        return draft.leave(place, "there is a user by this name already");
    }
    grants(draft, &place, &name, &path, &user.permissions);
    for folder in &user.virtual_folders {
        virtual_folder(draft, &place, &name, &of_account, folder, folders.get(&folder.name), &user.permissions);
    }
    for (at, line) in user.public_keys.iter().enumerate() {
        match keys::parse_line(line.trim()) {
            Ok(key) => draft.key(&name, &key),
            Err(bad) => draft.leave(format_args!("{place} public_keys[{at}]"), crate::telemetry::Causes(&bad)),
        }
    }
    if !user.password.is_empty() {
        draft.password(format_args!("{place} password"), &name, &hash(&user.password));
    }
    for (field, value) in user.others.iter().chain(&user.filters.others) {
        if !WORDLESS.contains(&field.as_str()) && says_something(value) {
            draft.leave(format_args!("{place} {field}"), "it is not carried over");
        }
    }
}

/// What a group says where the user does not.
fn with_groups(draft: &mut Draft, place: &str, user: &mut User, groups: &BTreeMap<String, Group>) {
    for membership in &user.groups {
        let Some(group) = groups.get(&membership.name) else {
            draft.leave(place, format_args!("its group {} is not in the dump", membership.name));
            continue;
        };
        if membership.kind == 1 {
            if user.home_dir.is_empty() {
                user.home_dir.clone_from(&group.user_settings.home_dir);
            }
            for (path, rights) in &group.user_settings.permissions {
                user.permissions.entry(path.clone()).or_insert_with(|| rights.clone());
            }
        }
        user.virtual_folders.extend(group.virtual_folders.iter().cloned());
        let what = format!(
            "of its group {} the directory, permissions and folders are carried over and nothing else",
            group.name
        );
        draft.leave(place, what);
    }
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty() && text != "none" && text != "None",
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => fields.values().any(says_something),
    }
}

/// The rights that come nearest to a list of SFTPGo's, and never more.
fn mode(rights: &[String]) -> (Mode, bool) {
    let has = |wanted: &[&str]| wanted.iter().all(|w| rights.iter().any(|r| r == w));
    let any = |name: &str| rights.iter().any(|r| r == name);
    let all_of = |general: &str, parts: &[&str]| any(general) || has(parts);
    if any("*") {
        return (Mode::Rw, true);
    }
    let reads = has(&["list", "download"]);
    let writes = has(&["upload", "overwrite", "create_dirs"])
        && all_of("delete", &["delete_files", "delete_dirs"])
        && all_of("rename", &["rename_files", "rename_dirs"]);
    let only = |names: &[&str]| rights.iter().all(|r| names.contains(&r.as_str()));
    match (reads, writes) {
        (true, true) => (Mode::Rw, has(&["create_symlinks", "chmod", "chtimes"])),
        (true, false) => (Mode::Ro, only(&["list", "download"])),
        (false, _) if any("upload") => (Mode::Upload, only(&["upload", "create_dirs"])),
        (false, _) => (Mode::Hidden, rights.is_empty()),
    }
}

/// `/` is the user's directory; other paths lie in it.
fn grants(
    draft: &mut Draft,
    place: &str,
    user: &UserName,
    root: &RelPath,
    permissions: &BTreeMap<String, Vec<String>>,
) {
    let mut outer: Vec<(RelPath, Mode)> = Vec::new();
    for (path, rights) in permissions {
        let inner = path.trim_start_matches('/');
        let whole = if inner.is_empty() { Ok(root.clone()) } else { format!("{root}/{inner}").parse::<RelPath>() };
        let (mode, is_exact) = mode(rights);
        let place = format!("{place} permissions {path}");
        let path = match whole {
            Ok(path) if path.as_str().contains(['*', '?', '[']) => {
                draft.leave(place, "patterns of paths are not carried over");
                continue;
            }
            Ok(path) => path,
            Err(bad) => {
                draft.leave(place, bad);
                continue;
            }
        };
        if !is_exact {
            draft.leave(&place, format_args!("{} come to {mode}", rights.join(", ")));
        }
        let around = outer.iter().filter(|(o, _)| o.contains(&path)).map(|(_, mode)| *mode).collect::<Vec<_>>();
        if around.contains(&Mode::Hidden) || (mode == Mode::Upload && around.iter().any(|m| m.reads())) {
            draft.leave(&place, format_args!("{mode} cannot lie in what is around it; it is hidden"));
            if !around.contains(&Mode::Hidden) {
                draft.grant(user, &path, Mode::Hidden);
                outer.push((path, Mode::Hidden));
            }
            continue;
        }
        draft.grant(user, &path, mode);
        outer.push((path, mode));
    }
}

fn virtual_folder(
    draft: &mut Draft,
    place: &str,
    user: &UserName,
    home: &HomePath,
    folder: &Folder,
    known: Option<&Folder>,
    permissions: &BTreeMap<String, Vec<String>>,
) {
    let place = format!("{place} virtual_folders {}", folder.name);
    let real = known.filter(|_| folder.mapped_path.is_empty()).unwrap_or(folder);
    let rights = permissions.get(&folder.virtual_path).or_else(|| permissions.get("/"));
    let path = real.mapped_path.parse::<HomePath>().ok().and_then(|path| below(home, &path));
    match (path, rights) {
        (Some(path), Some(rights)) if real.filesystem.provider == 0 => {
            draft.grant(user, &path, mode(rights).0);
            draft.leave(
                place,
                format_args!("it is seen by the name of its directory and not as {}", folder.virtual_path),
            );
        }
        _ => draft.leave(
            place,
            format_args!("{} does not lie in {}, the home of its account", real.mapped_path, home.as_str()),
        ),
    }
}

fn filters(draft: &mut Draft, place: &str, filters: &Filters, more: &mut Said) {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let (allowed, denied) = (list(&filters.allowed_ip), list(&filters.denied_ip));
    if !allowed.is_empty() || !denied.is_empty() {
        let everywhere = ["0.0.0.0/0".to_owned(), "::/0".to_owned()];
        let from = if allowed.is_empty() { everywhere.to_vec() } else { allowed };
        let words: Vec<String> = from.into_iter().chain(denied.iter().map(|ip| format!("!{ip}"))).collect();
        match words.join(",").parse::<Sources>() {
            Ok(sources) => more.push(("sources", sources.to_string().as_str().into())),
            Err(bad) => {
                more.push(("status", "disabled".into()));
                draft.leave(format_args!("{place} allowed_ip, denied_ip"), format_args!("{bad}; it is disabled"));
            }
        }
    }
    if list(&filters.denied_protocols).iter().any(|p| p == "SSH") {
        more.push(("status", "disabled".into()));
        draft.leave(format_args!("{place} denied_protocols"), "it may not use SSH today; it is disabled");
    }
    let methods = list(&filters.denied_login_methods);
    let denied = |name: &str| methods.iter().any(|method| method == name);
    match (denied("publickey"), denied("password") || denied("password-over-SSH")) {
        (true, false) => more.push(("logins", "password".into())),
        (false, true) => more.push(("logins", "publickey".into())),
        (true, true) => {
            more.push(("logins", "publickey+password".into()));
            draft.leave(format_args!("{place} denied_login_methods"), "it has to show a key and the password");
        }
        (false, false) => {}
    }
    if filters.max_upload_file_size > 0 {
        more.push(("max_file_size", Cell::Number(filters.max_upload_file_size)));
    }
    let mut names = Vec::new();
    for patterns in filters.file_patterns.iter().flatten() {
        let place = format!("{place} file_patterns {}", patterns.path);
        match (patterns.path.as_str(), list(&patterns.allowed_patterns).is_empty()) {
            ("/", true) => names.extend(list(&patterns.denied_patterns)),
            _ => draft.leave(place, "only patterns that are denied everywhere are carried over"),
        }
    }
    match names.join("\n").parse::<NamePatterns>() {
        Ok(patterns) if !patterns.is_empty() => more.push(("deny_names", patterns.to_string().as_str().into())),
        Ok(_) => {}
        Err(bad) => draft.leave(format_args!("{place} file_patterns"), bad),
    }
}

/// SFTPGo's own ways to write a hash, as others write it.
fn hash(text: &str) -> String {
    for scheme in ["{MD5}", "{SHA256}", "{SHA512}"] {
        let bytes =
            text.strip_prefix(scheme).and_then(|hex| data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok());
        if let Some(bytes) = bytes {
            return format!("{scheme}{}", Base64::encode_string(&bytes));
        }
    }
    for function in ["sha1", "sha256", "sha512"] {
        if let Some(rest) = text.strip_prefix(&format!("$pbkdf2-b64salt-{function}$")) {
            return format!("$pbkdf2-{function}${}", rest.replace('=', ""));
        }
        // Its salt is taken as it is written.
        if let Some(rest) = text.strip_prefix(&format!("$pbkdf2-{function}$")) {
            return format!("pbkdf2_{function}${rest}");
        }
    }
    text.to_owned()
}
