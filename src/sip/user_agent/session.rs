//! Session timers: a call whose far end has died ends by itself (RFC 4028).

use std::fmt;
use std::time::{Duration, Instant};

use crate::id::LegId;
use crate::time::Now;

use super::super::message::{Headers, Name, Request, Response};
use super::leg::{Leg, Stage};
use super::{Event, Reason, Settings, UserAgent};

/// The least interval that anybody may ask for (RFC 4028 §5).
pub(super) const LEAST: Duration = Duration::from_secs(90);

/// Who keeps the session alive, seen by the request that negotiates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Whoever sent the request.
    Uac,
    /// Whoever answers it.
    Uas,
}

/// The value of Session-Expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionExpires {
    pub(super) interval: Duration,
    pub(super) refresher: Option<Side>,
}

impl SessionExpires {
    /// Reads the header; `None` if there is none or it makes no sense.
    pub(super) fn read(headers: &Headers) -> Option<Self> {
        let mut parts = headers.get(&Name::SessionExpires)?.split(';').map(str::trim);
        let interval = Duration::from_secs(parts.next()?.parse::<u32>().ok()?.into());
        let refresher = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let side = match value.trim().to_ascii_lowercase().as_str() {
                "uac" => Side::Uac,
                "uas" => Side::Uas,
                _ => return None,
            };
            name.trim().eq_ignore_ascii_case("refresher").then_some(side)
        });
        Some(Self { interval, refresher })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.interval.as_secs())?;
        match self.refresher {
            Some(Side::Uac) => f.write_str(";refresher=uac"),
            Some(Side::Uas) => f.write_str(";refresher=uas"),
            None => Ok(()),
        }
    }
}

/// What Min-SE says; without it the least there is.
pub(super) fn min_se(headers: &Headers) -> Duration {
    let seconds = headers.get(&Name::MinSe).and_then(|value| value.split(';').next()?.trim().parse().ok());
    seconds.map_or(LEAST, |seconds: u32| Duration::from_secs(seconds.into()).max(LEAST))
}

/// Who refreshes in a call that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refresher {
    Us,
    Them,
}

/// The timer of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionTimer {
    pub(super) interval: Duration,
    pub(super) refresher: Refresher,
    /// When we refresh next; `None` if they do, or while a refresh is under way.
    pub(super) refresh_at: Option<Instant>,
    /// When the call ends unless somebody refreshes before.
    pub(super) expires_at: Instant,
}

impl SessionTimer {
    /// A session that was refreshed just now.
    pub(super) fn new(now: Instant, interval: Duration, refresher: Refresher) -> Self {
        // RFC 4028 §10: the BYE leaves a third of the interval, but at most 32 s, before the end.
        let margin = (interval / 3).min(Duration::from_secs(32));
        Self {
            interval,
            refresher,
            refresh_at: (refresher == Refresher::Us).then(|| now + interval / 2),
            expires_at: now + interval.saturating_sub(margin),
        }
    }

    /// What a request of ours says of it.
    pub(super) const fn in_request(&self) -> SessionExpires {
        let refresher = match self.refresher {
            Refresher::Us => Side::Uac,
            Refresher::Them => Side::Uas,
        };
        SessionExpires { interval: self.interval, refresher: Some(refresher) }
    }
}

/// Whether the sender knows session timers.
fn knows_timers(headers: &Headers) -> bool {
    headers.words(&Name::Supported).iter().chain(&headers.words(&Name::Require)).any(|word| word == "timer")
}

impl Settings {
    /// What an INVITE of ours asks for; who refreshes is left to the answer (RFC 4028 §7.1).
    pub(super) fn ask_for_session(&self, headers: &mut Headers) {
        let asked =
            SessionExpires { interval: self.session_expires.max(self.min_session()), refresher: None };
        headers.push(Name::SessionExpires, asked.to_string());
        if self.min_session() > LEAST {
            headers.push(Name::MinSe, self.min_session().as_secs().to_string());
        }
    }

    fn min_session(&self) -> Duration {
        self.min_session_expires.max(LEAST)
    }

    /// The Min-SE of a 422, if the request asks for refreshes more often than we like (RFC 4028 §9).
    pub(super) fn too_brief(&self, request: &Request) -> Option<String> {
        let asked = SessionExpires::read(&request.headers)?;
        let brief = asked.interval < self.min_session() && knows_timers(&request.headers);
        brief.then(|| self.min_session().as_secs().to_string())
    }

    /// What our 2xx to `request` agrees to, put into `response` (RFC 4028 §9, table 2).
    pub(super) fn grant_session(
        &self,
        now: Now,
        request: &Request,
        response: &mut Response,
    ) -> Option<SessionTimer> {
        let (asked, known) = (SessionExpires::read(&request.headers), knows_timers(&request.headers));
        if asked.is_none() && !known {
            return None;
        }
        let ours = self.session_expires.max(self.min_session());
        let interval = asked.map_or(ours, |asked| asked.interval.min(ours)).max(min_se(&request.headers));
        // Who knows nothing of timers cannot refresh; a proxy wanted the session to end (table 2).
        let side = if known { asked.and_then(|it| it.refresher).unwrap_or(Side::Uac) } else { Side::Uas };
        let granted = SessionExpires { interval, refresher: Some(side) };
        if side == Side::Uac {
            response.headers.push(Name::Require, "timer");
        }
        response.headers.push(Name::SessionExpires, granted.to_string());
        let refresher = if side == Side::Uac { Refresher::Them } else { Refresher::Us };
        Some(SessionTimer::new(now.mono, interval, refresher))
    }
}

/// What the 2xx to a request of ours agreed to; without the header there is no timer (RFC 4028 §7.2).
pub(super) fn granted(now: Now, response: &Response) -> Option<SessionTimer> {
    let granted = SessionExpires::read(&response.headers)?;
    let refresher = match granted.refresher {
        Some(Side::Uas) => Refresher::Them,
        Some(Side::Uac) | None => Refresher::Us,
    };
    Some(SessionTimer::new(now.mono, granted.interval.max(LEAST), refresher))
}

impl UserAgent {
    /// Nobody has refreshed, or a refresh of ours found nobody: BYE, and the event with that cause.
    pub(super) fn end_session(&mut self, now: Now, leg: LegId) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let mut dialog = up.dialog.clone();
        self.end_pending(now, leg);
        self.figures.expired_sessions += 1;
        let reason = Reason { protocol: "SIP", cause: 408, text: "Session expired".to_owned() };
        self.bye(now, &mut dialog, Some(reason));
        self.remove_leg(leg);
        self.events.push_back(Event::Expired { leg });
    }
}
