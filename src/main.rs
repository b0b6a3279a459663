//! Reads the role and enters it; nothing else. The monitor forks the others and may not know them, so they are handed to
//! it here.

use std::process::ExitCode;

use enclos::admin::cli::{self, Examination, Next, Start};
use enclos::config::{self, LogFormat};
use enclos::domain::ForwardPolicy;
use enclos::monitor::{Inherited, ToKeep};
use enclos::telemetry::{self, Causes, Format};
use enclos::wire::{Link, Post};
use enclos::worker::{Bait, User};
use enclos::{control, monitor, session, worker};
use sd_notify::NotifyState;

fn main() -> ExitCode {
    if let Some(user) = worker_of() {
        return work(user);
    }
    if let Some(bait) = probe_of() {
        return probe(&bait);
    }
    match cli::run(std::env::args_os()) {
        Next::Exit(code) => code,
        Next::Serve(start) => serve(start),
        Next::Doctor(examination) => doctor(&examination),
    }
}

/// In a shell cell this program is started anew, by a name that no link leads to, with the facts about its user.
fn worker_of() -> Option<User> {
    let mut arguments = std::env::args();
    if arguments.next()?.as_bytes() != monitor::WORKER.to_bytes() {
        return None;
    }
    let [name, home, start, shell] = [arguments.next()?, arguments.next()?, arguments.next()?, arguments.next()?];
    let services = arguments.next()?.parse().ok()?;
    let forwards = ForwardPolicy {
        network: arguments.next()?.parse().ok()?,
        permit_open: arguments.next()?.parse().ok()?,
        permit_listen: arguments.next()?.parse().ok()?,
    };
    let terminals = arguments.next()?.parse().ok()?;
    let forced = Some(arguments.next()?).filter(|text| !text.is_empty()).map(|text| text.parse());
    let forced_command = forced.transpose().ok()?;
    Some(User { name, home, start, shell, services, forwards, terminals, forced_command })
}

/// In a trial cell it is started to attack the cell.
fn probe_of() -> Option<Bait> {
    let mut arguments = std::env::args();
    if arguments.next()?.as_bytes() != monitor::PROBE.to_bytes() {
        return None;
    }
    let [file, granted, process, socket, port] =
        [arguments.next()?, arguments.next()?, arguments.next()?, arguments.next()?, arguments.next()?];
    let (process, port) = (process.parse().ok()?, port.parse().ok()?);
    Some(Bait { file: file.into(), granted: granted.into(), process, socket, port })
}

fn probe(bait: &Bait) -> ExitCode {
    match enclos::cell::take_link() {
        Ok(channel) => worker::probe(&Link::from_fd(channel), bait),
        Err(_) => ExitCode::FAILURE,
    }
}

fn work(user: User) -> ExitCode {
    match enclos::cell::take_link() {
        Ok(channel) => worker::serve(Link::from_fd(channel), user),
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(start: Start) -> ExitCode {
    start_log(&start.node);
    let node = &start.node;
    if let Err(error) = session::check_host_keys(&node.monitor.paths.keys) {
        return report("enclos", Err(error));
    }
    let control = |link: Link, post: Post| report("control", control::serve(&node.control, link, post));
    let sessions = || -> Result<monitor::SessionMain, String> {
        let prepared = session::prepare(&node.session, &node.monitor.paths.keys).map_err(|e| e.to_string())?;
        // A session has no standard error; what is worth knowing of its end it has told the monitor.
        Ok(Box::new(move |link| if prepared.serve(link).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
    };
    let roles = monitor::Roles { control: &control, sessions: &sessions };
    let inherited = match inherited() {
        Ok(sockets) => sockets,
        Err(error) => return report("enclos", Err(error)),
    };
    let kept: Vec<String> = inherited.iter().map(|socket| socket.name.clone()).collect();
    let served = monitor::run(node, roles, inherited, &mut |ready, sockets| {
        cli::greet(&start, ready.rootless, &ready.layers, &ready.listen);
        tell_systemd(&kept, sockets);
    });
    report("enclos", served)
}

/// Sockets that systemd has kept while nothing of ours ran, or made (sd_listen_fds(3)).
fn inherited() -> std::io::Result<Vec<Inherited>> {
    let sockets = sd_notify::listen_fds_with_names()?;
    sockets.map(|(number, name)| Ok(Inherited { socket: enclos::sys::take_descriptor(number)?, name })).collect()
}

/// Units that wait for this one go on (`Type=notify`), and the listening sockets are kept for the process that comes after
/// this one (`FileDescriptorStoreMax=`). Without `NOTIFY_SOCKET` nobody waits, and nothing is done.
///
/// Of the sockets it had `kept`, those that the configuration does not name any more are given up.
fn tell_systemd(kept: &[String], sockets: &[ToKeep<'_>]) {
    let is_of_use = |name: &&String| sockets.iter().any(|socket| socket.name == **name);
    let given_up = kept
        .iter()
        .filter(|name| !is_of_use(name))
        .map(|name| sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]));
    let stored = sockets.iter().filter(|socket| !kept.contains(&socket.name)).map(|socket| {
        sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(&socket.name)], &[socket.socket])
    });
    let ready = [sd_notify::notify(&[NotifyState::Ready])];
    for error in given_up.chain(stored).chain(ready).filter_map(Result::err) {
        tracing::error!(%error, "systemd cannot be told that the node is ready");
    }
}

fn doctor(examination: &Examination) -> ExitCode {
    start_log(&examination.node);
    match monitor::doctor(&examination.node, examination.user.as_deref()) {
        Ok(found) => {
            let user = found.user.map(|user| (user.problems, user.warnings));
            cli::show_examined(&found.layers, user.as_ref(), examination)
        }
        Err(error) => report("doctor", Err(error)),
    }
}

fn start_log(node: &config::Node) {
    telemetry::start(match node.log {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    });
}

fn report<E: std::error::Error>(role: &str, result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{role}: {}", Causes(&error));
            ExitCode::FAILURE
        }
    }
}
