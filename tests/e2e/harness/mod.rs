//! What the tests share: a node with its accounts, the clients, and a client that speaks raw SFTP packets.

mod client;
mod control_group;
mod disk;
mod figures;
mod identity;
mod node;
mod process;
mod raw;
mod row;
mod terminal;
mod timing;
mod tree;

pub(crate) use client::{Login, new_key, rclone, scp, sftp, ssh, ssh_line, sshfs};
pub(crate) use control_group::ControlGroup;
pub(crate) use disk::{Disk, run_tool, text};
pub(crate) use figures::Figures;
pub(crate) use identity::Identity;
pub(crate) use node::{Node, Session, free_port};
pub(crate) use process::{
    Finished, Waiting, descendants, finish, has_ended, limit_descriptors, parent, resident, signal, status_uid,
    wait_until,
};
pub(crate) use raw::{Attributes, Raw, Reply, open, status, string};
pub(crate) use row::{Row, installed, version_of};
pub(crate) use terminal::Terminal;
pub(crate) use timing::time_to_refuse;
pub(crate) use tree::{Numbers, checksum, make_tree, owners, random_file};

/// Writes each test out twice: against a server run by root, and against one run by an ordinary user.
macro_rules! as_root_and_rootless {
    ($($name:ident),+ $(,)?) => {
        mod as_root {
            $(#[test] fn $name() { super::$name($crate::harness::Identity::root()) })+
        }
        mod rootless {
            $(#[test] fn $name() { super::$name($crate::harness::Identity::ordinary()) })+
        }
    };
}
