//! What commands on the store need of the file; the rest of it may be wrong.

use std::path::Path;
use std::time::Duration;

use super::{
    ConfigFaults, Machine, NumberPolicy, PolicyConfig, Reading, RecordsConfig, StoreConfig, Surroundings,
    read, text_of,
};
use crate::id::{NumberLabel, PhoneNumberId};

/// What `cordboard calls` and `cordboard permission` need of the file: no secret is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// Where the records are.
    pub store: StoreConfig,
    /// Outcomes, rates.
    pub records: RecordsConfig,
    /// The business numbers, as the administrator and as Graph call them.
    pub numbers: Vec<(NumberLabel, PhoneNumberId)>,
    /// The groups that call back, and whose users.
    pub groups: Vec<(String, Vec<NumberLabel>)>,
    /// What decides about their calls, in the same order; `None` where something in it is wrong.
    pub policies: Vec<Option<NumberPolicy>>,
    /// Data about Meta's rules.
    pub policy: PolicyConfig,
    /// A reservation against a cap lapses after so long.
    pub reservation_life: Duration,
}

impl Records {
    /// Reads what is needed of the file.
    ///
    /// # Errors
    /// The faults of what is needed, in the order of the file.
    pub fn read(path: &Path) -> Result<Self, ConfigFaults> {
        Self::parse(&text_of(path)?, path, &Machine)
    }

    /// Reads what is needed of `text` as the file at `path`.
    ///
    /// # Errors
    /// The faults of what is needed, in the order of the file.
    pub fn parse(text: &str, path: &Path, surroundings: &dyn Surroundings) -> Result<Self, ConfigFaults> {
        let Reading { draft, mut faults, .. } = read(text, path, surroundings);
        let needed = |key: &str| {
            let of_number = key.ends_with(".label") || key.ends_with(".phone_number_id") || key == "number";
            let data = ["store", "records", "policy", "calls"].iter().any(|it| key.starts_with(it));
            key == "syntax" || data || of_number || key.starts_with("group")
        };
        faults.retain(|fault| needed(&fault.key));
        let complete = || {
            let draft = draft?;
            let groups = draft.groups.into_iter().map(|it| it.complete().map(|it| (it.name, it.callbacks)));
            let groups = groups.collect::<Option<_>>()?;
            let policies = draft.numbers.iter().map(|it| it.policy.clone()).collect();
            let numbers = draft.numbers.into_iter().map(|it| Some((it.label?, it.phone_number_id?)));
            Some(Self {
                numbers: numbers.collect::<Option<_>>()?,
                store: draft.store?,
                records: draft.records?,
                groups,
                policies,
                policy: draft.policy?,
                reservation_life: draft.calls?.reservation_life,
            })
        };
        match complete() {
            Some(records) if faults.is_empty() => Ok(records),
            _ => Err(ConfigFaults { file: path.to_owned(), faults, warnings: Vec::new() }),
        }
    }
}
