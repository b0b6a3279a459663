//! Where somebody may come from: addresses and networks, as in `from=` of `authorized_keys` (sshd(8)).

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Block, NamePattern};

/// One word of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    is_refused: bool,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// The addresses whose first bits are these.
    Block(Block),
    /// The addresses whose text fits: `192.0.2.*`.
    Text(NamePattern),
}

/// A list of addresses, networks (`192.0.2.0/24`) and patterns of addresses (`192.0.2.*`); those after a `!` are refused
/// whatever else is listed. Somebody is let in whose address is listed and not refused, and from everywhere when there is no
/// list. Names of hosts are not taken: nothing here looks them up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sources(Vec<Source>);

/// Why a text is no such list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSource {
    /// It is neither an address nor a network nor a pattern of addresses.
    #[error(
        "{0:?} is not an address: use one such as 192.0.2.7, 192.0.2.0/24, 192.0.2.* or !192.0.2.9; names of hosts are not looked up"
    )]
    NoAddress(String),
    /// Bits are set behind the mask.
    #[error("{text:?} has bits set behind its mask; the network is {network}")]
    LooseMask {
        /// As written.
        text: String,
        /// As it may be meant.
        network: String,
    },
    /// There would be nobody left.
    #[error("only refused addresses are listed, so nobody could come; list those that may as well, such as 0.0.0.0/0")]
    NobodyLeft,
    /// There are too many.
    #[error("more than {most} addresses cannot be listed", most = Sources::MOST)]
    TooMany,
}

impl Sources {
    /// Most words of one list.
    pub const MOST: usize = 64;

    /// Whether somebody may come from everywhere.
    pub fn is_everywhere(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether somebody may come from this address. One of IPv4 in IPv6 is one of IPv4.
    pub fn allow(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_listed = |refused: bool| self.0.iter().any(|s| s.is_refused == refused && s.what.holds(address));
        self.is_everywhere() || (is_listed(false) && !is_listed(true))
    }
}

impl What {
    fn holds(&self, address: IpAddr) -> bool {
        match self {
            What::Block(block) => block.holds(address),
            What::Text(pattern) => pattern.matches(address.to_string().as_bytes()),
        }
    }
}

impl std::str::FromStr for Source {
    type Err = BadSource;

    fn from_str(text: &str) -> Result<Self, BadSource> {
        let (is_refused, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let is_pattern = rest.contains(['*', '?']);
        let what = match is_pattern {
            true if rest == "*" => What::Text("?*".parse().map_err(|_| BadSource::NoAddress(text.to_owned()))?),
            true if rest.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '*' | '?')) => {
                What::Text(rest.parse().map_err(|_| BadSource::NoAddress(rest.chars().take(64).collect()))?)
            }
            true => return Err(BadSource::NoAddress(rest.chars().take(64).collect())),
            false => What::Block(rest.parse()?),
        };
        Ok(Source { is_refused, what })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_refused { "!" } else { "" };
        match &self.what {
            What::Block(block) => write!(f, "{sign}{block}"),
            What::Text(pattern) => write!(f, "{sign}{pattern}"),
        }
    }
}

impl std::str::FromStr for Sources {
    type Err = BadSource;

    fn from_str(text: &str) -> Result<Self, BadSource> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let listed: Vec<Source> = words.map(str::parse).collect::<Result<_, _>>()?;
        if listed.len() > Self::MOST {
            return Err(BadSource::TooMany);
        }
        if !listed.is_empty() && listed.iter().all(|source| source.is_refused) {
            return Err(BadSource::NobodyLeft);
        }
        Ok(Sources(listed))
    }
}

by_text!(BadSource: Sources);

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, source) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            write!(f, "{source}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allows(list: &str, address: &str) -> bool {
        list.parse::<Sources>().expect(list).allow(address.parse().expect("an address"))
    }

    #[test]
    fn an_address_must_be_listed_and_not_refused() {
        assert!(allows("", "192.0.2.7"));
        assert!(allows("192.0.2.0/24", "192.0.2.7") && !allows("192.0.2.0/24", "192.0.3.7"));
        assert!(allows("192.0.2.0/24,!192.0.2.7", "192.0.2.8") && !allows("192.0.2.0/24,!192.0.2.7", "192.0.2.7"));
        assert!(!allows("!192.0.2.0/24, 192.0.2.7", "192.0.2.7"), "a refusal stands wherever it stands");
        assert!(allows("192.0.2.*", "192.0.2.7") && !allows("192.0.2.?", "192.0.2.77"));
        assert!(allows("2001:db8::/32", "2001:db8::1") && !allows("2001:db8::/32", "2001:db9::1"));
        assert!(allows("0.0.0.0/0", "127.0.0.1") && !allows("0.0.0.0/0", "::1"));
        assert!(allows("*", "::1") && allows("*", "10.0.0.1") && allows("::/0", "::1"));
    }

    #[test]
    fn an_address_of_ipv4_in_ipv6_is_one_of_ipv4() {
        assert!(allows("192.0.2.0/24", "::ffff:192.0.2.7"));
        assert!(!allows("!192.0.2.7,*", "::ffff:192.0.2.7"));
    }

    #[test]
    fn what_could_mean_something_else_is_refused() {
        for text in ["example.org", "*.example.org", "192.0.2.0/33", "192.0.2.7/", "192.0.2.0/+8", "!", "::1/129"] {
            assert!(matches!(text.parse::<Sources>(), Err(BadSource::NoAddress(_))), "{text:?}");
        }
        assert!(matches!("10.1.2.3/8".parse::<Sources>(), Err(BadSource::LooseMask { .. })));
        assert_eq!("!10.0.0.0/8".parse::<Sources>(), Err(BadSource::NobodyLeft));
    }

    proptest! {
        #[test]
        fn a_list_reads_back_as_it_is_written(text in "[!*?./:,0-9a-f ]{0,40}") {
            if let Ok(sources) = text.parse::<Sources>() {
                prop_assert_eq!(sources.to_string().parse::<Sources>(), Ok(sources));
            }
        }

        #[test]
        fn one_more_refusal_lets_nobody_in(list in any::<[u8; 4]>(), bits in 0_u8..=32, other in any::<[u8; 4]>()) {
            let network = Block::around(list.into(), bits).to_string();
            let refusing = format!("{network},!{}", IpAddr::from(other));
            for address in [list, other] {
                let address = IpAddr::from(address).to_string();
                prop_assert!(allows(&network, &address) || !allows(&refusing, &address));
            }
        }
    }
}
