//! What it costs to guess, and to take up room for nothing. Pure: the time comes in as an argument.
//!
//! In the manner of OpenSSH's `PerSourcePenalties`: offences add seconds that pass by themselves; once enough are outstanding
//! the source is turned away until all have passed. Two things are added to it, for addresses that many people share:
//!
//! - A source from which somebody logged in of late is not turned away for what is guessed there. Passwords and codes are not
//!   looked at instead, except for names that logged in from there themselves. One name that fails over and over from there
//!   counts once: it is held back itself.
//! - Keys cannot be guessed. They cost nothing and are never held back.
//!
//! All of it is bounded. Sources, names, and names from one source are kept apart, so that a flood of the one does not make
//! room by forgetting the other.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::expiring::Expiring;
use crate::config::{AdmissionSettings, Penalties as Costs, SourceBlock};
use crate::domain::{Block, ClaimedName, UserName};

/// What somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::monitor) enum Offence {
    /// Showed a wrong password or code.
    Failed,
    /// Showed a password for a name that nobody has.
    UnknownUser,
    /// Came and tried nothing.
    NoAttempt,
    /// Took too long.
    Grace,
    /// Crashed the session.
    Crash,
    /// Showed what is right and may not come in, or tried a banned name.
    Refused,
}

impl Offence {
    /// As the log calls it.
    pub(in crate::monitor) fn phrase(self) -> &'static str {
        match self {
            Offence::Failed => "failed authentication",
            Offence::UnknownUser => "unknown user",
            Offence::NoAttempt => "no authentication attempted",
            Offence::Grace => "login grace exceeded",
            Offence::Crash => "crash of a session",
            Offence::Refused => "refused by policy",
        }
    }

    fn cost(self, costs: &Costs) -> Duration {
        Duration::from_secs(u64::from(match self {
            Offence::Failed => costs.failed,
            Offence::UnknownUser => costs.unknown_user,
            Offence::NoAttempt => costs.no_attempt,
            Offence::Grace => costs.grace,
            Offence::Crash => costs.crash,
            Offence::Refused => costs.refused,
        }))
    }
}

/// Who is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::monitor) enum Whom {
    /// All who come from there.
    Source(Block),
    /// A name, wherever it comes from.
    Name(UserName),
    /// A name that comes from there.
    NameFrom(UserName, Block),
}

impl std::fmt::Display for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Whom::Source(block) => write!(f, "{block}"),
            Whom::Name(name) => write!(f, "{name}"),
            Whom::NameFrom(name, block) => write!(f, "{name} from {block}"),
        }
    }
}

/// Somebody is held back, for so long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::monitor) struct Penalty {
    /// Who.
    pub(in crate::monitor) whom: Whom,
    /// How long.
    pub(in crate::monitor) left: Duration,
}

/// Seconds outstanding; `is_felt` once there were enough of them.
#[derive(Debug, Clone, Copy)]
struct Outstanding {
    is_felt: bool,
}

/// All that is outstanding, and who is known for something good.
#[derive(Debug)]
pub(in crate::monitor) struct Penalties {
    costs: Costs,
    source_block: SourceBlock,
    exempt: Vec<Block>,
    sources: Expiring<Block, Outstanding>,
    crashes: Expiring<Block, Outstanding>,
    names: Expiring<UserName, Outstanding>,
    pairs: Expiring<(Block, UserName), Outstanding>,
    good: Expiring<Block, ()>,
    good_pairs: Expiring<(Block, UserName), ()>,
}

impl Penalties {
    /// Nobody is held back yet.
    pub(super) fn new(settings: &AdmissionSettings) -> Penalties {
        let most = settings.penalties.most;
        Penalties {
            costs: settings.penalties,
            source_block: settings.source_block,
            // A balancer is not to blame for what it passes on.
            exempt: settings.exempt.iter().chain(&settings.proxy_protocol.from).copied().collect(),
            sources: Expiring::new(most),
            crashes: Expiring::new(most),
            names: Expiring::new(most),
            pairs: Expiring::new(most),
            good: Expiring::new(most),
            good_pairs: Expiring::new(most),
        }
    }

    /// Whether nothing is counted there.
    pub(super) fn is_exempt(&self, from: IpAddr) -> bool {
        self.exempt.iter().any(|block| block.holds(from))
    }

    /// Whether a penalty of another node does not count there: nothing does, or somebody logged in from there of late.
    pub(super) fn is_spared(&self, from: IpAddr, now: Instant) -> bool {
        self.is_exempt(from) || self.good.get(&self.source(from), now).is_some()
    }

    /// The source that an address belongs to.
    pub(in crate::monitor) fn source(&self, from: IpAddr) -> Block {
        self.source_block.of(from)
    }

    /// Whether somebody who comes from there is turned away. A crash counts whoever else is there: it may be the first of the
    /// many attempts that an attack on memory takes.
    pub(in crate::monitor) fn at_the_door(&self, from: IpAddr, now: Instant) -> Option<Penalty> {
        if self.is_exempt(from) {
            return None;
        }
        let source = self.source(from);
        let crashed = felt(&self.crashes, &source, now);
        let is_trusted = self.good.get(&source, now).is_some();
        let left = crashed.or_else(|| felt(&self.sources, &source, now).filter(|_| !is_trusted))?;
        Some(Penalty { whom: Whom::Source(source), left })
    }

    /// Whether a password or a code is not to be looked at.
    pub(in crate::monitor) fn guessing(&self, from: IpAddr, name: &ClaimedName, now: Instant) -> Option<Penalty> {
        if self.is_exempt(from) {
            return None;
        }
        let source = self.source(from);
        let of_source = felt(&self.sources, &source, now).map(|left| Penalty { whom: Whom::Source(source), left });
        let Some(name) = possible(name) else { return of_source };
        let pair = (source, name.clone());
        if let Some(left) = felt(&self.pairs, &pair, now) {
            return Some(Penalty { whom: Whom::NameFrom(name, source), left });
        }
        if self.good_pairs.get(&pair, now).is_some() {
            return None;
        }
        of_source.or_else(|| felt(&self.names, &name, now).map(|left| Penalty { whom: Whom::Name(name), left }))
    }

    /// Counts an offence, and says who is held back from now on for it.
    pub(in crate::monitor) fn charge(
        &mut self,
        offence: Offence,
        from: IpAddr,
        name: Option<&ClaimedName>,
        now: Instant,
    ) -> Vec<Penalty> {
        let cost = offence.cost(&self.costs);
        if cost.is_zero() || self.is_exempt(from) {
            return Vec::new();
        }
        let source = self.source(from);
        let is_trusted = self.good.get(&source, now).is_some();
        let (begin, name_begin) = (self.costs.begin, self.costs.name_begin);
        let longest = Duration::from_secs(self.costs.longest.into());
        let add = Adding { cost, longest, now };
        let mut felt = Vec::new();
        match offence {
            Offence::Crash => {
                felt.extend(add.to(&mut self.crashes, source, begin).map(|left| (Whom::Source(source), left)))
            }
            Offence::NoAttempt | Offence::Grace if is_trusted => {}
            Offence::NoAttempt | Offence::Grace => {
                felt.extend(add.to(&mut self.sources, source, begin).map(|left| (Whom::Source(source), left)));
            }
            Offence::Failed | Offence::UnknownUser | Offence::Refused => {
                let name = name.and_then(possible);
                let pair = name.clone().map(|name| (source, name));
                let is_known = pair.as_ref().is_some_and(|pair| self.pairs.get(pair, now).is_some());
                if !(is_trusted && is_known) {
                    felt.extend(add.to(&mut self.sources, source, begin).map(|left| (Whom::Source(source), left)));
                }
                if let (Some(pair), Some(name)) = (pair, name) {
                    let of_pair = add.to(&mut self.pairs, pair, begin);
                    felt.extend(of_pair.map(|left| (Whom::NameFrom(name.clone(), source), left)));
                    felt.extend(add.to(&mut self.names, name.clone(), name_begin).map(|left| (Whom::Name(name), left)));
                }
            }
        }
        felt.into_iter().map(|(whom, left)| Penalty { whom, left }).collect()
    }

    /// Somebody logged in from there.
    pub(in crate::monitor) fn logged_in(&mut self, from: IpAddr, name: &UserName, now: Instant) {
        let source = self.source(from);
        let until = now + Duration::from_secs(self.costs.trust.into());
        self.good.set(source, (), until, now);
        self.good_pairs.set((source, name.clone()), (), until, now);
    }

    /// Forgives all sources that lie in a block.
    pub(in crate::monitor) fn forgive_sources(&mut self, block: Block) {
        let is_meant = |source: &Block| block.covers(*source) || source.covers(block);
        self.sources.remove_if(is_meant);
        self.crashes.remove_if(is_meant);
        self.pairs.remove_if(|(source, _)| is_meant(source));
    }

    /// Forgives a name where it comes from there.
    pub(in crate::monitor) fn forgive_name_from(&mut self, name: &UserName, block: Block) {
        self.pairs.remove_if(|(source, other)| other == name && (block.covers(*source) || source.covers(block)));
    }

    /// Forgives a name.
    pub(in crate::monitor) fn forgive_name(&mut self, name: &UserName) {
        self.names.remove(name);
        self.pairs.remove_if(|(_, other)| other == name);
    }
}

/// What a typed name counts for: nothing is kept for what can be nobody's.
fn possible(name: &ClaimedName) -> Option<UserName> {
    name.as_unchecked_str().parse().ok()
}

fn felt<K: Ord + Clone>(kept: &Expiring<K, Outstanding>, key: &K, now: Instant) -> Option<Duration> {
    let (end, outstanding) = kept.get(key, now)?;
    outstanding.is_felt.then(|| end.saturating_duration_since(now))
}

/// One offence that is being counted.
struct Adding {
    cost: Duration,
    longest: Duration,
    now: Instant,
}

impl Adding {
    /// Adds it to what is outstanding for a key; says how much that is when it begins to be felt.
    fn to<K: Ord + Clone>(&self, kept: &mut Expiring<K, Outstanding>, key: K, begin: u32) -> Option<Duration> {
        let (end, was_felt) = kept.get(&key, self.now).map_or((self.now, false), |(end, o)| (end, o.is_felt));
        let end = (end + self.cost).min(self.now + self.longest);
        let left = end.saturating_duration_since(self.now);
        let is_felt = was_felt || left >= Duration::from_secs(begin.into());
        kept.set(key, Outstanding { is_felt }, end, self.now);
        (is_felt && !was_felt).then_some(left)
    }
}

#[cfg(test)]
mod tests;
