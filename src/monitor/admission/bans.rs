//! Who is banned, as control tells it: all at once, in several messages, in place of what was told before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::domain::{Ban, Banned, Block, Timestamp, UserName};

/// Most bans that are kept, whatever control says.
const MOST: usize = 20_000;

/// All bans.
#[derive(Debug, Default)]
pub(in crate::monitor) struct Bans {
    now: Kept,
    round: u64,
    coming: Option<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    count: usize,
    blocks: BTreeMap<Block, Ban>,
    /// Which sizes of blocks there are, so that one look for each finds all that an address lies in.
    sizes: BTreeSet<u8>,
    names: BTreeMap<UserName, Vec<Ban>>,
}

impl Bans {
    /// Another control counts its rounds anew. What the one before told stands until it has told all.
    pub(in crate::monitor) fn restart(&mut self) {
        (self.round, self.coming) = (0, None);
    }

    /// Control begins to tell.
    pub(in crate::monitor) fn begin(&mut self, round: u64) {
        if round > self.round {
            (self.round, self.coming) = (round, Some(Kept::default()));
        }
    }

    /// It goes on.
    pub(in crate::monitor) fn add(&mut self, round: u64, bans: Vec<Ban>) {
        let Some(coming) = self.coming.as_mut().filter(|_| round == self.round) else { return };
        for ban in bans {
            coming.add(ban);
        }
    }

    /// It has told all; says whether that is news.
    pub(in crate::monitor) fn end(&mut self, round: u64) -> bool {
        let Some(all) = self.coming.take_if(|_| round == self.round) else { return false };
        self.now = all;
        true
    }

    /// The bans on all who come from an address.
    pub(in crate::monitor) fn on_address(&self, from: IpAddr, now: Timestamp) -> impl Iterator<Item = &Ban> {
        let blocks = self.now.sizes.iter().filter_map(move |bits| self.now.blocks.get(&Block::around(from, *bits)));
        blocks.filter(move |ban| ban.who.is_about(None, from) && !ban.is_over(now))
    }

    /// The ban on a name that comes from there.
    pub(in crate::monitor) fn on_name(&self, name: &UserName, from: IpAddr, now: Timestamp) -> Option<&Ban> {
        let of_name = self.now.names.get(name)?;
        of_name.iter().find(|ban| ban.who.is_about(Some(name), from) && !ban.is_over(now))
    }
}

impl Kept {
    fn add(&mut self, ban: Ban) {
        if self.count >= MOST {
            return;
        }
        self.count += 1;
        match &ban.who {
            Banned::Block(block) => {
                self.sizes.insert(block.bits());
                self.blocks.insert(*block, ban);
            }
            Banned::User(name) | Banned::UserFrom(name, _) => self.names.entry(name.clone()).or_default().push(ban),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::BanOrigin;

    fn ban(block: Option<&str>, user: Option<&str>, ends: Option<i64>) -> Ban {
        let block = block.map(|text| text.parse().expect("a block"));
        let who = Banned::of(block, user.map(|text| text.parse().expect("a name"))).expect("somebody");
        Ban { who, ends: ends.map(Timestamp), reason: "why".to_owned(), origin: BanOrigin::Operator }
    }

    #[test]
    fn an_address_is_found_in_every_block_it_lies_in_until_the_ban_ends() {
        let mut bans = Bans::default();
        bans.begin(1);
        bans.add(1, vec![ban(Some("192.0.2.0/24"), None, Some(10)), ban(Some("2001:db8::/48"), None, None)]);
        let is_banned = |bans: &Bans, from: &str, now| {
            bans.on_address(from.parse().expect("an address"), Timestamp(now)).next().is_some()
        };
        assert!(!is_banned(&bans, "192.0.2.7", 1), "not all was told");
        bans.end(1);
        assert!(is_banned(&bans, "192.0.2.7", 1) && !is_banned(&bans, "192.0.2.7", 10));
        assert!(is_banned(&bans, "::ffff:192.0.2.7", 1) && !is_banned(&bans, "192.0.3.7", 1));
        assert!(is_banned(&bans, "2001:db8:0:ffff::1", 1) && !is_banned(&bans, "2001:db8:1::1", 1));
        bans.begin(2);
        bans.end(2);
        assert!(!is_banned(&bans, "192.0.2.7", 1), "what is told last counts");
    }

    #[test]
    fn a_name_is_found_where_it_is_banned() {
        let mut bans = Bans::default();
        bans.begin(1);
        bans.add(1, vec![ban(None, Some("root"), None), ban(Some("192.0.2.0/24"), Some("bob"), None)]);
        bans.end(1);
        let is_banned = |name: &str, from: [u8; 4]| {
            bans.on_name(&name.parse().expect("a name"), from.into(), Timestamp(1)).is_some()
        };
        assert!(is_banned("root", [10, 0, 0, 1]) && is_banned("bob", [192, 0, 2, 7]));
        assert!(!is_banned("bob", [10, 0, 0, 1]) && !is_banned("eve", [192, 0, 2, 7]));
        assert!(bans.on_address([192, 0, 2, 7].into(), Timestamp(1)).next().is_none());
    }

    #[test]
    fn of_two_that_are_told_at_once_the_later_counts() {
        let mut bans = Bans::default();
        let is_banned = |bans: &Bans, name: &str| {
            bans.on_name(&name.parse().expect("a name"), [10, 0, 0, 1].into(), Timestamp(1)).is_some()
        };
        bans.begin(2);
        bans.begin(1);
        bans.add(1, vec![ban(None, Some("early"), None)]);
        bans.add(2, vec![ban(None, Some("late"), None)]);
        assert!(!bans.end(1) && bans.end(2) && !bans.end(2));
        assert!(is_banned(&bans, "late") && !is_banned(&bans, "early"));
        bans.restart();
        bans.begin(1);
        assert!(is_banned(&bans, "late") && bans.end(1) && !is_banned(&bans, "late"));
    }

    #[test]
    fn more_than_can_be_kept_are_not() {
        let mut bans = Bans::default();
        bans.begin(1);
        bans.add(1, (0..MOST + 10).map(|n| ban(None, Some(&format!("u{n}")), None)).collect());
        bans.end(1);
        assert_eq!(bans.now.names.len(), MOST);
    }
}
