//! Watches the places of nested grants in a shell cell, from outside, for as long as the cell lives.
//!
//! A cover and a nested mount lie on a directory entry. Programs in the cell cannot move it, being a mount point there;
//! somebody else of the account can: an editor that saves a hidden file, a deploy that exchanges a read-only directory.
//! Then what has the name lies bare. A session looks before and after everything that it does; programs do as they like,
//! so their cell has to end.
//!
//! Runs in: an attach helper, which is of no other use from then on. It gives up everything first and reads nothing but
//! the kernel's notices.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;
use rustix::process::Uid;

use super::attach::{Fault, step};
use super::caps::become_nobody;
use super::error::{Context, Error};
use super::plan::{Plan, Target};
use super::sources::open_beneath;
use crate::domain::RelPath;

/// What happens to a name: it comes, goes, or becomes another's.
const HAPPENINGS: WatchFlags =
    WatchFlags::CREATE.union(WatchFlags::DELETE).union(WatchFlags::MOVED_FROM).union(WatchFlags::MOVED_TO);

/// The names of a plan's nested grants, watched since before they were opened.
#[derive(Debug)]
pub struct Guard {
    notices: OwnedFd,
    /// Directory, by the kernel's number for it, and name.
    names: Vec<(i32, String)>,
    ids: Option<(u32, u32)>,
}

impl Guard {
    /// Begins to watch what a plan needs to have watched, if anything.
    pub(super) fn of(plan: &Plan, home: &OwnedFd) -> Result<Option<Guard>, Fault> {
        if !plan.needs_guard() {
            return Ok(None);
        }
        let notices = as_cell(plan, || init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK))
            .map_err(step("watch the nested grants"))?;
        let mut names = Vec::new();
        for wanted in plan.steps() {
            let Target::Inside { name, .. } = wanted.target else { continue };
            match watch(&notices, home, &wanted.path) {
                Ok(directory) => names.push((directory, name)),
                // It lies in something whose own name is watched; that is not there either.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(step("watch the nested grants")(errno)),
            }
        }
        Ok(Some(Guard { notices, names, ids: plan.cell() }))
    }

    /// Gives up everything, and comes back when one of the names is another's, or when nobody listens at `until`.
    pub fn stand(self, until: BorrowedFd<'_>) -> Result<(), Error> {
        become_nobody(self.ids)?;
        loop {
            let flags = PollFlags::IN;
            let mut both = [PollFd::from_borrowed_fd(until, flags), PollFd::new(&self.notices, flags)];
            rustix::io::retry_on_intr(|| poll(&mut both, None)).step("wait for a change")?;
            if !both[0].revents().is_empty() || self.is_changed()? {
                return Ok(());
            }
        }
    }

    fn is_changed(&self) -> Result<bool, Error> {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut notices = Reader::new(&self.notices, &mut space);
        loop {
            let notice = match notices.next() {
                Ok(notice) => notice,
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(errno).step("read what has changed"),
            };
            let is_lost = notice.events().intersects(ReadFlags::QUEUE_OVERFLOW | ReadFlags::IGNORED);
            let name = notice.file_name().map(std::ffi::CStr::to_bytes);
            let is_ours = |(directory, ours): &(i32, String)| {
                *directory == notice.wd() && name.is_some_and(|name| name == ours.as_bytes())
            };
            if is_lost || self.names.iter().any(is_ours) {
                return Ok(true);
            }
        }
    }
}

/// Watches the directory that a path lies in.
fn watch(notices: &OwnedFd, home: &OwnedFd, path: &RelPath) -> Result<i32, Errno> {
    let above: Vec<&str> = std::iter::once(".").chain(path.components()).collect();
    let directory = open_beneath(home, &above.get(..above.len() - 1).unwrap_or_default().join("/"))?;
    add_watch(notices, format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd()), HAPPENINGS | WatchFlags::ONLYDIR)
}

/// Does something as the cell's user, on whose account the kernel then writes what it takes. This process has one thread.
fn as_cell<T>(plan: &Plan, what: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let Some((uid, _)) = plan.cell() else { return what() };
    let set = |uid| rustix::thread::set_thread_res_uid(Uid::ROOT, uid, Uid::ROOT);
    set(Uid::from_raw(uid))?;
    let done = what();
    set(Uid::ROOT)?;
    done
}
