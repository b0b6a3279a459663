//! A full disk, and a database that is away: clients notice nothing, and what happened is told when it can be.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use super::{await_event, await_searched, events};
use crate::harness::{Identity, Node, Waiting, finish, sftp, wait_until};
use crate::nodes::postgres::Postgres;

as_root_and_rootless!(while_the_database_is_away_the_file_goes_on_and_the_table_catches_up);

fn while_the_database_is_away_the_file_goes_on_and_the_table_catches_up(identity: Identity) {
    let mut postgres = Postgres::start();
    let mut node = Node::prepare(identity);
    node.write_config(&format!("database = {:?}\ndatabase_grace = 3600\n", postgres.url()));
    node.serve();
    node.account("acme");
    let bob = node.user("bob", "acme", &[("www/site1", "rw")]);
    finish(&mut sftp(&bob), "mkdir before\n").ok();
    postgres.stop();
    let is_told = || node.admin(&["status"]).contains("has been away for");
    assert_eq!(wait_until(super::WRITTEN, is_told), Waiting::Came);
    finish(&mut sftp(&bob), "mkdir meanwhile\n").ok();
    await_event(&node, "directory-created", |event| event["path"].as_str().is_some_and(|p| p.ends_with("meanwhile")));
    postgres.resume();
    let made = await_searched(&node, &["--kind", "directory-created"], |found| found.len() == 2);
    assert!(made[1]["path"].as_str().is_some_and(|path| path.ends_with("meanwhile")), "{made:#?}");
    assert!(events(&node).iter().all(|event| event["kind"] != "lost"), "something was lost");
}

/// A filesystem that goes when it is dropped.
struct Small<'a>(&'a std::path::Path);

impl Drop for Small<'_> {
    fn drop(&mut self) {
        finish(Command::new("umount").arg("-l").arg(self.0), "").ok();
    }
}

mod as_root_only {
    use std::os::unix::fs::{MetadataExt, chown};

    use super::*;

    mod as_root {
        /// Only root can make a filesystem that is small.
        #[test]
        fn on_a_full_disk_clients_go_on_and_only_whole_lines_are_written() {
            super::on_a_full_disk_clients_go_on_and_only_whole_lines_are_written(crate::harness::Identity::root());
        }
    }

    fn on_a_full_disk_clients_go_on_and_only_whole_lines_are_written(identity: Identity) {
        let (mut node, bob) = Node::with_bob(identity);
        node.end(Signal::SIGTERM);
        let directory = node.state().join("audit");
        let owner = fs::metadata(&directory).expect("made by the first command");
        finish(Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs"]).arg(&directory), "")
            .ok();
        let _small = Small(&directory);
        chown(&directory, Some(owner.uid()), Some(owner.gid())).expect("give it to control");
        node.serve();
        fs::write(directory.join("filling"), vec![0; 244 * 1024]).expect("fill most of it");
        let many: String = (0..200).map(|number| format!("mkdir d{number}\n")).collect();
        finish(&mut sftp(&bob), &many).ok();
        let is_told = || node.log().contains("the audit trail cannot be written");
        assert_eq!(wait_until(super::super::WRITTEN, is_told), Waiting::Came, "{}", node.log());
        // The database has it all the same, and clients come and go.
        let of_bob = ["--kind", "directory-created", "--limit", "1000"];
        await_searched(&node, &of_bob, |found| found.len() == 200);
        finish(&mut sftp(&bob), "mkdir last\n").ok();
        events(&node);
        fs::remove_file(directory.join("filling")).expect("make room");
        let made = || events(&node).iter().filter(|event| event["kind"] == "directory-created").count();
        assert_eq!(wait_until(super::super::WRITTEN, || made() == 201), Waiting::Came, "{} in the file", made());
    }
}
