//! What is kept until its time comes, and never more of it than there is room for: the one that ends first goes first.
//!
//! The keys are chosen by strangers, so nothing is hashed: a tree has no worst case that they could find.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Values by key, each with its end.
#[derive(Debug)]
pub(super) struct Expiring<K, V> {
    most: usize,
    values: BTreeMap<K, (Instant, V)>,
    ends: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Clone, V> Expiring<K, V> {
    /// Nothing yet, and at most `most`.
    pub(super) fn new(most: usize) -> Expiring<K, V> {
        Expiring { most: most.max(1), values: BTreeMap::new(), ends: BTreeSet::new() }
    }

    /// The value of a key and when it ends, if that is still to come.
    pub(super) fn get(&self, key: &K, now: Instant) -> Option<(Instant, &V)> {
        self.values.get(key).filter(|(end, _)| *end > now).map(|(end, value)| (*end, value))
    }

    /// Keeps a value until its end, in place of what there was. What has ended makes room; when nothing has, what ends first
    /// does, which may be this one.
    pub(super) fn set(&mut self, key: K, value: V, end: Instant, now: Instant) {
        self.remove(&key);
        while self.ends.first().is_some_and(|(first, _)| *first <= now || self.ends.len() >= self.most) {
            let first = self.ends.first().cloned();
            match first {
                Some((first, _)) if first > now && first >= end => return,
                Some((_, first)) => self.remove(&first),
                None => return,
            }
        }
        self.ends.insert((end, key.clone()));
        self.values.insert(key, (end, value));
    }

    /// Forgets a key.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some((end, _)) = self.values.remove(key) {
            self.ends.remove(&(end, key.clone()));
        }
    }

    /// Forgets all keys that are meant.
    pub(super) fn remove_if(&mut self, is_meant: impl Fn(&K) -> bool) {
        let meant: Vec<K> = self.values.keys().filter(|key| is_meant(key)).cloned().collect();
        for key in &meant {
            self.remove(key);
        }
    }

    /// How many are kept, those that have ended among them.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.values.len(), self.ends.len(), "each value has one end");
        self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_one_that_ends_first_makes_room() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut kept = Expiring::new(2);
        kept.set("long", (), at(100), start);
        kept.set("short", (), at(5), start);
        kept.set("middle", (), at(50), start);
        assert!(kept.get(&"short", start).is_none() && kept.get(&"long", start).is_some());
        kept.set("shorter than all", (), at(1), start);
        assert!(kept.get(&"shorter than all", start).is_none(), "it would be the first to go");
        assert!(kept.get(&"middle", start).is_some() && kept.get(&"middle", at(50)).is_none());
        kept.set("late", (), at(70), at(60));
        assert_eq!(kept.len(), 2, "what has ended has gone");
    }

    proptest! {
        /// Against one that remembers everything: nothing is kept for too long, and while there is room nothing is lost.
        #[test]
        fn nothing_outlives_its_end_and_the_longest_stay(steps in prop::collection::vec((0_u8..12, 1_u64..40, 0_u64..5), 1..200)) {
            let start = Instant::now();
            let mut now = start;
            let mut kept = Expiring::new(6);
            let mut model: BTreeMap<u8, Instant> = BTreeMap::new();
            for (key, lasts, later) in steps {
                now += Duration::from_secs(later);
                let end = now + Duration::from_secs(lasts);
                kept.set(key, (), end, now);
                model.insert(key, end);
                model.retain(|_, end| *end > now);
                prop_assert!(kept.len() <= 6);
                for key in 0..12 {
                    let found = kept.get(&key, now).map(|(end, ())| end);
                    prop_assert!(found.is_none() || found == model.get(&key).copied());
                }
                if let Some((longest, end)) = model.iter().max_by_key(|(_, end)| **end)
                    && model.values().filter(|other| *other == end).count() == 1
                {
                    prop_assert!(kept.get(longest, now).is_some(), "the one that ends last was lost");
                }
            }
        }
    }
}
