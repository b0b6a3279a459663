//! A trial cell: built as a session's is, looked at from inside and from outside, and torn down.
//!
//! Runs in: the monitor, before it gives up any privilege, and (see [`inside`]) the trial session. Trusts neither the
//! kernel's version nor what a step returned: where the kernel tells a witness what holds, the witness is asked.

mod inside;
pub(super) mod programs;
pub(super) mod user;

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use inside::{Findings, WITNESS};

use super::attaching::Helpers;
use super::children::{Child, reap};
use super::ids::IdPool;
use super::{Error, SessionMain, zygote};
use crate::cell::groups::{self, Controller};
use crate::cell::{self, Fault, Kind, Plan, Privilege};
use crate::config::MonitorSettings;
use crate::domain::{Layer, LayerReport};
use crate::telemetry::Causes;
use crate::wire::{FromSession, FromZygote, Link, LinkError, ToZygote};

/// Longest time for any one answer of the trial.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

/// Builds a cell and says which layers hold.
pub(super) fn layers(
    privilege: Privilege,
    settings: &MonitorSettings,
    limits: &groups::Findings,
) -> Result<Vec<LayerReport>, Error> {
    // Claimed for as long as the trial takes: a node may be serving meanwhile.
    let mut ids = IdPool::new(&settings.paths.ids(), settings.ids)?;
    let (Some(uid), Some(owner)) = (ids.take(), ids.take()) else { return Err(Error::NoIds) };
    let place = Place::make(privilege, settings, owner)?;
    let zygote: Child<()> = Child::fork(c"enclos-trial", |link| run_zygote(&link, privilege))?;
    let seen = look(&zygote, &place, privilege, uid, limits);
    // The trial session ends with the zygote's link or by its own; the zygote is ended here.
    zygote.kill().map_err(super::system("end the trial"))?;
    wait(&zygote.pidfd)?;
    reap(&zygote.pidfd);
    seen
}

fn run_zygote(link: &Link, privilege: Privilege) -> ExitCode {
    let main: fn() -> Result<SessionMain, String> = || Ok(Box::new(inside::look_out));
    match zygote::serve(link, privilege, &main) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %Causes(&error), "a trial cell could not be built");
            ExitCode::FAILURE
        }
    }
}

fn look(
    zygote: &Child<()>,
    place: &Place,
    privilege: Privilege,
    uid: u32,
    limits: &groups::Findings,
) -> Result<Vec<LayerReport>, Error> {
    let (ours, theirs) = Link::pair()?;
    let FromZygote::Ready = hear::<FromZygote>(&zygote.link)?.0 else { return Err(unexpected()) };
    zygote.link.send(&ToZygote::Birth { slot: 0, generation: 0, uid }, Some(theirs.as_fd()))?;
    drop(theirs);
    let (FromZygote::Born { pid, .. }, _) = hear::<FromZygote>(&zygote.link)? else { return Err(unexpected()) };
    let (FromSession::Born, Some(namespace)) = hear::<FromSession>(&ours)? else { return Err(unexpected()) };
    let cell = (privilege == Privilege::Root).then_some((uid, uid));
    let plan = Plan::for_trial(place.home()?, place.granted()?, place.owner, cell, Kind::Files);
    let attached = attach(&plan, &namespace)?;
    ours.send(&attached.is_ok(), None)?;
    let findings = hear::<Findings>(&ours)?.0;
    let mut layers = judge(privilege, pid, uid, place, attached.err(), findings);
    layers.extend(bounds(privilege, limits));
    Ok(layers)
}

fn attach(plan: &Plan, namespace: &OwnedFd) -> Result<Result<Option<u64>, Fault>, Error> {
    let helper = Helpers::default().attach(plan, namespace.as_fd(), Instant::now())?;
    wait(helper.link())?;
    let result = helper.result()?;
    let process = helper.end();
    wait(&process)?;
    reap(&process);
    Ok(result)
}

// -- what is asked of the witnesses -------------------------------------------------------------------------------

fn judge(
    privilege: Privilege,
    pid: u32,
    uid: u32,
    place: &Place,
    fault: Option<Fault>,
    findings: Findings,
) -> Vec<LayerReport> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let rootless = || Some("the node runs as an ordinary user, whose id all sessions share".to_owned());
    let own_uid = if privilege == Privilege::Root { own_uid(&status, uid) } else { rootless() };
    let idmapped = match (privilege, fault) {
        (Privilege::Rootless { .. }, None) => rootless(),
        (_, Some(fault)) => Some(format!("{fault} (state directory)")),
        (Privilege::Root, None) => place.owner_of_witness(),
    };
    let layers = Layer::ALL.into_iter().filter_map(|layer| {
        let missing = match layer {
            Layer::MountNamespace => apart(pid, "mnt").or(findings.mounts.clone()),
            Layer::PidNamespace => apart(pid, "pid"),
            Layer::IpcNamespace => apart(pid, "ipc"),
            Layer::UtsNamespace => apart(pid, "uts"),
            Layer::NetNamespace => apart(pid, "net"),
            Layer::OwnUid => own_uid.clone(),
            Layer::IdmappedMounts => idmapped.clone(),
            Layer::NoCapabilities => no_capabilities(&status),
            Layer::Landlock => cell::landlock_holds().or(findings.landlock.clone()),
            Layer::Seccomp => field(&status, "Seccomp", "2").or(findings.seccomp.clone()),
            Layer::Programs | Layer::MemoryLimit | Layer::ProcessLimit | Layer::CpuLimit => return None,
        };
        Some(LayerReport { layer, missing })
    });
    layers.collect()
}

/// What the programs of cells may take, as far as the control groups were found to bound it.
fn bounds(privilege: Privilege, limits: &groups::Findings) -> [LayerReport; 3] {
    let missing = |controller| limits.missing(controller).map(str::to_owned);
    let processes = match privilege {
        // The kernel counts them by user id too, of which each cell has its own.
        Privilege::Root => None,
        Privilege::Rootless { .. } => missing(Controller::Processes)
            .map(|why| format!("all cells share one user id and what may run by it; {why}")),
    };
    [
        LayerReport { layer: Layer::MemoryLimit, missing: missing(Controller::Memory) },
        LayerReport { layer: Layer::ProcessLimit, missing: processes },
        LayerReport { layer: Layer::CpuLimit, missing: missing(Controller::Cpu) },
    ]
}

fn apart(pid: u32, namespace: &str) -> Option<String> {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}"));
    match (of("self"), of(&pid.to_string())) {
        (Ok(ours), Ok(theirs)) if ours != theirs => None,
        (Ok(_), Ok(_)) => Some("the session is in the host's namespace".to_owned()),
        // Without root the kernel does not show them of a process that cannot be traced. The session was forked with
        // clone3(2), which makes all the namespaces it is asked for or fails.
        (Ok(_), Err(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => None,
        (Err(error), _) | (_, Err(error)) => Some(format!("cannot be seen in /proc: {error}")),
    }
}

fn own_uid(status: &str, uid: u32) -> Option<String> {
    field(status, "Uid", &[uid; 4].map(|u| u.to_string()).join("\t")).or_else(|| field(status, "Groups", ""))
}

fn no_capabilities(status: &str) -> Option<String> {
    let none = "0000000000000000";
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .into_iter()
        .find_map(|set| field(status, set, none))
        .or_else(|| field(status, "NoNewPrivs", "1"))
}

/// Why a field of `/proc/PID/status` (proc(5)) is not what it should be.
fn field(status: &str, name: &str, wanted: &str) -> Option<String> {
    let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    match line.map(str::trim) {
        Some(value) if value == wanted => None,
        Some(value) => Some(format!("the kernel says {name} is {value:?}")),
        None => Some(format!("the kernel does not tell {name}")),
    }
}

// -- the place ----------------------------------------------------------------------------------------------------

/// A directory of the node's own, as an account's would be.
struct Place {
    root: PathBuf,
    owner: (u32, u32),
}

impl Place {
    fn make(privilege: Privilege, settings: &MonitorSettings, id: u32) -> Result<Place, Error> {
        let owner = match privilege {
            // An id of the node's own range that no session has during the trial.
            Privilege::Root => (id, id),
            Privilege::Rootless { uid, gid } => (uid, gid),
        };
        let state = fs::canonicalize(&settings.paths.state).map_err(io("open the state directory"))?;
        let place = Place { root: state.join(format!("trial-{}", std::process::id())), owner };
        let granted = place.root.join("granted");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&granted).map_err(io("make a trial directory"))?;
        for directory in [&granted, &place.root] {
            chown(directory, Some(owner.0), Some(owner.1)).map_err(io("give the trial directory an owner"))?;
        }
        Ok(place)
    }

    fn home(&self) -> Result<crate::domain::HomePath, Error> {
        self.root.to_string_lossy().parse().map_err(|_| unexpected())
    }

    fn granted(&self) -> Result<crate::domain::RelPath, Error> {
        "granted".parse().map_err(|_| unexpected())
    }

    fn owner_of_witness(&self) -> Option<String> {
        match fs::metadata(self.root.join("granted").join(WITNESS)) {
            Ok(file) if (file.uid(), file.gid()) == self.owner => None,
            Ok(file) => Some(format!("a file written in the cell belongs to {} on disk", file.uid())),
            Err(error) => Some(format!("a file written in the cell is not on disk: {error}")),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            tracing::warn!(%error, directory = %self.root.display(), "the trial directory could not be removed");
        }
    }
}

// -- waiting ------------------------------------------------------------------------------------------------------

fn hear<M: serde::de::DeserializeOwned>(link: &Link) -> Result<(M, Option<OwnedFd>), Error> {
    wait(link)?;
    let received = link.try_recv::<M>().map_err(|error| match error {
        LinkError::Gone | LinkError::NotReady => Error::NotReady { role: "a trial cell" },
        error => error.into(),
    })?;
    Ok((received.message, received.fd))
}

fn wait(fd: impl AsFd) -> Result<(), Error> {
    let mut one = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut one, Some(&PATIENCE))).map_err(super::system("wait"))?;
    Ok(())
}

fn unexpected() -> Error {
    Error::NotReady { role: "a trial cell" }
}

fn io(step: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |e| Error::System { step, source: Errno::from_io_error(&e).unwrap_or(Errno::IO) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_believed_only_when_the_kernel_says_so() {
        let status = "Name:\tx\nSeccomp:\t2\nUid:\t7\t7\t7\t7\nGroups:\t \n";
        assert_eq!(field(status, "Seccomp", "2"), None);
        assert!(field(status, "Seccomp", "0").is_some());
        assert!(field(status, "CapEff", "0").is_some());
        assert_eq!(own_uid(status, 7), None);
        assert!(own_uid(status, 8).is_some());
    }
}
