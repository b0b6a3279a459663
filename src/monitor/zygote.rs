//! The zygote's loop: one message in, one session out. Runs in: the zygote, which the monitor forked.
//!
//! Trusts the monitor. What it forks is confined before the session's own code sees a byte from anybody.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use super::{Error, SessionMain};
use crate::cell::{self, Privilege, Zygote};
use crate::sys::{self, Forked};
use crate::wire::{Event, FromSession, FromZygote, Link, LinkError, ToZygote};

/// Prepares what all sessions share, then forks them until the monitor is gone.
pub(super) fn serve(
    link: &Link,
    privilege: Privilege,
    sessions: &dyn Fn() -> Result<SessionMain, String>,
) -> Result<(), Error> {
    sys::prepare_heap();
    sys::ignore_child_exits();
    let main = sessions().map_err(cell::Error::Prepare)?;
    let zygote = Zygote::prepare(privilege)?;
    link.send(&FromZygote::Ready, None)?;
    loop {
        match link.recv::<ToZygote>() {
            Ok(asked) => {
                let ToZygote::Birth { slot, generation, uid } = asked.message;
                let channel = asked.fd.ok_or(LinkError::Malformed)?;
                match zygote.fork() {
                    Ok(Forked::Child) => live(&zygote, &main, uid, channel),
                    Ok(Forked::Parent { pid, pidfd }) => {
                        link.send(&FromZygote::Born { slot, generation, pid }, Some(pidfd.as_fd()))?;
                    }
                    Err(errno) => {
                        let errno = errno.raw_os_error();
                        link.send(&FromZygote::Stillborn { slot, generation, errno }, None)?;
                    }
                }
            }
            Err(LinkError::Gone) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The whole life of a session. It never returns, so nothing that it inherited is ever dropped.
fn live(zygote: &Zygote, main: &SessionMain, uid: u32, channel: OwnedFd) -> ! {
    super::children::call_process(c"enclos-session");
    let link = Link::from_fd(channel);
    let confined = introduce(zygote, &link).and_then(|()| {
        let kept = cell::confine_newborn(&zygote.newborn(uid), link.into_fd())?;
        Ok(Link::from_fd(kept))
    });
    let code = match confined {
        Ok(link) => main(link),
        // The channel may be closed by now; the monitor then sees only that the session ended.
        Err(_) => ExitCode::from(71),
    };
    sys::exit_now(u8::from(code != ExitCode::SUCCESS))
}

fn introduce(zygote: &Zygote, link: &Link) -> Result<(), Error> {
    match zygote.mount_namespace() {
        Ok(namespace) => Ok(link.send(&FromSession::Born, Some(namespace.as_fd()))?),
        Err(error) => {
            link.send(&FromSession::Event(Event::Panicked { place: error.to_string() }), None)?;
            Err(error.into())
        }
    }
}
