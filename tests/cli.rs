//! The command line as people and programs use it: what is printed, what is said of mistakes, and with which code it ends.
//!
//! No node runs except where one is started here, so the commands open the database themselves.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti bob@laptop\n";
const FINGERPRINT: &str = "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ";
const WEAK_KEY: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDBDcdY7zmqRYtUPe/u4Q253GN5IVQMms02QtbeeQ8pcuUdurcBn/kNXxZEcbJ6\
    Yteyn4J6pMh8xq9Y361LBMV8xQ3bz+F/vXQkfHZimS3VsHROF19nWI1LobQfmbfUfYtEiTVylUEL62NmiCxb/pJYP3unEiYZH+6/FN3ROgSGbw==\n";

/// A place for one test: a state directory, an account's home, a configuration.
struct Place {
    directory: TempDir,
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Place {
        // As root, control has ids of its own and must be able to pass.
        let open = fs::Permissions::from_mode(0o755);
        let directory = tempfile::Builder::new().permissions(open).tempdir().expect("a directory");
        fs::create_dir(directory.path().join("home")).expect("a home");
        Place { directory }
    }

    /// With the account `acme` and its user `bob`.
    fn with_bob() -> Place {
        let place = Place::new();
        place.add_account("acme");
        place.good("user add bob --account acme");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).expect("a file");
        self.path(name)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enclos"));
        command.arg("--state").arg(self.path("state")).args(words.split_whitespace());
        command.current_dir(self.directory.path());
        command
    }

    fn run(&self, words: &str) -> Ended {
        finish(&mut self.command(words), "")
    }

    /// Runs what must succeed, and returns what it printed.
    fn good(&self, words: &str) -> String {
        let ended = self.run(words);
        assert_eq!(ended.code, Some(0), "{words}: {ended:?}");
        ended.out
    }

    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.good(&format!("{words} --json"))).expect("JSON")
    }

    /// Runs what must fail with one sentence, and returns the sentence.
    fn bad(&self, words: &str) -> String {
        one_sentence(self.run(words))
    }

    fn add_account(&self, name: &str) {
        let home = self.path("home");
        let id = own_id();
        self.good(&format!("account add {name} --uid {id} --gid {id} --home {}", home.display()));
    }
}

/// An id that can own files here: as an ordinary user only the own one can.
fn own_id() -> u32 {
    if is_root() { 5001 } else { fs::metadata("/proc/self").expect("this process").uid() }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("this process").uid() == 0
}

fn finish(command: &mut Command, input: &str) -> Ended {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
    // A command that reads nothing may have ended already.
    if let Err(error) = child.stdin.take().expect("its input").write_all(input.as_bytes()) {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }
    let output = child.wait_with_output().expect("its end");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn one_sentence(ended: Ended) -> String {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.is_empty(), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    ended.err.strip_prefix("enclos: ").expect("who says it").trim_end().to_owned()
}

#[test]
fn every_call_of_the_handbook_works_as_written() {
    let place = Place::new();
    place.add_account("acme");
    place.good("user add bob --account acme --service sftp");
    place.good("user add eve --account acme --service sftp,shell --service exec");
    place.good("grant add bob www/site1 --mode rw");
    place.file("id_ed25519.pub", KEY);
    place.good("key add bob --file id_ed25519.pub");
    let set = finish(&mut place.command("passwd bob --stdin"), "secret");
    assert_eq!((set.code, set.out.trim_end()), (Some(0), "password of bob is set"));
    place.good("user disable bob");
    let list = place.good("user list");
    let bob = list.lines().find(|l| l.starts_with("bob")).expect("bob");
    for part in ["acme", "sftp", "disabled", "1", "yes", "www/site1 (rw)"] {
        assert!(bob.split("  ").any(|cell| cell.trim() == part), "{part} in {bob}");
    }
    place.good("user enable bob");
    place.good("user show bob");
    place.good("user set bob --view host --uploads atomic --umask 0027 --file-mode 0640 --directory-mode 2750");
    let said = place.good("user set bob --deny-name *.php --deny-name .htaccess --max-file-size 500M --umask none");
    assert!(said.contains("atomic, files 0640, directories 2750, at most 500M, not *.php, not .htaccess"), "{said}");
    place.good("user set bob --uploads direct --deny-name none --file-mode none --max-file-size none");
    place.good("account list");
    place.good("account show acme");
    place.good("grant list");
    place.good("grant list bob");
    place.good("key list bob");
    place.good("passwd bob --remove");
    place.good("key remove bob 1");
    place.good("grant remove bob www/site1");
    place.good("user remove bob");
    place.good("account remove acme --with-users");
    assert_eq!(place.json("account list"), json!([]));
    assert_eq!(place.json("user list"), json!([]));
}

#[test]
fn programs_read_json_of_a_fixed_shape() {
    let place = Place::with_bob();
    let id = own_id();
    let terms = json!({
        "expires": null, "from": "", "hours": null, "open": "always",
        "sessions": { "at_once": null, "lasting": null, "idle": null, "bandwidth": null }
    });
    let account = json!({
        "name": "acme", "uid": id, "gid": id, "home": place.path("home"), "status": "active", "users": 1,
        "limits": { "memory": "25%", "processes": null, "cpu": null }, "terms": terms
    });
    assert_eq!(place.json("account set acme --memory 25%"), account);
    assert_eq!(place.json("account show acme"), account);
    assert_eq!(place.json("account list"), json!([account]));

    let grant = json!({ "user": "bob", "account": "acme", "path": "www/site1", "mode": "ro", "no_exec": false });
    assert_eq!(place.json("grant add bob www/site1 --mode ro"), grant);
    assert_eq!(place.json("grant list"), json!([grant]));

    place.file("key.pub", KEY);
    let key = json!({
        "id": 1, "user": "bob", "fingerprint": FINGERPRINT, "algorithm": "ssh-ed25519", "label": "bob@laptop",
        "origin": "operator",
        "scope": {
            "paths": null, "mode": null, "services": null, "no_terminal": false, "forced_command": null,
            "permit_open": null, "permit_listen": null
        },
        "terms": terms
    });
    assert_eq!(place.json("key add bob --file key.pub"), key);
    assert_eq!(place.json("key list bob"), json!([key]));

    let user = json!({
        "name": "bob", "account": "acme", "services": "sftp", "status": "active", "view": "rooted", "grants": [grant], "keys": 1,
        "password": false, "totp": false, "logins": "", "principals": [], "own_keys": "refused", "terms": terms, "uploads": {
            "uploads": "atomic", "umask": "0027", "file_mode": null, "directory_mode": null,
            "deny_names": ["*.php", ".htaccess"], "max_file_size": 10 << 20
        },
        "forwards": { "network": "host", "permit_open": "db.example:3306,*:443", "permit_listen": "any" },
        "programs": { "shell": null, "forced_command": null, "terminals": "allowed", "linger": null },
        "limits": { "memory": "512M", "processes": "200", "cpu": "150%" }
    });
    let set = "user set bob --uploads atomic --umask 27 --max-file-size 10M --deny-name *.php --deny-name .htaccess \
               --network host --permit-open db.example:3306,*:443 --memory 512M --processes 200 --cpu 150%";
    assert_eq!(place.json(set), user);
    assert_eq!(place.json("user show bob"), user);
    assert_eq!(place.json("user list --account acme"), json!([user]));
    assert_eq!(place.json("user disable bob"), json!({ "done": "user bob is disabled" }));
    assert_eq!(place.json("check-config"), json!({ "done": "the configuration is good" }));
}

#[test]
fn global_options_stand_anywhere() {
    let place = Place::with_bob();
    let state = place.path("state");
    for words in [["--json", "user", "list"], ["user", "--json", "list"], ["user", "list", "--json"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enclos"));
        let ended = finish(command.args(words).arg("--state").arg(&state), "");
        assert!(ended.out.starts_with('['), "{ended:?}");
    }
}

#[test]
fn the_doctor_speaks_json_to_programs() {
    let place = Place::new();
    let report: Value = serde_json::from_str(&place.run("doctor --json").out).expect("JSON");
    for layer in report.as_array().expect("a list") {
        assert!(layer["layer"].is_string(), "{layer}");
        assert_eq!(layer["holds"].as_bool().expect("yes or no"), layer["why"].is_null(), "{layer}");
    }
}

#[test]
fn a_wrong_command_ends_with_2_and_says_what_was_meant() {
    let place = Place::new();
    for (words, part) in [
        ("usr list", "'user'"),
        ("", "Usage: enclos"),
        ("account add acme --uid 5001 --gid 5001", "--home"),
        ("account add Acme --uid 5001 --gid 5001 --home /srv", "use 1 to 32 of a-z"),
        ("account add acme --uid -1 --gid 5001 --home /srv", "'-1'"),
        ("account add acme --uid 5001 --gid 5001 --home srv", "beginning with '/'"),
        ("user add bob --account acme --service telnet", "use sftp, scp, exec"),
        ("user set bob --uploads slow", "use atomic or direct"),
        ("user set bob --umask 8", "use an octal number up to 0777"),
        ("user set bob --directory-mode 0655", "lets the owner do everything"),
        ("user set bob --max-file-size 1.5G", "use a whole number of bytes"),
        ("user set bob --view sideways", "use host or rooted, or default"),
        ("grant add bob /etc", "relative to the account's home"),
        ("grant add bob ../eve", "contains '..'"),
        ("grant add bob www --mode rx", "use rw, ro, upload or hidden"),
        ("passwd bob --stdin --remove", "cannot be used with"),
        ("quickstart --host-key dsa", "use ed25519, ecdsa or rsa"),
        ("quickstart --listen nowhere", "invalid value 'nowhere'"),
    ] {
        let ended = place.run(words);
        assert_eq!(ended.code, Some(2), "{words}: {ended:?}");
        assert!(ended.err.contains(part), "{words}: {ended:?}");
    }
    assert!(!place.path("state").exists(), "a wrong command makes nothing");
    assert_eq!(place.run("--help").code, Some(0));
    assert_eq!(place.run("--version").code, Some(0));
}

#[test]
fn a_mistake_is_told_in_one_sentence_with_what_to_do() {
    let place = Place::with_bob();
    place.good("grant add bob www/site1");
    let (home, id) = (place.path("home"), own_id());
    let home = home.display();
    for (words, part) in [
        ("user show bobb".to_owned(), "there is no user bobb; did you mean bob?"),
        ("user add eve --account acne".to_owned(), "there is no account acne; did you mean acme?"),
        ("account show zzz".to_owned(), "list them with: enclos account list"),
        (format!("account add acme --uid {id} --gid {id} --home {home}"), "there is an account acme already"),
        (format!("account add root --uid 0 --gid 5001 --home {home}"), "cannot belong to root"),
        (format!("account add root --uid 5001 --gid 0 --home {home}"), "cannot belong to root"),
        (format!("account add node --uid 1879048193 --gid 5001 --home {home}"), "this node's own processes"),
        ("account add all --uid 5001 --gid 5001 --home /".to_owned(), "the whole host cannot be"),
        ("account remove acme".to_owned(), "remove them first, or give --with-users"),
        ("user add bob --account acme".to_owned(), "there is a user bob already"),
        ("grant add bob old/site1".to_owned(), "\"site1\" already (www/site1)"),
        ("grant remove bob www".to_owned(), "list them with: enclos grant list bob"),
        ("key remove bob 7".to_owned(), "from: enclos key list bob"),
        ("key add bob --file nowhere.pub".to_owned(), "read the public key nowhere.pub: No such file"),
        ("passwd bob --stdin".to_owned(), "an empty password is no password"),
        ("session list".to_owned(), "no node is running here"),
        ("session kill 3".to_owned(), "no node is running here"),
    ] {
        let sentence = place.bad(&words);
        assert!(sentence.contains(part), "{words}: {sentence}");
    }
    assert_eq!(place.json("account list").as_array().map(Vec::len), Some(1), "nothing half done");
    assert_eq!(place.json("grant list").as_array().map(Vec::len), Some(1), "nothing half done");
}

#[test]
fn what_is_no_public_key_is_refused_with_its_own_sentence() {
    let place = Place::with_bob();
    for (text, part) in [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n", "this is a private key; never hand it out"),
        (WEAK_KEY, "RSA keys need at least 2048 bits"),
        ("hello", "this is not a public key"),
        ("", "this is not a public key"),
        (&KEY.repeat(101), "there are 101 keys in it"),
        (&format!("{KEY}{KEY}"), "bob has that key already"),
        (&format!("# old\n{KEY}restrict,tunnel=\"1\" {KEY}"), "line 3: option tunnel cannot be honoured"),
        (&format!("command=\"x\" {KEY}"), "exec"),
        (&format!("from=\"example.org\" {KEY}"), "line 1: option from: \"example.org\" is not an address"),
        (&format!("fast {KEY}"), "line 1: option \"fast\" is not known"),
        ("ssh-dss AAAAB3NzaC1kc3MAAACBAA== x", "DSA keys are not safe"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "this is a certificate; give the key of its authority"),
    ] {
        let ended = finish(&mut place.command("key add bob --file -"), text);
        let sentence = one_sentence(ended);
        assert!(sentence.contains(part), "{text}: {sentence}");
    }
    assert_eq!(place.json("key list bob"), json!([]));
    let ended = finish(&mut place.command("key add bob --file -"), KEY);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let again = finish(&mut place.command("key add bob --file -"), KEY);
    assert_eq!(one_sentence(again), format!("bob has that key already ({FINGERPRINT})"));
}

#[test]
fn a_missing_directory_is_noted_and_made_when_asked() {
    let place = Place::with_bob();
    let noted = place.run("grant add bob www/site1");
    assert_eq!(noted.code, Some(0), "{noted:?}");
    assert!(noted.err.contains("home/www/site1 does not exist yet"), "{noted:?}");
    let hidden = place.run("grant add bob www/site1/.env --mode hidden");
    assert_eq!((hidden.code, hidden.err.as_str()), (Some(0), ""), "what is hidden need not be there");
    let made = place.run("grant add bob www/site1 --create");
    assert_eq!((made.code, made.err.as_str()), (Some(0), ""), "{made:?}");
    let found = fs::metadata(place.path("home/www/site1")).expect("the directory");
    assert_eq!((found.uid(), found.gid() == found.uid() || !is_root()), (own_id(), true));
}

#[test]
fn a_grant_and_its_directory_are_made_together_or_not_at_all() {
    let place = Place::with_bob();
    place.good("grant add bob www/site1");
    // The name is taken, so there is no grant; neither then are the directories.
    assert!(place.bad("grant add bob deep/er/site1 --create").contains("\"site1\" already"));
    assert!(!place.path("home/deep").exists());
    // The directory cannot be made, so neither is there a grant.
    place.file("home/file", "");
    assert!(place.bad("grant add bob file/site2 --create").contains("home/file/site2"));
    fs::remove_dir_all(place.path("home")).expect("gone");
    assert!(place.bad("grant add bob www/site3 --create").contains("open the account's home"));
    assert_eq!(place.json("grant list").as_array().map(Vec::len), Some(1));
}

#[test]
fn no_link_in_an_account_leads_root_elsewhere() {
    let place = Place::with_bob();
    fs::create_dir(place.path("elsewhere")).expect("a directory");
    std::os::unix::fs::symlink(place.path("elsewhere"), place.path("home/www")).expect("a link");
    place.bad("grant add bob www/site1 --create");
    assert!(!place.path("elsewhere/site1").exists());
    assert_eq!(place.json("grant list"), json!([]));
}

#[test]
fn a_bad_configuration_is_told_in_one_sentence() {
    let place = Place::new();
    for (text, part) in [
        ("lisen = []", "bad.toml: there is no setting \"lisen\"; did you mean \"listen\"?"),
        ("listen = [\"nowhere\"]", "bad.toml: listen must be a list of addresses with ports"),
        ("listen = []", "bad.toml: listen is empty; give at least one address"),
        ("log = \"loud\"", "bad.toml: log must be \"text\" or \"json\", not \"loud\""),
        ("umask = \"99\"", "bad.toml: umask must be an octal number"),
        ("log = \"text\"\nstate = ", "bad.toml: line 2 is not TOML"),
        ("require = [\"magic\"]", "bad.toml: require must be a list of layers"),
    ] {
        place.file("bad.toml", text);
        for command in ["check-config", "serve", "quickstart", "user list"] {
            let sentence = place.bad(&format!("--config bad.toml {command}"));
            assert!(sentence.contains(part), "{command}: {sentence}");
        }
    }
    assert!(place.bad("--config nowhere.toml check-config").contains("nowhere.toml cannot be read"));
    assert!(!place.path("state/db").exists(), "nothing half done");
}

#[test]
fn the_environment_is_read_and_only_what_is_meant_for_us() {
    let place = Place::new();
    let mut stray = place.command("check-config");
    stray.env("ENCLOS_PORT", "tcp://10.0.0.1:22").env("FOO", std::ffi::OsStr::from_bytes(b"\xff"));
    assert_eq!(finish(&mut stray, "").code, Some(0));
    let sentence = one_sentence(finish(place.command("check-config").env("ENCLOS_LISTEN", "nowhere"), ""));
    assert!(sentence.starts_with("ENCLOS_LISTEN in the environment: listen must be"), "{sentence}");
}

#[test]
fn a_state_directory_that_cannot_be_is_told_in_one_sentence() {
    let place = Place::new();
    place.file("file", "");
    for state in ["/proc/nowhere", "file", "file/deeper"] {
        for command in ["user list", "serve"] {
            let words = format!("--state {state} {command}");
            let mut command = Command::new(env!("CARGO_BIN_EXE_enclos"));
            let ended = finish(command.args(words.split_whitespace()).current_dir(place.directory.path()), "");
            let sentence = one_sentence(ended);
            assert!(sentence.contains(&format!("{state} (run as root, or choose another")), "{sentence}");
        }
    }
}

#[test]
fn as_root_a_state_that_control_cannot_enter_is_told_in_one_sentence() {
    if !is_root() {
        eprintln!("left out: needs root");
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.directory.path(), fs::Permissions::from_mode(0o700)).expect("closed");
    for command in ["user list", "serve"] {
        let sentence = place.bad(command);
        assert!(sentence.contains("control runs as uid 1879048192 and cannot enter"), "{sentence}");
    }
    assert!(!place.path("state/keys/ssh_host_ed25519_key").exists(), "nothing half done");
}

#[test]
fn as_root_the_database_belongs_to_control_and_is_closed_to_others() {
    if !is_root() {
        eprintln!("left out: needs root");
        return;
    }
    let place = Place::with_bob();
    finish(&mut place.command("passwd bob --stdin"), "secret");
    let directory = fs::metadata(place.path("state/db")).expect("the directory");
    assert_eq!((directory.uid(), directory.gid()), (1_879_048_192, 1_879_048_192));
    assert_eq!(directory.mode() & 0o777, 0o700);
    for entry in fs::read_dir(place.path("state/db")).expect("a listing") {
        let found = entry.expect("an entry").metadata().expect("its owner");
        assert_eq!((found.uid(), found.gid()), (1_879_048_192, 1_879_048_192));
    }
    assert_eq!(fs::metadata(place.path("state/keys")).expect("the keys").uid(), 0);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let place = Place::with_bob();
    let mut child =
        place.command("user list").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("its end");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn a_node_that_cannot_start_ends_with_1_and_says_why() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    place.file("node.toml", &format!("listen = [\"{address}\"]"));
    let sentence = place.bad("--config node.toml serve");
    assert!(sentence.contains(&format!("cannot listen on {address}: another program listens there")), "{sentence}");

    place.file("node.toml", "listen = [\"127.0.0.1:0\"]");
    let key = place.path("state/keys/ssh_host_ed25519_key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("its mode");
    let sentence = place.bad("--config node.toml serve");
    assert!(sentence.contains(&format!("run: chmod 600 {}", key.display())), "{sentence}");
}

/// A node that is ended when the test is over.
struct Node(Child);

impl Node {
    /// Starts one, and waits until it tells its service manager that it is ready.
    fn start(place: &Place) -> Node {
        place.file("node.toml", "listen = [\"127.0.0.1:0\"]");
        let socket = place.path("notify");
        let manager = UnixDatagram::bind(&socket).expect("a socket");
        manager.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let mut command = place.command("--config node.toml serve");
        let child = command.env("NOTIFY_SOCKET", &socket).stderr(Stdio::piped()).spawn().expect("a node");
        let node = Node(child);
        let mut message = [0; 64];
        let length = manager.recv(&mut message).expect("word of the node");
        assert_eq!(message.get(..length).expect("it fits").trim_ascii_end(), b"READY=1");
        node
    }

    fn stop(mut self) -> Vec<String> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        let log = BufReader::new(self.0.stderr.take().expect("its log"));
        let lines = log.lines().collect::<Result<_, _>>().expect("lines");
        assert!(self.0.wait().expect("its end").success(), "{lines:?}");
        lines
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended, which is just as well.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_node_tells_systemd_when_it_listens_and_then_answers_operators_itself() {
    let place = Place::with_bob();
    let node = Node::start(&place);
    assert!(Path::exists(&place.path("state/run/admin.sock")));
    assert_eq!(place.json("session list"), json!([]));
    assert_eq!(place.bad("session kill 3"), "there is no session 3; list them with: enclos session list");
    place.good("grant add bob www --mode ro");
    assert_eq!(place.bad("user show bobb"), "there is no user bobb; did you mean bob?");
    assert!(place.bad("account add n --uid 1879048193 --gid 5001 --home /srv").contains("this node's own processes"));
    assert_eq!(place.json("user show bob")["grants"][0]["mode"], "ro");
    let log = node.stop();
    assert!(log.iter().any(|l| l.contains("listening")), "{log:?}");
    assert!(place.bad("session list").contains("no node is running here"));
    assert_eq!(place.json("user show bob")["grants"][0]["mode"], "ro");
}
