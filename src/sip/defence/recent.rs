//! A table that cannot grow: a new entry takes the place of the one that was not asked for longest.

use std::collections::BTreeMap;

/// At most `capacity` values, the newest win: forged senders cannot fill the memory.
#[derive(Debug)]
pub struct Recent<K, V> {
    entries: BTreeMap<K, (u64, V)>,
    /// Keys by when they were last asked for.
    order: BTreeMap<u64, K>,
    next: u64,
    capacity: usize,
}

impl<K: Ord + Clone, V> Recent<K, V> {
    /// An empty table.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), next: 0, capacity }
    }

    /// The value of `key`, made if it is not there; it is the newest now.
    pub fn touch(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.next += 1;
        let next = self.next;
        if let Some((at, _)) = self.entries.get(&key) {
            self.order.remove(at);
        } else if self.entries.len() >= self.capacity.max(1)
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.order.insert(next, key.clone());
        let (at, value) = self.entries.entry(key).or_insert_with(|| (next, make()));
        *at = next;
        value
    }

    /// The value of `key`, which grows no younger by it.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Takes `key` away.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (at, value) = self.entries.remove(key)?;
        self.order.remove(&at);
        Some(value)
    }

    /// How many there are.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_win_and_asking_keeps_young() {
        let mut table = Recent::new(2);
        *table.touch("a", || 0) += 1;
        *table.touch("b", || 0) += 1;
        *table.touch("a", || 0) += 1;
        table.touch("c", || 9);
        assert_eq!((table.get(&"a"), table.get(&"b"), table.get(&"c")), (Some(&2), None, Some(&9)));
        assert_eq!(table.remove(&"a"), Some(2));
        assert_eq!((table.count(), table.order.len()), (1, 1));
        for key in ["d", "e", "f", "d"] {
            table.touch(key, || 0);
        }
        assert_eq!((table.count(), table.order.len()), (2, 2));
    }
}
