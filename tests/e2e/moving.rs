//! What a host brings along: users of OpenSSH, and users of a database of its own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::nodes::postgres::Postgres;
use crate::harness::{Identity, Login, Node, Raw, Waiting, finish, open, sftp, wait_until};

as_root_and_rootless!(
    users_of_openssh_log_in_after_an_import,
    users_of_a_hosts_own_sqlite_log_in,
    users_of_a_hosts_own_postgres_log_in,
    what_a_host_says_was_changed_is_looked_at_once,
);

/// "correct horse" by crypt(3).
const HASH: &str = "$5$saltsalt$myjXcpMpE2Ofk7fj9hqyNYSn6lmWG4Mqnjx.KIRRr4/";
/// Longest until a session ends whose ground is gone: the poll is a second, the rest is patience with a busy machine.
const REVOKED: Duration = Duration::from_secs(20);
const NEW: u32 = open::WRITE | open::CREATE | open::TRUNCATE;

fn plain(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn is_let_in(login: &Login) -> bool {
    Raw::try_connect(login).is_ok()
}

/// A directory of an account's with a file in it.
fn home(node: &Node, name: &str) -> std::path::PathBuf {
    let home = node.home(name);
    fs::create_dir(&home).expect("a home");
    fs::write(home.join("there.txt"), "there").expect("a file");
    node.own(&home);
    home
}

fn users_of_openssh_log_in_after_an_import(identity: Identity) {
    let node = Node::start(identity);
    let home = home(&node, "moved");
    let login = Login::new(&node, "moved");
    fs::create_dir(home.join(".ssh")).expect("a directory");
    fs::copy(login.public_key(), home.join(".ssh/authorized_keys")).expect("the key");
    node.own(&home);
    let (uid, gid) = identity.account_owner();
    let file = |name: &str, text: String| {
        let path = node.dir().join(name);
        fs::write(&path, text).expect("a file");
        plain(&path).to_owned()
    };
    let passwd =
        file("passwd", format!("root:x:0:0::/root:/bin/sh\nmoved:x:{uid}:{gid}::{}:/bin/bash\n", plain(&home)));
    let shadow = file("shadow", format!("root:*:1::::::\nmoved:{HASH}:19000:0:99999:7:::\n"));
    let config = file(
        "sshd_config",
        "Match User moved\n ForceCommand internal-sftp\n AllowTcpForwarding no\n X11DisplayOffset 10\n".to_owned(),
    );
    let import = ["import", "openssh", "--passwd", &passwd, "--shadow", &shadow, "--sshd-config", &config];
    let tried = node.admin(&[&import[..], &["--dry-run"]].concat());
    assert!(tried.contains("would be added: 1 accounts, 1 users, 1 grants, 1 public_keys, 1 passwords"), "{tried}");
    assert!(
        tried.contains("left behind: passwd:1: root") && tried.contains("left behind: sshd_config:4: x11displayoffset"),
        "{tried}"
    );
    assert_eq!(node.admin(&["user", "list", "--json"]).split_whitespace().collect::<String>(), "[]");
    node.admin(&import);
    let again = node.admin(&import);
    assert!(again.contains("added: nothing"), "{again}");
    let put = format!(
        "put {} new.txt\nget there.txt {}\n",
        login.public_key().display(),
        node.dir().join("clients/got").display()
    );
    finish(&mut sftp(&login), &put).ok();
    assert_eq!(fs::metadata(home.join("new.txt")).expect("uploaded").uid(), uid);
    assert!(is_let_in(&login.with_password("correct horse")) && !is_let_in(&login.with_password("wrong")));
    let trail = node.admin(&["audit", "--json"]);
    assert!(trail.contains("\"operation\":\"import\""), "{trail}");
    let export = node.state().join("export.json");
    node.admin(&["export", plain(&export)]);
    assert_eq!(fs::metadata(&export).expect("the export").permissions().mode() & 0o777, 0o600);
    assert!(node.admin(&["import", plain(&export)]).contains("added: nothing"));
    node.admin(&["user", "disable", "moved"]);
    let refused = finish(&mut node.enclos(&["import", plain(&export)]), "").err();
    assert!(refused.contains("user moved is there already and has other status"), "{refused}");
}

/// A host's database with ProFTPD's tables (doc/howto/SQL.html, contrib/mod_sftp_sql.html), as they are.
const SCHEMA: &str = "CREATE TABLE users (userid VARCHAR(30) NOT NULL UNIQUE, passwd VARCHAR(80) NOT NULL, uid INTEGER UNIQUE, \
    gid INTEGER, homedir VARCHAR(255), shell VARCHAR(255)); \
    CREATE TABLE groups (groupname VARCHAR(30) NOT NULL, gid INTEGER NOT NULL, members VARCHAR(255)); \
    CREATE TABLE sftpuserkeys (name VARCHAR(256) NOT NULL, key VARCHAR(8192) NOT NULL);";

const QUERIES: &str = "users_query = \"SELECT uid, gid, homedir AS home FROM users WHERE userid = $1\"\n\
    keys_query = \"SELECT key FROM sftpuserkeys WHERE name = $1\"\n\
    secrets_query = \"SELECT passwd FROM users WHERE userid = $1\"\nusers_poll = 1\n";

fn users_of_a_hosts_own_sqlite_log_in(identity: Identity) {
    let mut node = Node::prepare(identity);
    let place = node.dir().join("hosting");
    fs::create_dir(&place).expect("a directory");
    let file = place.join("users.sqlite");
    let sql = |text: &str| drop(finish(Command::new("sqlite3").arg(&file).arg(text), "").ok());
    node.write_config(&format!("users_database = {:?}\n{QUERIES}", plain(&file)));
    sql(SCHEMA);
    log_in_and_out(&mut node, &sql);
}

fn users_of_a_hosts_own_postgres_log_in(identity: Identity) {
    let mut node = Node::prepare(identity);
    let mut postgres = Postgres::start();
    let owner = postgres.url();
    let sql = |text: &str| {
        drop(finish(Command::new("psql").arg(&owner).args(["-q", "-v", "ON_ERROR_STOP=1", "-c", text]), "").ok())
    };
    sql(SCHEMA);
    sql("CREATE ROLE reader LOGIN; GRANT SELECT ON users, sftpuserkeys TO reader;");
    let url = postgres.url().replace("enclos@", "reader@");
    node.write_config(&format!("users_database = {url:?}\n{QUERIES}"));
    let carol = log_in_and_out(&mut node, &sql);
    let mut raw = Raw::connect(&carol);
    assert!(raw.stat(b"/").is_success());
    // Looked up once more, so that she is fresh when it goes.
    assert!(is_let_in(&carol));
    postgres.stop();
    assert!(is_let_in(&carol), "last known facts serve who was looked up just before");
    assert!(!is_let_in(&carol.named("dora")) && !is_let_in(&carol.named("nobody")));
    assert!(raw.stat(b"/").is_success(), "and nobody is thrown out");
    let bob = {
        node.account("acme");
        node.user("bob", "acme", &[("www/site1", "rw")])
    };
    assert!(is_let_in(&bob), "users of ours have nothing to do with it");
    assert!(node.log().contains("the host's database is away"), "{}", node.log());
    postgres.resume();
    assert_eq!(wait_until(REVOKED, || node.log().contains("the host's database is back")), Waiting::Came);
    sql("DELETE FROM users WHERE userid = 'carol'");
    assert_eq!(wait_until(REVOKED, || raw.try_stat(b"/").is_none()), Waiting::Came, "{}", node.log());
    assert!(!is_let_in(&carol));
}

fn what_a_host_says_was_changed_is_looked_at_once(identity: Identity) {
    let mut node = Node::prepare(identity);
    let postgres = Postgres::start();
    let sql = |text: &str| {
        let mut psql = Command::new("psql");
        drop(finish(psql.arg(postgres.url()).args(["-q", "-v", "ON_ERROR_STOP=1", "-c", text]), "").ok());
    };
    sql(SCHEMA);
    sql("CREATE ROLE reader LOGIN; GRANT SELECT ON users, sftpuserkeys TO reader; \
         CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN NOTIFY users_changed; RETURN NULL; END'; \
         CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON sftpuserkeys EXECUTE FUNCTION tell();");
    let url = postgres.url().replace("enclos@", "reader@");
    // Without being told it would be looked an hour later.
    let rarely = QUERIES.replace("users_poll = 1", "users_poll = 3600");
    node.write_config(&format!("users_database = {url:?}\nusers_notify = \"users_changed\"\n{rarely}"));
    node.serve();
    let home = home(&node, "carol");
    let carol = Login::new(&node, "carol");
    let (uid, gid) = node.identity().account_owner();
    sql(&format!("INSERT INTO users VALUES ('carol', '!', {uid}, {gid}, '{}', '/bin/sh')", plain(&home)));
    let key = fs::read_to_string(carol.public_key()).expect("her key");
    let add_key = format!("INSERT INTO sftpuserkeys VALUES ('carol', '{}')", key.trim().replace('\'', "''"));
    sql(&add_key);
    let mut first = Raw::connect(&carol);
    sql("UPDATE sftpuserkeys SET name = 'nobody-else' WHERE name = 'nobody'");
    assert!(first.stat(b"/").is_success(), "what changes for nobody disturbs nobody");
    sql("DELETE FROM sftpuserkeys WHERE name = 'carol'");
    assert_eq!(wait_until(REVOKED, || first.try_stat(b"/").is_none()), Waiting::Came, "{}", node.log());
    assert!(!is_let_in(&carol));
    // And again: it goes on listening.
    sql(&add_key);
    let mut second = Raw::connect(&carol);
    sql("DELETE FROM sftpuserkeys WHERE name = 'carol'");
    assert_eq!(wait_until(REVOKED, || second.try_stat(b"/").is_none()), Waiting::Came, "{}", node.log());
}

/// Everything that holds for both; ends with a user `carol` who may log in by her key.
fn log_in_and_out(node: &mut Node, sql: &dyn Fn(&str)) -> Login {
    node.serve();
    let home = home(node, "carol");
    let carol = Login::new(node, "carol");
    let (uid, gid) = node.identity().account_owner();
    let mut convert = Command::new("ssh-keygen");
    let key = finish(convert.arg("-e").arg("-f").arg(carol.public_key()), "").ok();
    let add_key = format!("INSERT INTO sftpuserkeys VALUES ('carol', '{}')", key.replace('\'', "''"));
    assert!(!is_let_in(&carol), "she is not there yet");
    sql(&format!("INSERT INTO users VALUES ('carol', '{HASH}', {uid}, {gid}, '{}', '/bin/sh')", plain(&home)));
    sql(&format!("INSERT INTO users VALUES ('dora', '{HASH}', 0, 0, '/root', '/bin/sh')"));
    assert!(!is_let_in(&carol), "she has no key yet");
    sql(&add_key);
    let mut by_key = Raw::connect(&carol);
    assert!(by_key.put(b"/new.txt", b"new", NEW).is_success());
    assert_eq!(fs::metadata(home.join("new.txt")).expect("uploaded").uid(), uid);
    let with_password = carol.with_password("correct horse");
    let mut by_password = Raw::connect(&with_password);
    assert!(by_password.stat(b"/there.txt").is_success() && !is_let_in(&carol.with_password("wrong")));
    // Whoever is root there is nobody here, and no name becomes part of a query.
    for name in ["dora", "carol' OR '1'='1", "carol'--", "x' UNION SELECT 0,0,'/root'--", "$1", "%"] {
        assert!(!is_let_in(&carol.named(name)) && !is_let_in(&with_password.named(name)), "{name}");
    }
    assert!(node.log().contains("users_query of dora: uid: it is no number from 1"), "{}", node.log());
    let ask = |more: &[&str]| {
        let key = carol.public_key();
        let words =
            ["explain", "carol", "--from", "127.0.0.1", "--write", "x", "--service", "shell", "--key", plain(&key)];
        node.admin(&[&words[..], more].concat())
    };
    let told = ask(&[]);
    assert!(told.contains("carol has the grant . (rw)"), "{told}");
    assert!(told.contains("carol has only the services sftp"), "{told}");
    assert!(!node.admin(&["user", "list"]).contains("carol"), "she has no row of ours");
    // Another password ends what the old one opened, and nothing else.
    sql("UPDATE users SET passwd = '!' WHERE userid = 'carol'");
    assert_eq!(wait_until(REVOKED, || by_password.try_stat(b"/").is_none()), Waiting::Came, "{}", node.log());
    assert!(!is_let_in(&with_password) && by_key.stat(b"/").is_success());
    sql("DELETE FROM sftpuserkeys WHERE name = 'carol'");
    assert_eq!(wait_until(REVOKED, || by_key.try_stat(b"/").is_none()), Waiting::Came, "{}", node.log());
    assert!(!is_let_in(&carol));
    sql(&add_key);
    assert!(is_let_in(&carol), "what is changed there holds from the next login on");
    carol
}
