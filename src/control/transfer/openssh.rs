//! From OpenSSH and the system's users: each user of `/etc/passwd` becomes an account with a user of the same name; those who
//! share a uid with one before them become users of its account.
//!
//! What `sshd` lets them do today they may do here: services, directories, forwards, keys with their options, the hash of the
//! password. What cannot be said here is named with its line and left behind.

use std::collections::BTreeMap;

use super::draft::{Draft, Said, below};
use super::sshd_config::{Directive, SshdConfig, Who, listed};
use crate::control::keys;
use crate::control::store::tables::Cell;
use crate::domain::{
    AccountName, ForcedCommand, HomePath, Logins, Mode, Permits, Service, Services, Shell, Umask, UserName,
};

/// Reads a list of keys by its whole path, if it belongs to a uid.
pub type ReadKeys<'a> = dyn Fn(&str, u32) -> Result<Option<String>, String> + 'a;

/// The files, as text. Lines that are no UTF-8 are nobody's.
pub struct Files<'a> {
    /// `/etc/passwd`.
    pub passwd: String,
    /// `/etc/shadow`.
    pub shadow: Option<String>,
    /// `/etc/group`.
    pub group: Option<String>,
    /// `/etc/ssh/sshd_config`.
    pub sshd_config: Option<String>,
    /// Reads somebody's keys: a whole path, and the uid that they have to belong to. `None` when there is no such file.
    pub keys: &'a ReadKeys<'a>,
}

/// Ids below belong to the system (login.defs(5), `UID_MIN`).
const FIRST_USER: u32 = 1000;
/// Longest list of keys of one user that is looked at, in lines.
const MOST_KEY_LINES: usize = 1000;

/// A line of `/etc/passwd`.
struct Entry<'a> {
    line: usize,
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
    shell: &'a str,
}

/// Where the first user with a uid lives.
struct Owner {
    account: AccountName,
    home: HomePath,
}

/// What is the same for all.
struct System<'a> {
    config: SshdConfig,
    groups: BTreeMap<u32, String>,
    members: BTreeMap<String, Vec<String>>,
    shadow: BTreeMap<String, (usize, String, Option<i64>)>,
    files: &'a Files<'a>,
}

pub(super) fn read(files: &Files<'_>) -> Draft {
    let mut draft = Draft::default();
    let config = SshdConfig::parse(files.sshd_config.as_deref().unwrap_or_default());
    for (line, what) in &config.left {
        draft.leave(format_args!("sshd_config:{line}"), what);
    }
    if config.needs_groups() && files.group.is_none() {
        draft.leave("sshd_config", "it asks for groups; give the file with --group, or nobody is taken to be in any");
    }
    let (groups, members) = groups(files.group.as_deref().unwrap_or_default());
    let shadow = shadow(files.shadow.as_deref().unwrap_or_default());
    let system = System { config, groups, members, shadow, files };
    let mut owners = BTreeMap::new();
    for (line, text) in (1..).zip(files.passwd.lines()) {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match entry(line, text) {
            Some(entry) => system.take(&mut draft, &mut owners, &entry),
            None => draft.leave(format_args!("passwd:{line}"), "it is no line of /etc/passwd"),
        }
    }
    draft
}

fn entry(line: usize, text: &str) -> Option<Entry<'_>> {
    let fields: Vec<&str> = text.split(':').collect();
    let [name, _, uid, gid, _, home, shell] = fields.as_slice() else { return None };
    Some(Entry { line, name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home, shell })
}

/// Names by number, and the groups that each name is listed in.
fn groups(text: &str) -> (BTreeMap<u32, String>, BTreeMap<String, Vec<String>>) {
    let (mut names, mut members): (BTreeMap<u32, String>, BTreeMap<String, Vec<String>>) = Default::default();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, list] = fields.as_slice() else { continue };
        if let Ok(gid) = gid.parse() {
            names.insert(gid, (*name).to_owned());
        }
        for member in list.split(',').filter(|member| !member.is_empty()) {
            members.entry(member.to_owned()).or_default().push((*name).to_owned());
        }
    }
    (names, members)
}

/// The line, the hash and the day on which an entry ends, by name (shadow(5)).
fn shadow(text: &str) -> BTreeMap<String, (usize, String, Option<i64>)> {
    let read = |(line, text): (usize, &str)| {
        let fields: Vec<&str> = text.split(':').collect();
        let (name, hash) = (fields.first()?, fields.get(1)?);
        let ends = fields.get(7).and_then(|days| days.parse::<i64>().ok()).and_then(|days| days.checked_mul(86_400));
        Some(((*name).to_owned(), (line, (*hash).to_owned(), ends)))
    };
    (1..).zip(text.lines()).filter_map(read).collect()
}

/// What `sshd` lets somebody do.
struct Permitted {
    services: Services,
    mode: Mode,
    root: HomePath,
    more: Said,
}

impl System<'_> {
    fn take(&self, draft: &mut Draft, owners: &mut BTreeMap<u32, Owner>, entry: &Entry<'_>) {
        let place = format!("passwd:{}", entry.line);
        let said = |draft: &mut Draft, what: &str| draft.leave(&place, format_args!("{}: {what}", entry.name));
        if entry.uid == 0 || entry.gid == 0 {
            return said(draft, "root, and whoever has its group, gets no account here");
        }
        if entry.uid < FIRST_USER || entry.uid == 65_534 {
            return said(draft, "it is a user of the system");
        }
        let Ok(name) = entry.name.parse::<UserName>() else {
            return said(draft, "names of users here are small letters, digits, '.', '_' and '-', at most 32");
        };
        let groups = self.groups_of(entry);
        let who = Who { name: entry.name, groups: &groups };
        let Some(permitted) = self.permitted(draft, entry, who) else { return };
        let owner = match owners.get(&entry.uid) {
            Some(owner) => owner,
            None => {
                let Ok(account) = entry.name.parse::<AccountName>() else { return };
                let owner = Owner { account, home: permitted.root.clone() };
                draft.account(&owner.account, (entry.uid, entry.gid), &owner.home);
                owners.entry(entry.uid).or_insert(owner)
            }
        };
        let Some(path) = below(&owner.home, &permitted.root) else {
            let what = format!(
                "it has the uid of {}, and {} does not lie in {}; grants lie in the home of their account",
                owner.account,
                permitted.root.as_str(),
                owner.home.as_str()
            );
            return said(draft, &what);
        };
        if !draft.user(&name, &owner.account, permitted.services, permitted.more) {
            return said(draft, "there is a user by this name already");
        }
        draft.grant(&name, &path, permitted.mode);
        self.keys(draft, entry, who, &name);
        self.password(draft, &name);
    }

    fn groups_of(&self, entry: &Entry<'_>) -> Vec<String> {
        let own = self.groups.get(&entry.gid).cloned();
        own.into_iter().chain(self.members.get(entry.name).into_iter().flatten().cloned()).collect()
    }

    /// What `sshd` lets somebody do; `None` when nothing.
    fn permitted(&self, draft: &mut Draft, entry: &Entry<'_>, who: Who<'_>) -> Option<Permitted> {
        let place = format!("passwd:{}", entry.line);
        let root = self.root(draft, entry, who)?;
        let mut more: Said = Vec::new();
        let mut mode = Mode::Rw;
        let has_shell = !["/nologin", "/false", "/sync"].iter().any(|end| entry.shell.ends_with(end));
        let commands = [Service::Sftp, Service::Exec, Service::Shell];
        let only_sftp = Services::NONE.with(Service::Sftp);
        let forced = self.config.of(who, "forcecommand").filter(|d| !d.is("none"));
        let mut services = match forced {
            Some(directive) if directive.words().first().is_some_and(|w| w == "internal-sftp") => {
                mode = internal_sftp(draft, directive, &mut more);
                only_sftp
            }
            Some(directive) if has_shell => match directive.value().parse::<ForcedCommand>() {
                Ok(command) => {
                    more.push(("forced_command", command.to_string().as_str().into()));
                    Services::NONE.with(Service::Exec).with(Service::Shell)
                }
                Err(bad) => {
                    draft.leave(
                        format_args!("sshd_config:{}", directive.line),
                        format_args!("{}: {bad}; it is not carried over", entry.name),
                    );
                    return None;
                }
            },
            _ if has_shell => commands.into_iter().collect(),
            _ if self.config.has_internal_sftp() => only_sftp,
            _ => {
                draft.leave(
                    &place,
                    format_args!("{}: with the shell {} it cannot log in today", entry.name, entry.shell),
                );
                return None;
            }
        };
        services = self.forwards(draft, who, services, &mut more);
        if has_shell && let Ok(shell) = entry.shell.parse::<Shell>() {
            more.push(("shell", shell.to_string().as_str().into()));
        }
        if self.config.of(who, "permittty").is_some_and(|d| d.is("no")) {
            more.push(("terminals", "refused".into()));
        }
        self.ways_in(draft, who, &mut more);
        if let Some((_, _, Some(end))) =
            self.shadow.get(entry.name).filter(|(_, _, end)| end.is_some_and(|end| end >= 0))
        {
            more.push(("expires", Cell::Number(*end)));
        }
        if let Some(line) = self.keeps_out(who) {
            more.push(("status", "disabled".into()));
            draft.leave(
                format_args!("sshd_config:{line}"),
                format_args!("{}: it may not log in today; it is disabled", who.name),
            );
        }
        Some(Permitted { services, mode, root, more })
    }

    /// The tree that somebody is in: what it is locked into, or its home.
    fn root(&self, draft: &mut Draft, entry: &Entry<'_>, who: Who<'_>) -> Option<HomePath> {
        let chroot = self.config.of(who, "chrootdirectory").filter(|d| !d.is("none"));
        let (place, text) = match chroot {
            Some(directive) => (format!("sshd_config:{}", directive.line), expanded(directive.value(), entry)),
            None => (format!("passwd:{}", entry.line), entry.home.to_owned()),
        };
        match text.parse::<HomePath>() {
            Ok(root) if root.as_str() != "/" => return Some(root),
            Ok(_) => draft.leave(place, format_args!("{}: its directory would be the whole host", entry.name)),
            Err(bad) => draft.leave(place, format_args!("{}: {bad}", entry.name)),
        }
        None
    }

    /// Ports, sockets and agents.
    fn forwards(&self, draft: &mut Draft, who: Who<'_>, mut services: Services, more: &mut Said) -> Services {
        let is = |name: &str, word: &str| self.config.of(who, name).is_some_and(|d| d.is(word));
        let all_off = is("disableforwarding", "yes");
        let tcp = self.config.of(who, "allowtcpforwarding").map_or("yes", Directive::value).to_ascii_lowercase();
        for (service, word) in [(Service::ForwardLocal, "local"), (Service::ForwardRemote, "remote")] {
            if !all_off && (matches!(tcp.as_str(), "yes" | "all") || tcp == word) {
                services = services.with(service);
            }
        }
        if !all_off && !is("allowagentforwarding", "no") && services.run_programs() {
            services = services.with(Service::Agent);
        }
        for (name, column) in [("permitopen", "permit_open"), ("permitlisten", "permit_listen")] {
            let Some(directive) = self.config.of(who, name) else { continue };
            let places = directive.words().join(",");
            match places.parse::<Permits>() {
                Ok(permits) => more.push((column, permits.to_string().as_str().into())),
                Err(bad) => {
                    more.push((column, "none".into()));
                    draft.leave(
                        format_args!("sshd_config:{}", directive.line),
                        format_args!("{}: {bad}; it gets none", who.name),
                    );
                }
            }
        }
        // Sessions of sshd are in the host's network.
        let forwards = services.contains(Service::ForwardLocal) || services.contains(Service::ForwardRemote);
        if services.run_programs() || forwards {
            more.push(("network", "host".into()));
        }
        services
    }

    /// What has to be shown.
    fn ways_in(&self, draft: &mut Draft, who: Who<'_>, more: &mut Said) {
        let off = |name: &str| self.config.of(who, name).is_some_and(|d| d.is("no"));
        let methods = self.config.of(who, "authenticationmethods").filter(|d| !d.is("any"));
        let ways = match (methods, off("pubkeyauthentication"), off("passwordauthentication")) {
            (Some(directive), ..) => directive.words().join(" ").replace(',', "+").replace(' ', ","),
            (None, false, true) => "publickey".to_owned(),
            (None, true, false) => "password".to_owned(),
            _ => return,
        };
        match (ways.parse::<Logins>(), methods) {
            (Ok(logins), _) => more.push(("logins", logins.to_string().as_str().into())),
            (Err(bad), Some(directive)) => {
                more.push(("logins", "publickey+password".into()));
                let what = format!("{}: {bad}; it has to show a key and the password", who.name);
                draft.leave(format_args!("sshd_config:{}", directive.line), what);
            }
            (Err(_), None) => {}
        }
    }

    /// The line that keeps somebody out.
    fn keeps_out(&self, who: Who<'_>) -> Option<usize> {
        let names = |d: &Directive, name: &str| {
            // `user@host` cannot be looked at here, and is taken for the user.
            let users: Vec<String> =
                d.words().iter().map(|w| w.split('@').next().unwrap_or_default().to_owned()).collect();
            listed(&users, name)
        };
        let users = |d: &&Directive| names(d, who.name);
        let groups = |d: &&Directive| who.groups.iter().any(|group| names(d, group));
        let denied = self.config.all_of(who, "denyusers").find(users);
        let denied = denied.or_else(|| self.config.all_of(who, "denygroups").find(groups));
        let not_allowed = |name: &'static str, fits: &dyn Fn(&&Directive) -> bool| {
            let all: Vec<&Directive> = self.config.all_of(who, name).collect();
            all.first().copied().filter(|_| !all.iter().any(fits))
        };
        let first =
            denied.or_else(|| not_allowed("allowusers", &users)).or_else(|| not_allowed("allowgroups", &groups));
        first.map(|directive| directive.line)
    }

    fn keys(&self, draft: &mut Draft, entry: &Entry<'_>, who: Who<'_>, user: &UserName) {
        let files = self.config.of(who, "authorizedkeysfile").map(Directive::words);
        let files =
            files.unwrap_or_else(|| vec![".ssh/authorized_keys".to_owned(), ".ssh/authorized_keys2".to_owned()]);
        for file in files.iter().filter(|file| *file != "none").map(|file| expanded(file, entry)) {
            let path = if file.starts_with('/') { file } else { format!("{}/{file}", entry.home) };
            match (self.files.keys)(&path, entry.uid) {
                Ok(None) => {}
                Ok(Some(text)) => key_lines(draft, &path, user, &text),
                Err(why) => draft.leave(&path, why),
            }
        }
    }

    fn password(&self, draft: &mut Draft, user: &UserName) {
        let Some((line, hash, _)) = self.shadow.get(user.as_str()) else { return };
        let place = format!("shadow:{line}");
        match hash.as_str() {
            "" => draft.leave(place, format_args!("{user}: an empty password is no password here")),
            // No password was ever set, or it is locked.
            locked if locked.starts_with(['!', '*']) || locked == "x" => {}
            hash => draft.password(place, user, hash),
        }
    }
}

fn key_lines(draft: &mut Draft, path: &str, user: &UserName, text: &str) {
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if number > MOST_KEY_LINES {
            return draft.leave(format_args!("{path}:{number}"), "the rest of the file is not looked at");
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match keys::parse_line(line) {
            Ok(key) => draft.key(user, &key),
            Err(bad) => draft.leave(format_args!("{path}:{number}"), crate::telemetry::Causes(&bad)),
        }
    }
}

/// What `internal-sftp` is told (sftp-server(8)): the most that may be done.
fn internal_sftp(draft: &mut Draft, directive: &Directive, more: &mut Said) -> Mode {
    let mut mode = Mode::Rw;
    let words = directive.words();
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-R" => mode = Mode::Ro,
            "-u" => match words.next().and_then(|umask| umask.parse::<Umask>().ok()) {
                Some(umask) => more.push(("umask", umask.to_string().as_str().into())),
                None => draft.leave(format_args!("sshd_config:{}", directive.line), "its umask cannot be read"),
            },
            // Where it logs to.
            "-l" | "-f" => drop(words.next()),
            "-e" => {}
            other => {
                let what = format!("{other} of internal-sftp is not carried over");
                draft.leave(format_args!("sshd_config:{}", directive.line), what);
                if matches!(other, "-d" | "-P" | "-p") {
                    words.next();
                }
                // Requests that are refused one by one: less than writing, and here nothing less than reading.
                if matches!(other, "-P" | "-p") {
                    mode = Mode::Ro;
                }
            }
        }
    }
    mode
}

/// The tokens of `sshd` (sshd_config(5), TOKENS).
fn expanded(text: &str, entry: &Entry<'_>) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, c == '%') {
            (_, true) => match rest.next() {
                Some('h') => out.push_str(entry.home),
                Some('u') => out.push_str(entry.name),
                Some('U') => out.push_str(&entry.uid.to_string()),
                Some('%') => out.push('%'),
                // No path of ours: it is refused as it stands.
                other => out.extend(['\0'].into_iter().chain(other)),
            },
            (c, false) => out.push(c),
        }
    }
    out
}
