//! What is done against those who guess, and those who only take up room: penalties, and caps on what has not logged in.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::domain::Block;

/// A cap that is felt before it is reached, as OpenSSH's `MaxStartups` (sshd_config(5)): from `begin` connections on, `rate`
/// of a hundred new ones are turned away, and ever more up to `full`, where all are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenStartups")]
pub struct Startups {
    /// Connections below which none is turned away.
    pub begin: usize,
    /// How many of a hundred are from there on.
    pub rate: u8,
    /// Connections from which on all are.
    pub full: usize,
}

/// As it may be written.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenStartups {
    Full(usize),
    Steps(String),
}

/// A text is no such cap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("give a number, or begin:rate:full as in \"50:30:100\"")]
pub struct BadStartups;

impl Startups {
    /// A cap that is not felt before it is reached.
    pub const fn at(full: usize) -> Startups {
        Startups { begin: full, rate: 100, full }
    }
}

impl FromStr for Startups {
    type Err = BadStartups;

    fn from_str(text: &str) -> Result<Self, BadStartups> {
        let parts: Vec<usize> = text.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| BadStartups)?;
        let startups = match parts.as_slice() {
            [full] => Startups::at(*full),
            [begin, rate, full] => {
                Startups { begin: *begin, rate: u8::try_from(*rate).map_err(|_| BadStartups)?, full: *full }
            }
            _ => return Err(BadStartups),
        };
        let is_sound = startups.full > 0 && startups.begin <= startups.full && startups.rate <= 100;
        if is_sound { Ok(startups) } else { Err(BadStartups) }
    }
}

impl TryFrom<WrittenStartups> for Startups {
    type Error = BadStartups;

    fn try_from(written: WrittenStartups) -> Result<Self, BadStartups> {
        match written {
            WrittenStartups::Full(full) => full.to_string().parse(),
            WrittenStartups::Steps(text) => text.parse(),
        }
    }
}

impl fmt::Display for Startups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.begin, self.rate, self.full)
    }
}

/// What each offence costs, in seconds, and when that is felt. Written as one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Penalties {
    /// A wrong password or code.
    pub failed: u32,
    /// A password for a name that nobody has.
    pub unknown_user: u32,
    /// A connection on which nobody tried to log in.
    pub no_attempt: u32,
    /// One on which nobody did in time.
    pub grace: u32,
    /// One whose session crashed.
    pub crash: u32,
    /// A right password of somebody who may not come in, or an attempt at a banned name.
    pub refused: u32,
    /// Seconds that must be outstanding before a source is penalised; they have to pass before it is no more.
    pub begin: u32,
    /// The same for a name that is tried from many sources.
    pub name_begin: u32,
    /// Most that can be outstanding.
    pub longest: u32,
    /// For how long a source stays known for a good login.
    pub trust: u32,
    /// Most sources kept, and most of each other kind.
    pub most: usize,
}

impl Default for Penalties {
    fn default() -> Self {
        Penalties {
            failed: 5,
            unknown_user: 5,
            no_attempt: 1,
            grace: 10,
            crash: 90,
            refused: 5,
            begin: 15,
            name_begin: 60,
            longest: 600,
            trust: 86_400,
            most: 65_536,
        }
    }
}

/// How large a block of addresses is taken for one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceBlock {
    /// Bits of an IPv4 address.
    pub ipv4: u8,
    /// Bits of an IPv6 address.
    pub ipv6: u8,
}

impl Default for SourceBlock {
    fn default() -> Self {
        SourceBlock { ipv4: 32, ipv6: 64 }
    }
}

impl SourceBlock {
    /// The source that an address belongs to.
    pub fn of(self, address: std::net::IpAddr) -> Block {
        let bits = if address.to_canonical().is_ipv4() { self.ipv4 } else { self.ipv6 };
        Block::around(address, bits)
    }
}

/// Balancers that say in a PROXY header whose connection it is that they pass on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyProtocol {
    /// Where they connect from.
    pub from: Vec<Block>,
    /// Whether they must.
    pub required: bool,
}

impl Default for ProxyProtocol {
    fn default() -> Self {
        ProxyProtocol { from: Vec::new(), required: true }
    }
}

/// Who may come to the door.
#[derive(Debug, Clone)]
pub struct AdmissionSettings {
    /// How long a client may take to log in.
    pub login_grace: Duration,
    /// Up to so much longer, drawn for each connection: nobody can tell the moment at which one is ended.
    pub login_grace_jitter: Duration,
    /// Connections that have not logged in.
    pub unauthenticated: Startups,
    /// Those of one source.
    pub unauthenticated_per_source: Startups,
    /// Most connections in all.
    pub max_connections: usize,
    /// What is one source.
    pub source_block: SourceBlock,
    /// Sources that are neither penalised nor capped by themselves.
    pub exempt: Vec<Block>,
    /// What offences cost.
    pub penalties: Penalties,
    /// Who says from where others come.
    pub proxy_protocol: ProxyProtocol,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_is_a_number_or_three() {
        assert_eq!("7".parse(), Ok(Startups::at(7)));
        assert_eq!("50:30:100".parse(), Ok(Startups { begin: 50, rate: 30, full: 100 }));
        for text in ["", "0", "1:2", "5:30:4", "1:101:9", "1:2:3:4", "a", "-1", "1:300:5"] {
            assert_eq!(text.parse::<Startups>(), Err(BadStartups), "{text:?}");
        }
    }

    #[test]
    fn a_source_of_ipv6_is_a_network_of_one_customer() {
        let of = |text: &str| SourceBlock::default().of(text.parse().expect("an address")).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
