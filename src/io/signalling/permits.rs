//! Leave to call: the ledger and the caps decide, Meta's own answers correct them, and every correction is counted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::patience::patiently;
use super::switchboard::Switchboard;
use super::{Reply, now};
use crate::call::Input;
use crate::id::{CallId, NumberLabel, PhoneNumberId};
use crate::io::graph::GraphClient;
use crate::io::store::{Drift, Hold, RestrictionLine, Store, StoreError};
use crate::masked::Secret;
use crate::metrics::label::{CapOf, Drifted, OfSeverity, Severity, Word};
use crate::metrics::{Registry, table};
use crate::policy::{
    Attempt, CapWarning, Decision, Denial, DenialReason, LedgerSource, Permission, Rules, Stands,
};
use crate::time::Wall;
use crate::user::UserId;
use crate::whatsapp::{AccountNotice, Failure, LivePermission, Meaning};

/// How long a limit is believed that Meta named without an end.
const UNNAMED_HOLD: Duration = Duration::from_secs(15 * 60);
/// How long a pause for quality is believed that Meta named without an end (138014).
const UNNAMED_PAUSE: Duration = Duration::from_secs(3600);

/// What works beside the loop on one number's permissions.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) store: Store,
    pub(super) graph: Arc<GraphClient>,
    pub(super) metrics: Arc<Registry>,
    pub(super) number: PhoneNumberId,
    pub(super) label: NumberLabel,
    pub(super) token: Secret<String>,
    pub(super) rules: Rules,
}

impl Switchboard {
    /// Who works on the permissions of this number.
    pub(super) fn desk(&self, number: usize) -> Desk {
        let number = &self.parts.numbers[number];
        Desk {
            store: self.parts.store.clone(),
            graph: self.parts.graph.clone(),
            metrics: self.parts.metrics.clone(),
            number: number.id.clone(),
            label: number.label.clone(),
            token: number.token.clone(),
            rules: Rules { hours: number.hold_at(now().wall), ..number.rules.clone() },
        }
    }

    /// Reads the permission, live where the ledger has none, and asks the store for a place.
    pub(super) fn reserve(&self, id: CallId) {
        let Some(live) = self.calls.get(&id) else { return };
        let desk = self.desk(live.number);
        let attempt =
            Attempt { number: desk.number.clone(), user: live.call.record().user.clone(), call: id };
        let replies = self.replies_in.clone();
        tokio::spawn(async move { desk.permit(attempt, &replies).await });
    }

    /// Meta refused a call that our rules allowed: its word corrects the ledger.
    pub(super) fn learn_from_refusal(&self, id: CallId, failure: &Failure) {
        let (Failure::Refused { meaning, until, .. }, Some(live)) = (failure, self.calls.get(&id)) else {
            return;
        };
        let (desk, user) = (self.desk(live.number), live.call.record().user.clone());
        let (meaning, until) = (*meaning, *until);
        tokio::spawn(async move {
            if let Err(error) = desk.correct(&user, meaning, until).await {
                tracing::error!(call = %id, %error, "what Meta said of a permission could not be kept");
            }
        });
    }

    /// Meta warns of an account, or restricts it.
    pub(super) fn note_account(
        &self,
        notice: AccountNotice,
    ) -> impl Future<Output = Result<(), StoreError>> + use<> {
        let store = self.parts.store.clone();
        for one in &notice.notices {
            let restricts = one.kind.starts_with("RESTRICTED");
            let (kind, until) = (one.kind.as_str(), one.until.map(|it| it.to_string()));
            if restricts {
                tracing::error!(kind, until, "Meta restricts the account's calling: see `cordboard rules`");
            } else {
                tracing::warn!(kind, "Meta warns of the account's quality: see `cordboard rules`");
            }
            let severity = if restricts { Severity::Restriction } else { Severity::Warning };
            self.parts.metrics.count(&table::ACCOUNT_NOTICES, &OfSeverity { severity });
        }
        async move {
            for one in notice.notices {
                let line = RestrictionLine {
                    number: notice.number.clone(),
                    kind: one.kind,
                    reason: one.reason,
                    at: notice.at,
                    until: one.until,
                };
                patiently("a notice of Meta's", || store.note_restriction(&line)).await?;
            }
            Ok(())
        }
    }
}

impl Desk {
    async fn permit(self, attempt: Attempt, replies: &mpsc::UnboundedSender<(CallId, Reply)>) {
        let known = self.store.permission(&attempt.number, &attempt.user).await;
        // The ledger may have missed a webhook: Meta's word is the tie-break.
        if known.as_ref().is_ok_and(|permission| !permission.holds(now().wall))
            && let Some(denial) = self.ask_meta(&attempt.user).await
        {
            let _ = replies.send((attempt.call, Reply::Input(Input::Denied(denial))));
            return;
        }
        let input = match self.store.reserve(&self.rules, &attempt, now()).await {
            Ok(Decision::Allow(grant)) => {
                self.warn(&grant.warnings);
                Input::Reserved(grant)
            }
            Ok(Decision::Deny(denial)) => Input::Denied(denial),
            Err(error) => {
                tracing::error!(call = %attempt.call, %error, "no reservation without the store");
                Input::ReservationFailed
            }
        };
        let _ = replies.send((attempt.call, Reply::Input(input)));
    }

    /// Asks Meta and corrects the ledger by what it says; a denial that the ledger cannot express.
    async fn ask_meta(&self, user: &UserId) -> Option<Denial> {
        match self.graph.permission(&self.number, &self.token, user).await {
            Ok(live) => match self.take_live(user, live).await {
                Ok(denial) => denial,
                Err(error) => {
                    tracing::error!(%error, "a permission could not be kept");
                    None
                }
            },
            Err(failure) => {
                tracing::warn!(%failure, "no live permission query");
                None
            }
        }
    }

    /// Writes down what Meta says now. Its verdict counts more than the status it reports (reference §4).
    pub(super) async fn take_live(
        &self,
        user: &UserId,
        live: LivePermission,
    ) -> Result<Option<Denial>, StoreError> {
        let at = now().wall;
        let permission = Permission::from(&live);
        if let Some(until) = live.start_limit_until.filter(|it| !live.can_start && at < *it) {
            self.store.hold_pair(&self.number, user, Hold::Calls, until, at).await?;
            self.drifted("limit");
        }
        let known = self.store.permission(&self.number, user).await?;
        if known.holds(at) != permission.holds(at) {
            self.store.set_permission(&self.number, user, permission, LedgerSource::Live, at).await?;
            self.drifted(if permission.holds(at) { "meta_allows" } else { "meta_refuses" });
        }
        // A permission, no limit, and yet no call: Meta has a reason that it does not tell.
        let held_back = permission.holds(at) && !live.can_start && live.start_limit_until.is_none();
        Ok(held_back.then_some(Denial {
            reason: DenialReason::Restricted,
            until: None,
            stands: Stands::Fact,
        }))
    }

    async fn correct(&self, user: &UserId, meaning: Meaning, until: Option<Wall>) -> Result<(), StoreError> {
        let at = now().wall;
        self.graph.forget_permission(&self.number, user);
        match meaning {
            Meaning::NoPermission => {
                let (none, source) = (Permission::None, LedgerSource::Refusal);
                if self.store.set_permission(&self.number, user, none, source, at).await? == Drift::Corrected
                {
                    self.drifted("meta_refuses");
                }
            }
            Meaning::DailyCallLimit => {
                let until = until.unwrap_or(at + UNNAMED_HOLD);
                self.store.hold_pair(&self.number, user, Hold::Calls, until, at).await?;
                self.drifted("limit");
            }
            Meaning::PausedForQuality => {
                let line = RestrictionLine {
                    number: Some(self.number.clone()),
                    kind: "RESTRICTED_BUSINESS_INITIATED_CALLING".to_owned(),
                    reason: Some(RestrictionLine::GUESSED.to_owned()),
                    at,
                    until: Some(until.unwrap_or(at + UNNAMED_PAUSE)),
                };
                self.store.note_restriction(&line).await?;
                self.drifted("restricted");
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn drifted(&self, kind: &'static str) {
        tracing::warn!(number = %self.label, kind, "Meta's account of a permission differs from ours, and wins");
        self.metrics.count(&table::DRIFT, &Drifted { number: self.label.clone(), kind: Word(kind) });
    }

    fn warn(&self, warnings: &[CapWarning]) {
        for CapWarning { cap, used, max } in warnings {
            tracing::warn!(number = %self.label, cap = cap.label(), used, max, "a cap is nearly used up");
            let labels = CapOf { number: self.label.clone(), cap: Word(cap.label()) };
            self.metrics.count(&table::CAP_WARNINGS, &labels);
        }
    }
}

#[cfg(test)]
#[path = "permits_tests.rs"]
mod tests;
