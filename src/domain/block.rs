//! A block of addresses: one address, or all whose first bits are the same. IPv4 in IPv6 is IPv4.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::BadSource;

/// The addresses whose first bits are these: `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Block {
    address: IpAddr,
    bits: u8,
}

impl Block {
    /// The block of so many bits that an address lies in.
    pub fn around(address: IpAddr, bits: u8) -> Block {
        let address = address.to_canonical();
        let bits = bits.min(longest(address));
        Block { address: prefix(address, bits), bits }
    }

    /// Whether an address lies in it.
    pub fn holds(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && prefix(address, self.bits) == self.address
    }

    /// How many of the first bits count.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// Its first address.
    pub fn first(self) -> IpAddr {
        self.address
    }

    /// Whether all of another block lies in it.
    pub fn covers(self, other: Block) -> bool {
        other.bits >= self.bits && self.holds(other.address)
    }
}

fn longest(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address without its last bits.
fn prefix(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl FromStr for Block {
    type Err = BadSource;

    fn from_str(text: &str) -> Result<Self, BadSource> {
        let unknown = || BadSource::NoAddress(text.chars().take(64).collect());
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) if bits.bytes().all(|b| b.is_ascii_digit()) => {
                (address, Some(bits.parse::<u8>().map_err(|_| unknown())?))
            }
            Some(_) => return Err(unknown()),
        };
        let address: IpAddr = address.parse().map_err(|_| unknown())?;
        let bits = bits.unwrap_or(longest(address));
        if bits > longest(address) {
            return Err(unknown());
        }
        let (address, bits) = canonical(address, bits);
        let first = prefix(address, bits);
        if first != address {
            return Err(BadSource::LooseMask { text: text.to_owned(), network: format!("{first}/{bits}") });
        }
        Ok(Block { address, bits })
    }
}

/// `::ffff:192.0.2.0/120` is `192.0.2.0/24`; with fewer bits than the mark of such addresses has it is no part of IPv4.
fn canonical(address: IpAddr, bits: u8) -> (IpAddr, u8) {
    match (address, address.to_canonical()) {
        (IpAddr::V6(_), IpAddr::V4(v4)) if bits >= 96 => (IpAddr::V4(v4), bits - 96),
        _ => (address, bits),
    }
}

by_text!(BadSource: Block);

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits == longest(self.address) {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn block(text: &str) -> Block {
        text.parse().expect(text)
    }

    #[test]
    fn an_address_of_ipv4_in_ipv6_is_one_of_ipv4() {
        assert_eq!(Block::around(address("::ffff:192.0.2.7"), 32), Block::around(address("192.0.2.7"), 32));
        assert_eq!(block("::ffff:192.0.2.0/120"), block("192.0.2.0/24"));
        assert!(block("192.0.2.0/24").holds(address("::ffff:192.0.2.9")));
        assert!(!block("::/0").holds(address("::ffff:192.0.2.9")), "not in all of IPv6");
    }

    #[test]
    fn a_block_holds_what_begins_alike() {
        assert_eq!(Block::around(address("2001:db8::1:2:3:4"), 64), block("2001:db8::/64"));
        assert!(block("2001:db8::/64").holds(address("2001:db8::ffff")));
        assert!(!block("2001:db8::/64").holds(address("2001:db8:0:1::")));
        assert!(block("10.0.0.0/8").covers(block("10.1.0.0/16")) && !block("10.1.0.0/16").covers(block("10.0.0.0/8")));
        assert!(!block("0.0.0.0/0").covers(block("::1")));
    }

    proptest! {
        #[test]
        fn a_block_reads_back_as_it_is_written_and_holds_its_own(bytes in any::<[u8; 16]>(), is_v4: bool, bits in 0_u8..=128) {
            let [a, b, c, d, ..] = bytes;
            let from = if is_v4 { IpAddr::from([a, b, c, d]) } else { IpAddr::from(bytes) };
            let block = Block::around(from, bits);
            prop_assert!(block.holds(from));
            prop_assert_eq!(block.to_string().parse::<Block>().ok(), Some(block));
        }

        #[test]
        fn no_text_is_too_much(text in "[0-9a-f:./ ]{0,50}") {
            if let Ok(block) = text.parse::<Block>() {
                prop_assert_eq!(block.to_string().parse::<Block>().ok(), Some(block));
            }
        }
    }
}
