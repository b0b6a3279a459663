//! The shell zygote's loop: one message in, one shell cell out. Runs in: the shell zygote, which the monitor forked.
//!
//! Trusts the monitor. What it forks builds its own root, waits until its grants are attached from outside, gives up
//! everything, and becomes the worker by executing this program anew: nothing of the monitor's memory is left in a
//! process that the user's programs may trace.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::{Error, system};
use crate::cell::Privilege;
use crate::cell::shell::{Limits, Own, ShellZygote};
use crate::domain::{ForcedCommand, ForwardPolicy, Layout, ProgramPolicy, Services};
use crate::sys::{self, Forked};
use crate::telemetry::Causes;
use crate::wire::{FromCell, FromZygote, Link, LinkError, WorkerOrder};

/// How the worker's role is called: its first argument.
pub const WORKER: &CStr = c"enclos-worker";

/// How the role of what attacks a trial cell is called.
pub const PROBE: &CStr = c"enclos-probe";

/// One cell to be born.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Birth {
    /// Chosen by the monitor, comes back with the answer.
    pub(super) slot: u32,
    /// Which cell in that slot; comes back too.
    pub(super) generation: u32,
    /// What it has of its own.
    pub(super) own: Own,
    /// The grants that will be attached.
    pub(super) layout: Layout,
    /// What its worker may do.
    pub(super) services: Services,
    /// What its worker may forward.
    pub(super) forwards: ForwardPolicy,
    /// How its worker starts programs.
    pub(super) programs: ProgramPolicy,
    /// What each of its processes may have.
    pub(super) limits: Limits,
    /// For a cell in which not a worker runs but what attacks it from inside (`enclos doctor`): what it is told.
    pub(super) trial: Option<Vec<String>>,
    /// Whether the second descriptor is that of a control group to be born in; those after it are of groups to move into.
    pub(super) into_group: bool,
}

/// Prepares the template, then forks cells until the monitor is gone, and ends them then; with them `cells`, which a zygote
/// before this one forked.
pub(super) fn serve(link: &Link, privilege: Privilege, mut cells: Vec<OwnedFd>) -> Result<(), Error> {
    sys::ignore_child_exits();
    let program = rustix::fs::open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(system("open the own program"))?;
    let zygote = ShellZygote::prepare(privilege, &program)?;
    link.send(&FromZygote::Ready, None)?;
    loop {
        let asked = match link.recv::<Birth>() {
            Ok(asked) => asked,
            Err(LinkError::Gone) => return end_all(&cells),
            Err(error) => return Err(error.into()),
        };
        cells.retain(|cell| !has_ended(cell));
        let channel = asked.fd.ok_or(LinkError::Malformed)?;
        let Birth { slot, generation, into_group, .. } = asked.message;
        let mut groups = asked.more;
        let group = into_group.then(|| if groups.is_empty() { None } else { Some(groups.remove(0)) }).flatten();
        if into_group && group.is_none() {
            return Err(LinkError::Malformed.into());
        }
        match zygote.fork(asked.message.own.network, group.as_ref().map(AsFd::as_fd)) {
            Ok(Forked::Child) => live(&zygote, &asked.message, channel, &groups),
            Ok(Forked::Parent { pid, pidfd }) => {
                link.send(&FromZygote::Born { slot, generation, pid }, Some(pidfd.as_fd()))?;
                cells.push(pidfd);
            }
            Err(errno) => {
                let errno = errno.raw_os_error();
                link.send(&FromZygote::Stillborn { slot, generation, errno }, None)?;
            }
        }
    }
}

/// The monitor is gone, killed perhaps. A worker ends with it by itself; one that its user's programs have captured does
/// not, and nobody would be left who could revoke anything.
fn end_all(cells: &[OwnedFd]) -> Result<(), Error> {
    for cell in cells {
        match rustix::process::pidfd_send_signal(cell, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(system("end a cell")(errno)),
        }
    }
    Ok(())
}

fn has_ended(process: &OwnedFd) -> bool {
    let mut one = [PollFd::new(process, PollFlags::IN)];
    matches!(poll(&mut one, Some(&Timespec::default())), Ok(1..))
}

/// The life of a cell up to its worker. Comes back only to end.
fn live(zygote: &ShellZygote, birth: &Birth, channel: OwnedFd, groups: &[OwnedFd]) -> ! {
    super::children::call_process(c"enclos-cell");
    let link = Link::from_fd(channel);
    if let Err(what) = be_born(zygote, birth, &link, groups) {
        // If the monitor is gone too, there is nobody to tell.
        drop(link.send(&FromCell::Failed { what }, None));
    }
    sys::exit_now(71)
}

fn be_born(zygote: &ShellZygote, birth: &Birth, link: &Link, groups: &[OwnedFd]) -> Result<(), String> {
    let Birth { own, layout, services, forwards, programs, limits, .. } = birth;
    let namespace = zygote.enter(own, groups).map_err(|e| Causes(&e).to_string())?;
    link.send(&FromCell::Built, Some(namespace.as_fd())).map_err(|e| e.to_string())?;
    drop(namespace);
    let order = link.recv::<WorkerOrder>().map_err(|e| e.to_string())?;
    if !matches!(order.message, WorkerOrder::Attached) {
        return Err("an order that makes no sense".to_owned());
    }
    let text = |text: &str| CString::new(text).map_err(|_| "a name with a NUL".to_owned());
    let ForwardPolicy { network, permit_open, permit_listen } = forwards;
    let forced = programs.forced_command.as_ref().map(ForcedCommand::to_string).unwrap_or_default();
    let facts = [
        text(&own.user)?,
        text(&own.home)?,
        text(&layout.start)?,
        text(&own.shell)?,
        text(&services.to_string())?,
        text(network.as_str())?,
        text(&permit_open.to_string())?,
        text(&permit_listen.to_string())?,
        text(programs.terminals.as_str())?,
        text(&forced)?,
    ];
    let trial: Option<Vec<CString>> =
        birth.trial.as_ref().map(|told| told.iter().map(|told| text(told)).collect()).transpose()?;
    let (role, told) = trial.as_deref().map_or((WORKER, facts.as_slice()), |told| (PROBE, told));
    let arguments: Vec<&CStr> = std::iter::once(role).chain(told.iter().map(CString::as_c_str)).collect();
    let channel = link.as_fd().try_clone_to_owned().map_err(|e| e.to_string())?;
    match zygote.begin(own, layout, *limits, &channel, &arguments) {
        Ok(never) => match never {},
        Err(error) => Err(Causes(&error).to_string()),
    }
}
