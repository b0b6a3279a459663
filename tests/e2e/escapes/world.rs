//! What there is to be stolen, and from where: for each kind of grant and each view an account of its own, whose user is
//! granted one directory, and canaries in the account beside it, in a sibling's directory and home, in another account
//! and on the host.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};

use crate::harness::{Identity, Login, Node, Reply, finish};

/// Nothing but the canaries contains it, and no name but theirs.
pub(super) const MARK: &str = "CANARY-5d1f8a";
/// The name of a canary.
pub(super) const CANARY: &str = "canary-5d1f8a.txt";
/// The name of a device that somebody left in the grant.
pub(super) const DEVICE: &str = "planted-device";
/// Size of a canary, which no other file has.
const SIZE: u64 = 48_611;
/// Time of a canary and of what it lies in, which nothing else has.
const TIME: u64 = 1_000_000_007;

/// What a user is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Rw,
    Ro,
    Upload,
    /// Writable, with a hidden and a read-only directory in it.
    Nested,
}

impl Kind {
    pub(super) const ALL: [Kind; 4] = [Kind::Rw, Kind::Ro, Kind::Upload, Kind::Nested];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::Rw => "rw",
            Kind::Ro => "ro",
            Kind::Upload => "upload",
            Kind::Nested => "nested",
        }
    }

    fn grants(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Kind::Rw => &[("www/site1", "rw")],
            Kind::Ro => &[("www/site1", "ro")],
            Kind::Upload => &[("www/site1", "upload")],
            Kind::Nested => &[("www/site1", "rw"), ("www/site1/hidden", "hidden"), ("www/site1/config", "ro")],
        }
    }

    /// Names in the grant that are not for the attacker to change.
    fn kept(self) -> &'static [&'static str] {
        match self {
            Kind::Nested => &["hidden", "config"],
            Kind::Upload => &[CANARY],
            Kind::Rw | Kind::Ro => &[],
        }
    }
}

/// Those of [`Place::names_of`] that are no tricks.
const PLAIN: [usize; 7] = [0, 1, 3, 5, 13, 16, 24];

/// How a user sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Host,
    Rooted,
}

impl View {
    pub(super) const ALL: [View; 2] = [View::Host, View::Rooted];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            View::Host => "host",
            View::Rooted => "rooted",
        }
    }
}

/// A running node with the places that were asked for.
#[derive(Debug)]
pub(super) struct World {
    pub(super) node: Node,
    pub(super) places: Vec<Place>,
}

/// One account, and who attacks from within its grant.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) view: View,
    /// The account's home on the host.
    pub(super) home: PathBuf,
    /// May do everything.
    pub(super) login: Login,
    /// May start `scp`, `rsync` and `git`, and no other program.
    pub(super) direct: Login,
    /// The account that owns it all on disk.
    owner: (u32, u32),
    /// Another account's home, and a directory of the host.
    around: [PathBuf; 2],
    before: BTreeMap<PathBuf, State>,
}

/// State of one file that must not change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    content: Option<Vec<u8>>,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    links: u64,
}

/// What the users of a place may open.
const SERVICES: [&str; 2] = ["sftp,exec,shell,forward-local,forward-remote", "sftp,scp,rsync,git"];

/// Accounts, users, grants and the one key of all of them, as `enclos import` takes them: one call for all.
fn document(node: &Node, key: &Login, places: &[Place]) -> String {
    let (uid, gid) = node.identity().account_owner();
    let public = fs::read_to_string(key.public_key()).expect("a key");
    let encoded = public.split_whitespace().nth(1).expect("a key").to_owned();
    let told = finish(Command::new("ssh-keygen").arg("-lf").arg(key.public_key()), "").ok();
    let fingerprint = told.split_whitespace().nth(1).expect("a fingerprint").to_owned();
    let (mut accounts, mut users, mut grants, mut keys) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for place in places {
        let account = &place.login.user;
        accounts.push(json!({"name": account, "uid": uid, "gid": gid, "home": text(&place.home)}));
        for (login, services) in [&place.login.user, &place.direct.user].iter().zip(SERVICES) {
            let view = place.view.as_str();
            users.push(json!({"account": account, "name": login, "services": services, "view": view}));
            let of_kind = place.kind.grants().iter();
            grants.extend(of_kind.map(
                |(path, mode)| json!({"login": login, "path": path, "mode": mode, "no_exec": u8::from(*mode == "ro")}),
            ));
            keys.push(json!({
                "login": login, "fingerprint": fingerprint, "algorithm": "ssh-ed25519", "encoded": encoded
            }));
        }
    }
    let list = |rows: Vec<Value>| Value::from(rows).to_string();
    format!(
        "{{\"format\": \"enclos-export\", \"version\": 1, \"tables\": {{\"accounts\": {}, \"users\": {}, \
         \"grants\": {}, \"public_keys\": {}}}}}",
        list(accounts),
        list(users),
        list(grants),
        list(keys)
    )
}

impl World {
    /// A node that serves, with these places.
    pub(super) fn new(node: Node, places: &[(Kind, View)]) -> World {
        let (host, other) = (node.dir().join("host"), node.account_tree("other"));
        fs::create_dir(&host).expect("a directory");
        fs::set_permissions(&host, fs::Permissions::from_mode(0o755)).expect("open to all");
        for at in [host.join(CANARY), other.join("private").join(CANARY)] {
            fs::write(at, canary()).expect("a canary");
        }
        let repository = repository(node.dir());
        for at in [&host, &other.join("private")] {
            copy(&repository, at);
        }
        node.own(&other);
        let around = [other, host];
        let key = Login::new(&node, "everybody");
        let places: Vec<Place> =
            places.iter().map(|(kind, view)| Place::new(&node, &key, *kind, *view, &around)).collect();
        node.admin_with(&["import", "-"], &document(&node, &key, &places));
        World { node, places }
    }

    /// Every kind of grant in every view.
    pub(super) fn whole(identity: Identity) -> World {
        let all: Vec<_> = Kind::ALL.iter().flat_map(|k| View::ALL.map(|v| (*k, v))).collect();
        World::new(Node::start(identity), &all)
    }
}

/// The name of a repository beside each canary.
pub(super) const REPOSITORY: &str = "repo-5d1f8a.git";

/// Makes a repository with one commit, whose branch has the mark of canaries as its name.
fn repository(parent: &Path) -> PathBuf {
    let at = parent.join(REPOSITORY);
    let git = |arguments: &[&str], input: &str| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "--git-dir", text(&at)]);
        finish(command.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", parent).args(arguments), input).ok()
    };
    git(&["init", "-q", "--bare", "--template="], "");
    let blob = git(&["hash-object", "-w", "--stdin"], &format!("{MARK}\n"));
    let tree = git(&["mktree"], &format!("100644 blob {}\t{CANARY}\n", blob.trim()));
    let commit = git(&["commit-tree", tree.trim(), "-m", MARK], "");
    git(&["update-ref", &format!("refs/heads/{MARK}"), commit.trim()], "");
    at
}

/// Copies a tree into a directory.
fn copy(tree: &Path, into: &Path) {
    finish(Command::new("cp").arg("-a").arg(tree).arg(into), "").ok();
}

/// What a canary says.
fn canary() -> Vec<u8> {
    let mut content = format!("{MARK}: this was not granted\n").into_bytes();
    content.resize(usize::try_from(SIZE).expect("a small number"), b'.');
    content
}

impl Place {
    fn new(node: &Node, key: &Login, kind: Kind, view: View, around: &[PathBuf; 2]) -> Place {
        let name = format!("{}-{}", kind.as_str(), view.as_str());
        let direct = format!("{name}-direct");
        let home = node.account_tree(&name);
        let homes = [&name, &direct, "sib"].map(|user| format!(".enclos/home/{user}"));
        for directory in homes.iter().map(String::as_str).chain(["private/full-5d1f8a", "logs"]) {
            fs::create_dir_all(home.join(directory)).expect("a directory");
        }
        for directory in ["private", "private/full-5d1f8a", "www", "www/site2", ".enclos/home/sib"] {
            fs::write(home.join(directory).join(CANARY), canary()).expect("a canary");
        }
        for directory in ["private", "www", "www/site2", ".enclos/home/sib"] {
            copy(&node.dir().join(REPOSITORY), &home.join(directory));
        }
        fill(&home.join("www/site1"), kind);
        node.own(&home);
        let (login, direct) = (key.named(&name), key.named(&direct));
        let owner = node.identity().account_owner();
        let around = around.clone();
        let mut place = Place { kind, view, home, login, direct, owner, around, before: BTreeMap::new() };
        place.tidy();
        for path in place.states().keys().filter(|p| !p.starts_with(place.grant().join("config"))) {
            long_ago(path);
        }
        place.before = place.states();
        place
    }

    /// As it stands in the table.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.kind.as_str(), self.view.as_str())
    }

    /// The directory that was granted, on the host.
    pub(super) fn grant(&self) -> PathBuf {
        self.home.join("www/site1")
    }

    /// The names by which a client knows a path in the grant: its own, and the one that it would have if the account's
    /// home were granted in place of it.
    pub(super) fn in_grant(&self, path: &str) -> [Vec<u8>; 2] {
        let grant = self.grant();
        let base = if self.view == View::Rooted { "" } else { text(&grant) };
        [format!("{base}/{path}").into_bytes(), format!("{base}/www/site1/{path}").into_bytes()]
    }

    /// The client's name for a path in the grant.
    pub(super) fn at(&self, path: &str) -> Vec<u8> {
        let [own, _] = self.in_grant(path);
        own
    }

    /// The canaries: in the account, beside the grant, a sibling's, in a sibling's home, another account's, the host's,
    /// and what in the grant is not for this user.
    pub(super) fn targets(&self) -> Vec<PathBuf> {
        let in_home = ["private", "www", "www/site2", ".enclos/home/sib"].map(|d| self.home.join(d).join(CANARY));
        let [other, host] = &self.around;
        let mut targets = in_home.to_vec();
        targets.extend([other.join("private").join(CANARY), host.join(CANARY)]);
        match self.kind {
            Kind::Nested => targets.push(self.grant().join("hidden").join(CANARY)),
            Kind::Upload => targets.push(self.grant().join(CANARY)),
            Kind::Rw | Kind::Ro => {}
        }
        targets
    }

    /// The directories that they lie in, but for the grant itself.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let parents = self.targets().into_iter().filter_map(|t| Some(t.parent()?.to_owned()));
        parents.filter(|d| *d != self.grant()).collect()
    }

    /// Every name by which a client might hope to reach a path of the host: as it is, as the account's root would have
    /// it, by climbing, through `/proc`, and in spellings that somebody may take for one of these.
    pub(super) fn names_of(&self, path: &Path) -> Vec<Vec<u8>> {
        let host = text(path);
        let below = path.strip_prefix(&self.home).map_or(host.trim_start_matches('/'), text);
        let granted = text(path.strip_prefix(self.grant()).unwrap_or(Path::new("nothing")));
        let mut names = vec![
            host.to_owned(),
            format!("/{below}"),
            below.to_owned(),
            granted.to_owned(),
            format!("dir/../{granted}"),
            format!("../../{below}"),
            format!("/../../{below}"),
            format!("dir/../../../{below}"),
            format!("/dir/deep/../../../../{below}"),
            format!("//{below}"),
            format!("/.//./{below}"),
            format!("{host}/"),
            format!("{host}/."),
            format!("/{}{below}", "../".repeat(40)),
            format!("{}{}", "../".repeat(40), host.trim_start_matches('/')),
            format!("/proc/self/root{host}"),
            format!("/proc/1/root{host}"),
            format!("/proc/thread-self/root{host}"),
            format!("/proc/self/cwd/../../{below}"),
            format!("/proc/{}/root{host}", std::process::id()),
            format!("/proc/self/fd/3/../{below}"),
            format!("/dev/fd/3/../{below}"),
            format!("/view/{below}"),
            format!("/view/../{below}"),
            format!("~/{below}"),
            format!("~root/..{host}"),
            format!("..\\..\\{}", below.replace('/', "\\")),
            format!("%2e%2e/%2e%2e/{below}"),
            format!(".../.../{below}"),
        ];
        names.dedup();
        let mut bytes: Vec<Vec<u8>> = names.into_iter().map(String::into_bytes).collect();
        // Overlong UTF-8 for `..` and `/`, the full-width forms of both, and what ends a name in C.
        bytes.push([b"\xc0\xae\xc0\xae/\xc0\xae\xc0\xae/", below.as_bytes()].concat());
        bytes.push([b"..\xc0\xaf..\xc0\xaf", below.as_bytes()].concat());
        bytes.push(format!("\u{ff0e}\u{ff0e}\u{ff0f}\u{ff0e}\u{ff0e}\u{ff0f}{below}").into_bytes());
        bytes.push([host.as_bytes(), b"\0.txt"].concat());
        bytes.push([b"inside.txt\0/../../../", below.as_bytes()].concat());
        bytes
    }

    /// Names of paths: of each those that lead somewhere in one view or the other, and of the first, where everything may be
    /// done, all.
    fn names_of_all(&self, paths: &[PathBuf]) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        for (n, path) in paths.iter().enumerate() {
            let tried = self.names_of(path).into_iter().enumerate();
            names.extend(tried.filter(|(at, _)| self.is_tried(n, *at)).map(|(_, name)| name));
        }
        names
    }

    /// Whether one of the names of one of several paths is to be tried here.
    pub(super) fn is_tried(&self, path: usize, name: usize) -> bool {
        (path == 0 && self.kind == Kind::Rw) || PLAIN.contains(&name)
    }

    /// Names of the canaries.
    pub(super) fn names(&self) -> Vec<Vec<u8>> {
        self.names_of_all(&self.targets())
    }

    /// Names of the directories that they lie in.
    pub(super) fn names_of_directories(&self) -> Vec<Vec<u8>> {
        self.names_of_all(&self.directories())
    }

    /// Clears the grant of what an attack has left, and plants in it what somebody else of the account has.
    pub(super) fn tidy(&self) {
        let grant = self.grant();
        fs::set_permissions(&grant, fs::Permissions::from_mode(0o755)).expect("its mode again");
        let is_kept = |path: &Path| self.kind.kept().iter().any(|kept| path.ends_with(kept));
        entries(&grant).iter().filter(|path| !is_kept(path)).for_each(|path| remove(path));
        fs::write(grant.join("inside.txt"), "this was granted\n").expect("a file");
        fs::create_dir_all(grant.join("dir/deep")).expect("directories");
        fs::create_dir_all(grant.join("moving/inner")).expect("directories");
        for (name, target) in self.planted() {
            symlink(target, grant.join(name)).expect("a link");
        }
        // Of the host's memory; who is not root plants none, and so nobody finds one.
        let device = grant.join(DEVICE);
        let zero = makedev(1, 5);
        if mknodat(CWD, &device, FileType::CharacterDevice, Mode::from_raw_mode(0o666), zero).is_ok() {
            fs::set_permissions(&device, fs::Permissions::from_mode(0o666)).expect("open to all");
        }
        entries(&grant).iter().filter(|path| !is_kept(path)).for_each(|path| self.give(path));
    }

    /// Gives a tree to the account, where we may.
    pub(super) fn give(&self, path: &Path) {
        let meta = fs::symlink_metadata(path).expect("just made");
        if (meta.uid(), meta.gid()) != self.owner {
            lchown(path, Some(self.owner.0), Some(self.owner.1)).expect("give it to the account");
        }
        if meta.is_dir() {
            entries(path).iter().for_each(|path| self.give(path));
        }
    }

    /// Links that another process of the account left in the grant, by name.
    fn planted(&self) -> Vec<(&'static str, PathBuf)> {
        let [other, host] = &self.around;
        let secret = format!("../../private/{CANARY}");
        vec![
            ("planted-absolute", self.home.join("private").join(CANARY)),
            ("planted-rooted", Path::new("/private").join(CANARY)),
            ("planted-relative", secret.clone().into()),
            ("planted-chain", "planted-chain-2".into()),
            ("planted-chain-2", "dir/../planted-chain-3".into()),
            ("planted-chain-3", secret.into()),
            ("planted-up", "../..".into()),
            ("planted-private-dir", "../../private".into()),
            ("planted-sibling-dir", self.home.join("www/site2")),
            ("planted-other-dir", other.clone()),
            ("planted-host-dir", host.clone()),
            ("planted-root-dir", "/".into()),
            ("planted-proc-dir", "/proc/self/root".into()),
            ("planted-hidden-dir", "hidden".into()),
            ("planted-dangling", "../../private/made-by-an-attack".into()),
            ("planted-loop", "planted-loop".into()),
        ]
    }

    /// Names of canaries behind those links.
    pub(super) fn behind_planted(&self) -> Vec<Vec<u8>> {
        let home = text(&self.home);
        let paths = [
            "planted-absolute".to_owned(),
            "planted-rooted".to_owned(),
            "planted-relative".to_owned(),
            "planted-chain".to_owned(),
            format!("planted-up/private/{CANARY}"),
            format!("planted-private-dir/{CANARY}"),
            format!("planted-sibling-dir/{CANARY}"),
            format!("planted-other-dir/private/{CANARY}"),
            format!("planted-host-dir/{CANARY}"),
            format!("planted-root-dir{home}/private/{CANARY}"),
            format!("planted-proc-dir{home}/private/{CANARY}"),
            format!("planted-hidden-dir/{CANARY}"),
        ];
        paths.iter().flat_map(|path| self.in_grant(path)).collect()
    }

    /// What has changed outside the grant, in words; empty when nothing has. Afterwards it is as it was.
    pub(super) fn harm(&self) -> Vec<String> {
        let now = self.states();
        let mut harm = Vec::new();
        for path in now.keys().rev().filter(|p| !self.before.contains_key(*p)) {
            harm.push(format!("{} is new", path.display()));
            remove(path);
        }
        for (path, before) in &self.before {
            match now.get(path) {
                None => harm.push(format!("{} is gone", path.display())),
                Some(after) if after != before => harm.push(format!("{} has changed", path.display())),
                Some(_) => {}
            }
        }
        if !harm.is_empty() {
            self.mend();
        }
        harm
    }

    /// Makes everything outside the grant as it was, from the top down and with times last: what is put into a directory
    /// changes its time.
    fn mend(&self) {
        for (path, state) in &self.before {
            match &state.content {
                Some(content) => {
                    remove(path);
                    fs::write(path, content).expect("mend a file");
                }
                None if !fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) => {
                    remove(path);
                    fs::create_dir(path).expect("mend a directory");
                }
                None => {}
            }
            fs::set_permissions(path, fs::Permissions::from_mode(state.mode & 0o7777)).expect("mend a mode");
            let now = fs::metadata(path).expect("just mended");
            if (now.uid(), now.gid()) != state.owner {
                lchown(path, Some(state.owner.0), Some(state.owner.1)).expect("mend an owner");
            }
        }
        self.before.keys().rev().for_each(|path| long_ago(path));
    }

    /// Everything that must stay as it is: the account without the grant and the attacker's own homes, what in the grant
    /// is not for this user, another account, and a directory of the host.
    fn states(&self) -> BTreeMap<PathBuf, State> {
        let mut found = BTreeMap::new();
        let mut front = vec![self.home.clone()];
        front.extend(self.around.clone());
        front.extend(self.kind.kept().iter().map(|kept| self.grant().join(kept)));
        let own = [&self.login.user, &self.direct.user].map(|user| self.home.join(".enclos/home").join(user));
        while let Some(path) = front.pop() {
            if path == self.grant() || own.contains(&path) {
                continue;
            }
            // What an attack has removed is missed by who compares.
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if meta.is_dir() {
                front.extend(entries(&path));
            }
            found.insert(path.clone(), State::of(&path, &meta));
        }
        found
    }
}

impl State {
    fn of(path: &Path, meta: &fs::Metadata) -> State {
        State {
            content: meta.is_file().then(|| fs::read(path).expect("a file to guard")),
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            modified: (meta.mtime(), meta.mtime_nsec()),
            links: if meta.is_file() { meta.nlink() } else { 0 },
        }
    }
}

/// Puts into a grant what the attacker may not change.
fn fill(grant: &Path, kind: Kind) {
    match kind {
        Kind::Nested => {
            for (directory, name, content) in
                [("hidden", CANARY, canary()), ("config", "app.ini", b"key = 1\n".to_vec())]
            {
                fs::create_dir(grant.join(directory)).expect("a directory");
                fs::write(grant.join(directory).join(name), content).expect("a file");
            }
            let program = grant.join("config/run.sh");
            fs::write(&program, "#!/bin/sh\n").expect("a program");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it may be run");
        }
        Kind::Upload => fs::write(grant.join(CANARY), canary()).expect("a canary"),
        Kind::Rw | Kind::Ro => {}
    }
}

/// Gives something the time of canaries.
pub(super) fn long_ago(path: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(TIME);
    fs::File::open(path).and_then(|file| file.set_modified(time)).expect("set a time");
}

pub(super) fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
}

/// A path as text.
pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Removes whatever has this name, if anything has.
pub(super) fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).expect("remove a directory"),
        Ok(_) => fs::remove_file(path).expect("remove a file"),
        Err(_) => {}
    }
}

/// `SSH_FXP_READDIR` (draft-ietf-secsh-filexfer-02, section 6.7).
const READDIR: u8 = 12;

/// What an answer of SFTP tells that it should not: what a canary says, its size, its time, its name in a listing.
pub(super) fn leak(request: u8, reply: &Reply) -> Option<String> {
    let tells = |bytes: &[u8]| bytes.windows(MARK.len()).any(|w| w == MARK.as_bytes());
    match reply {
        Reply::Data(data) | Reply::Extended(data) if tells(data) => Some("a canary was read".to_owned()),
        Reply::Attributes(found) if is_a_canarys(found.size, found.times) => Some(format!("a canary has {found:?}")),
        Reply::Names(names) => names.iter().find_map(|(name, found)| {
            let name = String::from_utf8_lossy(name);
            let is_told = request == READDIR && is_foreign(&name) || is_a_canarys(found.size, found.times);
            is_told.then(|| format!("{name} is told of"))
        }),
        _ => None,
    }
}

fn is_a_canarys(size: Option<u64>, times: Option<(u32, u32)>) -> bool {
    size == Some(SIZE) || times.is_some_and(|(_, modified)| u64::from(modified) == TIME)
}

/// Whether a name is one of those outside the grant.
fn is_foreign(name: &str) -> bool {
    [CANARY, REPOSITORY, "full-5d1f8a", "private", "site2", "sib"].contains(&name)
}
