//! A storm of faults over people who work: nothing that they were told is lost, nobody else notices, and nothing is left
//! behind.
//!
//! Uploads, downloads, programs, rsync and forwards go on all the while, each by somebody else. Faults come one after the
//! other, of all kinds in shares, in an order that follows from a number. After each of them somebody of another account
//! logs in at the first try, writes and reads; everybody comes along again; and whatever was acknowledged since is
//! compared with what is on disk. `ENCLOS_STORM_FAULTS` sets how many there are, `ENCLOS_STORM_SEED` in which order.

mod aftermath;
mod disks;
mod journal;
mod kills;
mod loads;
mod probe;
mod report;
mod soak;
mod stage;
mod strains;

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::{Identity, Numbers, Waiting, finish, wait_until};
use journal::Journal;
use loads::{Load, mirror};
pub(crate) use probe::Probe;
use report::Tallies;
use stage::Stage;

as_root_and_rootless!(nothing_acknowledged_is_lost_in_a_storm_of_faults);

/// Takes as long as it is told to, so nobody runs it by the way.
mod lasting {
    use crate::harness::Identity;

    #[test]
    #[ignore = "takes minutes; tests/run soak MINUTES"]
    fn nothing_grows_under_load_as_root() {
        super::soak::soak(Identity::root());
    }

    #[test]
    #[ignore = "takes minutes; tests/run soak MINUTES"]
    fn nothing_grows_under_load_rootless() {
        super::soak::soak(Identity::ordinary());
    }
}

/// Longest until a process that died is replaced, or work goes on that was held up, on a busy machine.
const REPLACED: Duration = Duration::from_secs(60);
/// Longest until something is gone that was killed.
const GONE: Duration = Duration::from_secs(20);

/// A kind of fault.
struct Kind {
    name: &'static str,
    strike: fn(&mut Storm),
    /// How many of two hundred are of this kind.
    share: u32,
    /// What it takes.
    needs: fn(&Stage) -> bool,
}

const fn kind(name: &'static str, share: u32, strike: fn(&mut Storm)) -> Kind {
    Kind { name, strike, share, needs: |_| true }
}

const fn only_where(needs: fn(&Stage) -> bool, kind: Kind) -> Kind {
    Kind { needs, ..kind }
}

fn has_disks(stage: &Stage) -> bool {
    stage.disk.is_some()
}

const KINDS: &[Kind] = &[
    kind("a session killed", 40, kills::session),
    kind("a session killed that waits for a connection", 12, kills::spare),
    kind("the session zygote killed", 16, kills::zygote),
    kind("the shell zygote killed", 12, kills::shell_zygote),
    kind("an attach helper killed", 12, kills::helper),
    kind("a worker killed", 14, kills::worker),
    kind("control killed", 14, kills::control),
    kind("the monitor killed", 10, kills::monitor),
    kind("several of them killed at once", 10, kills::several),
    kind("all but the sessions killed at once", 4, kills::all_but_sessions),
    kind("control stands still", 6, kills::control_stands_still),
    kind("the monitor out of descriptors", 5, strains::descriptors_of_the_monitor),
    kind("control out of descriptors", 4, strains::descriptors_of_control),
    kind("the session zygote out of descriptors", 4, strains::descriptors_of_the_zygote),
    only_where(|stage| stage.clock.is_some(), kind("the clock jumps, and back", 8, strains::clock)),
    only_where(|stage| stage.postgres.is_none(), kind("the database locked (SQLite)", 6, strains::database_locked)),
    only_where(|stage| stage.postgres.is_some(), kind("the database gone (PostgreSQL)", 4, strains::database_gone)),
    only_where(has_disks, kind("the disk full", 6, disks::full)),
    only_where(has_disks, kind("the disk out of files", 6, disks::out_of_files)),
    only_where(has_disks, kind("the disk read-only", 6, disks::read_only)),
    only_where(has_disks, kind("the disk stands still (frozen)", 5, disks::frozen)),
    only_where(has_disks, kind("sessions killed while their disk stands still", 4, disks::killed_on_a_frozen_disk)),
    only_where(has_disks, kind("the disk stands still (FUSE)", 5, disks::stalled)),
    only_where(|stage| stage.groups.is_some(), kind("a cell out of memory", 3, strains::memory)),
];

/// Everything that is going on.
struct Storm {
    stage: Stage,
    loads: Vec<Load>,
    probe: Probe,
    numbers: Numbers,
    tallies: Tallies,
}

fn nothing_acknowledged_is_lost_in_a_storm_of_faults(identity: Identity) {
    let usual = if identity == Identity::Root { 200 } else { 50 };
    let faults = number("ENCLOS_STORM_FAULTS").unwrap_or(usual);
    let seed = number("ENCLOS_STORM_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let mut storm = Storm::begin(identity, seed);
    for kind in storm.course(faults) {
        storm.strike(kind);
    }
    storm.calm();
}

/// What a variable of the environment asks for.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is to be a number, not {text:?}")))
}

impl Storm {
    fn begin(identity: Identity, seed: u64) -> Storm {
        // What a killed monitor leaves comes to us, as it would to the service manager, and can be looked after.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("look after what is left");
        let (stage, probe) = Stage::build(identity);
        let loads = stage.loads(seed);
        let mut storm =
            Storm { stage, loads, probe, numbers: Numbers::new(seed), tallies: Tallies::new(identity, seed) };
        storm.look();
        storm.all_go_on();
        storm
    }

    /// So many faults in the shares of their kinds, shuffled.
    fn course(&mut self, faults: u64) -> Vec<&'static Kind> {
        let possible: Vec<&Kind> = KINDS.iter().filter(|kind| (kind.needs)(&self.stage)).collect();
        let whole: u64 = possible.iter().map(|kind| u64::from(kind.share)).sum();
        let mut course: Vec<&Kind> = Vec::new();
        for kind in &possible {
            let count = (faults * u64::from(kind.share)).div_ceil(whole);
            course.extend((0..count).map(|_| *kind));
        }
        for at in (1..course.len()).rev() {
            course.swap(at, usize::try_from(self.numbers.next() % (at as u64 + 1)).expect("small"));
        }
        course
    }

    fn strike(&mut self, kind: &'static Kind) {
        self.tallies.begin(kind.name);
        let since = Instant::now();
        (kind.strike)(self);
        self.look();
        self.all_go_on();
        self.tallies.recovered(since.elapsed());
        println!("{}: all go on after {} ms", kind.name, since.elapsed().as_millis());
        self.compare();
    }

    /// Somebody else logs in, at the first try, and works.
    fn look(&mut self) {
        match self.probe.look() {
            Ok(took) => self.tallies.looked(took),
            Err(error) => panic!("somebody else was disturbed: {error}\n{}", self.stage.node.log()),
        }
    }

    /// The same at the same time, to be judged later.
    fn probe_meanwhile(&self) -> JoinHandle<Result<Duration, String>> {
        let mut probe = self.probe.clone();
        std::thread::spawn(move || probe.look())
    }

    fn judge(&mut self, probe: JoinHandle<Result<Duration, String>>) {
        match probe.join().expect("a probe") {
            Ok(took) => self.tallies.looked(took),
            Err(error) => panic!("somebody else was disturbed: {error}\n{}", self.stage.node.log()),
        }
    }

    fn load(&self, name: &str) -> &Load {
        self.loads.iter().find(|load| load.name == name).unwrap_or_else(|| panic!("nobody does {name}"))
    }

    fn all_go_on(&self) {
        let names: Vec<&str> = self.loads.iter().map(|load| load.name).collect();
        self.some_go_on(&names);
    }

    /// Each of these does something more.
    #[track_caller]
    fn some_go_on(&self, names: &[&str]) {
        let before: Vec<(&Load, u64)> =
            names.iter().map(|name| self.load(name)).map(|load| (load, load.pace.steps())).collect();
        let stuck = || -> Vec<&str> {
            let stuck = before.iter().filter(|(load, steps)| load.pace.steps() <= *steps);
            stuck.map(|(load, _)| load.name).collect()
        };
        let came = wait_until(REPLACED, || stuck().is_empty() || !self.loads.iter().all(Load::is_alive));
        let ended: Vec<&str> = self.loads.iter().filter(|load| !load.is_alive()).map(|load| load.name).collect();
        assert!(ended.is_empty(), "{ended:?} found something wrong");
        let refusals: Vec<String> = names.iter().map(|name| self.load(name).pace.refusals()).collect();
        assert_eq!(came, Waiting::Came, "{:?} do not go on: {refusals:#?}\n{}", stuck(), self.stage.node.log());
    }

    /// Each of these is refused something, in these words, while something is done to that end.
    #[track_caller]
    fn is_refused(&self, names: &[&str], sentence: &str, mut meanwhile: impl FnMut()) {
        let before: Vec<(&Load, u64)> =
            names.iter().map(|name| self.load(name)).map(|load| (load, load.pace.refused(sentence))).collect();
        let came = wait_until(REPLACED, || {
            meanwhile();
            before.iter().all(|(load, count)| load.pace.refused(sentence) > *count)
        });
        let refusals: Vec<String> = names.iter().map(|name| self.load(name).pace.refusals()).collect();
        assert_eq!(came, Waiting::Came, "nobody reads {sentence:?} but {refusals:#?}");
    }

    /// What was acknowledged since the last time is there.
    fn compare(&mut self) {
        self.nothing_is_lost(|journal| journal.look());
    }

    fn nothing_is_lost(&mut self, look: fn(&mut Journal) -> Vec<String>) {
        let look = |load: &Load| load.journal().map(|mut journal| (load.name, look(&mut journal)));
        let found = self.loads.iter().filter_map(look);
        let broken: Vec<String> =
            found.flat_map(|(name, broken)| broken.into_iter().map(move |what| format!("{name}: {what}"))).collect();
        self.tallies.lost(broken.len());
        assert!(broken.is_empty(), "what was acknowledged is lost: {broken:#?}");
    }

    fn toss(&mut self) -> bool {
        self.numbers.next().is_multiple_of(2)
    }

    /// The end: everybody finishes, everything is compared, the node ends, and nothing is left.
    fn calm(mut self) {
        self.all_go_on();
        self.loads.iter().for_each(Load::stop);
        self.loads.iter_mut().for_each(Load::join);
        self.nothing_is_lost(|journal| journal.look_at_all());
        self.tallies.end(&self.loads);
        self.mirror_is_alike();
        let nobody = || self.stage.node.sessions().is_empty();
        assert_eq!(wait_until(GONE, nobody), Waiting::Came, "sessions are listed of people who have gone");
        self.nothing_is_left();
    }

    fn mirror_is_alike(&self) {
        let (local, login) = (self.stage.node.dir().join("mirrored"), self.stage.mirror());
        assert!(mirror(&login, &local), "rsync cannot finish");
        let there = self.stage.node.home("acme").join("www/mirror/mirror");
        finish(std::process::Command::new("diff").arg("-r").arg(local).arg(there), "").ok();
    }

    fn nothing_is_left(mut self) {
        let ended = self.stage.node.end(nix::sys::signal::Signal::SIGTERM);
        assert!(ended.success(), "{ended}\n{}", self.stage.node.log());
        let left = self.stage.what_is_left();
        assert!(left.is_empty(), "the storm leaves this behind: {left:#?}\n{}", self.stage.node.log());
        // One for each upload that a killed session was at, at most.
        let cuts: u64 = self.loads.iter().map(|load| load.pace.cuts()).sum();
        assert!(self.stage.beginnings as u64 <= cuts, "{} beginnings of {cuts} cuts", self.stage.beginnings);
        self.tallies.is_clean(self.stage.beginnings);
    }
}
