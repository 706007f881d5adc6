//! `cordboard permission`: shows or sets whether a user may be called.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::config::Records;
use crate::id::PhoneNumberId;
use crate::time::Wall;
use crate::user::{Bsuid, Msisdn, UserId};

/// Shows or sets the permission of a WhatsApp user to be called.
#[derive(Debug, Args)]
pub struct PermissionArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: PermissionAction,
}

/// What to do with a permission.
#[derive(Debug, Subcommand)]
pub enum PermissionAction {
    /// Shows what the ledger says.
    Show(PermissionOf),
    /// Asks the user for permission. The limits are checked first; inside the conversation window it is a plain
    /// request, outside of it the template of `[number.ask]`.
    Request(RequestArgs),
    /// Decides to call on after unanswered calls; holds for one call, and the reason is kept.
    Override {
        /// Whose.
        #[command(flatten)]
        of: PermissionOf,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Shows everything that was ever said, by which way.
    Log(PermissionOf),
    /// Writes into the ledger what is known from elsewhere. Meta keeps its own account and decides in the end.
    Set {
        /// Whose.
        #[command(flatten)]
        of: PermissionOf,
        /// The new state.
        #[arg(long, value_enum)]
        state: State,
        /// How long a temporary permission lasts from now: "7d", "12h".
        #[arg(long = "for", value_name = "TIME", value_parser = span)]
        lasts: Option<Duration>,
    },
}

/// What to ask a user with.
#[derive(Debug, Args)]
pub struct RequestArgs {
    /// Whom.
    #[command(flatten)]
    pub of: PermissionOf,
    /// Why you want to call; by default what `[number.ask]` says. A template has its own words.
    #[arg(long)]
    pub text: Option<String>,
    /// What stands for {{1}}, {{2}}, … in the template; several times for several.
    #[arg(long = "parameter", value_name = "TEXT")]
    pub parameters: Vec<String>,
    /// Who is rung when the user accepts: `phone:1001`.
    #[arg(long, value_name = "ENDPOINT")]
    pub ring: Option<String>,
}

/// Whose permission, towards which business number.
#[derive(Debug, Args)]
pub struct PermissionOf {
    /// The configuration that names the store.
    #[arg(long, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    pub config: PathBuf,
    /// The label of the business number; may be left out if there is only one.
    #[arg(long)]
    pub number: Option<String>,
    /// The user's number with its country code, or business-scoped id.
    #[arg(long, value_parser = user)]
    pub user: UserId,
    /// JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// A state that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Nothing is known.
    None,
    /// Until a moment; Meta's own last seven days.
    Temporary,
    /// Until the user revokes it.
    Permanent,
    /// The user does not want to be called.
    Declined,
}

impl State {
    /// The word in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Temporary => "temporary",
            Self::Permanent => "permanent",
            Self::Declined => "declined",
        }
    }

    /// When it ends if it begins `now`; `None` if it does not end by itself.
    #[must_use]
    pub fn until(self, lasts: Option<Duration>, now: Wall) -> Option<Wall> {
        // Meta: 7 days (calling/user-call-permissions, reference §1).
        (self == Self::Temporary).then(|| now + lasts.unwrap_or(Duration::from_hours(24 * 7)))
    }
}

/// Reads a user as the command line has it.
fn user(text: &str) -> Result<UserId, String> {
    UserId::from_parts(Msisdn::parse(text), Bsuid::parse(text)).ok_or_else(|| {
        "write the number with its country code, 5521955500123, or an id like BR.2099".to_owned()
    })
}

/// Reads a span as the command line has it.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    crate::config::read_span(text).ok_or_else(|| "write a time with its unit: 7d, 12h, 30m".to_owned())
}

/// The business number that is meant.
///
/// # Errors
/// A sentence for the administrator.
pub fn find_number<'c>(records: &'c Records, label: Option<&str>) -> Result<&'c PhoneNumberId, String> {
    let known = || records.numbers.iter().map(|(label, _)| label.as_str()).collect::<Vec<_>>().join(", ");
    let found = match (label, &records.numbers[..]) {
        (Some(wanted), numbers) => numbers.iter().find(|(label, _)| label.as_str() == wanted),
        (None, [only]) => Some(only),
        (None, _) => return Err(format!("there are several business numbers: --number one of {}", known())),
    };
    found.map(|(_, id)| id).ok_or_else(|| format!("no such number: --number one of {}", known()))
}

/// One line about a permission: the word in the store, and how long it still lasts.
#[must_use]
pub fn line(user: &UserId, state: &str, until: Option<Wall>, now: Wall) -> String {
    match until {
        None => format!("{user}: {state}"),
        Some(until) if until <= now => format!("{user}: {state}, ended {until}"),
        Some(until) => {
            let minutes = until.since(now).as_secs() / 60;
            let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
            format!("{user}: {state} until {until} ({days} d {hours} h {minutes} min left)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b16_a_permission_shows_the_time_left_and_covers_the_user() {
        let user = user("+5521955500123").expect("valid");
        let now = Wall::from_secs(1_791_900_000);
        let until = State::Temporary.until(None, now);
        assert_eq!(until, Some(now + Duration::from_secs(604_800)));
        let shown = line(&user, "temporary", until, now + Duration::from_secs(60));
        assert_eq!(shown, "***23: temporary until 2026-10-20T14:00:00.000Z (6 d 23 h 59 min left)");
        let over = line(&user, "temporary", until, now + Duration::from_secs(604_800));
        assert_eq!(over, "***23: temporary, ended 2026-10-20T14:00:00.000Z");
        assert_eq!(State::Permanent.until(Some(Duration::from_secs(9)), now), None);
        assert_eq!(line(&user, "permanent", None, now), "***23: permanent");
    }

    #[test]
    fn a_user_is_a_number_or_a_scoped_id() {
        assert!(user("BR.2099").is_ok() && user("5521955500123").is_ok());
        assert!(user("Ana").is_err() && user("").is_err());
        assert_eq!(span("7d"), Ok(Duration::from_secs(604_800)));
        assert!(span("7").is_err());
    }
}
