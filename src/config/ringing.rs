//! How phones ring and what keeps them reachable: `[sip.keep_alive]`, and what a `[[phone]]` understands.

use super::reader::Section;
use super::sections::{MINUTE, secs};
use super::setting::{Setting, words};
use crate::sip::alert::{ALERT_PLACE, AlertForms, AnswerBy};
use crate::sip::registrar::keepalive::{KeepAlive, KeepAliveBy, KeepAliveOf};

words!(AnswerBy, "\"call_info\", \"alert_info\" or \"answer_mode\"",
    "call_info" => AnswerBy::CallInfo, "alert_info" => AnswerBy::AlertInfo,
    "answer_mode" => AnswerBy::AnswerMode);
words!(KeepAliveOf, "\"behind_nat\", \"all\" or \"nobody\"",
    "behind_nat" => KeepAliveOf::BehindNat, "all" => KeepAliveOf::Everybody, "nobody" => KeepAliveOf::Nobody);
words!(KeepAliveBy, "\"options\" or \"line_ends\"",
    "options" => KeepAliveBy::Options, "line_ends" => KeepAliveBy::LineEnds);

/// What a `[[phone]]` understands.
pub(super) fn of_phone(section: &mut Section<'_, '_, '_>) -> Option<AlertForms> {
    let usual = AlertForms::default();
    let alert_info = section.or("alert_info", usual.alert_info);
    if alert_info.as_ref().is_some_and(|it| !it.contains(ALERT_PLACE)) {
        let problem = format!("says nowhere which tone: {ALERT_PLACE} stands for its name");
        let remedy = "alert_info = \"<http://cordboard.invalid>;info={alert}\"".to_owned();
        section.fault_of("alert_info", problem, remedy);
        return None;
    }
    let auto_answer = section.list("auto_answer", Some(usual.auto_answer), "[\"call_info\"]");
    Some(AlertForms { alert_info: alert_info?, auto_answer: auto_answer? })
}

/// `[sip.keep_alive]`
pub(super) fn keep_alive(section: &mut Section<'_, '_, '_>) -> Option<KeepAlive> {
    let usual = KeepAlive::default();
    let of = section.or("of", usual.of);
    let by = section.or("by", usual.by);
    let every = section.or("every", usual.every);
    let why = "NATs forget a silent phone after 30 s and more";
    let every = section.within("every", every, &(secs(5)..=secs(10 * MINUTE)), why);
    let lost_after = section.or("lost_after", usual.lost_after);
    let why = "one datagram may get lost";
    let lost_after = section.within("lost_after", lost_after, &(2..=100), why);
    Some(KeepAlive { of: of?, by: by?, every: every?, lost_after: lost_after? })
}
