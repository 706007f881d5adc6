//! Why what a feature code was dialled for cannot be done.

/// Why a feature code comes to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeRefusal {
    /// The dialled feature code does not exist.
    Unknown,
    /// Nothing rings that this phone could pick up.
    NothingRings,
    /// The call to be picked up or fetched is one that this phone may not have.
    NotYours,
    /// The phone that dialled the parking code has no call to park.
    NothingToPark,
    /// The code for an outcome was dialled, and there is no outcome of that place.
    NoSuchOutcome,
    /// The code for an outcome was dialled by a phone that had no call with a user today.
    NothingToNote,
    /// Nothing is parked at this place.
    NothingParked,
    /// Every parking place is taken, or the one that was named.
    NoParkingPlace,
    /// Nobody called in vain whom this phone may call back now.
    NobodyToCallBack,
    /// There are no voice messages for this phone.
    NoMessages,
}

impl CodeRefusal {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::Unknown,
        Self::NothingRings,
        Self::NotYours,
        Self::NothingToPark,
        Self::NoSuchOutcome,
        Self::NothingToNote,
        Self::NothingParked,
        Self::NoParkingPlace,
        Self::NobodyToCallBack,
        Self::NoMessages,
    ];
}
