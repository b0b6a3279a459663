//! What a user may forward, and the network that its programs and forwards are in.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The network of a user's shell cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// One of its own, with nothing in it but itself.
    #[default]
    Own,
    /// The host's, which it shares with everything that runs there.
    Host,
}

impl Network {
    /// As written in commands, JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Network::Own => "own",
            Network::Host => "host",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A network we do not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("network {text:?} is not known; use own or host")]
pub struct UnknownNetwork {
    text: String,
}

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(text: &str) -> Result<Self, UnknownNetwork> {
        match text {
            "own" => Ok(Network::Own),
            "host" => Ok(Network::Host),
            _ => Err(UnknownNetwork { text: text.chars().take(64).collect() }),
        }
    }
}

/// One place that may be connected to, or listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Permit {
    /// A host by the name or address that a client gives, and a port; `None` stands for all.
    Port { host: Option<String>, port: Option<u16> },
    /// A socket by its path.
    Socket(String),
}

/// Names of the cell itself. A client may mean any of them with any other.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn is_same_host(one: &str, other: &str) -> bool {
    let same_address = match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one.to_canonical() == other.to_canonical(),
        _ => false,
    };
    same_address || one.eq_ignore_ascii_case(other) || (is_loopback(one) && is_loopback(other))
}

impl Permit {
    /// Longest text: a path of a socket (unix(7)), or the longest name of a host (RFC 1035) and a port.
    const LONGEST: usize = 262;

    fn covers(&self, host: &str, port: u16) -> bool {
        match self {
            Permit::Port { host: known, port: open } => {
                known.as_deref().is_none_or(|known| is_same_host(known, host)) && open.is_none_or(|open| open == port)
            }
            Permit::Socket(_) => false,
        }
    }

    /// Whether all that `other` permits is permitted by this.
    fn contains(&self, other: &Permit) -> bool {
        match (self, other) {
            (Permit::Socket(one), Permit::Socket(other)) => one == other,
            (Permit::Port { host, port }, Permit::Port { host: theirs, port: open }) => {
                let hosts = match (host, theirs) {
                    (None, _) => true,
                    (Some(one), Some(other)) => is_same_host(one, other),
                    (Some(_), None) => false,
                };
                hosts && (port.is_none() || port == open)
            }
            _ => false,
        }
    }

    /// What both permit, if there is anything.
    fn and(&self, other: &Permit) -> Option<Permit> {
        match (self, other) {
            (one, other) if one.contains(other) => Some(other.clone()),
            (one, other) if other.contains(one) => Some(one.clone()),
            (Permit::Port { host: Some(host), port: None }, Permit::Port { host: None, port })
            | (Permit::Port { host: None, port }, Permit::Port { host: Some(host), port: None }) => {
                Some(Permit::Port { host: Some(host.clone()), port: *port })
            }
            _ => None,
        }
    }

    /// What is left of it where only loopback addresses are listened on.
    fn on_loopback(&self) -> Option<Permit> {
        match self {
            Permit::Port { host: Some(host), .. } if !is_loopback(host) => None,
            Permit::Port { host: None, port } => Some(Permit::Port { host: Some("localhost".to_owned()), port: *port }),
            loopback_or_socket => Some(loopback_or_socket.clone()),
        }
    }
}

impl FromStr for Permit {
    type Err = BadPermits;

    fn from_str(text: &str) -> Result<Permit, BadPermits> {
        let bad = || BadPermits::Entry { text: text.chars().take(Permit::LONGEST).collect() };
        let is_plain = text.len() <= Permit::LONGEST && text.chars().all(|c| !c.is_control() && !c.is_whitespace());
        if !is_plain {
            return Err(bad());
        }
        if text.starts_with('/') {
            return Ok(Permit::Socket(text.to_owned()));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("localhost", text));
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(inside) => inside.parse::<Ipv6Addr>().map(|address| address.to_string()).map_err(|_| bad())?,
            None if host.is_empty() || host.contains([':', '[', ']', '/']) => return Err(bad()),
            None => host.to_ascii_lowercase(),
        };
        let port = match port {
            "*" => None,
            port => Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?),
        };
        Ok(Permit::Port { host: (host != "*").then_some(host), port })
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Permit::Port { host, port } = self else {
            let Permit::Socket(path) = self else { return Ok(()) };
            return f.write_str(path);
        };
        match host {
            Some(host) if host.contains(':') => write!(f, "[{host}]:")?,
            Some(host) => write!(f, "{host}:")?,
            None => f.write_str("*:")?,
        }
        match port {
            Some(port) => write!(f, "{port}"),
            None => f.write_str("*"),
        }
    }
}

/// What is no list of permits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each text says what the fields are")]
pub enum BadPermits {
    #[error(
        "{text:?} names no place; use host:port, [address]:port, a port of localhost, the path of a socket, any or none; * stands for all hosts or ports"
    )]
    Entry { text: String },
    #[error(
        "a list of places may have {} entries and {} characters; use * for several of them",
        Permits::MOST,
        Permits::LONGEST
    )]
    TooMany,
}

/// Places that may be connected to, or listened on. Its text is a comma-separated list, `any` or `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Permits {
    /// `None` for everything.
    only: Option<Vec<Permit>>,
}

impl Permits {
    /// Most entries.
    pub const MOST: usize = 64;
    /// Most bytes of text: it travels with all other facts in one message.
    pub const LONGEST: usize = 4096;

    /// Whether a client may have a connection made to a host, by the name that it gives, as with `PermitOpen` of OpenSSH.
    pub fn opens(&self, host: &str, port: u16) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|permit| permit.covers(host, port)))
    }

    /// Whether a client may use a socket.
    pub fn has_socket(&self, path: &str) -> bool {
        let is_it = |permit: &Permit| matches!(permit, Permit::Socket(known) if known == path);
        self.only.as_ref().is_none_or(|only| only.iter().any(is_it))
    }

    /// The addresses to listen on for what a client asks for (RFC 4254, 7.1): the loopback ones, whatever it asks, as with
    /// `GatewayPorts no` of OpenSSH; others only where an entry of the list names them. Port 0 needs all ports. Empty: none.
    pub fn listens(&self, address: &str, port: u16) -> Vec<IpAddr> {
        let outside = match address {
            "" | "*" | "0.0.0.0" | "::" => Some(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]),
            address => {
                address.parse().ok().filter(|address: &IpAddr| !is_loopback(&address.to_string())).map(|a| vec![a])
            }
        };
        let is_named = |permit: &&Permit| match permit {
            Permit::Port { host: Some(host), port: open } => {
                let same = host == address || (address.is_empty() && host == "0.0.0.0");
                same && open.is_none_or(|open| open == port)
            }
            Permit::Port { host: None, port: open } => open.is_none_or(|open| open == port),
            Permit::Socket(_) => false,
        };
        let named = self.only.iter().flatten().find(is_named);
        match (outside, named) {
            (Some(addresses), Some(_)) => addresses,
            _ if !self.opens("localhost", port) => Vec::new(),
            _ => match address {
                "127.0.0.1" => vec![Ipv4Addr::LOCALHOST.into()],
                "::1" => vec![Ipv6Addr::LOCALHOST.into()],
                _ => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            },
        }
    }

    /// What both of two lists permit to connect to.
    pub fn and(&self, other: &Permits) -> Result<Permits, BadPermits> {
        match (&self.only, &other.only) {
            (None, _) => Ok(other.clone()),
            (_, None) => Ok(self.clone()),
            (Some(ours), Some(theirs)) => {
                Permits::bounded(ours.iter().flat_map(|our| theirs.iter().filter_map(|their| our.and(their))))
            }
        }
    }

    /// What both of two lists permit to listen on: `any` says loopback addresses alone, and a list may say more.
    fn and_listening(&self, other: &Permits) -> Result<Permits, BadPermits> {
        match (&self.only, &other.only) {
            (None, Some(list)) | (Some(list), None) => Permits::bounded(list.iter().filter_map(Permit::on_loopback)),
            _ => self.and(other),
        }
    }

    fn bounded(permits: impl Iterator<Item = Permit>) -> Result<Permits, BadPermits> {
        let mut only: Vec<Permit> = Vec::new();
        for permit in permits {
            if !only.contains(&permit) {
                only.push(permit);
            }
            if only.len() > Permits::MOST {
                return Err(BadPermits::TooMany);
            }
        }
        let list = Permits { only: Some(only) };
        if list.to_string().len() <= Permits::LONGEST { Ok(list) } else { Err(BadPermits::TooMany) }
    }

    /// Whether all that `other` permits is permitted by this.
    fn contains(&self, other: &Permits) -> bool {
        match (&self.only, &other.only) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => theirs.iter().all(|their| ours.iter().any(|our| our.contains(their))),
        }
    }
}

impl FromStr for Permits {
    type Err = BadPermits;

    fn from_str(text: &str) -> Result<Permits, BadPermits> {
        match text {
            "any" => return Ok(Permits { only: None }),
            "none" | "" => return Ok(Permits { only: Some(Vec::new()) }),
            text if text.len() > Permits::LONGEST => return Err(BadPermits::TooMany),
            _ => {}
        }
        let only: Vec<Permit> = text.split(',').map(|entry| entry.trim().parse()).collect::<Result<_, _>>()?;
        if only.len() > Permits::MOST { Err(BadPermits::TooMany) } else { Ok(Permits { only: Some(only) }) }
    }
}

impl fmt::Display for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.only.as_deref() {
            None => f.write_str("any"),
            Some([]) => f.write_str("none"),
            Some(only) => f.write_str(&only.iter().map(Permit::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

by_text!(BadPermits: Permits);

/// What a user with the services for it may forward, and in which network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardPolicy {
    /// The network of the cell.
    pub network: Network,
    /// Where connections may lead (`ssh -L`, `-D`, `-W`, `-J`).
    pub permit_open: Permits,
    /// Where may be listened (`ssh -R`).
    pub permit_listen: Permits,
}

impl ForwardPolicy {
    /// Whether something that this allows is not allowed by `after`.
    pub fn is_narrowed_by(&self, after: &ForwardPolicy) -> bool {
        let is_less_network = self.network == Network::Host && after.network == Network::Own;
        is_less_network
            || !after.permit_open.contains(&self.permit_open)
            || !after.permit_listen.contains(&self.permit_listen)
    }

    /// What is left of it where no more than these places are open to somebody; `None` takes nothing away.
    pub fn narrowed(&self, open: Option<&Permits>, listen: Option<&Permits>) -> Result<ForwardPolicy, BadPermits> {
        Ok(ForwardPolicy {
            network: self.network,
            permit_open: open.map_or_else(|| Ok(self.permit_open.clone()), |only| self.permit_open.and(only))?,
            permit_listen: listen
                .map_or_else(|| Ok(self.permit_listen.clone()), |only| self.permit_listen.and_listening(only))?,
        })
    }
}

/// What is to be changed of a [`ForwardPolicy`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "names are those of the policy")]
pub struct ForwardChange {
    pub network: Option<Network>,
    pub permit_open: Option<Permits>,
    pub permit_listen: Option<Permits>,
}

impl ForwardChange {
    /// The policy with the change made.
    #[must_use]
    pub fn apply(self, policy: ForwardPolicy) -> ForwardPolicy {
        ForwardPolicy {
            network: self.network.unwrap_or(policy.network),
            permit_open: self.permit_open.unwrap_or(policy.permit_open),
            permit_listen: self.permit_listen.unwrap_or(policy.permit_listen),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn permits(text: &str) -> Permits {
        text.parse().expect("a list")
    }

    #[test]
    fn lists_read_back_as_they_are_written() {
        for text in ["any", "none", "db.example:3306", "*:443,[2001:db8::1]:22,db:*", "/run/mysqld/mysqld.sock"] {
            assert_eq!(permits(text).to_string(), text);
        }
        assert_eq!(permits("8080, DB:1").to_string(), "localhost:8080,db:1");
        for text in
            ["db", "db:0", "db:65536", "db:-1", ":80", "[::1:80", "::1:80", "a b:1", "db:1,,", "a/b:1", "\u{0}:1"]
        {
            assert!(text.parse::<Permits>().is_err(), "{text:?}");
        }
        assert!("1,".repeat(Permits::MOST + 1).trim_end_matches(',').parse::<Permits>().is_err());
    }

    #[test]
    fn a_host_is_permitted_by_the_name_that_is_given_and_the_cell_by_all_its_names() {
        let some = permits("db:3306,localhost:80,*:443,cache:*");
        for (host, port) in [("db", 3306), ("DB", 3306), ("127.0.0.1", 80), ("::1", 80), ("x", 443), ("cache", 7)] {
            assert!(some.opens(host, port), "{host}:{port}");
        }
        for (host, port) in [("db", 3307), ("10.0.0.1", 80), ("db.", 3306), ("xdb", 3306), ("", 80)] {
            assert!(!some.opens(host, port), "{host}:{port}");
        }
        assert!(permits("any").opens("x", 1) && !permits("none").opens("localhost", 1));
        assert!(permits("any").has_socket("/s") && permits("/s").has_socket("/s") && !some.has_socket("/s"));
    }

    #[test]
    fn only_loopback_is_listened_on_unless_the_list_says_another() {
        let loopback: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        for address in ["", "*", "localhost", "0.0.0.0", "::", "192.0.2.1", "example.org", "127.0.0.1\0"] {
            assert_eq!(permits("any").listens(address, 0), loopback, "{address:?}");
            assert_eq!(permits("8080").listens(address, 8080), loopback, "{address:?}");
            assert!(permits("8080").listens(address, 0).is_empty());
            assert!(permits("none").listens(address, 8080).is_empty());
        }
        assert_eq!(permits("any").listens("127.0.0.1", 1), [IpAddr::from(Ipv4Addr::LOCALHOST)]);
        let every: Vec<IpAddr> = vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        assert_eq!(permits("*:8080").listens("", 8080), every);
        assert_eq!(permits("*:8080").listens("localhost", 8080), loopback);
        assert_eq!(permits("192.0.2.1:80").listens("192.0.2.1", 80), ["192.0.2.1".parse::<IpAddr>().expect("one")]);
        assert!(permits("192.0.2.1:80").listens("", 80).is_empty());
    }

    #[test]
    fn a_policy_is_narrowed_by_less_and_by_nothing_else() {
        let policy =
            |network, open: &str| ForwardPolicy { network, permit_open: permits(open), ..ForwardPolicy::default() };
        let (own, host) = (Network::Own, Network::Host);
        assert!(policy(host, "any").is_narrowed_by(&policy(own, "any")));
        assert!(policy(own, "any").is_narrowed_by(&policy(own, "*:*")), "sockets are not in it");
        assert!(policy(own, "a:1,b:2").is_narrowed_by(&policy(own, "a:1")));
        assert!(!policy(own, "a:1").is_narrowed_by(&policy(host, "any")));
        assert!(!policy(own, "a:1,127.0.0.1:3").is_narrowed_by(&policy(own, "*:1,localhost:*")));
    }

    #[test]
    fn of_two_lists_both_have_to_permit_it() {
        let both = |one: &str, other: &str| permits(one).and(&permits(other)).expect("short").to_string();
        assert_eq!(both("any", "db:1"), "db:1");
        assert_eq!(both("db:*,*:80", "*:1,db:80,x:2"), "db:1,db:80");
        assert_eq!(both("/s", "db:1"), "none");
        assert_eq!(both("/s,a:1", "any"), "/s,a:1");
        let ports = (1..=64).map(|port| format!("*:{port}")).collect::<Vec<_>>().join(",");
        let hosts = (1..=64).map(|host| format!("h{host}:*")).collect::<Vec<_>>().join(",");
        assert_eq!(permits(&ports).and(&permits(&hosts)), Err(BadPermits::TooMany));
    }

    #[test]
    fn a_list_opens_no_address_that_any_keeps_to_itself() {
        let both = |one: &str, other: &str| permits(one).and_listening(&permits(other)).expect("short");
        assert_eq!(both("any", "*:8080,192.0.2.1:80,127.0.0.1:9").to_string(), "localhost:8080,127.0.0.1:9");
        assert_eq!(both("*:8080", "any").to_string(), "localhost:8080");
        assert_eq!(both("*:8080", "*:*").to_string(), "*:8080");
        assert_eq!(both("any", "any").to_string(), "any");
    }

    proptest! {
        /// Whatever two lists say, what both leave is permitted by each.
        #[test]
        fn narrowing_only_narrows(
            ours in proptest::collection::vec("(a|b|localhost|127\\.0\\.0\\.1|0\\.0\\.0\\.0|\\*):(1|2|\\*)", 0..4),
            theirs in proptest::collection::vec("(a|b|localhost|::1|0\\.0\\.0\\.0|\\*):(1|2|\\*)", 0..4),
            are_any in (any::<bool>(), any::<bool>()),
            host in "(a|b|localhost|127\\.0\\.0\\.1|0\\.0\\.0\\.0|c|)", port in 0_u16..4,
        ) {
            let list = |entries: &[String], is_any| {
                let text = entries.join(",").replace("::1", "[::1]");
                if is_any { Permits::default() } else { permits(&text) }
            };
            let (ours, theirs) = (list(&ours, are_any.0), list(&theirs, are_any.1));
            let policy = ForwardPolicy { permit_open: ours.clone(), permit_listen: ours.clone(), ..ForwardPolicy::default() };
            let left = policy.narrowed(Some(&theirs), Some(&theirs)).expect("short");
            prop_assert!(!left.is_narrowed_by(&policy), "{ours} and {theirs}: {left:?}");
            let opens = ours.opens(&host, port) && theirs.opens(&host, port);
            prop_assert_eq!(left.permit_open.opens(&host, port), opens);
            let (by_us, by_them) = (ours.listens(&host, port), theirs.listens(&host, port));
            for address in left.permit_listen.listens(&host, port) {
                let is_in = |list: &[IpAddr]| {
                    list.iter().any(|one| *one == address || (address.is_loopback() && one.is_unspecified()))
                };
                prop_assert!(is_in(&by_us) && is_in(&by_them), "{ours} and {theirs} at {host}:{port}: {address}");
            }
        }
    }
}
