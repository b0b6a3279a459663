//! What deploy tools send, in our own words: Deployer, Capistrano with SSHKit, and the actions of GitHub.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::{Desk, PATIENCE};
use crate::harness::{Finished, Identity, Login, Waiting, finish, make_tree, signal, ssh, wait_until};

as_root_and_rootless!(
    deployer_makes_releases_and_ends_what_hangs,
    capistrano_works_on_many_channels,
    github_actions_come_often_and_briefly,
);

/// A repository with two commits and a tag, in the grant.
fn repository(desk: &Desk) {
    let commit = "git -c user.name=t -c user.email=t@example.org commit -qm";
    desk.told(&format!(
        "git init -q -b main source && cd source && echo one > index.html && git add . && {commit} one && git tag v1 && echo two > index.html && git add . && {commit} two"
    ));
}

// -- Deployer -------------------------------------------------------------------------------------------------------------

/// `ssh` as Deployer 7 calls it: every step is a login shell that reads its command from standard input, all of them on one
/// connection. The command line has a mark by which it finds the step again.
fn step(dev: &Login, control: &str, mark: &str) -> Command {
    let mut client = ssh(dev);
    client.args(["-A", "-o", control]).arg(dev.at()).arg(format!(": id${mark}; bash -ls"));
    client
}

fn deployer(dev: &Login, control: &str, command: &str) -> Finished {
    finish(&mut step(dev, control, "1f6e"), command)
}

fn deployer_makes_releases_and_ends_what_hangs(identity: Identity) {
    let mut desk = Desk::new(identity, "Deployer 7 (replay)", "replayed".to_owned());
    repository(&desk);
    let (_master, control) = desk.shared("control");
    let (dev, path) = (desk.dev.clone(), desk.at());
    let at = path.to_str().expect("a plain path");
    let dep = |command: &str| deployer(&dev, &control, command).ok();
    assert_eq!(dep("whoami; echo $0; shopt -q login_shell && echo a login shell"), "dev\nbash\na login shell\n");
    dep(&format!(
        "[ -d {at} ] || mkdir -p {at}; cd {at} && [ -d .dep ] || mkdir .dep; [ -d releases ] || mkdir releases; [ -d shared ] || mkdir shared"
    ));
    assert_eq!(dep(&format!("[ -f {at}/.dep/deploy.lock ] && echo +locked || echo 'dev' > {at}/.dep/deploy.lock")), "");
    dep(&format!("[ -f {at}/.dep/repo/HEAD ] || git clone --mirror {at}/source {at}/.dep/repo 2>&1"));
    for (number, wanted) in [("1", "v1"), ("2", "main")] {
        dep(&format!(
            "cd {at} && mkdir -p releases/{number} && ln -nfs --relative {at}/releases/{number} {at}/release"
        ));
        assert_eq!(dep(&format!("readlink {at}/release")).trim(), format!("releases/{number}"));
        dep(&format!(
            "cd {at}/.dep/repo && git remote update 2>&1 && git archive {wanted} | tar -x -f - -C {at}/release 2>&1"
        ));
        dep(&format!(
            "mkdir -p {at}/shared/storage && rm -rf {at}/release/storage && ln -nfs --relative {at}/shared/storage {at}/release/storage"
        ));
        dep(&format!(
            "cd {at}/release && mkdir -p cache && (command -v setfacl && setfacl -L -m u:dev:rwX cache && setfacl -dL -m u:dev:rwX cache || chmod 0755 cache)"
        ));
        assert_eq!(dep("[[ $(ln --help 2>&1) =~ '--relative' ]] && echo +yes"), "+yes\n");
        dep(&format!("mv -T {at}/release {at}/current"));
    }
    assert_eq!(fs::read_to_string(path.join("current/index.html")).expect("deployed"), "two\n");
    assert_eq!(fs::read_link(path.join("current/storage")).expect("shared"), Path::new("../../shared/storage"));
    desk.saw(
        "releases: clone --mirror, archive, ln -nfs --relative, mv -T, readlink, ACLs, by bash -ls on one connection",
    );
    dep(&format!("cd {at} && ln -nfs --relative {at}/releases/1 {at}/release && mv -T {at}/release {at}/current"));
    assert_eq!(fs::read_to_string(path.join("current/index.html")).expect("rolled back"), "one\n");
    assert_eq!(dep(&format!("cd {at}/releases && ls -t -1 -d */")).lines().count(), 2);
    dep(&format!("rm -rf {at}/releases/2; rm -f {at}/.dep/deploy.lock"));
    desk.saw("rollback, cleanup");
    ends_what_hangs(&mut desk);
}

/// After a time-out Deployer ends its own `ssh`, looks for the mark in another step, and kills the group. The mark is in the
/// list of processes where the login shell does not make way for its last command; newer releases of bash do.
fn ends_what_hangs(desk: &mut Desk) {
    desk.site.node.admin(&["user", "set", "dev", "--shell", "/bin/sh"]);
    let (_master, control) = desk.shared("another");
    let dev = desk.dev.clone();
    let script = desk.dir().join("hangs");
    fs::write(&script, "sleep 1000 & sleep 1000; echo never\n").expect("a file");
    let mut hanging = step(&dev, &control, "deadbeef");
    hanging.stdin(fs::File::open(&script).expect("a file")).stdout(Stdio::piped());
    let mut hanging = hanging.spawn().expect("start ssh");
    let sleeping = || deployer(&dev, &control, "pgrep -c sleep; true").ok();
    assert_eq!(wait_until(PATIENCE, || sleeping() == "2\n"), Waiting::Came);
    signal(hanging.id(), Signal::SIGKILL);
    hanging.wait().expect("our own child");
    let look = "ps x | grep 'id$deadbeef' | grep -v grep | awk '{print $1}'";
    let leader = deployer(&dev, &control, look).ok();
    assert!(leader.trim().parse::<u32>().is_ok(), "the step is not to be found: {leader:?}");
    deployer(&dev, &control, &format!("kill -9 -{}", leader.trim())).ok();
    assert_eq!(wait_until(PATIENCE, || sleeping() == "0\n"), Waiting::Came);
    desk.saw("what hangs goes on without its client, is found by ps x and ended by kill -9 of its group");
}

// -- Capistrano -----------------------------------------------------------------------------------------------------------

/// One channel for every command, several at once.
fn capistrano_works_on_many_channels(identity: Identity) {
    let mut desk = Desk::new(identity, "Capistrano 3 (replay)", "replayed".to_owned());
    repository(&desk);
    let (_master, control) = desk.shared("control");
    let (dev, path) = (desk.dev.clone(), desk.at());
    let at = path.to_str().expect("a plain path");
    let command = |line: &str| {
        let mut client = ssh(&dev);
        client.args(["-o", &control]).arg(dev.at()).arg(line);
        client
    };
    let execute = |line: &str| finish(&mut command(line), "").ok();
    let test = |line: &str| finish(&mut command(line), "").status.success();
    execute(&format!("/usr/bin/env mkdir -pv {at}/shared {at}/releases {at}/shared/log {at}/shared/config"));
    assert!(!test(&format!("[ -f {at}/shared/config/app.yml ]")));
    let upload = desk.dir().join("app.yml");
    fs::write(&upload, "key: value\n").expect("a file");
    let mut scp = Command::new("scp");
    scp.args(desk.dev.options()).arg("-q").arg(&upload).arg(format!("{}:{at}/shared/config/app.yml", desk.dev.at()));
    finish(&mut scp, "").ok();
    assert!(test(&format!("[ -f {at}/shared/config/app.yml ]")));
    assert!(!test(&format!("[ -f {at}/repo/HEAD ]")));
    execute(&format!(
        "cd {at} && ( export GIT_ASKPASS=\"/bin/echo\" ; /usr/bin/env git clone --mirror {at}/source {at}/repo )"
    ));
    desk.saw("check, clone --mirror, upload of a linked file");
    for (release, revision) in [("20260101000000", "v1"), ("20260102000000", "main")] {
        let to = format!("{at}/releases/{release}");
        execute(&format!(
            "cd {at}/repo && umask 0002 && ( export GIT_ASKPASS=\"/bin/echo\" ; /usr/bin/env git remote update --prune )"
        ));
        execute(&format!(
            "/usr/bin/env mkdir -p {to} && cd {at}/repo && /usr/bin/env git archive {revision} | /usr/bin/env tar -x -f - -C {to}"
        ));
        execute(&format!(
            "/usr/bin/env mkdir -pv {to}/config && /usr/bin/env ln -s {at}/shared/config/app.yml {to}/config/app.yml && /usr/bin/env ln -s {at}/shared/log {to}/log"
        ));
        assert!(test(&format!("[ -L {to}/log ]")));
        execute(&format!(
            "/usr/bin/env ln -s {to} {at}/releases/current && /usr/bin/env mv {at}/releases/current {at} && touch -d {} {to}",
            &release[..8]
        ));
    }
    assert_eq!(fs::read_to_string(path.join("current/index.html")).expect("deployed"), "two\n");
    assert_eq!(
        execute(&format!("/usr/bin/env ls -xt {at}/releases")).split_whitespace().next(),
        Some("20260102000000")
    );
    execute(&format!("cd {at}/releases && echo \"Branch main deployed\" >> {at}/revisions.log"));
    desk.saw("two releases, linked files and directories, ln -s and mv over the link, ls -xt");
    let started: Vec<_> = (0..10)
        .map(|number| {
            let mut client =
                command(&format!("cd {at} && umask 0002 && /usr/bin/env sh -c 'cat > part.{number}; exit {number}'"));
            client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start")
        })
        .collect();
    for (number, client) in started.into_iter().enumerate() {
        assert_eq!(client.wait_with_output().expect("our own child").status.code(), i32::try_from(number).ok());
    }
    assert_eq!(execute("/usr/bin/env stat -c %a part.3"), "664\n");
    assert_eq!(execute("( nohup sleep 100 > /dev/null & ); echo started"), "started\n");
    desk.saw("ten channels at once, umask, a program in the background");
}

// -- GitHub's actions -----------------------------------------------------------------------------------------------------

fn github_actions_come_often_and_briefly(identity: Identity) {
    let mut desk = Desk::new(identity, "GitHub actions (replay)", "replayed".to_owned());
    let mut scan = desk.command("ssh-keyscan");
    let port = desk.dev.port.to_string();
    let found = finish(scan.args(["-p", &port, "-t", "rsa,ecdsa,ed25519", "127.0.0.1"]), "").ok();
    let known = fs::read_to_string(desk.dev.known_hosts()).expect("the key that is trusted");
    assert!(found.contains(known.split(' ').nth(2).expect("a key").trim()), "{found} is not {known}");
    desk.saw("ssh-keyscan finds the key");
    let here = desk.dir().join("dist");
    make_tree(&here, 100);
    finish(desk.command("tar").args(["-czf", "dist.tar.gz", "-C", "dist", "."]), "").ok();
    let name = "/tmp/drone-scp-3f2a.tar.gz";
    let target = format!("{}/app", desk.at().display());
    // A connection keeps the cell, and with it `/tmp`, as parallel jobs do.
    let _other = desk.keeps_running("exec sleep 1000");
    let mut carry = crate::programs::run(&desk.dev, &format!("cat > {name}"));
    let archive = fs::File::open(desk.dir().join("dist.tar.gz")).expect("a file");
    assert!(carry.stdin(archive).status().expect("start ssh").success());
    for line in [
        format!("rm -rf {target}"),
        format!("mkdir -p {target}"),
        format!("tar -zxf {name} --overwrite -C {target}"),
        format!("rm -rf {name}"),
        format!("cd {target} && find . -name '*.txt' | wc -l > count"),
    ] {
        desk.told(&line);
    }
    assert_eq!(fs::read_to_string(desk.at().join("app/count")).expect("a file").trim(), "100");
    desk.saw("an archive to /tmp, rm -rf, mkdir -p, tar -x, rm, a connection for each");
    let jobs: Vec<_> = (0..60)
        .map(|number| {
            let mut client = crate::programs::run(&desk.dev, &format!("echo {number} >> jobs; exit 0"));
            let client = client.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("start ssh");
            if number % 6 == 5 {
                // A matrix of jobs starts several at once, and not all at the same moment.
                assert_eq!(
                    wait_until(PATIENCE, || desk
                        .told("wc -l < jobs")
                        .trim()
                        .parse::<u32>()
                        .is_ok_and(|n| n + 6 > number)),
                    Waiting::Came
                );
            }
            client
        })
        .collect();
    for job in jobs {
        let ended = job.wait_with_output().expect("our own child");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    assert_eq!(desk.told("sort -un jobs | wc -l").trim(), "60");
    desk.saw("60 short connections, six at a time, none refused");
}
