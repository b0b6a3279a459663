//! Keeps control and the zygote: forks them, hears them, and forks them again when they end. Live sessions go on meanwhile.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use super::children::Child;
use super::node::Node;
use super::poll::Token;
use super::sessions::Phase;
use super::{Error, system, zygote};
use crate::cell::{self, Privilege};
use crate::config::Database;
use crate::domain::ConnId;
use crate::telemetry::Causes;
use crate::wire::{EndReason, FromControl, FromZygote, LinkError, Office, Post, ToControl};

/// What time zones are and which is this host's, for times that operators and keys say without one, and for hours.
const ZONES: [&str; 2] = ["/usr/share/zoneinfo", "/etc/localtime"];

impl Node<'_> {
    pub(super) fn fork_zygote(&mut self) -> Result<(), Error> {
        let (privilege, sessions) = (self.privilege, self.roles.sessions);
        let child = Child::fork(c"enclos-zygote", |link| {
            let code = zygote::serve(&link, privilege, sessions);
            if let Err(error) = &code {
                tracing::error!(error = %Causes(error), "the session zygote ended");
            }
            if code.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        })?;
        self.poll.watch(&child.link, Token::Zygote).map_err(system("watch the zygote"))?;
        self.poll.watch(&child.pidfd, Token::ZygoteEnd).map_err(system("watch the zygote"))?;
        self.zygote = Some(child);
        Ok(())
    }

    /// The same for one that has ended. What cannot be forked for want of descriptors or memory is tried again later; whoever
    /// is served meanwhile goes on.
    pub(super) fn fork_zygote_again(&mut self, now: Instant) {
        if let Err(error) = self.fork_zygote() {
            tracing::error!(error = %Causes(&error), "the session zygote could not be started; trying again");
            self.zygote_pause.lengthen(now);
        }
    }

    pub(super) fn hear_zygote(&mut self) -> Result<(), Error> {
        let Some(zygote) = &mut self.zygote else { return Ok(()) };
        let heard = match zygote.link.try_recv::<FromZygote>() {
            Ok(heard) => heard,
            Err(LinkError::NotReady) => return Ok(()),
            Err(error) => {
                tracing::debug!(%error, "zygote does not speak");
                return self.lose_zygote();
            }
        };
        match (heard.message, heard.fd) {
            (FromZygote::Ready, None) => {
                zygote.ready = true;
                self.order_births()
            }
            (FromZygote::Born { slot, generation, pid }, Some(pidfd)) => self.register(slot, generation, pid, pidfd),
            (FromZygote::Stillborn { slot, generation, errno }, None) => {
                tracing::error!(errno, "a session could not be forked");
                self.zygote_pause.lengthen(Instant::now());
                if self.sessions.current(slot, generation).is_some() {
                    self.sessions.abandon(slot);
                }
                Ok(())
            }
            _ => self.lose_zygote(),
        }
    }

    /// The notice may come after its session was given up, and the slot given to another: then it is about nobody, and
    /// the process, which has lost its channel, ends by itself.
    fn register(&mut self, slot: u32, generation: u32, pid: u32, pidfd: OwnedFd) -> Result<(), Error> {
        if let Some(session) = self.sessions.current(slot, generation) {
            self.poll.watch(&pidfd, Token::SessionEnd(slot, generation)).map_err(system("watch a session"))?;
            session.process = Some((pid, pidfd));
            self.zygote_pause.forget();
        }
        Ok(())
    }

    pub(super) fn lose_zygote(&mut self) -> Result<(), Error> {
        let Some(zygote) = self.zygote.take() else { return Ok(()) };
        zygote.kill().map_err(system("end the zygote"))?;
        self.poll.forget(&zygote.link).map_err(system("stop watching the zygote"))?;
        self.poll.forget(&zygote.pidfd).map_err(system("stop watching the zygote"))?;
        if self.stopping.is_none() {
            tracing::error!("the session zygote ended; starting another");
            self.zygote_pause.lengthen(Instant::now());
        }
        self.leaving.push(zygote.pidfd);
        for slot in self.sessions.which(|s| matches!(s.phase, Phase::Newborn) && s.process.is_none()) {
            self.forget_link(slot)?;
        }
        Ok(())
    }

    pub(super) fn fork_control(&mut self) -> Result<(), Error> {
        let ids = (self.privilege == Privilege::Root).then_some(self.settings.control_ids);
        let role = self.roles.control;
        let office = if self.leaving_service { Office::Leaving { pid: std::process::id() } } else { Office::Service };
        let post = Post { office, monitor: self.id };
        let (database, paths) = (&self.settings.database, &self.settings.paths);
        let (run, audit) = (paths.run_dir(), paths.audit_dir());
        let writable: Vec<&Path> = database.directory().into_iter().chain([run.as_path(), audit.as_path()]).collect();
        let of_users = self.settings.users_database.as_ref();
        // Of a file the directory: SQLite keeps more than one.
        let mut readable = database.readable();
        readable.extend(of_users.and_then(Database::directory).map(Path::to_owned));
        readable.extend(of_users.into_iter().flat_map(Database::readable));
        readable.extend(ZONES.map(PathBuf::from));
        let child = Child::fork(c"enclos-control", |link| match cell::keep_for_control(ids, &writable, &readable) {
            Ok(()) => {
                // Each password takes a block of 19 MiB, which would otherwise stay with the thread that judged it.
                crate::sys::prepare_heap();
                role(link, post)
            }
            Err(error) => {
                tracing::error!(error = %Causes(&error), "control could not drop its privileges");
                ExitCode::FAILURE
            }
        })?;
        self.poll.watch(&child.link, Token::Control).map_err(system("watch control"))?;
        self.poll.watch(&child.pidfd, Token::ControlEnd).map_err(system("watch control"))?;
        self.control = Some(child);
        Ok(())
    }

    /// The same for one that has ended; see [`Node::fork_zygote_again`].
    pub(super) fn fork_control_again(&mut self, now: Instant) {
        if let Err(error) = self.fork_control() {
            tracing::error!(error = %Causes(&error), "control could not be started; trying again");
            self.control_pause.lengthen(now);
        }
    }

    pub(super) fn hear_control(&mut self) -> Result<(), Error> {
        let Some(control) = &mut self.control else { return Ok(()) };
        if control.is_behind() && control.flush().is_ok() && !control.is_behind() {
            self.poll.watch_room(&control.link, Token::Control, false).map_err(system("watch control"))?;
        }
        let heard = match control.link.try_recv::<FromControl>() {
            Ok(heard) => heard.message,
            Err(LinkError::NotReady) => return Ok(()),
            Err(error) => {
                tracing::debug!(%error, "control does not speak");
                return self.lose_control();
            }
        };
        match heard {
            FromControl::Ready => self.welcome_control(),
            FromControl::Answer { ticket, facts, takes_certificates } => {
                return self.answer(ticket, facts.map(|facts| *facts), takes_certificates);
            }
            FromControl::Redeemed { ticket, key } => return self.welcome(ticket, key),
            FromControl::Seated { ticket, full } => return self.seated(ticket, full),
            FromControl::OwnKeysSeen { conn } => return self.own_keys_seen(|_, record| record.conn == conn),
            FromControl::Notice(notice) => self.notice = notice,
            FromControl::Unable { ticket } => return self.unable(ticket),
            FromControl::BansBegin { round } => self.admission.bans.begin(round),
            FromControl::Bans { round, bans } => self.admission.bans.add(round, bans),
            FromControl::BansEnd { round } => self.hear_bans(round),
            FromControl::Forgive(who) => self.forgive(&who),
            FromControl::End { conns, reason } => return self.end_connections(&conns, reason),
        }
        Ok(())
    }

    /// Control is there, perhaps again: it learns which sessions are live, and is asked what was left unanswered.
    fn welcome_control(&mut self) {
        if let Some(control) = &mut self.control {
            control.ready = true;
        }
        self.notice = None;
        self.control_pause.forget();
        let live: Vec<ToControl> = self
            .sessions
            .iter()
            .filter_map(|(_, s)| match &s.phase {
                Phase::Live { record, .. } => Some(ToControl::Opened(record.clone())),
                _ => None,
            })
            .collect();
        for message in live {
            self.tell_control(message);
        }
        self.tell_of_lingering();
        self.ask_again();
    }

    /// Sends to control, now or as soon as it reads; when it is away, `welcome_control` catches up.
    pub(super) fn tell_control(&mut self, message: ToControl) {
        let Some(control) = self.control.as_mut().filter(|c| c.ready) else { return };
        let posted = control.post(message);
        let watched =
            if control.is_behind() { self.poll.watch_room(&control.link, Token::Control, true) } else { Ok(()) };
        if posted.is_err() || watched.is_err() {
            tracing::error!("control does not take messages; starting another");
            if let Err(errno) = control.kill() {
                tracing::error!(%errno, "control could not be killed");
            }
        }
    }

    pub(super) fn lose_control(&mut self) -> Result<(), Error> {
        let Some(control) = self.control.take() else { return Ok(()) };
        self.admission.bans.restart();
        control.kill().map_err(system("end control"))?;
        self.poll.forget(&control.link).map_err(system("stop watching control"))?;
        self.poll.forget(&control.pidfd).map_err(system("stop watching control"))?;
        if self.stopping.is_none() && self.finishing.is_none() {
            tracing::error!("control ended; starting another, live sessions go on");
            self.control_pause.lengthen(Instant::now());
        }
        self.leaving.push(control.pidfd);
        self.own_keys_seen(|_, _| true)
    }

    fn end_connections(&mut self, conns: &[ConnId], reason: EndReason) -> Result<(), Error> {
        let slots = self.sessions.which(|s| match &s.phase {
            Phase::Live { record, .. } => conns.contains(&record.conn),
            Phase::Login { peer, .. } => conns.contains(&peer.conn),
            _ => false,
        });
        for slot in slots {
            self.end(slot, reason);
        }
        self.end_lingering_of(conns)
    }
}
