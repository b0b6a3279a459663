//! Shell cells: one for each principal that runs programs, shared by its connections, gone with the last of them (or a while
//! after it: see [`super::lingering`]).

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;

use super::attaching::Helper;
use super::children::Child;
use super::ids::IdPool;
use super::lingering::Lingering;
use super::node::Node;
use super::poll::Token;
use super::sessions::Phase;
use super::shells::Birth;
use super::{Error, system};
use crate::cell::groups::{self, Amounts, Controller, Group, Groups};
use crate::cell::shell::{Limits as ProcessLimits, Own, Settings};
use crate::cell::{Fault, Plan, Privilege};
use crate::config::MonitorSettings;
use crate::domain::{AccountName, ForwardPolicy, Limits, Linger, ProgramPolicy, Services, UserName};
use crate::telemetry::Causes;
use crate::wire::{FromCell, FromZygote, Link, LinkError, SessionRecord, ToSession, WorkerOrder};

/// Most KiB in a cell's `/tmp`, `/var/tmp`, `/run` and `/dev/shm` together, and what part of its memory at most: were it all,
/// a cell with a full `/tmp` could not even run what empties it.
const SCRATCH: u64 = 512 * 1024;
const PART_FOR_SCRATCH: u64 = 2;

/// What is said when the server lacks descriptors, memory or a process for a moment.
const OVERLOADED: &str = "the server is overloaded; try again later";

/// Most cells at the same time.
const MOST_CELLS: usize = 4096;

/// How long a cell may take until its worker is ready; an attach that hangs on a dead filesystem ends here too.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whose a cell is, and what it may reach.
#[derive(Clone, Debug)]
pub(super) struct CellPlan {
    pub(super) account: AccountName,
    pub(super) user: UserName,
    pub(super) plan: Plan,
    pub(super) services: Services,
    pub(super) forwards: ForwardPolicy,
    pub(super) programs: ProgramPolicy,
    /// How long the cell may go on without a connection; is not among the programs' policy here.
    pub(super) linger: Option<Linger>,
    /// The user's, and those of its account.
    pub(super) limits: (Limits, Limits),
}

impl CellPlan {
    /// Whether two principals may share a cell: the same user with the same rights. Those of a narrower key have another
    /// home. Limits that became wider wait for the next cell; narrower ones have ended this one.
    fn is_same(&self, other: &CellPlan) -> bool {
        (&self.account, &self.user) == (&other.account, &other.user)
            && self.plan.layout() == other.plan.layout()
            && self.plan.user_home() == other.plan.user_home()
            && (self.plan.home(), self.plan.owner()) == (other.plan.home(), other.plan.owner())
            && (self.services, &self.forwards) == (other.services, &other.forwards)
            && (self.services, &self.programs) == (other.services, &other.programs)
    }
}

/// A session, by slot and generation.
type SessionId = (u32, u32);

/// What a cell is doing.
#[derive(Debug)]
enum Stage {
    /// Being forked, and building its root.
    Newborn,
    /// Its grants are being attached.
    Attaching(Helper),
    /// Becoming the worker.
    Beginning,
    /// Its worker takes orders.
    Ready,
    /// Told to end.
    Ending,
}

#[derive(Debug)]
pub(super) struct Cell {
    uid: u32,
    pub(super) plan: CellPlan,
    pub(super) link: Link,
    process: Option<OwnedFd>,
    stage: Stage,
    /// Where it is counted what its programs take.
    group: Option<Group>,
    /// Who watches the places of its nested grants.
    guard: Option<Helper>,
    /// When it must be ready.
    deadline: Instant,
    /// Sessions that wait for it.
    waiting: Vec<SessionId>,
    /// Sessions that use it.
    joined: BTreeSet<SessionId>,
    /// Whose it is while there is none.
    pub(super) lingering: Option<Lingering>,
}

/// All cells of a node, each by a number that no other has had for long, and with an id that no other process has.
#[derive(Debug)]
pub(super) struct Cells {
    cells: HashMap<u32, Cell>,
    next: u32,
    ids: IdPool,
    pub(super) zygote: Option<Child<()>>,
    /// What the host's settings were when it started.
    pub(super) settings: Settings,
}

impl Cells {
    pub(super) fn new(ids: IdPool) -> Cells {
        Cells { cells: HashMap::new(), next: 0, ids, zygote: None, settings: Settings::default() }
    }

    /// A new number and an id; `None` when there are as many cells as there may be.
    fn reserve(&mut self) -> Option<(u32, u32)> {
        if self.cells.len() >= MOST_CELLS {
            return None;
        }
        // There are fewer cells than numbers, so one is found.
        while self.cells.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        Some((number, self.ids.take()?))
    }

    /// Takes a cell out whose process has ended, or was never there; its id may be given out again.
    fn remove(&mut self, number: u32) -> Option<Cell> {
        let cell = self.cells.remove(&number)?;
        self.ids.give_back(cell.uid);
        Some(cell)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Cell)> {
        self.cells.iter().map(|(number, cell)| (*number, cell))
    }

    pub(super) fn get(&mut self, number: u32) -> Option<&mut Cell> {
        self.cells.get_mut(&number)
    }

    /// Whether there are cells whose programs may run.
    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Whether some cell has to be looked after as time passes.
    pub(super) fn is_restless(&self) -> bool {
        self.cells.values().any(Cell::is_on_its_way)
    }
}

impl Cell {
    fn is_on_its_way(&self) -> bool {
        matches!(self.stage, Stage::Newborn | Stage::Attaching(_) | Stage::Beginning)
    }

    /// Whether its zygote has nothing more to say of it.
    pub(super) fn is_born(&self) -> bool {
        self.process.is_some() && !matches!(self.stage, Stage::Newborn)
    }

    /// Its first process, once the zygote has told of it.
    pub(super) fn process(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_ref().map(AsFd::as_fd)
    }

    /// Whether its worker takes orders.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready)
    }

    fn kill(&self, groups: &Groups) {
        if let Some(Err(error)) = self.group.as_ref().map(|group| groups.kill(group)) {
            tracing::error!(error = %Causes(&error), "a control group could not be ended");
        }
        let Some(pidfd) = &self.process else { return };
        match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => tracing::error!(%errno, "a cell could not be killed"),
        }
    }
}

impl Node<'_> {
    /// A live session asks for its principal's cell.
    pub(super) fn open_cell(&mut self, slot: u32) -> Result<(), Error> {
        let generation = self.sessions.generation(slot);
        let plan = match self.sessions.get(slot).map(|s| &s.phase) {
            Some(Phase::Live { cell: Some(plan), .. }) => (**plan).clone(),
            _ => return self.breach(slot, "asked for a cell without a service that runs programs"),
        };
        let found = self.cells.cells.iter().find(|(_, c)| !matches!(c.stage, Stage::Ending) && c.plan.is_same(&plan));
        match found.map(|(number, cell)| (*number, matches!(cell.stage, Stage::Ready))) {
            Some((number, true)) => self.join(number, (slot, generation)),
            Some((number, false)) => {
                if let Some(cell) = self.cells.cells.get_mut(&number) {
                    cell.waiting.push((slot, generation));
                }
                Ok(())
            }
            None => self.order_cell(plan, (slot, generation)),
        }
    }

    fn order_cell(&mut self, plan: CellPlan, session: SessionId) -> Result<(), Error> {
        let Some((number, uid)) = self.cells.reserve() else {
            return self.no_cell(session, "the server runs too many programs at the moment; try again later");
        };
        self.renew_shell_zygote();
        if self.cells.zygote.is_none()
            && let Err(error) = self.fork_shell_zygote()
        {
            tracing::error!(error = %Causes(&error), "the shell zygote could not be started");
            self.cells.ids.give_back(uid);
            return self.no_cell(session, OVERLOADED);
        }
        let plan = match plan.plan.with_ids(uid).with_binds(&self.settings.binds) {
            Ok(with) => CellPlan { plan: with, ..plan },
            Err(unserved) => {
                tracing::error!(account = %plan.account, reason = %unserved, "a cell is not made");
                self.cells.ids.give_back(uid);
                return self.no_cell(session, &unserved.to_string());
            }
        };
        let (own_amounts, of_account) = self.amounts(&plan);
        let group = self.groups.make(plan.account.as_str(), &number.to_string(), &of_account, &own_amounts);
        let (group, doors) = match group.and_then(|group| self.groups.doors(&group).map(|doors| (group, doors))) {
            Ok(made) => made,
            Err(error) => {
                tracing::error!(error = %Causes(&error), "the programs of a cell cannot be limited, so it is not made");
                self.cells.ids.give_back(uid);
                return self.no_cell(session, "the server cannot limit your programs; ask its operator");
            }
        };
        let (ours, theirs) = match Link::pair() {
            Ok(pair) => pair,
            Err(error) => {
                tracing::error!(error = %Causes(&error), "a cell could not be asked for");
                self.cells.ids.give_back(uid);
                self.groups.remove(group);
                return self.no_cell(session, OVERLOADED);
            }
        };
        let birth = Birth {
            slot: number,
            generation: 0,
            own: own(&plan, &own_amounts),
            layout: plan.plan.layout().clone(),
            services: plan.services,
            forwards: plan.forwards.clone(),
            programs: plan.programs.clone(),
            limits: self.process_limits(&own_amounts),
            trial: None,
            into_group: doors.whole.is_some(),
        };
        let groups = doors.whole.iter().chain(&doors.parts).map(AsFd::as_fd);
        let descriptors: Vec<BorrowedFd<'_>> = std::iter::once(theirs.as_fd()).chain(groups).collect();
        let asked = self.cells.zygote.as_ref().map(|z| z.link.try_send_with(&birth, &descriptors));
        if !matches!(asked, Some(Ok(()))) {
            self.cells.ids.give_back(uid);
            self.groups.remove(group);
            return self.no_cell(session, OVERLOADED);
        }
        self.poll.watch(&ours, Token::Cell(number)).map_err(system("watch a cell"))?;
        let cell = Cell {
            uid,
            plan,
            link: ours,
            process: None,
            stage: Stage::Newborn,
            group: Some(group),
            guard: None,
            deadline: Instant::now() + PATIENCE,
            waiting: vec![session],
            joined: BTreeSet::new(),
            lingering: None,
        };
        self.cells.cells.insert(number, cell);
        Ok(())
    }

    /// What a cell's programs may take, and what those of its account may together.
    fn amounts(&self, plan: &CellPlan) -> (Amounts, Amounts) {
        let (own, of_account) = plan.limits;
        let MonitorSettings { user_limits, account_limits, .. } = self.settings;
        groups::amounts(own.or(*user_limits), of_account.or(*account_limits), groups::machine_memory())
    }

    /// What the kernel counts by process, and by user id: where all cells have the same one, a number for one cell would be
    /// one for all of them, so it is left to the control groups if they can.
    fn process_limits(&self, amounts: &Amounts) -> ProcessLimits {
        let is_left = self.privilege != Privilege::Root && self.groups.have(Controller::Processes);
        let processes = amounts.processes.filter(|_| !is_left).map_or(u64::from(u32::MAX), u64::from);
        ProcessLimits { processes, descriptors: DESCRIPTORS }
    }

    fn no_cell(&mut self, (slot, generation): SessionId, sentence: &str) -> Result<(), Error> {
        if self.sessions.current(slot, generation).is_none() {
            return Ok(());
        }
        self.tell_session(slot, &ToSession::NoCell { sentence: sentence.to_owned() })
    }

    /// Connects a session and a worker.
    fn join(&mut self, number: u32, (slot, generation): SessionId) -> Result<(), Error> {
        let (one, other) = match Link::pair() {
            Ok(pair) => pair,
            Err(error) => {
                tracing::error!(error = %Causes(&error), "a session could not be connected with its cell");
                self.no_cell((slot, generation), OVERLOADED)?;
                return self.end_if_unused(number);
            }
        };
        let Some(cell) = self.cells.cells.get_mut(&number) else { return Ok(()) };
        let Some(session) = self.sessions.current(slot, generation) else { return self.end_if_unused(number) };
        if let Phase::Live { cell: Some(plan), .. } = &session.phase {
            cell.plan.linger = plan.linger;
        }
        if let Err(error) = cell.link.try_send(&WorkerOrder::Join, Some(one.as_fd())) {
            tracing::warn!(%error, "a worker does not listen");
            let sentence = "the programs of this login do not answer; try again";
            self.end_cell(number, sentence)?;
            return self.no_cell((slot, generation), sentence);
        }
        cell.joined.insert((slot, generation));
        // Only now: one that nobody could be connected with goes on waiting for its user.
        self.linger_no_more(number);
        let Some(session) = self.sessions.current(slot, generation) else { return Ok(()) };
        match session.link.try_send(&ToSession::Cell, Some(other.as_fd())) {
            Ok(()) | Err(LinkError::Gone) => Ok(()),
            Err(error) => self.breach(slot, &error.to_string()),
        }
    }

    /// Ends a cell that somebody waited for who could not be connected with it, and whom nobody else uses.
    fn end_if_unused(&mut self, number: u32) -> Result<(), Error> {
        let unused = |c: &Cell| c.waiting.is_empty() && c.joined.is_empty() && c.lingering.is_none();
        match self.cells.cells.get(&number).is_some_and(unused) {
            true => self.end_cell(number, ""),
            false => Ok(()),
        }
    }

    pub(super) fn hear_shell_zygote(&mut self) -> Result<(), Error> {
        let Some(zygote) = &mut self.cells.zygote else { return Ok(()) };
        match zygote.link.try_recv::<FromZygote>() {
            Ok(heard) => match (heard.message, heard.fd) {
                (FromZygote::Ready, None) => {
                    zygote.ready = true;
                    Ok(())
                }
                (FromZygote::Born { slot, .. }, Some(pidfd)) => {
                    if let Some(cell) = self.cells.cells.get_mut(&slot) {
                        self.poll.watch(&pidfd, Token::CellEnd(slot)).map_err(system("watch a cell"))?;
                        cell.process = Some(pidfd);
                    }
                    Ok(())
                }
                (FromZygote::Stillborn { slot, errno, .. }, _) => {
                    tracing::error!(errno, "a cell could not be forked");
                    self.end_cell(slot, "the server is overloaded; try again later")
                }
                _ => Ok(()),
            },
            Err(LinkError::NotReady) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "the shell zygote ended");
                self.lose_shell_zygote()
            }
        }
    }

    pub(super) fn hear_cell(&mut self, number: u32) -> Result<(), Error> {
        let Some(cell) = self.cells.cells.get_mut(&number) else { return Ok(()) };
        let heard = match cell.link.try_recv::<FromCell>() {
            Ok(heard) => heard,
            Err(LinkError::NotReady) => return Ok(()),
            Err(_) => return self.end_cell(number, "your programs were ended"),
        };
        match (heard.message, heard.fd, &cell.stage) {
            (FromCell::Built, Some(namespace), Stage::Newborn) => self.attach_in_cell(number, &namespace),
            (FromCell::Ready, None, Stage::Beginning) => {
                cell.stage = Stage::Ready;
                let took_us =
                    PATIENCE.saturating_sub(cell.deadline.saturating_duration_since(Instant::now())).as_micros();
                tracing::debug!(account = %cell.plan.account, user = %cell.plan.user, took_us, "a cell is ready");
                // The user's programs can make the worker say what they like, and send any descriptor. Nothing that it
                // could say is of use, so nothing is heard; its end is seen by its process.
                if cell.link.deafen().is_err() {
                    return self.end_cell(number, "your programs were ended");
                }
                self.poll.forget(&cell.link).map_err(system("stop hearing a cell"))?;
                for session in std::mem::take(&mut cell.waiting) {
                    self.join(number, session)?;
                }
                Ok(())
            }
            // Later it would be the user's own words.
            (FromCell::Failed { what }, None, Stage::Newborn | Stage::Attaching(_) | Stage::Beginning) => {
                tracing::error!(what, "a cell could not be built");
                self.end_cell(number, "the server could not start your programs; ask its operator")
            }
            _ => {
                tracing::error!("a cell broke the rules and is ended");
                self.end_cell(number, "your programs were ended; ask the server's operator")
            }
        }
    }

    fn attach_in_cell(&mut self, number: u32, namespace: &OwnedFd) -> Result<(), Error> {
        let Some(cell) = self.cells.cells.get_mut(&number) else { return Ok(()) };
        match self.helpers.attach(&cell.plan.plan, namespace.as_fd(), Instant::now()) {
            Ok(helper) => {
                self.poll.watch(helper.link(), Token::CellHelper(number)).map_err(system("watch an attach helper"))?;
                cell.stage = Stage::Attaching(helper);
                Ok(())
            }
            Err(error) => {
                tracing::error!(error = %Causes(&error), "no attach helper is to be had");
                self.end_cell(number, OVERLOADED)
            }
        }
    }

    pub(super) fn hear_cell_helper(&mut self, number: u32) -> Result<(), Error> {
        let Some(cell) = self.cells.cells.get_mut(&number) else { return Ok(()) };
        if cell.guard.is_some() {
            tracing::info!(account = %cell.plan.account, user = %cell.plan.user, "a nested grant was replaced; its cell ends");
            return self
                .end_cell(number, "a directory or file that is granted to you on its own was replaced; try again");
        }
        let Stage::Attaching(helper) = &cell.stage else { return Ok(()) };
        let result = match helper.result() {
            Err(LinkError::NotReady) => return Ok(()),
            Err(error) => {
                tracing::error!(error = %Causes(&error), "an attach helper died");
                Err(Fault::Step { step: "the helper died".to_owned(), errno: 0 })
            }
            Ok(result) => result,
        };
        let Stage::Attaching(helper) = std::mem::replace(&mut cell.stage, Stage::Beginning) else { return Ok(()) };
        let told = result.map(|_| cell.link.try_send(&WorkerOrder::Attached, None));
        if told.is_ok() && cell.plan.plan.needs_guard() {
            cell.guard = Some(helper);
        } else {
            self.give_back_helper(helper, told.is_ok());
        }
        match told {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => self.end_cell(number, "the server could not start your programs; try again"),
            Err(fault) => self.end_cell(number, &fault.to_string()),
        }
    }

    /// The process has ended, and with it all that ran in the cell.
    pub(super) fn bury_cell(&mut self, number: u32) -> Result<(), Error> {
        self.end_cell(number, "your programs were ended")?;
        let Some(cell) = self.cells.remove(number) else { return Ok(()) };
        self.poll.forget(&cell.link).map_err(system("stop watching a cell"))?;
        if let Some(pidfd) = cell.process {
            self.poll.forget(&pidfd).map_err(system("stop watching a cell"))?;
            // One whose zygote has ended is a child of ours where we are the first process of a container.
            self.leaving.push(pidfd);
        }
        if let Some(group) = cell.group {
            self.groups.remove(group);
        }
        Ok(())
    }

    /// Ends a cell and tells who waits for it. Its number is free again when its process is gone.
    pub(super) fn end_cell(&mut self, number: u32, sentence: &str) -> Result<(), Error> {
        self.linger_no_more(number);
        let Some(cell) = self.cells.cells.get_mut(&number) else { return Ok(()) };
        cell.kill(&self.groups);
        let is_unborn = cell.process.is_none();
        let waiting = std::mem::take(&mut cell.waiting);
        let guard = cell.guard.take();
        if let Stage::Attaching(helper) = std::mem::replace(&mut cell.stage, Stage::Ending) {
            self.give_back_helper(helper, false);
        }
        if let Some(guard) = guard {
            self.give_back_helper(guard, false);
        }
        if is_unborn && let Some(cell) = self.cells.remove(number) {
            self.poll.forget(&cell.link).map_err(system("stop watching a cell"))?;
            if let Some(group) = cell.group {
                self.groups.remove(group);
            }
        }
        for session in waiting {
            self.no_cell(session, sentence)?;
        }
        Ok(())
    }

    /// Ends what did not become ready in time.
    pub(super) fn end_late_cells(&mut self, now: Instant) -> Result<(), Error> {
        let is_late = |cell: &Cell| cell.is_on_its_way() && cell.deadline <= now;
        let late: Vec<u32> = self.cells.cells.iter().filter(|(_, c)| is_late(c)).map(|(number, _)| *number).collect();
        for number in late {
            tracing::error!("a cell did not become ready in time");
            self.end_cell(number, "your programs could not be started in time; ask the server's operator")?;
        }
        Ok(())
    }

    /// Ends them all, for the node ends.
    pub(super) fn kill_cells(&self) {
        self.cells.cells.values().for_each(|cell| cell.kill(&self.groups));
    }

    /// A session is gone: a cell that only it used goes with it, or goes on if it may and the session's `record` is given. Says
    /// whether the record is kept for that.
    pub(super) fn leave_cells(&mut self, session: SessionId, record: Option<&SessionRecord>) -> Result<bool, Error> {
        let mut left = Vec::new();
        for (number, cell) in &mut self.cells.cells {
            let has_waited = cell.waiting.contains(&session);
            cell.waiting.retain(|s| *s != session);
            if (cell.joined.remove(&session) || has_waited) && cell.waiting.is_empty() && cell.joined.is_empty() {
                left.push(*number);
            }
        }
        let mut is_kept = false;
        for number in left {
            match record {
                Some(record) if self.let_linger(number, record) => is_kept = true,
                _ => self.end_cell(number, "")?,
            }
        }
        Ok(is_kept)
    }
}

/// Descriptors that each process of a cell may have open.
const DESCRIPTORS: u64 = 4096;

fn own(plan: &CellPlan, amounts: &Amounts) -> Own {
    let ids = plan.plan.cell().unwrap_or_else(|| plan.plan.owner());
    let user = plan.user.to_string();
    let home = plan.plan.user_home().map_or_else(String::new, |home| format!("/{}", home.at));
    let outermost = plan.plan.layout().placed.iter().filter(|p| !p.nested).map(|p| p.at.clone());
    Own {
        places: outermost.chain([home.trim_start_matches('/').to_owned()]).collect(),
        group: plan.account.to_string(),
        binds: plan.plan.binds().to_vec(),
        ids,
        home,
        shell: plan.programs.shell().to_owned(),
        hostname: "cell".to_owned(),
        network: plan.forwards.network,
        scratch: amounts.memory.map_or(SCRATCH, |most| SCRATCH.min(most / 1024 / PART_FOR_SCRATCH)),
        user,
    }
}
