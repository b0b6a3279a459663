//! Disks that fill up, quotas that run out and power that fails: the client reads what is wrong, and what it was told is
//! safe is safe.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::harness::{Attributes, Disk, Identity, Login, Node, Raw, Reply, finish, open, run_tool, sftp, text};

mod as_root {
    #[test]
    fn a_full_disk_is_told_from_a_full_table_of_files_and_df_is_true() {
        super::a_full_disk();
    }

    #[test]
    fn a_used_up_quota_is_told_from_a_full_disk() {
        super::a_used_up_quota();
    }

    #[test]
    fn the_quota_of_a_project_is_what_df_shows_on_ext4_quotas() {
        super::a_project_quota();
    }

    #[test]
    fn the_quota_of_the_account_is_told_from_a_full_disk_on_ext4_quotas() {
        super::an_account_quota();
    }

    #[test]
    fn what_no_file_can_hold_is_told_so() {
        super::too_large_for_the_filesystem();
    }

    #[test]
    fn what_was_acknowledged_after_fsync_is_there_when_the_power_went() {
        super::power_fails();
    }
}

/// A running server whose accounts lie on a disk of their own, on which `prepare` has done what it needs.
pub(super) fn on_disk(make: impl FnOnce(&Path) -> Disk, prepare: impl FnOnce(&Path)) -> (Node, Login, Disk) {
    let mut node = Node::prepare(Identity::root());
    let accounts = node.home("acme").parent().expect("a directory").to_owned();
    let disk = make(&accounts);
    fs::set_permissions(&accounts, fs::Permissions::from_mode(0o755)).expect("let others enter");
    node.serve();
    node.account("acme");
    prepare(&node.home("acme"));
    let bob = node.user("bob", "acme", &[("www/site1", "rw")]);
    (node, bob, disk)
}

pub(super) fn site(node: &Node) -> PathBuf {
    node.home("acme").join("www/site1")
}

/// Writes megabytes until the server refuses one; what it says, and what it says to the close after that.
pub(super) fn fill(raw: &mut Raw, path: &[u8]) -> (String, Reply) {
    let Reply::Handle(handle) = raw.open(path, open::WRITE | open::CREATE | open::TRUNCATE) else {
        panic!("cannot open")
    };
    let block: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).take(200_000).collect();
    for number in 0..1_000 {
        if let Reply::Status(code @ 1.., sentence) = raw.write_at(&handle, number * 200_000, &block) {
            assert_eq!(code, 4, "{sentence}");
            return (sentence, raw.close(&handle));
        }
    }
    panic!("it never fills up");
}

/// Uploads beyond what there is room for, in both ways: what was there before stays in one of them.
pub(super) fn runs_out(node: &Node, bob: &Login, sentence: &str) {
    fs::write(node.dir().join("small"), "before").expect("a file");
    for uploads in ["direct", "atomic"] {
        node.admin(&["user", "set", "bob", "--uploads", uploads]);
        finish(sftp(bob).current_dir(node.dir()), "put small small\n").ok();
        let mut raw = Raw::connect(bob);
        let (said, closed) = fill(&mut raw, b"/small");
        assert!(said.contains(sentence), "{said}");
        assert_eq!(closed.is_success(), uploads == "direct", "{closed:?}");
        let kept = fs::read(site(node).join("small")).expect("it") == b"before";
        assert_eq!(kept, uploads == "atomic");
        finish(&mut sftp(bob), "rm small\n").ok();
    }
}

fn a_full_disk() {
    let (node, bob, disk) = on_disk(|at| Disk::tmpfs(at, "size=4m,nr_inodes=40"), |_| {});
    let df = |bob: &Login| finish(&mut sftp(bob), "df\n").ok();
    let said = df(&bob);
    assert!(said.contains("4096"), "the size of the disk is not in: {said}");
    runs_out(&node, &bob, "no space left on the server's disk");
    let told = rustix::fs::statvfs(&disk.at).expect("the disk");
    let free = (told.f_bavail * told.f_frsize / 1024).to_string();
    let said = df(&bob);
    assert!(said.contains(&free), "{free} KiB are free, which is not in: {said}");
    let mut raw = Raw::connect(&bob);
    let refused = (0..100).map(|n| raw.put(format!("/f{n}").as_bytes(), b"", open::WRITE | open::CREATE));
    let Some(Reply::Status(_, sentence)) = refused.into_iter().find(|reply| !reply.is_success()) else {
        panic!("there is always room for one more file")
    };
    assert!(sentence.contains("no space left"), "{sentence}");
}

fn a_used_up_quota() {
    let limited = |home: &Path| {
        let site = home.join("www/site1");
        fs::remove_dir(&site).expect("an empty directory");
        run_tool("btrfs", &["quota", "enable", text(home)]);
        run_tool("btrfs", &["subvolume", "create", text(&site)]);
        run_tool("btrfs", &["qgroup", "limit", "2M", text(&site)]);
        let (uid, gid) = Identity::root().account_owner();
        chown(&site, Some(uid), Some(gid)).expect("give it to the account");
    };
    let (node, bob, _disk) = on_disk(|at| Disk::image(at, 256, &["mkfs.btrfs", "-q"]), limited);
    runs_out(&node, &bob, "disk quota exceeded");
}

/// An ext4 disk that counts what `kind` says.
pub(super) fn ext4_with_quotas(at: &Path, kind: &str) -> Disk {
    let make = ["mkfs.ext4", "-q", "-O", "quota,project", "-E", &format!("quotatype={kind}")];
    Disk::image_with(at, 64, &make, &format!("loop,{kind}"))
}

fn a_project_quota() {
    let limited = |home: &Path| {
        run_tool("chattr", &["-p", "42", "+P", text(&home.join("www/site1"))]);
        run_tool("setquota", &["-P", "42", "0", "2048", "0", "0", text(home.parent().expect("the disk"))]);
    };
    let (node, bob, _disk) = on_disk(|at| ext4_with_quotas(at, "prjquota"), limited);
    let said = finish(&mut sftp(&bob), "df\n").ok();
    assert!(said.contains(" 2048 "), "the project's quota is not in: {said}");
    runs_out(&node, &bob, "disk quota exceeded");
}

fn an_account_quota() {
    let limited = |home: &Path| {
        let (uid, _) = Identity::root().account_owner();
        run_tool("setquota", &["-u", &uid.to_string(), "0", "2048", "0", "0", text(home.parent().expect("the disk"))]);
    };
    let (node, bob, _disk) = on_disk(|at| ext4_with_quotas(at, "usrquota"), limited);
    runs_out(&node, &bob, "disk quota exceeded");
}

fn too_large_for_the_filesystem() {
    let (node, bob, _disk) = on_disk(|at| Disk::image(at, 32, &["mkfs.ext4", "-q"]), |_| {});
    for uploads in ["direct", "atomic"] {
        node.admin(&["user", "set", "bob", "--uploads", uploads]);
        let mut raw = Raw::connect(&bob);
        assert!(raw.put(b"/a", b"x", open::WRITE | open::CREATE | open::TRUNCATE).is_success());
        let Reply::Handle(handle) = raw.open(b"/a", open::WRITE) else { panic!("cannot open") };
        let far = raw.write_at(&handle, 1 << 62, b"x");
        let long = raw.setstat(b"/a", &Attributes { size: Some(1 << 62), ..Attributes::default() });
        for refused in [far, long] {
            match refused {
                Reply::Status(4, sentence) => assert!(sentence.contains("larger than a file can be"), "{sentence}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The image is copied while it is in use: what a machine finds after its power went. Then the copy is looked at.
fn power_fails() {
    let (node, bob, disk) = on_disk(|at| Disk::image(at, 64, &["mkfs.ext4", "-q"]), |_| {});
    let after = node.dir().join("after");
    fs::create_dir(&after).expect("a directory");
    fs::write(node.dir().join("old"), "before").expect("a file");
    for uploads in ["direct", "atomic"] {
        node.admin(&["user", "set", "bob", "--uploads", uploads]);
        finish(sftp(&bob).current_dir(node.dir()), "put old old\n").ok();
        let mut raw = Raw::connect(&bob);
        for name in ["old", uploads] {
            let path = format!("/{name}");
            let Reply::Handle(handle) = raw.open(path.as_bytes(), open::WRITE | open::CREATE | open::TRUNCATE) else {
                panic!("cannot open")
            };
            assert!(raw.write_at(&handle, 0, b"acknowledged").is_success());
            assert!(raw.extended("fsync@openssh.com", &[&handle]).is_success());
            let image = node.dir().join(format!("{uploads}-{name}.img"));
            fs::copy(&disk.image, &image).expect("copy the disk");
            assert!(raw.close(&handle).is_success());
            let found = Disk::mount(image, &after, "loop");
            let content = fs::read(after.join("acme/www/site1").join(name)).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(&content), "acknowledged", "{name}, {uploads}");
            drop(found);
        }
    }
}
