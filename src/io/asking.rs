//! Asks a user for permission: the limits are asked first, then Meta, and what Meta says is kept.

use std::sync::Arc;

use crate::call::HangupCause;
use crate::config::AskConfig;
use crate::id::PhoneNumberId;
use crate::io::graph::GraphClient;
use crate::io::store::{Hold, RequestId, Store, StoreError};
use crate::masked::Secret;
use crate::policy::{Ask, AskDenial, LedgerSource, Permission, RequestKind, Rules};
use crate::time::Wall;
use crate::user::UserId;
use crate::whatsapp::{Failure, Meaning, Message, MessageKind};

/// How long Meta's "asked too often" is believed where it names no end (138009).
const UNNAMED_HOLD: std::time::Duration = std::time::Duration::from_secs(3600);

/// One business number and the ways to its store and to Meta.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The database.
    pub store: Store,
    /// The way to Meta.
    pub graph: Arc<GraphClient>,
    /// Who asks.
    pub number: PhoneNumberId,
    /// The token for its Graph requests.
    pub token: Secret<String>,
    /// What is allowed.
    pub rules: Rules,
    /// How users are asked.
    pub words: AskConfig,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who is asked.
    pub user: UserId,
    /// Why, instead of the configured text; only a free-form request says it.
    pub text: Option<String>,
    /// What stands for `{{1}}`, … in the template.
    pub parameters: Vec<String>,
    /// Who is rung when the user accepts: `phone:1001`.
    pub ring: Option<String>,
}

/// A request that went out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// In which form.
    pub kind: RequestKind,
    /// The message's id, by which the answer is known.
    pub message: String,
}

/// Why none went out, or why nobody knows.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AskFailure {
    /// A rule forbids it; nothing was sent.
    #[error("{}", HangupCause::AskDenied(.0.reason).verdict().advice)]
    Denied(AskDenial),
    /// Meta refused it, or did not answer; without an answer it counts as sent.
    #[error("{0}")]
    Graph(Failure),
    /// The store could not be asked; nothing was sent.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl AskFailure {
    /// The row of the verdict table.
    #[must_use]
    pub const fn cause(&self) -> HangupCause {
        match self {
            Self::Denied(denial) => HangupCause::AskDenied(denial.reason),
            Self::Graph(Failure::Refused { meaning, .. }) => HangupCause::Meta(*meaning),
            Self::Graph(Failure::TimedOut) => HangupCause::GraphTimedOut,
            Self::Graph(Failure::Unreachable) => HangupCause::GraphUnreachable,
            Self::Graph(Failure::Unreadable) => HangupCause::GraphUnreadable,
            Self::Store(_) => HangupCause::StoreDown,
        }
    }

    /// From when on it may be tried again, where that is known.
    #[must_use]
    pub const fn until(&self) -> Option<Wall> {
        match self {
            Self::Denied(denial) => denial.until,
            Self::Graph(Failure::Refused { until, .. }) => *until,
            Self::Graph(_) | Self::Store(_) => None,
        }
    }
}

impl Asking {
    /// Asks. The place under the limits is taken before anything is sent, and given back if Meta refuses.
    ///
    /// # Errors
    /// [`AskFailure`].
    pub async fn ask(&self, question: &Question, now: Wall) -> Result<Asked, AskFailure> {
        let template = self.words.template.is_some();
        let ask = Ask { number: self.number.clone(), user: question.user.clone(), template };
        let decided = self.store.ask(&self.rules, &ask, question.ring.as_deref(), now).await?;
        let (id, kind) = decided.map_err(AskFailure::Denied)?;
        let message = Message { to: question.user.clone(), kind: self.message(kind, question) };
        match self.graph.message(&self.number, &self.token, &message).await {
            Ok(message) => {
                self.store.request_taken(id, &message, now).await?;
                Ok(Asked { kind, message })
            }
            Err((failure, sent)) => {
                self.not_asked(id, &question.user, &failure, sent, now).await?;
                Err(AskFailure::Graph(failure))
            }
        }
    }

    fn message(&self, kind: RequestKind, question: &Question) -> MessageKind {
        match (kind, &self.words.template) {
            (RequestKind::Template, Some(template)) => MessageKind::Template {
                name: template.name.clone(),
                language: template.language.clone(),
                parameters: question.parameters.clone(),
                button: None,
            },
            _ => MessageKind::Request {
                text: question.text.clone().unwrap_or_else(|| self.words.text.clone()),
            },
        }
    }

    /// Gives the place back if Meta cannot have the message, and keeps what Meta said.
    async fn not_asked(
        &self,
        id: RequestId,
        user: &UserId,
        failure: &Failure,
        sent: Sent,
        now: Wall,
    ) -> Result<(), StoreError> {
        if sent == Sent::Never {
            self.store.request_refused(id).await?;
        }
        let Failure::Refused { meaning, until, .. } = failure else { return Ok(()) };
        match meaning {
            Meaning::PermissionRequestLimit => {
                let until = until.unwrap_or(now + UNNAMED_HOLD);
                self.store.hold_pair(&self.number, user, Hold::Requests, until, now).await
            }
            Meaning::PermanentPermissionExists => {
                let (permanent, source) = (Permission::Permanent, LedgerSource::Live);
                self.store.set_permission(&self.number, user, permanent, source, now).await.map(drop)
            }
            _ => Ok(()),
        }
    }
}

/// Whether Meta may have a message that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It cannot.
    Never,
    /// It may.
    Perhaps,
}

#[cfg(test)]
#[path = "asking_tests.rs"]
mod tests;
