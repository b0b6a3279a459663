//! Who may talk to us at all. Makes `Peer`, the first value of the journey.
//!
//! Decides by the address that the kernel saw, before a byte is read: caps on what has not logged in, and penalties.

mod bans;
mod expiring;
mod penalties;
mod turned_away;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

pub(super) use bans::Bans;
pub(super) use penalties::{Offence, Penalties, Penalty, Whom};
pub(super) use turned_away::TurnedAway;

use crate::config::{AdmissionSettings, Startups};
use crate::domain::{Ban, BanOrigin, Banned, Block, ConnId, Timestamp, UserName};
use crate::wire::HeaderRule;

/// An accepted connection that may talk to us.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its number.
    pub(super) conn: ConnId,
    /// Where it comes from, as the kernel says.
    pub(super) address: SocketAddr,
    /// When its client must have logged in.
    pub(super) deadline: Instant,
}

/// The caps on connections, and who is held back.
#[derive(Debug)]
pub(super) struct Admission {
    settings: AdmissionSettings,
    /// Who is held back.
    pub(super) penalties: Penalties,
    /// Who is banned.
    pub(super) bans: Bans,
}

/// Now, by the clock that only goes forward and by the one on the wall, which bans are written by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The one.
    pub(super) instant: Instant,
    /// The other.
    pub(super) time: Timestamp,
}

/// How many there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// That have not logged in, with or without a session.
    pub(super) unauthenticated: usize,
    /// Those of them that come from the same source as the one that is asked about.
    pub(super) of_source: usize,
    /// In all.
    pub(super) connections: usize,
}

/// Why a connection may not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There are too many connections in all.
    Full,
    /// Too many have not logged in.
    Startups,
    /// Too many from there have not.
    StartupsOfSource,
    /// A penalty is outstanding.
    Penalised(Penalty),
    /// The address is banned, for this reason.
    Banned {
        /// Whom the ban names.
        who: Banned,
        /// Why.
        reason: String,
    },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Full => f.write_str("too many connections"),
            Refusal::Startups => f.write_str("too many connections that have not logged in"),
            Refusal::StartupsOfSource => f.write_str("too many connections of this source that have not logged in"),
            Refusal::Penalised(penalty) => write!(f, "penalty on {}", penalty.whom),
            Refusal::Banned { who, reason } => write!(f, "ban on {who}: {reason}"),
        }
    }
}

impl Refusal {
    /// What the client reads: first the words of OpenSSH.
    pub(super) fn sentence(&self) -> String {
        let why = match self {
            Refusal::Full | Refusal::Startups => "the server is busy; try again".to_owned(),
            Refusal::Banned { .. } => "your address is banned here; ask the operator".to_owned(),
            Refusal::StartupsOfSource => "too many connections from your address are logging in; try again".to_owned(),
            Refusal::Penalised(penalty) => format!(
                "too many failed or unused connections from your address; try again in {} seconds",
                penalty.left.as_secs() + 1
            ),
        };
        format!("Not allowed at this time: {why}\r\n")
    }
}

impl Admission {
    /// With nobody held back.
    pub(super) fn new(settings: &AdmissionSettings) -> Admission {
        Admission { settings: settings.clone(), penalties: Penalties::new(settings), bans: Bans::default() }
    }

    /// Why one more may not come in from there; `None` when it may. `draw` is drawn anew below 100 for each.
    pub(super) fn refusal(&self, from: IpAddr, load: Load, draw: u8, at: Moment) -> Option<Refusal> {
        if let Some(held) = self.held_off(from, at) {
            return Some(held);
        }
        if load.connections >= self.settings.max_connections {
            return Some(Refusal::Full);
        }
        let of_source = self.settings.unauthenticated_per_source;
        if !self.penalties.is_exempt(from) && turns_away(of_source, load.of_source, draw) {
            return Some(Refusal::StartupsOfSource);
        }
        turns_away(self.settings.unauthenticated, load.unauthenticated, draw).then_some(Refusal::Startups)
    }

    /// Why nobody at all may come in from there; `None` when somebody may. Penalties of other nodes count as much as our own.
    pub(super) fn held_off(&self, from: IpAddr, at: Moment) -> Option<Refusal> {
        if let Some(penalty) = self.penalties.at_the_door(from, at.instant) {
            return Some(Refusal::Penalised(penalty));
        }
        let is_spared = self.penalties.is_spared(from, at.instant);
        let counts = |ban: &&Ban| ban.origin == BanOrigin::Operator || !is_spared;
        let ban = self.bans.on_address(from, at.time).find(counts)?;
        Some(Refusal::Banned { who: ban.who.clone(), reason: ban.reason.clone() })
    }

    /// Whether an operator banned an address, or a name that comes from there.
    pub(super) fn is_banned(&self, from: IpAddr, user: &UserName, now: Timestamp) -> bool {
        let of_operator = |ban: &Ban| ban.origin == BanOrigin::Operator;
        self.bans.on_name(user, from, now).is_some() || self.bans.on_address(from, now).any(of_operator)
    }

    /// Whether a connection from there begins with a PROXY header: by the address that the kernel saw, and no other.
    pub(super) fn header_rule(&self, peer: SocketAddr) -> Option<HeaderRule> {
        let proxies = &self.settings.proxy_protocol;
        let is_proxy = proxies.from.iter().any(|block| block.holds(peer.ip()));
        let rule = if proxies.required { HeaderRule::Required } else { HeaderRule::Optional };
        is_proxy.then_some(rule)
    }

    /// The source that an address belongs to.
    pub(super) fn source(&self, from: IpAddr) -> Block {
        self.penalties.source(from)
    }

    /// When a client that comes now must have logged in.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        let jitter = self.settings.login_grace_jitter.mul_f32(f32::from(random_byte()) / 255.0);
        now + self.settings.login_grace + jitter
    }
}

/// Whether one more is turned away when there are so many. The chance grows from `rate` to certainty between `begin` and
/// `full` (sshd_config(5), `MaxStartups`).
fn turns_away(cap: Startups, present: usize, draw: u8) -> bool {
    if present >= cap.full {
        return true;
    }
    let Some(above) = present.checked_sub(cap.begin) else { return false };
    let rate = usize::from(cap.rate);
    let chance = rate + (100 - rate.min(100)) * above / (cap.full - cap.begin).max(1);
    usize::from(draw) < chance
}

/// A number below 100 that nobody can foretell. Without one everybody is unlucky.
pub(super) fn draw() -> u8 {
    // 200 of 256 values, so that each is as likely.
    (0..16).map(|_| random_byte()).find(|byte| *byte < 200).map_or(0, |byte| byte % 100)
}

fn random_byte() -> u8 {
    let mut bytes = [0];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(_) => {}
        Err(errno) => tracing::error!(%errno, "the system gives no random numbers"),
    }
    let [byte] = bytes;
    byte
}

/// Seconds as they are logged.
pub(super) fn seconds(left: Duration) -> u64 {
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Penalties as Costs, ProxyProtocol, SourceBlock};

    pub(super) fn settings() -> AdmissionSettings {
        AdmissionSettings {
            login_grace: Duration::from_secs(120),
            login_grace_jitter: Duration::from_secs(4),
            unauthenticated: Startups::at(4),
            unauthenticated_per_source: Startups::at(2),
            max_connections: 6,
            source_block: SourceBlock::default(),
            exempt: vec!["10.0.0.0/8".parse().expect("a network")],
            penalties: Costs::default(),
            proxy_protocol: ProxyProtocol::default(),
        }
    }

    #[test]
    fn each_cap_holds_by_itself() {
        let admission = Admission::new(&settings());
        let refusal = |from: &str, unauthenticated, of_source, connections| {
            let load = Load { unauthenticated, of_source, connections };
            let at = Moment { instant: Instant::now(), time: Timestamp(1) };
            admission.refusal(from.parse().expect("an address"), load, 99, at)
        };
        assert_eq!(refusal("192.0.2.7", 3, 1, 5), None);
        assert_eq!(refusal("192.0.2.7", 4, 1, 5), Some(Refusal::Startups));
        assert_eq!(refusal("192.0.2.7", 3, 2, 5), Some(Refusal::StartupsOfSource));
        assert_eq!(refusal("192.0.2.7", 0, 0, 6), Some(Refusal::Full));
        assert_eq!(refusal("10.1.1.1", 3, 3, 5), None, "an exempt source has no cap of its own");
        assert_eq!(refusal("10.1.1.1", 4, 0, 5), Some(Refusal::Startups));
    }

    #[test]
    fn a_ban_holds_for_all_and_a_penalty_of_another_node_for_strangers() {
        let mut admission = Admission::new(&settings());
        let ban = |block: &str, origin| Ban {
            who: Banned::Block(block.parse().expect("a block")),
            ends: None,
            reason: "why".to_owned(),
            origin,
        };
        admission.bans.begin(1);
        admission.bans.add(1, vec![ban("192.0.2.7", BanOrigin::Penalty), ban("198.51.100.0/24", BanOrigin::Operator)]);
        admission.bans.end(1);
        let at = Moment { instant: Instant::now(), time: Timestamp(1) };
        let is_held = |admission: &Admission, from: &str| admission.held_off(from.parse().expect("one"), at).is_some();
        assert!(
            is_held(&admission, "192.0.2.7") && is_held(&admission, "198.51.100.1") && !is_held(&admission, "10.0.0.1")
        );
        for from in ["192.0.2.7", "198.51.100.1"] {
            admission.penalties.logged_in(from.parse().expect("one"), &"bob".parse().expect("a name"), at.instant);
        }
        assert!(!is_held(&admission, "192.0.2.7") && is_held(&admission, "198.51.100.1"));
    }

    #[test]
    fn a_cap_is_felt_before_it_is_reached() {
        let cap: Startups = "10:30:20".parse().expect("a cap");
        let unlucky = |present| (0..100).filter(|draw| turns_away(cap, present, *draw)).count();
        assert_eq!((unlucky(9), unlucky(10), unlucky(15), unlucky(20), unlucky(500)), (0, 30, 65, 100, 100));
        assert_eq!((0..100).filter(|draw| turns_away(Startups::at(3), 2, *draw)).count(), 0);
    }

    #[test]
    fn draws_are_below_a_hundred_and_not_alike() {
        let drawn: std::collections::BTreeSet<u8> = (0..1000).map(|_| draw()).collect();
        assert!(drawn.iter().all(|n| *n < 100) && drawn.len() > 50);
    }

    #[test]
    fn the_time_to_log_in_is_not_the_same_for_all() {
        let (admission, now) = (Admission::new(&settings()), Instant::now());
        let graces: std::collections::BTreeSet<_> = (0..50).map(|_| admission.deadline(now) - now).collect();
        assert!(graces.len() > 5);
        assert!(graces.iter().all(|grace| (120..=124).contains(&grace.as_secs())));
    }
}
