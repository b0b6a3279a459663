//! The loop of the monitor: one descriptor ready, one thing done.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signalfd::SignalFd;

use super::admission::{Admission, Load, Offence, Peer, TurnedAway, draw};
use super::attaching::Helpers;
use super::cells::Cells;
use super::children::{Child, Pause, reap};
use super::ids::{ConnNumbers, IdPool};
use super::listeners::{Listener, ToKeep, accept};
use super::offences::moment;
use super::poll::{Poll, Token};
use super::sessions::{Phase, Sessions, Waits};
use super::shares::Shares;
use super::{Error, Roles, system};
use crate::cell::Privilege;
use crate::cell::groups::Groups;
use crate::config::MonitorSettings;
use crate::domain::MonitorId;
use crate::telemetry::Causes;
use crate::wire::{EndReason, FromSession, Link, LinkError, Noted, Notice, ToControl, ToSession, ToZygote, Why};

/// How often deadlines are looked at while there are any.
const TICK: Duration = Duration::from_millis(100);
/// What a session gets to say goodbye in before it is killed.
pub(super) const FAREWELL: Duration = Duration::from_millis(300);
/// The same for one that was logging somebody in.
const LONG_FAREWELL: Duration = Duration::from_secs(1);
/// Connections accepted in one turn, so that a flood of them does not keep the others waiting.
const ACCEPTED_AT_ONCE: usize = 64;

/// A connection that waits for a session.
#[derive(Debug)]
pub(super) struct Arrival {
    peer: Peer,
    socket: OwnedFd,
}

/// Everything the monitor knows.
pub(super) struct Node<'a> {
    pub(super) settings: &'a MonitorSettings,
    pub(super) privilege: Privilege,
    pub(super) poll: Poll,
    pub(super) sessions: Sessions,
    pub(super) cells: Cells,
    pub(super) groups: Groups,
    pub(super) helpers: Helpers,
    pub(super) shares: Shares,
    /// Which slot a question to control is about.
    pub(super) tickets: HashMap<u64, u32>,
    pub(super) next_ticket: u64,
    /// Processes that have done their work and are to be reaped.
    pub(super) leaving: Vec<OwnedFd>,
    pub(super) roles: Roles<'a>,
    pub(super) admission: Admission,
    pub(super) turned_away: TurnedAway,
    pub(super) listeners: Vec<Listener>,
    pub(super) accepting: bool,
    pub(super) signals: SignalFd,
    pub(super) control: Option<Child<ToControl>>,
    pub(super) control_pause: Pause,
    /// What control wants clients to be told.
    pub(super) notice: Option<Notice>,
    pub(super) zygote: Option<Child<()>>,
    pub(super) zygote_pause: Pause,
    pub(super) arrivals: VecDeque<Arrival>,
    pub(super) conn_numbers: ConnNumbers,
    pub(super) stopping: Option<Instant>,
    /// Whether another process has the service, and this one only finishes what it has begun.
    pub(super) leaving_service: bool,
    /// Until when control may write down what it was told; from when nobody is left.
    pub(super) finishing: Option<Instant>,
    /// When this node was started.
    pub(super) run: u64,
    /// By what its sessions are told from those of other nodes.
    pub(super) id: MonitorId,
    /// What could not be put on record, and is not told of yet.
    pub(super) unnoted: u64,
}

impl<'a> Node<'a> {
    /// Forks control and the zygote; nobody is let in yet.
    pub(super) fn start(
        settings: &'a MonitorSettings,
        roles: Roles<'a>,
        privilege: Privilege,
        listeners: Vec<Listener>,
        groups: Groups,
    ) -> Result<Node<'a>, Error> {
        let most = settings.admission.max_connections.saturating_add(settings.spare_sessions).saturating_add(16);
        // However many connections come, ids are left for cells.
        let most = most.min(settings.ids.count as usize / 4 * 3);
        let ids = || IdPool::new(&settings.paths.ids(), settings.ids);
        let mut node = Node {
            settings,
            privilege,
            poll: Poll::new().map_err(system("make the poll set"))?,
            sessions: Sessions::new(ids()?, most),
            cells: Cells::new(ids()?),
            groups,
            helpers: Helpers::default(),
            shares: Shares::default(),
            tickets: HashMap::new(),
            next_ticket: 1,
            leaving: Vec::new(),
            roles,
            admission: Admission::new(&settings.admission),
            turned_away: TurnedAway::new(Instant::now()),
            listeners,
            accepting: true,
            signals: super::stopping::take_signals()?,
            control: None,
            control_pause: Pause::default(),
            notice: None,
            zygote: None,
            zygote_pause: Pause::default(),
            arrivals: VecDeque::new(),
            conn_numbers: ConnNumbers::new(&settings.paths.ids())?,
            stopping: None,
            leaving_service: false,
            finishing: None,
            run: super::trail::run(),
            id: super::seats::new_id()?,
            unnoted: 0,
        };
        node.poll.watch(&node.signals, Token::Signals).map_err(system("watch for signals"))?;
        node.fork_control()?;
        node.fork_zygote()?;
        Ok(node)
    }

    /// Waits until both children are ready, lets clients in, and serves them until told to stop.
    pub(super) fn serve(mut self, on_ready: &mut dyn FnMut(&[ToKeep<'_>])) -> Result<(), Error> {
        while !self.is_ready() {
            self.turn()?;
            self.give_up_on_failed_start()?;
        }
        for (n, listener) in (0_u32..).zip(&self.listeners) {
            self.poll.watch(&listener.socket, Token::Listener(n)).map_err(system("watch a listening socket"))?;
        }
        self.note_of_node(Noted::Started);
        on_ready(&self.listeners.iter().map(Listener::to_keep).collect::<Vec<_>>());
        while !self.is_over() {
            self.turn()?;
        }
        if let Err(error) = self.groups.remove_all() {
            // The root of a tree lets nobody remove anything who has given up root's powers over files.
            tracing::warn!(error = %Causes(&error), "control groups are left behind; the next start removes them");
        }
        tracing::info!("stopped");
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.control.as_ref().is_some_and(|c| c.ready) && self.zygote.as_ref().is_some_and(|z| z.ready)
    }

    fn give_up_on_failed_start(&self) -> Result<(), Error> {
        match (&self.control, &self.zygote) {
            (None, _) => Err(Error::NotReady { role: "control" }),
            (_, None) => Err(Error::NotReady { role: "the session zygote" }),
            _ if self.stopping.is_some() => Err(Error::NotReady { role: "the node" }),
            _ => Ok(()),
        }
    }

    /// One turn of the loop.
    fn turn(&mut self) -> Result<(), Error> {
        let patience = if self.is_restless() { Some(TICK) } else { self.cells.next_end(Instant::now()) };
        for token in self.poll.wait(patience).map_err(system("wait for events"))? {
            self.handle(token)?;
        }
        self.tick(Instant::now())
    }

    /// Whether there are deadlines to look at.
    fn is_restless(&self) -> bool {
        self.stopping.is_some()
            || self.finishing.is_some()
            || !self.accepting
            || self.control.is_none()
            || self.zygote.is_none()
            || !self.zygote_pause.is_over(Instant::now())
            || !self.leaving.is_empty()
            || !self.arrivals.is_empty()
            || self.turned_away.is_restless()
            || self.cells.is_restless()
            || self.groups.is_untidy()
            || self.sessions.iter().any(|(_, s)| matches!(s.phase, Phase::Login { .. } | Phase::Ending { .. }))
    }

    fn handle(&mut self, token: Token) -> Result<(), Error> {
        match token {
            Token::Listener(n) => self.let_in(n),
            Token::Signals => self.read_signals(),
            Token::Control => self.hear_control(),
            Token::ControlEnd => self.lose_control(),
            Token::Zygote => self.hear_zygote(),
            Token::ZygoteEnd => self.lose_zygote(),
            Token::Session(slot, generation) => self.hear_session(slot, generation),
            Token::SessionEnd(slot, generation) => self.bury(slot, generation),
            Token::Helper(slot, generation) => self.hear_helper(slot, generation),
            Token::ShellZygote => self.hear_shell_zygote(),
            Token::Cell(number) => self.hear_cell(number),
            Token::CellEnd(number) => self.bury_cell(number),
            Token::CellHelper(number) => self.hear_cell_helper(number),
        }
    }

    /// What has to be done because time has passed.
    fn tick(&mut self, now: Instant) -> Result<(), Error> {
        self.leaving.retain(|process| reap(process).is_none());
        if self.stopping.is_none() {
            if self.control.is_none() && self.finishing.is_none() && self.control_pause.is_over(now) {
                self.fork_control_again(now);
            }
            if self.zygote.is_none() && self.zygote_pause.is_over(now) {
                self.fork_zygote_again(now);
            }
            self.pause_accepting(false)?;
        }
        if self.leaving_service {
            self.let_spare_ones_go()?;
        }
        self.turned_away.tick(now);
        self.end_late(now);
        self.end_late_cells(now)?;
        self.end_late_lingering(now)?;
        self.groups.tidy();
        if let Err(error) = self.groups.come_back() {
            tracing::error!(error = %Causes(&error), "programs that run are not limited any more");
        }
        self.hire()
    }

    // -- connections ------------------------------------------------------------------------------------------------

    fn let_in(&mut self, n: u32) -> Result<(), Error> {
        for _ in 0..ACCEPTED_AT_ONCE {
            let Some(listener) = self.listeners.get(n as usize) else { return Ok(()) };
            match accept(listener) {
                Ok(Some((socket, address))) => self.admit(socket, address),
                Ok(None) => break,
                Err(errno) => {
                    tracing::warn!(%errno, "connections cannot be accepted; trying again");
                    self.pause_accepting(true)?;
                    break;
                }
            }
        }
        self.hire()
    }

    fn admit(&mut self, socket: OwnedFd, address: SocketAddr) {
        let now = Instant::now();
        if let Some(why) = self.admission.refusal(address.ip(), self.load(address.ip()), draw(), moment(now)) {
            return self.turned_away.add(socket, address, &why, now);
        }
        let conn = self.conn_numbers.next();
        let deadline = self.admission.deadline(now);
        tracing::debug!(%conn, peer = %address, "connection");
        self.arrivals.push_back(Arrival { peer: Peer { conn, address, deadline }, socket });
    }

    /// How many there are, and how many come from the same source as this address.
    pub(super) fn load(&self, from: IpAddr) -> Load {
        let source = self.admission.source(from);
        let count = |wanted: fn(&Phase) -> bool| self.sessions.iter().filter(|(_, s)| wanted(&s.phase)).count();
        let live = count(|p| matches!(p, Phase::Live { .. } | Phase::Ending { .. }));
        let logging_in = self.sessions.iter().filter_map(|(_, s)| match &s.phase {
            Phase::Login { peer, .. } => Some(peer),
            _ => None,
        });
        let (mut unauthenticated, mut of_source) = (0, 0);
        for peer in self.arrivals.iter().map(|arrival| &arrival.peer).chain(logging_in) {
            unauthenticated += 1;
            of_source += usize::from(source.holds(peer.address.ip()));
        }
        Load { unauthenticated, of_source, connections: unauthenticated + live }
    }

    /// Closes connections that wait for a session.
    pub(super) fn forget_arrivals(&mut self, is_meant: impl Fn(IpAddr) -> bool) {
        self.arrivals.retain(|arrival| !is_meant(arrival.peer.address.ip()));
    }

    fn pause_accepting(&mut self, pause: bool) -> Result<(), Error> {
        if self.accepting != pause || self.stopping.is_some() {
            return Ok(());
        }
        self.accepting = !pause;
        for (n, listener) in (0_u32..).zip(&self.listeners) {
            self.poll.pause(&listener.socket, Token::Listener(n), pause).map_err(system("pause accepting"))?;
        }
        Ok(())
    }

    /// Gives waiting connections to spare sessions, and has new ones born so that some are always spare.
    pub(super) fn hire(&mut self) -> Result<(), Error> {
        let spare = self.sessions.which(|s| matches!(s.phase, Phase::Spare));
        for slot in spare {
            let Some(arrival) = self.arrivals.pop_front() else { break };
            self.employ(slot, arrival);
        }
        self.order_births()
    }

    fn employ(&mut self, slot: u32, arrival: Arrival) {
        let Some(session) = self.sessions.get(slot) else { return };
        let header = self.admission.header_rule(arrival.peer.address);
        let waits = if header.is_some() { Waits::Header } else { Waits::Nothing };
        let serve =
            ToSession::Serve { conn: arrival.peer.conn, peer: arrival.peer.address, notice: self.notice, header };
        match session.link.try_send(&serve, Some(arrival.socket.as_fd())) {
            Ok(()) => {
                session.phase = Phase::Login { peer: arrival.peer, waits };
            }
            Err(error) => {
                tracing::warn!(%error, "a spare session was of no use");
                session.kill();
                self.retire(slot, Instant::now());
                self.arrivals.push_front(arrival);
            }
        }
    }

    pub(super) fn order_births(&mut self) -> Result<(), Error> {
        let can_fork = self.zygote_pause.is_over(Instant::now()) && self.zygote.as_ref().is_some_and(|z| z.ready);
        if self.stopping.is_some() || !can_fork {
            return Ok(());
        }
        let coming = self.sessions.which(|s| matches!(s.phase, Phase::Newborn | Phase::Spare)).len();
        let spare = if self.leaving_service { 0 } else { self.settings.spare_sessions.max(1) };
        let wanted = spare + self.arrivals.len();
        for _ in coming..wanted {
            if !self.order_birth()? {
                break;
            }
        }
        Ok(())
    }

    /// Asks the zygote for one session; says whether it was asked.
    fn order_birth(&mut self) -> Result<bool, Error> {
        let (ours, theirs) = match Link::pair() {
            Ok(pair) => pair,
            Err(error) => {
                tracing::error!(error = %Causes(&error), "a session could not be asked for; trying again");
                self.zygote_pause.lengthen(Instant::now());
                return Ok(false);
            }
        };
        let Some((slot, uid)) = self.sessions.reserve(ours) else { return Ok(false) };
        let generation = self.sessions.generation(slot);
        let asked = match &self.zygote {
            Some(zygote) => zygote.link.try_send(&ToZygote::Birth { slot, generation, uid }, Some(theirs.as_fd())),
            None => Err(LinkError::Gone),
        };
        if asked.is_err() {
            // The zygote is busy or gone; the next turn asks again.
            self.sessions.abandon(slot);
            return Ok(false);
        }
        if let Some(session) = self.sessions.get(slot) {
            self.poll.watch(&session.link, Token::Session(slot, generation)).map_err(system("watch a session"))?;
        }
        Ok(true)
    }

    // -- sessions ---------------------------------------------------------------------------------------------------

    fn hear_session(&mut self, slot: u32, generation: u32) -> Result<(), Error> {
        let Some(session) = self.sessions.current(slot, generation) else { return Ok(()) };
        let request = match session.link.try_recv::<FromSession>() {
            Ok(request) => request,
            Err(LinkError::NotReady) => return Ok(()),
            Err(LinkError::Gone) => return self.forget_link(slot),
            Err(error) => return self.breach(slot, &error.to_string()),
        };
        if matches!(session.phase, Phase::Ending { .. }) && request.message.is_question() {
            // It was on its way when the session was told to end.
            return Ok(());
        }
        if !session.may_say(&request.message, Instant::now()) {
            return self.breach(slot, "request not allowed in this phase, or too many of them");
        }
        match request.message {
            FromSession::Born => session.namespace = request.fd,
            FromSession::Left => session.has_left = true,
            FromSession::Idle => self.note_why(slot, Why::Told(EndReason::Idle)),
            FromSession::Ready => return self.greet(slot),
            FromSession::Header(heading) => return self.take_header(slot, heading),
            FromSession::Probe { user, .. } if self.is_banned(slot, &user, None) => {}
            FromSession::Probe { user, key } => return self.ask_about_probe(slot, user, key),
            FromSession::Claim(claim) if self.is_banned(slot, &claim.user, Some(&claim)) => {}
            FromSession::Claim(claim) if self.holds_back(slot, &claim) => {}
            FromSession::Claim(claim) => return self.ask_about_claim(slot, claim),
            FromSession::OpenCell => return self.open_cell(slot),
            FromSession::OwnKeys(file) => return self.pass_on_own_keys(slot, file),
            FromSession::Event(event) => self.report(slot, event),
            FromSession::Did(deeds) => self.pass_on_deeds(slot, deeds),
        }
        Ok(())
    }

    fn greet(&mut self, slot: u32) -> Result<(), Error> {
        match self.sessions.get(slot) {
            Some(session) if session.namespace.is_some() => session.phase = Phase::Spare,
            _ => return self.breach(slot, "ready without a mount namespace"),
        }
        self.hire()
    }

    /// A session said what it must not: it is taken for captured and ended at once.
    pub(super) fn breach(&mut self, slot: u32, what: &str) -> Result<(), Error> {
        if let Some(session) = self.sessions.get(slot) {
            tracing::error!(uid = session.uid, what, "session broke the rules and was killed");
            session.kill();
        }
        self.note_breach(slot, what);
        self.count_crash(slot);
        self.retire(slot, Instant::now());
        Ok(())
    }

    /// Puts a session into its last phase, and lets go of what it waited for.
    pub(super) fn retire(&mut self, slot: u32, deadline: Instant) {
        let Some(session) = self.sessions.get(slot) else { return };
        match std::mem::replace(&mut session.phase, Phase::Ending { deadline }) {
            Phase::Live { record, .. } => self.tell_control(ToControl::Closed { conn: record.conn }),
            Phase::Login { waits, .. } => {
                let seat = session.seat.take();
                self.give_back(seat);
                self.drop_wait(waits);
            }
            _ => {}
        }
    }

    /// The session closed its end: it has ended or is about to.
    pub(super) fn forget_link(&mut self, slot: u32) -> Result<(), Error> {
        let Some(session) = self.sessions.get(slot) else { return Ok(()) };
        self.poll.forget(&session.link).map_err(system("stop watching a session"))?;
        if session.process.is_none() {
            // Never heard of by the zygote, which has died or failed.
            self.sessions.abandon(slot);
        } else {
            session.kill();
        }
        Ok(())
    }

    /// A session's process has ended.
    fn bury(&mut self, slot: u32, generation: u32) -> Result<(), Error> {
        if self.sessions.current(slot, generation).is_none() {
            return Ok(());
        }
        self.hear_last_words(slot);
        self.end_trail(slot);
        let record = match self.sessions.get(slot).map(|session| &session.phase) {
            Some(Phase::Live { record, .. }) => Some(record.clone()),
            _ => None,
        };
        let lingers = self.leave_cells((slot, generation), record.as_deref())?;
        let Some(session) = self.sessions.remove(slot) else { return Ok(()) };
        self.poll.forget(&session.link).map_err(system("stop watching a session"))?;
        if let Some((_, pidfd)) = &session.process {
            self.poll.forget(pidfd).map_err(system("stop watching a session"))?;
        }
        self.count_end(&session);
        match session.phase {
            Phase::Live { record, .. } => {
                tracing::info!(conn = %record.conn, account = %record.account, user = %record.user, "session ended");
                if !lingers {
                    self.tell_control(ToControl::Closed { conn: record.conn });
                }
            }
            Phase::Login { peer, waits } => {
                tracing::debug!(conn = %peer.conn, peer = %peer.address, "connection ended without a login");
                self.give_back(session.seat);
                self.drop_wait(waits);
            }
            Phase::Newborn | Phase::Spare if self.stopping.is_none() => {
                tracing::error!("a session ended before it had a connection");
                self.zygote_pause.lengthen(Instant::now());
            }
            _ => {}
        }
        self.hire()
    }

    /// Reports that a session sent before it ended.
    fn hear_last_words(&mut self, slot: u32) {
        let now = Instant::now();
        loop {
            let Some(session) = self.sessions.get(slot) else { return };
            match session.link.try_recv::<FromSession>() {
                Ok(request) if session.may_say(&request.message, now) => match request.message {
                    FromSession::Left => session.has_left = true,
                    FromSession::Idle => self.note_why(slot, Why::Told(EndReason::Idle)),
                    FromSession::Event(event) => self.report(slot, event),
                    FromSession::Did(deeds) => self.pass_on_deeds(slot, deeds),
                    _ => {}
                },
                _ => return,
            }
        }
    }

    /// Ends what has outstayed its deadline.
    fn end_late(&mut self, now: Instant) {
        let mut gone = 0;
        self.arrivals.retain(|a| {
            let stays = a.peer.deadline > now;
            gone += usize::from(!stays);
            stays
        });
        if gone > 0 {
            tracing::warn!(count = gone, "connections ended that no session could serve in time");
        }
        self.end_late_helpers(now);
        for slot in self.sessions.which(|s| matches!(&s.phase, Phase::Login { peer, .. } if peer.deadline <= now)) {
            self.end_late_login(slot);
        }
        for (_, session) in self.sessions.iter() {
            if matches!(&session.phase, Phase::Ending { deadline } if *deadline <= now) {
                session.kill();
            }
        }
    }

    fn end_late_login(&mut self, slot: u32) {
        let Some(session) = self.sessions.get(slot) else { return };
        let Phase::Login { peer, .. } = &session.phase else { return };
        let from = peer.address.ip();
        if session.is_counted {
            return self.end(slot, EndReason::Over);
        }
        tracing::info!(conn = %peer.conn, peer = %peer.address, "login took too long");
        self.end(slot, EndReason::TooSlow);
        self.charge(Offence::Grace, from, None);
    }

    /// Asks a session to say goodbye; it is killed when it does not end in time.
    pub(super) fn end(&mut self, slot: u32, reason: EndReason) {
        self.note_why(slot, Why::Told(reason));
        let Some(session) = self.sessions.get(slot) else { return };
        if let Err(error) = session.link.try_send(&ToSession::End(reason), None) {
            tracing::debug!(%error, "session does not listen");
            session.kill();
        }
        if let Phase::Live { record, .. } = &session.phase {
            tracing::info!(conn = %record.conn, user = %record.user, ?reason, "session is being ended");
        }
        // Nothing is taken from anybody while a client that is logging in reads why it may not.
        let is_logging_in = matches!(session.phase, Phase::Login { .. }) && reason != EndReason::Shutdown;
        let farewell = if is_logging_in { LONG_FAREWELL } else { FAREWELL };
        self.retire(slot, Instant::now() + farewell);
        if reason != EndReason::Shutdown {
            // The session may say goodbye; what it ran may not.
            let generation = self.sessions.generation(slot);
            if let Err(error) = self.leave_cells((slot, generation), None) {
                tracing::error!(error = %Causes(&error), "a cell could not be ended");
            }
        }
    }
}
