//! Reads the role and enters it; nothing else. The monitor forks the others and may not know them, so they are handed to
//! it here.

use std::process::ExitCode;

use enclos::admin::cli::{self, Examination, Next, Start};
use enclos::config::{self, LogFormat};
use enclos::domain::ForwardPolicy;
use enclos::telemetry::{self, Causes, Format};
use enclos::wire::Link;
use enclos::worker::User;
use enclos::{control, monitor, session, worker};

fn main() -> ExitCode {
    if let Some(user) = worker_of() {
        return work(user);
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
    let control = |link: Link| report("control", control::serve(&node.control, link));
    let sessions = || -> Result<monitor::SessionMain, String> {
        let prepared = session::prepare(&node.session, &node.monitor.paths.keys).map_err(|e| e.to_string())?;
        // A session has no standard error; what is worth knowing of its end it has told the monitor.
        Ok(Box::new(move |link| if prepared.serve(link).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
    };
    let roles = monitor::Roles { control: &control, sessions: &sessions };
    let served = monitor::run(node, roles, &mut |ready| {
        cli::greet(&start, ready.rootless, &ready.layers, &ready.listen);
        tell_systemd();
    });
    report("enclos", served)
}

/// Units that wait for this one go on (`Type=notify`). Without `NOTIFY_SOCKET` nobody waits, and nothing is done.
fn tell_systemd() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::error!(%error, "systemd cannot be told that the node is ready");
    }
}

fn doctor(examination: &Examination) -> ExitCode {
    start_log(&examination.node);
    match monitor::doctor(&examination.node) {
        Ok(layers) => cli::show_layers(&layers, examination),
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
