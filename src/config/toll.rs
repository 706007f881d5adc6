//! `[calls.per_phone]` and `[calls.together]`: how many calls may be dialled.

use super::reader::Section;
use crate::policy::{CallCaps, TollCaps};

pub(super) fn toll(section: &mut Section<'_, '_, '_>) -> Option<TollCaps> {
    let usual = TollCaps::default();
    let per_phone = section.part("per_phone", |section| caps(section, usual.per_phone));
    let together = section.part("together", |section| caps(section, usual.together));
    Some(TollCaps { per_phone: per_phone?, together: together? })
}

fn caps(section: &mut Section<'_, '_, '_>, usual: CallCaps) -> Option<CallCaps> {
    let mut cap = |key: &'static str, usual: u32| {
        let cap = section.or(key, usual);
        section.within(
            key,
            cap,
            &(1..=1_000_000),
            "with less nobody could call; who may not dial has no `dial`",
        )
    };
    let (at_once, per_minute) = (cap("at_once", usual.at_once), cap("per_minute", usual.per_minute));
    let per_day = cap("per_day", usual.per_day);
    Some(CallCaps { at_once: at_once?, per_minute: per_minute?, per_day: per_day? })
}
