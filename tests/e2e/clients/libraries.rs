//! Libraries that tools are written with, each driven by a small program of ours in its own language (`scripts/`).
//!
//! A program checks what it reads, prints a line for each step, and ends with an error at the first that is wrong; the
//! trees on both sides are compared here.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{By, Drive, done, installed, same, same_file, version_of};
use crate::harness::Identity;

as_root_and_rootless!(
    paramiko_does_all_it_can,
    asyncssh_does_all_it_can,
    ssh2_sftp_client_does_all_it_can,
    libssh2_does_all_it_can,
    phpseclib_does_all_it_can,
);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/clients/scripts").join(name)
}

/// Port, user, key and known hosts, and the two local places.
fn arguments(drive: &Drive, local: &Path, back: &Path) -> Vec<PathBuf> {
    let bob = &drive.bob;
    let said = [bob.port.to_string(), bob.user.clone()].map(PathBuf::from);
    said.into_iter().chain([&bob.key, bob.known_hosts(), local, back].map(Path::to_owned)).collect()
}

/// Runs a program that sends `local` to `/tree` and fetches it to `back`.
#[track_caller]
fn carries_a_tree(drive: &mut Drive, program: &mut Command, by: By) {
    let (local, back) = (drive.make_local(150), drive.dir().join("back"));
    let steps = done(program.args(arguments(drive, &local, &back)).current_dir(drive.dir()), "");
    same(&local, &back, by);
    let there = drive.site().join("tree");
    if there.exists() {
        same(&local, &there, by);
    }
    for step in steps.lines() {
        drive.saw(step);
    }
}

fn python() -> Command {
    Command::new(installed().join("python/bin/python"))
}

fn python_version(of: &str) -> String {
    version_of(python().args(["-c", &format!("import {of}; print('{of}', {of}.__version__)")]))
}

fn paramiko_does_all_it_can(identity: Identity) {
    let mut drive = Drive::new(identity, "paramiko", python_version("paramiko"));
    carries_a_tree(&mut drive, python().arg(script("drive_paramiko.py")), By::ContentsModesTimes);
}

fn asyncssh_does_all_it_can(identity: Identity) {
    let mut drive = Drive::new(identity, "asyncssh", python_version("asyncssh"));
    carries_a_tree(&mut drive, python().arg(script("drive_asyncssh.py")), By::ContentsModesTimes);
}

fn ssh2_sftp_client_does_all_it_can(identity: Identity) {
    let modules = installed().join("node/node_modules");
    let node = || {
        let mut command = Command::new("node");
        command.env("NODE_PATH", &modules);
        command
    };
    let versions = "const of = (m) => m + ' ' + require(m + '/package.json').version; \
                    console.log(of('ssh2-sftp-client') + ' on ' + of('ssh2'))";
    let mut drive = Drive::new(identity, "ssh2-sftp-client", version_of(node().args(["-e", versions])));
    carries_a_tree(&mut drive, node().arg(script("drive_ssh2_sftp_client.js")), By::Contents);
}

fn libssh2_does_all_it_can(identity: Identity) {
    let version = version_of(Command::new("pkg-config").args(["--modversion", "libssh2"]));
    let mut drive = Drive::new(identity, "libssh2", version);
    let program = drive.dir().join("drive_libssh2");
    let mut cc = drive.command("cc");
    cc.args(["-std=gnu11", "-Wall", "-O1", "-o"]).arg(&program).arg(script("drive_libssh2.c")).arg("-lssh2");
    done(&mut cc, "");
    let (local, back) = (drive.make_local(10).join("big"), drive.dir().join("back"));
    let steps = done(Command::new(program).args(arguments(&drive, &local, &back)), "");
    same_file(&local, &back);
    for step in steps.lines() {
        drive.saw(step);
    }
}

fn phpseclib_does_all_it_can(identity: Identity) {
    let installed = "echo trim(shell_exec(\"dpkg-query -W -f '\\${Version}' php-phpseclib3\"));";
    let mut drive = Drive::new(identity, "phpseclib", version_of(Command::new("php").args(["-r", installed])));
    carries_a_tree(&mut drive, Command::new("php").arg(script("drive_phpseclib.php")), By::Contents);
}
