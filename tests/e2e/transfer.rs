//! Files go there and back through the clients that people have, and on disk they belong to the account.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{
    Identity, Login, Node, Raw, Reply, Waiting, checksum, finish, make_tree, open, owners, random_file, rclone,
    resident, scp, sftp, sshfs, status_uid, wait_until,
};

/// How long may be waited for what only looking can tell.
const PATIENCE: Duration = Duration::from_secs(30);

const SHA256_OF_512_MIB_OF_ZEROS: [u8; 32] = [
    0x9a, 0xcc, 0xa8, 0xe8, 0xc2, 0x22, 0x01, 0x15, 0x53, 0x89, 0xf6, 0x5a, 0xbb, 0xf6, 0xbc, 0x97, 0x23, 0xed, 0xc7,
    0x38, 0x4e, 0xad, 0x80, 0x50, 0x38, 0x39, 0xf4, 0x9d, 0xcc, 0x56, 0xd7, 0x67,
];

as_root_and_rootless!(
    sftp_puts_gets_lists_renames_and_removes,
    sftp_carries_a_tree_both_ways,
    scp_carries_a_tree_both_ways,
    rclone_syncs_a_tree_and_finds_no_difference,
    the_extensions_that_clients_use_are_announced,
    every_file_on_disk_belongs_to_the_account,
    an_interrupted_upload_is_resumed,
    a_large_file_is_copied_on_the_server,
    a_checksum_that_takes_long_holds_up_nobody,
    names_that_are_no_text_survive,
    a_client_that_rests_has_its_memory_taken_and_is_served_on,
);

mod heavy {
    //! What only a server run by root is put through: it takes long enough once.
    use super::*;

    mod as_root {
        use crate::harness::Identity;

        #[test]
        fn ten_thousand_files_go_there_and_back() {
            super::ten_thousand_files(Identity::root());
        }

        #[test]
        fn a_file_of_one_gib_comes_back_as_it_was() {
            super::one_gib(Identity::root());
        }

        #[test]
        fn sshfs_works_as_a_filesystem_with_git() {
            super::sshfs_with_git(Identity::root());
        }
    }

    fn ten_thousand_files(identity: Identity) {
        let (node, bob) = Node::with_bob(identity);
        let local = node.dir().join("local");
        make_tree(&local, 10_000);
        finish(sftp(&bob).current_dir(node.dir()), "put -r local tree\n").ok();
        same_trees(&local, &site(&node).join("tree"));
        belongs_to_the_account(&node, &site(&node));
        let listed = finish(rclone(&bob).args(["lsf", "-R", "--files-only", "enclos:/tree"]), "").ok();
        assert_eq!(listed.lines().count(), 10_000);
        finish(sftp(&bob).current_dir(node.dir()), "get -r tree back\n").ok();
        same_trees(&local, &node.dir().join("back"));
        finish(&mut sftp(&bob), "rename tree moved\n").ok();
        finish(rclone(&bob).args(["purge", "enclos:/moved"]), "").ok();
        assert!(!site(&node).join("moved").exists());
    }

    fn one_gib(identity: Identity) {
        let (node, bob) = Node::with_bob(identity);
        let (local, back) = (node.dir().join("big"), node.dir().join("back"));
        random_file(&local, 1 << 30, 1);
        let sum = checksum(&local);
        finish(sftp(&bob).current_dir(node.dir()), "put big\n").ok();
        assert_eq!(checksum(&site(&node).join("big")), sum, "it arrived otherwise");
        finish(sftp(&bob).current_dir(node.dir()), "get big back\n").ok();
        assert_eq!(checksum(&back), sum, "it came back otherwise");
    }

    fn sshfs_with_git(identity: Identity) {
        let (node, bob) = Node::with_bob(identity);
        let local = node.dir().join("local");
        make_tree(&local, 300);
        let mounted = sshfs(&bob, &node.dir().join("mnt"));
        let at = mounted.path();
        finish(Command::new("cp").arg("-r").arg(&local).arg(at.join("tree")), "").ok();
        same_trees(&local, &site(&node).join("tree"));
        same_trees(&local, &at.join("tree"));
        fs::rename(at.join("tree"), at.join("moved")).expect("rename");
        fs::remove_dir_all(at.join("moved")).expect("remove");
        assert!(!site(&node).join("moved").exists());
        git_commits(&at.join("repository"));
        belongs_to_the_account(&node, &site(&node));
        drop(mounted);
    }

    fn git_commits(at: &Path) {
        fs::create_dir(at).expect("a directory");
        let git = |arguments: &[&str]| {
            let mut command = Command::new("git");
            command.current_dir(at).args(["-c", "user.name=t", "-c", "user.email=t@example.org"]);
            command.args(["-c", "safe.directory=*"]).args(arguments);
            finish(command.env("GIT_CONFIG_GLOBAL", "/dev/null"), "").ok()
        };
        git(&["init", "-q"]);
        fs::write(at.join("a.txt"), "a\n").expect("a file");
        git(&["add", "a.txt"]);
        git(&["commit", "-q", "-m", "one"]);
        git(&["fsck", "--strict"]);
        assert!(git(&["log", "--oneline"]).contains("one"));
    }
}

/// Where bob's files are on disk.
fn site(node: &Node) -> std::path::PathBuf {
    node.home("acme").join("www/site1")
}

#[track_caller]
fn same_trees(one: &Path, other: &Path) {
    let said = finish(Command::new("diff").arg("-r").arg(one).arg(other), "");
    assert!(said.status.success(), "{} and {} differ: {said:?}", one.display(), other.display());
}

#[track_caller]
fn belongs_to_the_account(node: &Node, root: &Path) {
    let (uid, gid) = node.identity().account_owner();
    let foreign: Vec<_> = owners(root).into_iter().filter(|o| (o.uid, o.gid) != (uid, gid)).collect();
    assert!(foreign.is_empty(), "these do not belong to {uid}:{gid}: {foreign:?}");
}

fn batch(login: &Login, node: &Node, commands: &str) -> String {
    finish(sftp(login).current_dir(node.dir()), commands).ok()
}

fn sftp_puts_gets_lists_renames_and_removes(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    fs::write(node.dir().join("a.txt"), "hello\n").expect("a file");
    let said = batch(&bob, &node, "pwd\nmkdir d\nput a.txt d/b.txt\nchmod 640 d/b.txt\nls -l d\nls\n");
    assert!(said.contains("Remote working directory: /\n"), "{said}");
    assert!(said.contains("-rw-r-----") && said.contains("b.txt"), "{said}");
    assert_eq!(fs::read_to_string(site(&node).join("d/b.txt")).expect("it is there"), "hello\n");
    batch(&bob, &node, "get d/b.txt c.txt\nrename d/b.txt d/e.txt\nln -s e.txt d/l\nln d/e.txt d/h\ndf\n");
    assert_eq!(fs::read_to_string(node.dir().join("c.txt")).expect("it came"), "hello\n");
    assert_eq!(fs::read_link(site(&node).join("d/l")).expect("a link"), Path::new("e.txt"));
    assert_eq!(fs::metadata(site(&node).join("d/h")).expect("a hard link").nlink(), 2);
    batch(&bob, &node, "rm d/l\nrm d/h\nrm d/e.txt\nrmdir d\n");
    assert!(!site(&node).join("d").exists());
    let missing = finish(&mut sftp(&bob), "get nothing\n").err();
    assert!(missing.contains("not found") || missing.contains("No such file"), "{missing}");
}

fn sftp_carries_a_tree_both_ways(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    make_tree(&node.dir().join("local"), 500);
    batch(&bob, &node, "put -r local tree\nget -r tree back\n");
    same_trees(&node.dir().join("local"), &node.dir().join("back"));
}

fn scp_carries_a_tree_both_ways(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let (local, back) = (node.dir().join("local"), node.dir().join("back"));
    make_tree(&local, 300);
    random_file(&local.join("big"), 20 << 20, 3);
    finish(&mut scp(&bob, local.to_str().expect("text"), ":tree"), "").ok();
    same_trees(&local, &site(&node).join("tree"));
    finish(&mut scp(&bob, ":tree", back.to_str().expect("text")), "").ok();
    same_trees(&local, &back);
    let modified = |root: &Path| fs::metadata(root.join("big")).expect("a file").mtime();
    assert_eq!(modified(&local), modified(&back), "scp -p keeps times");
}

fn rclone_syncs_a_tree_and_finds_no_difference(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let local = node.dir().join("local");
    make_tree(&local, 500);
    random_file(&local.join("big"), 5 << 20, 4);
    let from = local.to_str().expect("text");
    finish(rclone(&bob).args(["sync", from, "enclos:/tree"]), "").ok();
    finish(rclone(&bob).args(["check", "--download", from, "enclos:/tree"]), "").ok();
    fs::remove_dir_all(local.join("dir 002")).expect("a directory");
    fs::write(local.join("dir 001/new.txt"), "new\n").expect("a file");
    finish(rclone(&bob).args(["sync", from, "enclos:/tree"]), "").ok();
    same_trees(&local, &site(&node).join("tree"));
    finish(rclone(&bob).args(["moveto", "enclos:/tree/big", "enclos:/tree/bigger"]), "").ok();
    finish(rclone(&bob).args(["purge", "enclos:/tree"]), "").ok();
    assert!(!site(&node).join("tree").exists());
}

fn the_extensions_that_clients_use_are_announced(identity: Identity) {
    let (_node, bob) = Node::with_bob(identity);
    let raw = Raw::connect(&bob);
    let announced: Vec<(&str, &str)> = raw.extensions().iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    for wanted in [
        ("posix-rename@openssh.com", "1"),
        ("statvfs@openssh.com", "2"),
        ("fsync@openssh.com", "1"),
        ("hardlink@openssh.com", "1"),
        ("limits@openssh.com", "1"),
    ] {
        assert!(announced.contains(&wanted), "{wanted:?} is missing in {announced:?}");
    }
}

/// The swap at the heart of it: one owner on disk, another in the kernel's eyes.
fn every_file_on_disk_belongs_to_the_account(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let mut raw = Raw::connect(&bob);
    assert!(raw.mkdir(b"/made").is_success());
    assert!(raw.put(b"/made/file", b"x", open::WRITE | open::CREATE).is_success());
    assert!(raw.symlink(b"file", b"/made/link").is_success());
    assert!(raw.extended("hardlink@openssh.com", &[b"/made/file", b"/made/hard"]).is_success());
    belongs_to_the_account(&node, &site(&node));
    let (account, group) = identity.account_owner();
    match raw.stat(b"/made/file") {
        Reply::Attributes(seen) => {
            assert_eq!(seen.owner, Some((account, group)), "the client is told of another owner")
        }
        other => panic!("{other:?}"),
    }
    let session = node.session_of("bob");
    let kernel = status_uid(session.pid).expect("a live session");
    match identity {
        Identity::Root => assert!(kernel != account && kernel != 0, "the session runs as {kernel}"),
        Identity::Ordinary(own) => assert_eq!(kernel, own),
    }
}

/// The sum of a large file is asked for twice; what is asked after it is answered before.
fn a_checksum_that_takes_long_holds_up_nobody(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let large = fs::File::create(site(&node).join("large")).expect("a file");
    large.set_len(512 << 20).expect("a large one");
    node.own(&site(&node));
    let mut raw = Raw::connect(&bob);
    let text = |bytes: &[u8]| [&u32::try_from(bytes.len()).expect("short").to_be_bytes()[..], bytes].concat();
    let sum = [text(b"check-file-name"), text(b"/large"), text(b"sha256"), vec![0; 20]].concat();
    let sums = [raw.send(200, &sum).expect("sent"), raw.send(200, &sum).expect("sent")];
    for _ in 0..20 {
        let id = raw.send(17, &text(b"/large")).expect("sent");
        let (answered, reply) = raw.receive().expect("an answer");
        assert_eq!(answered, id, "{reply:?} came first");
    }
    let answers: Vec<_> = (0..2).map(|_| raw.receive().expect("a sum")).collect();
    assert_eq!(answers.iter().map(|(id, _)| *id).collect::<Vec<_>>(), sums);
    let expected = [text(b"sha256"), SHA256_OF_512_MIB_OF_ZEROS.to_vec()].concat();
    for (_, reply) in answers {
        assert!(matches!(&reply, Reply::Extended(sum) if *sum == expected), "{reply:?}");
    }
}

/// OpenSSH's client asks for `copy-data` by `cp`.
fn a_large_file_is_copied_on_the_server(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    random_file(&site(&node).join("big"), 96 << 20, 3);
    finish(&mut sftp(&bob), "cp big copy\nls -l copy\n").ok();
    assert_eq!(checksum(&site(&node).join("copy")), checksum(&site(&node).join("big")), "it was copied otherwise");
}

fn an_interrupted_upload_is_resumed(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let local = node.dir().join("big");
    random_file(&local, 8 << 20, 5);
    let whole = fs::read(&local).expect("a file");
    fs::write(site(&node).join("big"), &whole[..3 << 20]).expect("half of it");
    node.own(&site(&node));
    batch(&bob, &node, "reput big\n");
    assert_eq!(checksum(&local), checksum(&site(&node).join("big")));
    fs::write(node.dir().join("down"), &whole[..5 << 20]).expect("half of it");
    batch(&bob, &node, "reget big down\n");
    assert_eq!(checksum(&local), checksum(&node.dir().join("down")));
}

fn names_that_are_no_text_survive(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let mut raw = Raw::connect(&bob);
    let long = [b'n'; 255];
    let names = [&b"\xff\xfe latin \xe4"[..], b" ", b"-rf", b"new\nline", b"*?[", "ü€𝄞".as_bytes(), &long];
    for name in names {
        let path = [b"/", name].concat();
        assert!(raw.put(&path, name, open::WRITE | open::CREATE).is_success(), "{}", name.escape_ascii());
        assert_eq!(raw.contents(&path).expect("just written"), name);
    }
    let mut seen = raw.names(b"/").expect("a listing");
    seen.retain(|n| n != b"." && n != b"..");
    seen.sort();
    let mut wanted = names.map(<[u8]>::to_vec).to_vec();
    wanted.sort();
    assert_eq!(seen, wanted);
    let on_disk = fs::read_dir(site(&node)).expect("a directory").count();
    assert_eq!(on_disk, names.len());
}

fn a_client_that_rests_has_its_memory_taken_and_is_served_on(identity: Identity) {
    let (node, bob) = Node::with_bob(identity);
    let mut raw = Raw::connect(&bob);
    for _ in 0..2 {
        assert!(raw.put(b"/large", &[7; 200 << 10], open::WRITE | open::CREATE).is_success());
        assert_eq!(raw.contents(b"/large").expect("what was written").len(), 200 << 10);
        let session = node.session_of("bob").pid;
        let full = resident(session);
        let is_smaller = || resident(session) < full;
        assert_eq!(wait_until(PATIENCE, is_smaller), Waiting::Came, "{full} KiB stay");
    }
    assert!(raw.stat(b"/large").is_success());
}
