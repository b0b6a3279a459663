//! The system calls that our libraries lack or cannot make safe, each behind one thin function.
//!
//! Owns: all `unsafe` code of the crate. Runs in: every process. Trusts: its callers' types; every pointer handed to
//! the kernel is made here, from values that live through the call.
#![expect(unsafe_code, reason = "this is the one room that may talk to the kernel without a library")]

mod append;
mod clone;
mod counters;
mod descriptors;
mod exit;
mod fchmodat2;
mod forbidden;
mod fork_child;
mod handles;
mod heap;
mod landlock_abi;
mod mount_attr;
mod namespaces;
mod projects;
mod signals;

pub use append::append_at;
pub use clone::{CloneFlags, Forked, fork, fork_into};
pub use counters::{make_counters, map_counters};
pub use descriptors::{close_from, close_from_but, close_from_on_exec, place_at, take_descriptor};
pub use exit::exit_now;
pub use fchmodat2::set_mode;
pub use forbidden::calls_that_pass;
pub use fork_child::fork_child;
pub use handles::Handle;
pub use heap::{prepare_heap, trim_heap, trim_stack};
pub use landlock_abi::landlock_abi;
pub use mount_attr::{MountAttr, set_mount_attr};
pub use namespaces::unshare;
pub use projects::{Project, ProjectQuota, project, project_quota, set_project, set_project_limits};
pub use signals::{ignore_child_exits, restore_signals};
