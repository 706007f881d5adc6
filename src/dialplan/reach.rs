//! Whose calls a phone may take: its neighbours are those who share a group with it.

use crate::id::Endpoint;

/// Whose calls a phone may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those of phones that share a group with it.
    Group,
    /// Everybody's.
    Anybody,
}

/// Who shares a group with whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbours(Vec<Vec<Endpoint>>);

impl Neighbours {
    /// Of these groups.
    #[must_use]
    pub const fn new(groups: Vec<Vec<Endpoint>>) -> Self {
        Self(groups)
    }

    /// Whether both are members of one group; everybody is a neighbour of itself.
    #[must_use]
    pub fn share(&self, one: &Endpoint, other: &Endpoint) -> bool {
        one == other || self.0.iter().any(|group| group.contains(one) && group.contains(other))
    }

    /// Whether `reach` lets `taker` take a call of `owner`.
    #[must_use]
    pub fn let_take(&self, reach: Reach, taker: &Endpoint, owner: &Endpoint) -> bool {
        reach == Reach::Anybody || self.share(taker, owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(name: &str) -> Endpoint {
        Endpoint::Phone(name.into())
    }

    #[test]
    fn neighbours_share_a_group_and_a_reach_of_groups_ends_there() {
        let groups = vec![vec![phone("1001"), phone("1002")], vec![phone("1002"), phone("1003")]];
        let neighbours = Neighbours::new(groups);
        let takes = |reach, taker, owner| neighbours.let_take(reach, &phone(taker), &phone(owner));
        assert!(takes(Reach::Group, "1001", "1002") && takes(Reach::Group, "1003", "1002"));
        assert!(!takes(Reach::Group, "1001", "1003") && takes(Reach::Anybody, "1001", "1003"));
        assert!(takes(Reach::Group, "1009", "1009") && !takes(Reach::Group, "1009", "1001"));
    }
}
