//! Users of other servers, carried over: what they may do there they may do here, and what cannot be carried is named.

use proptest::prelude::*;

use super::*;
use crate::config::Ids;
use crate::control::store::tables::Cell;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti bob@laptop";
const HASH: &str = "$6$saltsalt$hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0";

/// What comes of a draft: rows by table as texts, and what was left behind.
struct Carried {
    dump: Dump,
    left: Vec<String>,
}

impl Carried {
    fn of(draft: draft::Draft) -> Carried {
        let (mut dump, left) = draft.rows(1);
        let wrong = check::problems(&mut dump, Ids::default());
        assert!(wrong.is_empty(), "{wrong:?}");
        Carried { dump, left }
    }

    /// Some columns of the rows of a table.
    fn rows(&self, name: &str, columns: &[&str]) -> Vec<String> {
        let table = table(name).expect("a table");
        let text = |row: &Vec<Cell>, column: &&str| match &row[table.column(column).expect("a column")] {
            Cell::Text(text) => text.clone(),
            Cell::Number(number) => number.to_string(),
            Cell::Null => "-".to_owned(),
            Cell::Bytes(_) => "bytes".to_owned(),
        };
        let rows = self.dump.0.get(name).into_iter().flatten();
        rows.map(|row| columns.iter().map(|column| text(row, column)).collect::<Vec<_>>().join(" ")).collect()
    }

    #[track_caller]
    fn leaves(&self, place: &str, what: &str) {
        assert!(
            self.left.iter().any(|line| line.starts_with(place) && line.contains(what)),
            "{place} {what}: {:#?}",
            self.left
        );
    }
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n\
    acme:x:1001:1001::/home/acme:/bin/bash\nacme-bob:x:1001:1001::/home/acme/www/site1:/bin/bash\n\
    stray:x:1001:1001::/srv/other:/bin/bash\nsftponly:x:1002:1002::/home/sftponly:/usr/sbin/nologin\n\
    reader:x:1003:1003::/data:/bin/sh\nBig.Name:x:1004:1004::/home/big:/bin/bash\nlost:x:1005:1005::/home/../etc:/bin/sh\n\
    torn:x:abc\nrooty:x:1006:0::/home/rooty:/bin/sh\nborg:x:1007:1007::/home/borg:/bin/bash\nnobody:x:65534:65534::/:/bin/sh\n\
    nologin:x:1008:1008::/home/nologin:/usr/sbin/nologin\nwhole:x:1009:1009::/:/bin/bash\n";
const SHADOW: &str = "root:*:19000:0:99999:7:::\nacme:HASH:19000:0:99999:7::20000:\nacme-bob:!HASH:19000::::::\n\
    sftponly::19000::::::\nreader:abcdefghijklm:19000::::::\n";
const GROUP: &str = "readers:x:900:reader,other\nsftp:x:1002:\n";
const SSHD: &str = "Port 22\nPermitTTY yes\nInclude /etc/ssh/sshd_config.d/*.conf\nAllowTcpForwarding local\n\
    PermitOpen db:3306 127.0.0.1:8080\nDenyUsers acme-b?b\nMatch User sftponly\n ChrootDirectory /srv/sftp/%u\n\
    ForceCommand internal-sftp -u 0027 -d /in\nMatch Group readers\n ChrootDirectory %h\n ForceCommand internal-sftp -R\n\
    AllowTcpForwarding no\n PermitTTY no\n PasswordAuthentication no\nMatch User borg\n ForceCommand borg serve\n\
    AuthenticationMethods publickey,password publickey,keyboard-interactive\nMatch LocalPort 2222\n PermitTTY no\n";

fn openssh_with(sshd: &str) -> Carried {
    let keys = |path: &str, uid: u32| match (path, uid) {
        ("/home/acme/.ssh/authorized_keys", 1001) => {
            Ok(Some(format!("# mine\nrestrict,from=\"192.0.2.0/24\" {KEY}\ntunnel=\"1\" {KEY}\nssh-dss AAAA x\n")))
        }
        ("/data/.ssh/authorized_keys", 1003) => Err("others may write it".to_owned()),
        _ => Ok(None),
    };
    Carried::of(openssh::read(&OpensshFiles {
        passwd: PASSWD.to_owned(),
        shadow: Some(SHADOW.replace("HASH", HASH)),
        group: Some(GROUP.to_owned()),
        sshd_config: Some(sshd.to_owned()),
        keys: &keys,
    }))
}

#[test]
fn users_of_openssh_may_do_what_they_did() {
    let carried = openssh_with(SSHD);
    assert_eq!(
        carried.rows("accounts", &["name", "uid", "home"]),
        ["acme 1001 /home/acme", "sftponly 1002 /srv/sftp/sftponly", "reader 1003 /data", "borg 1007 /home/borg"]
    );
    let shell = "sftp,exec,shell,forward-local,agent";
    assert_eq!(
        carried.rows(
            "users",
            &["name", "account", "services", "status", "terminals", "forced_command", "logins", "umask"]
        ),
        [
            format!("acme acme {shell} active allowed -  -"),
            format!("acme-bob acme {shell} disabled allowed -  -"),
            "sftponly sftponly sftp,forward-local active allowed -  0027".to_owned(),
            "reader reader sftp active refused - publickey -".to_owned(),
            "borg borg exec,shell,forward-local,agent active allowed borg serve publickey+password -".to_owned(),
        ]
    );
    assert_eq!(
        carried.rows("grants", &["login", "path", "mode"]),
        ["acme . rw", "acme-bob www/site1 rw", "sftponly . rw", "reader . ro", "borg . rw"]
    );
    assert_eq!(
        carried.rows("users", &["permit_open", "network", "expires"])[0],
        "db:3306,127.0.0.1:8080 host 1728000000"
    );
    assert_eq!(carried.rows("passwords", &["login", "hash"]), [format!("acme {HASH}")]);
    assert_eq!(
        carried.rows("public_keys", &["login", "sources", "no_terminal", "scope_services"]),
        ["acme 192.0.2.0/24 1 sftp,scp,exec,shell,git,rsync"]
    );
}

#[test]
fn what_openssh_knew_and_cannot_be_carried_is_named_with_its_line() {
    let carried = openssh_with(SSHD);
    for (place, what) in [
        ("passwd:1:", "root"),
        ("passwd:2:", "user of the system"),
        ("passwd:5:", "stray: it has the uid of acme, and /srv/other does not lie in /home/acme"),
        ("passwd:8:", "Big.Name: names of users"),
        ("passwd:9:", "contains '..'"),
        ("passwd:10:", "no line of /etc/passwd"),
        ("passwd:11:", "root, and whoever has its group"),
        ("passwd:13:", "user of the system"),
        ("passwd:14:", "cannot log in today"),
        ("passwd:15:", "the whole host"),
        ("shadow:4:", "an empty password"),
        ("shadow:5:", "of no kind that is known"),
        ("sshd_config:3:", "Include"),
        ("sshd_config:6:", "acme-bob: it may not log in today"),
        ("sshd_config:9:", "-d of internal-sftp"),
        ("sshd_config:18:", "is no way to log in"),
        ("sshd_config:19:", "holds by localport"),
        ("/home/acme/.ssh/authorized_keys:3:", "tunnel devices are not served"),
        ("/home/acme/.ssh/authorized_keys:4:", "DSA"),
        ("/data/.ssh/authorized_keys:", "others may write it"),
    ] {
        carried.leaves(place, what);
    }
    assert!(!carried.left.iter().any(|line| line.contains("saltsalt")), "a hash is shown: {:?}", carried.left);
}

const SFTPGO: &str = r#"{"users": [
    {"id": 1, "username": "alice", "status": 1, "expiration_date": 1893456000000, "home_dir": "/srv/sftpgo/alice",
     "password": "{MD5}5ebe2294ecd0e0f08eab7690d2a6ee69", "public_keys": ["KEY", "ssh-dss AAAA"], "uid": 0, "gid": 0, "max_sessions": 3,
     "permissions": {"/": ["*"], "/ro": ["list", "download"], "/in/deep": ["upload"], "/none": [], "/odd": ["list", "download", "upload"]},
     "quota_size": 1000, "filters": {"allowed_ip": ["192.0.2.0/24"], "denied_ip": ["192.0.2.9/32"], "max_upload_file_size": 4096,
     "file_patterns": [{"path": "/", "denied_patterns": ["*.php"]}, {"path": "/x", "allowed_patterns": ["*.txt"]}],
     "denied_login_methods": ["password"], "tls_username": "None", "totp_config": {"enabled": true}},
     "virtual_folders": [{"name": "inside", "virtual_path": "/v"}, {"name": "outside", "virtual_path": "/o", "mapped_path": "/data"}],
     "filesystem": {"provider": 0}, "description": "x"},
    {"username": "drop", "status": 0, "uid": 1200, "gid": 1200, "permissions": {"/": ["upload", "create_dirs"]},
     "password": "$pbkdf2-b64salt-sha256$1000$c2FsdA==$wC+vYbjR3jFHsvWbUFFM1p9rh7TQ6BJlGJFPKQ7wt1E=", "groups": [{"name": "g", "type": 1}]},
    {"username": "cloud", "home_dir": "/x", "filesystem": {"provider": 1}},
    {"username": "UPPER", "home_dir": "/x"}, {"username": "bad", "home_dir": "/srv/../etc"}, {"nobody": 1},
    {"username": "evil'; DROP TABLE users; --", "home_dir": "/x"}],
  "groups": [{"name": "g", "user_settings": {"home_dir": "/srv/drops/%username%"}}],
  "folders": [{"name": "inside", "mapped_path": "/srv/sftpgo/alice/www"}], "admins": [{}], "version": 16}"#;

#[test]
fn users_of_sftpgo_keep_their_rights_or_fewer() {
    let owners = Owners { ids: Some((990, 990)), account: None };
    let carried = Carried::of(sftpgo::read(&SFTPGO.replace("KEY", KEY), &owners).expect("a dump"));
    assert_eq!(
        carried.rows("accounts", &["name", "uid", "home"]),
        ["alice 990 /srv/sftpgo/alice", "drop 1200 /srv/drops/drop"]
    );
    assert_eq!(
        carried.rows("grants", &["login", "path", "mode"]),
        [
            "alice . rw",
            "alice in/deep hidden",
            "alice none hidden",
            "alice odd ro",
            "alice ro ro",
            "alice www rw",
            "drop . upload"
        ]
    );
    assert_eq!(
        carried.rows(
            "users",
            &["name", "status", "expires", "sources", "logins", "max_file_size", "deny_names", "session_limits"]
        ),
        ["alice active 1893456000 192.0.2.0/24,!192.0.2.9 publickey 4096 *.php sessions=3", "drop disabled -   -  "]
    );
    assert_eq!(carried.rows("public_keys", &["login"]), ["alice"]);
    assert_eq!(
        carried.rows("passwords", &["login", "hash"]),
        [
            "alice {MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
            "drop $pbkdf2-sha256$1000$c2FsdA$wC+vYbjR3jFHsvWbUFFM1p9rh7TQ6BJlGJFPKQ7wt1E"
        ]
    );
    for (place, what) in [
        ("users[0] alice quota_size", "not carried over"),
        ("users[0] alice totp_config", "not carried over"),
        ("users[0] alice file_patterns /x", "denied everywhere"),
        ("users[0] alice permissions /odd", "come to ro"),
        ("users[0] alice permissions /in/deep", "cannot lie in what is around it"),
        ("users[0] alice public_keys[1]", "DSA"),
        ("users[0] alice virtual_folders outside", "does not lie in"),
        ("users[2] cloud", "no directory of this host"),
        ("users[3] UPPER", "names of users"),
        ("users[4] bad", "contains '..'"),
        ("users[5]", "missing field"),
        ("users[6] evil", "names of users"),
        ("admins", "1 are not carried over"),
    ] {
        carried.leaves(place, what);
    }
    let one = Owners {
        ids: Some((990, 990)),
        account: Some(("files".parse().expect("a name"), "/srv/sftpgo".parse().expect("a path"))),
    };
    let carried = Carried::of(sftpgo::read(&SFTPGO.replace("KEY", KEY), &one).expect("a dump"));
    assert_eq!(carried.rows("accounts", &["name", "home"]), ["files /srv/sftpgo"]);
    assert_eq!(carried.rows("grants", &["login", "path", "mode"])[0], "alice alice rw");
    carried.leaves("users[1] drop", "its files belong to 1200:1200");
    assert!(sftpgo::read("[]", &one).is_err());
}

const PROFTPD: &str = "CREATE TABLE users (userid VARCHAR(30) NOT NULL UNIQUE, passwd VARCHAR(80) NOT NULL, uid INTEGER, gid INTEGER, \
    homedir VARCHAR(255), shell VARCHAR(255));\nINSERT INTO users VALUES ('carol','{sha1}5en6G6MezRroT3XKqkdPOmY/BfQ=',2001,2001,'/srv/carol','/bin/sh'),\n\
    ('dave','secret',2001,2001,'/srv/dave',NULL),\n('toor','x',0,0,'/root',''),\n('none','*',NULL,NULL,'/srv/none',''),\n\
    ('far','!',2001,2001,'/srv/../etc',''),('whole','!',2001,2001,'/','');\n\
    CREATE TABLE sftpuserkeys (name VARCHAR(256), key VARCHAR(8192));\nINSERT INTO sftpuserkeys (name, key) VALUES ('carol', \
    '---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"laptop\"\nAAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796j\nTiQfZfG1KaT0PtFDJ/XFSqti\n---- END SSH2 PUBLIC KEY ----'),\
    ('ghost','x'),('dave','nonsense');";

#[test]
fn users_of_proftpd_come_with_their_keys_and_hashes() {
    let names = TableNames { users: "users".to_owned(), keys: "sftpuserkeys".to_owned() };
    let read = |owners: &Owners| proftpd::read(proftpd::from_dump(PROFTPD, &names), owners);
    // An account over the whole host is refused with all the rest, as an operator's would be.
    let (mut dump, _) = read(&Owners::default()).rows(1);
    assert!(check::problems(&mut dump, Ids::default()).join("").contains("the whole host"));
    let dump = PROFTPD.replace("'/',''", "'whole',''");
    let carried = Carried::of(proftpd::read(proftpd::from_dump(&dump, &names), &Owners::default()));
    assert_eq!(carried.rows("accounts", &["name", "uid", "home"]), ["carol 2001 /srv/carol", "dave 2001 /srv/dave"]);
    assert_eq!(carried.rows("passwords", &["login", "hash"]), ["carol {SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="]);
    assert_eq!(carried.rows("public_keys", &["login", "label"]), ["carol laptop"]);
    for (place, what) in [
        ("line 3: users dave", "of no kind that is known"),
        ("line 4: users toor", "cannot belong to root"),
        ("line 5: users none", "give --uid and --gid"),
        ("line 6: users far", "contains '..'"),
        ("line 6: users whole", "is relative"),
        ("line 8: sftpuserkeys ghost", "its user is not carried over"),
        ("line 8: sftpuserkeys dave", "not a public key"),
    ] {
        // The statement begins a line before its first row.
        assert!(
            carried
                .left
                .iter()
                .any(|line| line.contains(place.split(": ").nth(1).expect("a place")) && line.contains(what)),
            "{place} {what}: {:#?}",
            carried.left
        );
    }
    assert!(!carried.left.iter().any(|line| line.contains("secret")), "a password is shown: {:?}", carried.left);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Pieces of what the three write, in any order.
    #[test]
    fn any_dump_is_answered(
        pieces in prop::collection::vec("[\\[\\]{}:,\"]|\"users\"|\"username\"|\"permissions\"|users|INSERT INTO|VALUES|[a-z/.*']{1,8}|\\PC", 0..40),
        lines in prop::collection::vec("([a-z]{0,4}:){0,8}[0-9a-z/.%]{0,6}", 0..8),
    ) {
        let text = pieces.concat();
        drop(sftpgo::read(&text, &Owners::default()));
        let names = TableNames { users: "users".to_owned(), keys: "sftpuserkeys".to_owned() };
        proftpd::read(proftpd::from_dump(&text, &names), &Owners::default());
        drop(proftpd::key(&text));
        let file = lines.join("\n");
        let keys = |_: &str, _: u32| Ok(Some(text.clone()));
        let files = OpensshFiles { passwd: file.clone(), shadow: Some(file.clone()), group: Some(file.clone()), sshd_config: Some(text.clone()), keys: &keys };
        openssh::read(&files);
    }
}
