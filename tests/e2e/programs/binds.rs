//! Directories of the host that programs are shown because the configuration says so.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Site, run, told};
use crate::harness::{Identity, finish};

/// A site whose node shows a directory that everybody may see. It lies outside of `/tmp`, where nothing is shown, so it takes
/// root to make it, for a node of an ordinary user too.
struct Showing {
    site: Site,
    shown: PathBuf,
    _place: TempDir,
}

impl Showing {
    fn new(identity: Identity, how: &str) -> Showing {
        let mut site = Site::stopped(identity);
        let place = tempfile::Builder::new().prefix("enclos-shown-").tempdir_in("/opt").expect("a directory");
        set_mode(place.path(), 0o755);
        let shown = place.path().join("shown");
        fs::create_dir(&shown).expect("a directory");
        site.node.own(&shown);
        site.node.write_config(&format!("binds = [\"{}{how}\"]", shown.display()));
        site.node.serve();
        Showing { site, shown, _place: place }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

fn what_is_shown_is_seen_and_no_more(identity: Identity) {
    for (how, is_writable) in [("", false), (":rw", true)] {
        let Showing { site, shown, _place } = Showing::new(identity, how);
        fs::write(shown.join("tool"), "#!/bin/sh\necho ran\n").expect("a file");
        fs::write(shown.join("../beside"), "beside").expect("a file");
        set_mode(&shown.join("tool"), 0o4755);
        set_mode(&shown, 0o777);
        let dev = site.developer();
        let at = shown.display();
        assert_eq!(told(&dev, &format!("{at}/tool; ls {at}/..")), "ran\nshown\n");
        let made = finish(&mut run(&dev, &format!("echo made > {at}/made")), "");
        assert_eq!(made.status.success(), is_writable, "{made:?}");
        if is_writable {
            let owner = fs::metadata(shown.join("made")).expect("was made").uid();
            assert_eq!(owner, fs::metadata(site.site()).expect("a directory").uid(), "it is the account's");
        }
        let options = told(&dev, &format!("grep ' {at} ' /proc/self/mountinfo | cut -d' ' -f6"));
        assert!(options.contains("nosuid") && options.contains("nodev"), "{options}");
        assert_eq!(options.starts_with("ro"), !is_writable, "{options}");
        for attempt in ["rmdir", "mv -t /tmp", "umount"] {
            assert!(!finish(&mut run(&dev, &format!("{attempt} {at}")), "").status.success(), "{attempt}");
        }
    }
}

/// As that of a database.
fn a_socket_that_is_shown_answers(identity: Identity) {
    let Showing { site, shown, _place } = Showing::new(identity, "");
    let listener = UnixListener::bind(shown.join("mysqld.sock")).expect("a socket");
    set_mode(&shown.join("mysqld.sock"), 0o777);
    let dev = site.developer();
    let program = format!(
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('{}/mysqld.sock'); s.sendall(b'here')",
        shown.display()
    );
    assert_eq!(told(&dev, &format!("python3 -c \"{program}\"; echo $?")), "0\n");
    let mut said = String::new();
    listener.accept().expect("a client").0.read_to_string(&mut said).expect("its words");
    assert_eq!(said, "here");
}

fn what_is_missing_keeps_nothing_away(identity: Identity) {
    let Showing { site, shown, _place } = Showing::new(identity, "");
    fs::remove_dir(&shown).expect("it goes");
    let dev = site.developer();
    assert_eq!(told(&dev, "echo here"), "here\n");
    fs::create_dir(&shown).expect("it comes");
    fs::write(shown.join("file"), "").expect("a file");
    set_mode(&shown, 0o755);
    let is_seen = || finish(&mut run(&dev, &format!("ls {}", shown.display())), "").stdout == "file\n";
    // The cell of before may not be gone yet.
    assert_eq!(crate::harness::wait_until(std::time::Duration::from_secs(20), is_seen), crate::harness::Waiting::Came);
}

fn an_account_is_never_shown_to_others(identity: Identity) {
    let Showing { site, shown, _place } = Showing::new(identity, "");
    let home = shown.join("other");
    fs::create_dir_all(home.join("www")).expect("a home");
    site.node.own(&home);
    let (uid, gid) = identity.account_owner();
    let (uid, gid) = (uid.to_string(), gid.to_string());
    let path = home.to_str().expect("a plain path");
    site.node.admin(&["account", "add", "other", "--uid", &uid, "--gid", &gid, "--home", path]);
    let eve = site.node.user_with("eve", "other", "exec", &[("www", "rw")]);
    let refused = finish(&mut run(&eve, "id"), "");
    assert!(!refused.status.success() && refused.stderr.contains("the account's home overlaps"), "{refused:?}");
    assert!(site.node.log().contains("a cell is not made"));
}

/// Root makes what is shown, for a node of its own and for one of an ordinary user.
macro_rules! for_both_nodes {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            use crate::harness::Identity;
            #[test] fn of_root() { super::super::$name(Identity::root()) }
            #[test] fn of_an_ordinary_user() { Identity::root(); super::super::$name(Identity::ordinary()) }
        })+
    };
}

mod as_root {
    for_both_nodes!(
        what_is_shown_is_seen_and_no_more,
        a_socket_that_is_shown_answers,
        what_is_missing_keeps_nothing_away,
        an_account_is_never_shown_to_others,
    );
}
