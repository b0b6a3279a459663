//! rsync, git and scp through exec, as everybody uses them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Site;
use crate::harness::{Identity, finish, make_tree, owners, ssh_line};

as_root_and_rootless!(rsync_both_ways, git_clones_and_pushes, scp_in_its_old_form);

/// Two trees with the same names and contents.
#[track_caller]
pub(super) fn same(one: &Path, other: &Path) {
    assert_eq!(finish(Command::new("diff").arg("-r").arg(one).arg(other), "").ok(), "");
}

fn rsync_both_ways(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let (here, back) = (site.node.dir().join("here"), site.node.dir().join("back"));
    make_tree(&here, 200);
    let line = ssh_line(&dev);
    let rsync = |from: String, to: String| {
        let mut command = Command::new("rsync");
        command.args(["-a", "--delete", "-e", &line, &from, &to]);
        finish(&mut command, "").ok();
    };
    let there = format!("{}:tree/", dev.at());
    rsync(format!("{}/", here.display()), there.clone());
    rsync(there, format!("{}/", back.display()));
    same(&here, &site.site().join("tree"));
    same(&here, &back);
    let owner = site.node.identity().account_owner();
    assert!(owners(&site.site()).iter().all(|o| (o.uid, o.gid) == owner), "every file is the account's");
}

fn git_clones_and_pushes(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let (work, deployed) = (site.node.dir().join("work"), site.site().join("live"));
    super::told(
        &dev,
        "git init -q --bare -b main repo.git && mkdir live && printf '#!/bin/sh\\nGIT_WORK_TREE=../live git checkout -f main\\n' > repo.git/hooks/post-receive && chmod +x repo.git/hooks/post-receive",
    );
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments);
        command.env("GIT_SSH_COMMAND", ssh_line(&dev)).env("HOME", site.node.dir()).env("GIT_CONFIG_NOSYSTEM", "1");
        finish(&mut command, "").ok()
    };
    let (url, place) = (format!("{}:repo.git", dev.at()), work.to_str().expect("a plain path").to_owned());
    git(&["clone", "-q", &url, &place]);
    fs::write(work.join("index.html"), "<h1>").expect("a file");
    for arguments in [
        &["-C", &place, "checkout", "-q", "-B", "main"][..],
        &["-C", &place, "add", "."],
        &["-C", &place, "commit", "-qm", "first"],
        &["-C", &place, "push", "-q", "origin", "main"],
    ] {
        git(arguments);
    }
    assert_eq!(fs::read_to_string(deployed.join("index.html")).expect("was deployed"), "<h1>");
    let again = site.node.dir().join("again");
    git(&["clone", "-q", &url, again.to_str().expect("a plain path")]);
    assert_eq!(fs::read_to_string(again.join("index.html")).expect("was cloned"), "<h1>");
}

fn scp_in_its_old_form(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let (here, back) = (site.node.dir().join("here"), site.node.dir().join("back"));
    make_tree(&here, 200);
    let path = |p: &Path| p.to_str().expect("a plain path").to_owned();
    let scp = |from: &str, to: &str| {
        let mut command = Command::new("scp");
        command.args(dev.options()).args(["-q", "-O", "-r", "-p", from, to]);
        finish(&mut command, "").ok();
    };
    scp(&path(&here), &format!("{}:tree", dev.at()));
    same(&here, &site.site().join("tree"));
    scp(&format!("{}:tree", dev.at()), &path(&back));
    same(&here, &back);
}
