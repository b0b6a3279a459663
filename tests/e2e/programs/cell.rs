//! What a shell cell shows and hides, and when it ends.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::{Site, run, told};
use crate::harness::{Identity, Login, Waiting, finish, wait_until};

as_root_and_rootless!(
    only_what_is_granted_is_there,
    the_world_is_read_only_and_closed,
    rights_are_the_grants,
    users_of_one_account_do_not_meet,
    connections_of_one_user_share_a_cell,
    revoking_ends_every_program,
);

fn only_what_is_granted_is_there(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let home = site.home.display();
    for path in [
        format!("{home}/private/secret.txt"),
        format!("{home}/www/site2/index.html"),
        "private".to_owned(),
        "../site2".to_owned(),
        "/etc/shadow".to_owned(),
        "/root".to_owned(),
        "/var/log".to_owned(),
        "/sys/kernel".to_owned(),
        site.node.state().display().to_string(),
        "/proc/1/root/etc/shadow".to_owned(),
    ] {
        let ended = finish(&mut run(&dev, &format!("cat {path} || ls {path}")), "");
        assert!(!ended.status.success() && ended.stdout.is_empty(), "{path}: {ended:?}");
    }
    assert_eq!(
        told(&dev, &format!("ls {home} {home}/www")).replace('\n', " "),
        format!("{home}: www  {home}/www: site1 ")
    );
    assert_eq!(told(&dev, "touch file; mkdir -p a/b; stat -c %U file a/b"), "dev\ndev\n");
    let on_disk = fs::metadata(site.site().join("a/b")).expect("was made");
    assert_eq!(on_disk.uid(), fs::metadata(site.site()).expect("a directory").uid(), "it is the account's");
    // The programs of the host, and nobody's processes.
    assert!(told(&dev, "git --version; perl -e 'print 1'; python3 -c 'print(2)'").contains("git version"));
    assert!(told(&dev, "ps -e -o args=").lines().count() < 6, "the worker, the shell, ps");
    assert_eq!(told(&dev, "cut -d: -f1 /etc/passwd"), "root\ndev\nnobody\n");
}

fn the_world_is_read_only_and_closed(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    for attempt in [
        "touch /x",
        "touch /usr/x",
        "echo x >> /etc/passwd",
        "mkdir /home/other",
        "unshare -U true",
        "mount -t tmpfs none /tmp",
        "touch f && chmod 4755 f",
        "mknod /tmp/d c 1 3",
        "echo 0 > /proc/sys/kernel/hostname",
        "echo 0 > /proc/self/oom_score_adj",
        "test -s /proc/kmsg",
        "dmesg",
        "su -c true",
        "test -s /proc/keys",
        "ls /dev/vda /dev/sda /dev/mem",
        "python3 -c 'import fcntl,termios; fcntl.ioctl(0, termios.TIOCSTI, b\"x\")'",
        "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
        // Flags and project of a file, by which quotas count (FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR): read, and written as they are.
        "python3 -c 'import fcntl,os; f=os.open(\".\",0); fcntl.ioctl(f, 0x40086602, fcntl.ioctl(f, 0x80086601, bytes(8)))'",
        "python3 -c 'import fcntl,os; f=os.open(\".\",0); fcntl.ioctl(f, 0x401c5820, fcntl.ioctl(f, 0x801c581f, bytes(28)))'",
    ] {
        let ended = finish(&mut run(&dev, attempt), "");
        assert!(!ended.status.success(), "{attempt}: {ended:?}");
    }
    assert_eq!(told(&dev, "hostname; cat /proc/sys/kernel/random/boot_id | wc -l"), "cell\n1\n");
}

fn rights_are_the_grants(identity: Identity) {
    let site = Site::new(identity);
    for (path, text) in [("config/app.ini", "key"), ("secrets/key", "hush"), ("bin/tool", "#!/bin/sh\necho ran\n")] {
        let path = site.site().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    site.node.own(&site.home);
    let grants = [("www/site1", "rw"), ("www/site1/config", "ro"), ("www/site1/secrets", "hidden")];
    let dev = site.user("dev", "exec", &grants);
    assert_eq!(told(&dev, "cat config/app.ini; touch new; chmod +x bin/tool; bin/tool"), "keyran\n");
    for attempt in [
        "touch config/new",
        "rm -f config/app.ini",
        "mv config other",
        "mv bin/tool config/",
        "ln bin/tool config/linked",
        "ls secrets",
        "cat secrets/key",
        "rmdir secrets",
        "mv secrets elsewhere",
        "chmod 777 config",
        "umount config",
    ] {
        let ended = finish(&mut run(&dev, attempt), "");
        assert!(!ended.status.success(), "{attempt}: {ended:?}");
    }
    let still = site.user("still", "exec", &[]);
    site.node.admin(&["grant", "add", "still", "www/site1/bin", "--mode", "rw", "--noexec"]);
    assert_eq!(finish(&mut run(&still, "./tool"), "").status.code(), Some(126), "may not be run");
}

fn users_of_one_account_do_not_meet(identity: Identity) {
    let site = Site::new(identity);
    let (one, other) =
        (site.user("one", "exec", &[("www/site1", "rw")]), site.user("other", "exec", &[("www/site1", "rw")]));
    let mut sleeping = run(&one, "echo secret > /tmp/t; exec sleep 1000").spawn().expect("start");
    let started = wait_until(Duration::from_secs(20), || site.node.sessions().iter().any(|s| s.user == "one"));
    assert_eq!(started, Waiting::Came);
    assert!(!told(&other, "ps -e -o args=").contains("sleep"));
    assert_eq!(told(&other, "ls -A /tmp | grep -cx t; ls /dev/shm /run | wc -l; true").lines().next(), Some("0"));
    assert_eq!(told(&other, "kill -9 -1; true"), "", "it kills its own and nobody else");
    assert!(sleeping.try_wait().expect("a child").is_none(), "the neighbour's program goes on");
    sleeping.kill().expect("our own child");
    sleeping.wait().expect("our own child");
}

fn connections_of_one_user_share_a_cell(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let mut first = run(&dev, "echo here > /tmp/shared; exec sleep 1000").spawn().expect("start");
    let came = wait_until(Duration::from_secs(20), || {
        finish(&mut run(&dev, "cat /tmp/shared; pgrep sleep | wc -l"), "").stdout == "here\n1\n"
    });
    assert_eq!(came, Waiting::Came);
    first.kill().expect("our own child");
    first.wait().expect("our own child");
    // With the last connection the cell ends, and what was in its own directories goes with it.
    let gone = wait_until(Duration::from_secs(20), || told(&dev, "ls /tmp | grep -c shared; true") == "0\n");
    assert_eq!(gone, Waiting::Came);
}

fn revoking_ends_every_program(identity: Identity) {
    let site = Site::new(identity);
    let dev = site.developer();
    let mark = format!("{}", 100_000 + std::process::id());
    let mut running =
        run(&dev, &format!("(setsid nohup sleep {mark} >/dev/null 2>&1 &); exec sleep {mark}")).spawn().expect("start");
    let processes = || {
        finish(std::process::Command::new("pgrep").args(["-fx", &format!("sleep {mark}")]), "").stdout.lines().count()
    };
    assert_eq!(wait_until(Duration::from_secs(20), || processes() == 2), Waiting::Came);
    site.node.admin(&["user", "disable", "dev"]);
    assert_eq!(wait_until(Duration::from_secs(10), || processes() == 0), Waiting::Came, "nothing of it is left");
    running.wait().expect("our own child");
    assert!(!finish(&mut run(&dev, "id"), "").status.success());
}

mod another_zygote {
    //! The shell zygote is another one at times. Of root's: an ordinary user's node has one zygote for as long as it runs.

    mod as_root {
        use std::process::Command;

        use super::super::*;

        /// A resolver that comes later than the node, a time zone that is set: cells from then on show it, those that run do not
        /// mind, and end with their access and with the node as before.
        #[test]
        fn has_the_next_cell_show_what_has_changed() {
            let mut site = Site::stopped(Identity::root());
            let hosts = site.node.dir().join("hosts");
            fs::write(&hosts, "127.0.0.1 first.test\n").expect("a file");
            // A namespace of its own, in which the host's file is another.
            let serve = site.node.enclos(&["serve"]);
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(&hosts);
            command.arg(serve.get_program()).args(serve.get_args()).current_dir(site.node.dir());
            site.node.serve_by(command);
            site.node.await_hello();
            let user = |name: &str| site.user(name, "exec", &[("www/site1", "rw")]);
            let (dev, old, left) = (site.developer(), user("old"), user("left"));
            assert_eq!(told(&dev, "cat /etc/hosts"), "127.0.0.1 first.test\n");
            let running = [&old, &left].map(|user| start_sleeping(&site, user));
            fs::write(&hosts, "127.0.0.1 second.test\n").expect("it changes");
            assert_eq!(told(&dev, "cat /etc/hosts"), "127.0.0.1 second.test\n");
            assert_eq!(sleepers(seconds(&site)).len(), 2, "nobody else notices");
            assert_eq!(zygotes(&site).len(), 1, "and one zygote has them all");
            site.node.admin(&["user", "disable", "old"]);
            assert_eq!(wait_until(Duration::from_secs(5), || sleepers(seconds(&site)).len() == 1), Waiting::Came);
            end_with_the_node(site, running);
        }

        /// Who ends the cells when the monitor is killed is another process when the first one was killed too.
        #[test]
        fn has_the_cells_of_one_that_was_killed() {
            let site = Site::new(Identity::root());
            let dev = site.developer();
            let running = start_sleeping(&site, &dev);
            for _ in 0..3 {
                let [before] = zygotes(&site)[..] else { panic!("one shell zygote") };
                let pid = nix::unistd::Pid::from_raw(before.cast_signed());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("kill");
                let another = || matches!(zygotes(&site)[..], [now] if now != before);
                assert_eq!(wait_until(Duration::from_secs(5), another), Waiting::Came, "there is another at once");
                assert_eq!(sleepers(seconds(&site)).len(), 1, "and the programs go on");
                assert_eq!(told(&dev, "echo here"), "here\n", "in a cell that takes orders");
            }
            end_with_the_node(site, [running]);
        }

        /// Kills the monitor while the workers stand still, as one that its user's programs have captured may: what is left to
        /// end the cells is their zygote.
        fn end_with_the_node(mut site: Site, running: impl IntoIterator<Item = std::process::Child>) {
            let seconds = seconds(&site);
            let left = sleepers(seconds);
            for sleeper in &left {
                let status = fs::read_to_string(format!("/proc/{sleeper}/status")).expect("it runs");
                let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
                let worker = nix::unistd::Pid::from_raw(parent.trim().parse().expect("a number"));
                nix::sys::signal::kill(worker, nix::sys::signal::Signal::SIGSTOP).expect("stop");
            }
            assert!(!left.is_empty(), "there are programs to end");
            site.node.end(nix::sys::signal::Signal::SIGKILL);
            assert_eq!(wait_until(Duration::from_secs(5), || sleepers(seconds).is_empty()), Waiting::Came);
            for mut client in running {
                client.wait().expect("our own child");
            }
        }

        fn start_sleeping(site: &Site, user: &Login) -> std::process::Child {
            let before = sleepers(seconds(site)).len();
            let client = run(user, &format!("exec sleep {}", seconds(site))).spawn().expect("start");
            assert_eq!(wait_until(Duration::from_secs(20), || sleepers(seconds(site)).len() > before), Waiting::Came);
            client
        }

        /// A time to sleep that no other test's programs do.
        fn seconds(site: &Site) -> u32 {
            1_000_000 + site.node.pid()
        }

        /// Programs that sleep so long, wherever they are now.
        fn sleepers(seconds: u32) -> Vec<u32> {
            let line = format!("sleep\0{seconds}\0").into_bytes();
            let all = fs::read_dir("/proc").expect("processes").map(|entry| entry.expect("a process").file_name());
            let pids = all.filter_map(|name| name.to_str().and_then(|name| name.parse::<u32>().ok()));
            pids.filter(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|found| found == line)).collect()
        }

        /// The monitor's own children that are shell zygotes.
        fn zygotes(site: &Site) -> Vec<u32> {
            let pid = site.node.pid();
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its children");
            let is_one = |pid: &u32| {
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "enclos-shells")
                    && !crate::harness::has_ended(*pid)
            };
            children.split_whitespace().filter_map(|child| child.parse().ok()).filter(is_one).collect()
        }
    }
}
