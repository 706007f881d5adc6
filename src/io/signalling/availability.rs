//! Do-not-disturb: whom no ring plan rings, whoever switched it on: a command, the phone itself, the API.

use std::collections::BTreeMap;

use super::from_sip::Dial;
use super::switchboard::Switchboard;
use crate::call::{CodeRefusal, HangupCause};
use crate::id::{Endpoint, PhoneName};
use crate::io::store::StoreError;
use crate::time::{Now, Wall};

/// Whether a phone may be rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturb {
    /// By everybody.
    Welcome,
    /// By nobody.
    Not,
}

/// What became of the wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisturbSet {
    /// It holds from now on, also after a restart.
    Kept,
    /// There is no such phone.
    UnknownPhone,
}

/// Who does not want to be disturbed, since when.
pub(super) type Undisturbed = BTreeMap<PhoneName, Wall>;

impl Switchboard {
    /// Takes up what was set before the last stop.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn restore_availability(&mut self) -> Result<(), StoreError> {
        self.undisturbed = self.parts.store.do_not_disturb().await?.into_iter().collect();
        Ok(())
    }

    /// A phone has dialled the code for itself: it shows and hears that it is done.
    pub(super) fn disturb_by_code(&mut self, now: Now, dial: &Dial, disturb: Disturb) {
        let Endpoint::Phone(phone) = &dial.endpoint else {
            return self.turn_dial_away(now, dial, HangupCause::Code(CodeRefusal::Unknown));
        };
        let text = match (self.set_disturb(now, phone, disturb), disturb) {
            (DisturbSet::UnknownPhone, _) => {
                return self.turn_dial_away(now, dial, HangupCause::Code(CodeRefusal::Unknown));
            }
            (DisturbSet::Kept, Disturb::Not) => "Do not disturb: on",
            (DisturbSet::Kept, Disturb::Welcome) => "Do not disturb: off",
        };
        self.confirm(now, dial.leg, text, None);
    }

    /// Sets whether a phone may be rung; calls that ring it already go on ringing.
    pub(super) fn set_disturb(&mut self, now: Now, phone: &PhoneName, disturb: Disturb) -> DisturbSet {
        if !self.parts.dialplan.phones.contains(phone) {
            return DisturbSet::UnknownPhone;
        }
        let since = match disturb {
            Disturb::Not => Some(*self.undisturbed.entry(phone.clone()).or_insert(now.wall)),
            Disturb::Welcome => {
                self.undisturbed.remove(phone);
                None
            }
        };
        tracing::info!(%phone, ?disturb, "do-not-disturb");
        let (store, phone) = (self.parts.store.clone(), phone.clone());
        tokio::spawn(async move {
            if let Err(error) = store.set_do_not_disturb(&phone, since).await {
                tracing::error!(%phone, %error, "do-not-disturb holds until the next restart only");
            }
        });
        DisturbSet::Kept
    }
}
