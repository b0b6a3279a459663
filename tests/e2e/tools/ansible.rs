//! Ansible itself, with all its ways of running modules and carrying files.

use std::fs;
use std::process::Command;

use super::Desk;
use crate::harness::{Identity, Login, finish, installed, version_of};

as_root_and_rootless!(ansible_plays_in_all_its_ways);

/// What is played; every way does all of it again.
const PLAY: &str = include_str!("scripts/play.yml");

fn ansible(desk: &Desk, program: &str) -> Command {
    let mut command = desk.command(installed().join("python/bin").join(program));
    command.arg("-i").arg(desk.dir().join("inventory"));
    command.env("ANSIBLE_HOME", desk.dir().join("ansible")).env("ANSIBLE_LOCAL_TEMP", desk.dir().join("ansible/tmp"));
    // A path of a socket is short.
    command
        .env("ANSIBLE_SSH_CONTROL_PATH", desk.dir().join("%%C"))
        .env("ANSIBLE_NOCOLOR", "1")
        .env("LC_ALL", "C.UTF-8");
    command.env("ANSIBLE_SSH_ARGS", "-C -o ControlMaster=auto -o ControlPersist=60s");
    command
}

fn inventory(login: &Login) -> String {
    let options = login.options().join(" ");
    format!(
        "server ansible_host=127.0.0.1 ansible_port={} ansible_user={} ansible_ssh_private_key_file={} ansible_python_interpreter=/usr/bin/python3 ansible_ssh_common_args='{options}'\n",
        login.port,
        login.user,
        login.key.display()
    )
}

fn ansible_plays_in_all_its_ways(identity: Identity) {
    let python = installed().join("python/bin/python");
    let version = version_of(
        Command::new(python).args(["-c", "import ansible.release as r; print('ansible-core', r.__version__)"]),
    );
    let mut desk = Desk::new(identity, "Ansible", version);
    fs::write(desk.dir().join("inventory"), inventory(&desk.dev)).expect("a file");
    fs::write(desk.dir().join("play.yml"), PLAY).expect("a file");
    fs::write(desk.dir().join("file.txt"), "content\n".repeat(10_000)).expect("a file");
    fs::write(desk.dir().join("page.j2"), "for {{ ansible_user_id }}: {{ 6 * 7 }}\n").expect("a file");
    finish(desk.command("tar").args(["-czf", "tree.tgz", "file.txt", "page.j2"]), "").ok();
    let said = finish(ansible(&desk, "ansible").args(["all", "-m", "ping"]), "").ok();
    assert!(said.contains("\"ping\": \"pong\""), "{said}");
    desk.saw("ping");
    for (way, pipelining, transfer) in [
        ("pipelining, files by sftp", "True", "sftp"),
        ("modules by sftp", "False", "sftp"),
        ("modules by scp", "False", "scp"),
        ("modules by piped dd", "False", "piped"),
    ] {
        let mut play = ansible(&desk, "ansible-playbook");
        play.arg("play.yml").env("ANSIBLE_PIPELINING", pipelining).env("ANSIBLE_SSH_TRANSFER_METHOD", transfer);
        let played = finish(&mut play, "");
        assert!(played.status.success(), "{way}: {}{}", played.stdout, played.stderr);
        assert!(played.stdout.contains("unreachable=0    failed=0"), "{way}: {}", played.stdout);
        let at = desk.at();
        assert_eq!(fs::read_to_string(at.join("deployed/file.txt")).expect("copied").len(), 80_000);
        assert_eq!(fs::read_to_string(at.join("current/page.txt")).expect("made").trim(), "for dev: 42");
        assert_eq!(fs::read_to_string(desk.dir().join("fetched.txt")).expect("fetched").trim(), "for dev: 42");
        finish(&mut crate::programs::run(&desk.dev, "rm -r deployed current"), "").ok();
        desk.saw(way);
    }
    let left = desk.told("ls -A ~/.ansible/tmp | wc -l; pgrep -c python; true");
    assert_eq!(left, "0\n0\n", "nothing is left behind");
    desk.saw("facts, command, shell, file, copy, template, lineinfile, link, fetch, unarchive; ControlPersist; no temporary files left");
}
