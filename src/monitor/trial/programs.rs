//! A trial shell cell: built as those of users are, with this program in it, which attacks it from inside.
//!
//! Runs in: the monitor's process of `enclos doctor`, and of a start that requires it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::{Place, attach, hear, unexpected, wait};
use crate::cell::shell::{Limits, Own};
use crate::cell::{Kind, Plan, Privilege};
use crate::config::MonitorSettings;
use crate::domain::{ForwardPolicy, Layer, LayerReport, Network, ProgramPolicy, Services};
use crate::monitor::children::{Child, reap};
use crate::monitor::ids::IdPool;
use crate::monitor::shells::{self, Birth};
use crate::monitor::{Error, system};
use crate::telemetry::Causes;
use crate::wire::{FromCell, FromZygote, Link, WorkerOrder};

/// Most that the trial's processes may have, and KiB of its scratch space.
const LIMITS: Limits = Limits { processes: 64, descriptors: 64 };
const SCRATCH: u64 = 1024;

/// Builds the cell and says whether it holds.
pub(in crate::monitor) fn report(privilege: Privilege, settings: &MonitorSettings) -> Result<LayerReport, Error> {
    let mut ids = IdPool::new(&settings.paths.ids(), settings.ids)?;
    let (Some(uid), Some(owner)) = (ids.take(), ids.take()) else { return Err(Error::NoIds) };
    let place = Place::make(privilege, settings, owner)?;
    let zygote: Child<Birth> =
        Child::fork(c"enclos-trial", |link| match shells::serve(&link, privilege, Vec::new()) {
            Ok(()) => std::process::ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(error = %Causes(&error), "a trial cell for programs could not be built");
                std::process::ExitCode::FAILURE
            }
        })?;
    let seen = look(&zygote, &place, privilege, uid);
    zygote.kill().map_err(system("end the trial"))?;
    wait(&zygote.pidfd)?;
    reap(&zygote.pidfd);
    let missing = match seen {
        Ok(found) => found.first().map(|first| match found.len() {
            1 => first.clone(),
            more => format!("{first} (and {} more)", more - 1),
        }),
        Err(error) => Some(format!("no cell for programs can be built: {}", Causes(&error))),
    };
    Ok(LayerReport { layer: Layer::Programs, missing })
}

/// What the program in the cell got, in words.
fn look(zygote: &Child<Birth>, place: &Place, privilege: Privilege, uid: u32) -> Result<Vec<String>, Error> {
    let refused = |step: &'static str| move |error: io::Error| super::io(step)(error);
    let bait = place.root.join("not-granted");
    fs::write(&bait, "x").map_err(refused("write the bait of the trial"))?;
    fs::set_permissions(&bait, fs::Permissions::from_mode(0o644)).map_err(refused("write the bait of the trial"))?;
    let name = format!("enclos-trial-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).map_err(refused("name the bait of the trial"))?;
    let _socket = UnixListener::bind_addr(&address).map_err(refused("listen for the trial"))?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(refused("listen for the trial"))?;
    let number = port.local_addr().map_err(refused("listen for the trial"))?.port();

    let FromZygote::Ready = hear::<FromZygote>(&zygote.link)?.0 else { return Err(unexpected()) };
    let cell = (privilege == Privilege::Root).then_some((uid, uid));
    let plan = Plan::for_trial(place.home()?, place.granted()?, place.owner, cell, Kind::Shell);
    let granted = place.root.join("granted");
    let facts = [&bait, &granted].map(|path| path.to_string_lossy().into_owned());
    let trial = facts.into_iter().chain([std::process::id().to_string(), name, number.to_string()]).collect();
    let (ours, theirs) = Link::pair()?;
    zygote.link.send(
        &birth(&plan, &granted.to_string_lossy(), cell.unwrap_or(place.owner), trial),
        Some(std::os::fd::AsFd::as_fd(&theirs)),
    )?;
    drop(theirs);
    let (FromZygote::Born { .. }, _) = hear::<FromZygote>(&zygote.link)? else { return Err(unexpected()) };
    let namespace = match hear::<FromCell>(&ours)? {
        (FromCell::Built, Some(namespace)) => namespace,
        (FromCell::Failed { what }, _) => return Ok(vec![format!("a cell could not be built: {what}")]),
        _ => return Err(unexpected()),
    };
    if let Err(fault) = attach(&plan, &namespace)? {
        return Ok(vec![format!("{fault} (state directory)")]);
    }
    ours.send(&WorkerOrder::Attached, None)?;
    Ok(hear::<Vec<String>>(&ours)?.0)
}

fn birth(plan: &Plan, granted: &str, ids: (u32, u32), trial: Vec<String>) -> Birth {
    let own = Own {
        user: "trial".to_owned(),
        group: "trial".to_owned(),
        ids,
        home: granted.to_owned(),
        shell: "/bin/sh".to_owned(),
        hostname: "cell".to_owned(),
        binds: Vec::new(),
        places: vec![granted.trim_start_matches('/').to_owned()],
        network: Network::Own,
        scratch: SCRATCH,
    };
    Birth {
        slot: 0,
        generation: 0,
        own,
        layout: plan.layout().clone(),
        services: Services::NONE,
        forwards: ForwardPolicy::default(),
        programs: ProgramPolicy::default(),
        limits: LIMITS,
        into_group: false,
        trial: Some(trial),
    }
}
