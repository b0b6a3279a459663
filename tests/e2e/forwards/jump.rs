//! `-J` through one server to another, which sees its client at the first.

use std::fs;
use std::process::Command;

use super::Site;
use crate::harness::{Identity, finish};

as_root_and_rootless!(one_server_leads_to_another);

fn one_server_leads_to_another(identity: Identity) {
    let (first, second) = (Site::new(identity), Site::new(identity));
    let place = format!("127.0.0.1:{}", second.node.port());
    let jump = first.user("jump", "forward-local", &["--network", "host", "--permit-open", &place]);
    let dev = second.user("dev", "exec", &[]);
    let config = first.node.dir().join("ssh_config");
    let host = |name: &str, login: &crate::harness::Login| {
        format!(
            "Host {name}\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {}\n UserKnownHostsFile {}\n",
            login.port,
            login.user,
            login.key.display(),
            login.known_hosts().display()
        )
    };
    let all = "Host *\n IdentitiesOnly yes\n IdentityAgent none\n BatchMode yes\n GlobalKnownHostsFile /dev/null\n";
    fs::write(&config, [host("first", &jump), host("second", &dev), all.to_owned()].concat()).expect("a file");
    let through = || {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(&config).args(["-J", "first", "second"]);
        command
    };
    assert_eq!(finish(through().arg("cat"), "there and back").ok(), "there and back");
    let much = "0123456789abcdef".repeat(1 << 18);
    assert_eq!(finish(through().arg("cat"), &much).ok().len(), much.len());
    first.node.admin(&["user", "set", "jump", "--network", "own"]);
    let said = finish(through().arg("true"), "").err();
    assert!(said.contains("Connection refused") || said.contains("connect failed"), "{said}");
}
