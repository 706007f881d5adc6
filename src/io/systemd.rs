//! What systemd is told: that the gateway is up, that it is stopping, how it fares.

use std::fmt;
use std::time::Duration;

use sd_notify::NotifyState;

/// Tells systemd that calls can come (`Type=notify`); does nothing when not started by systemd.
pub fn ready(status: impl fmt::Display) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status.to_string())]);
}

/// Tells systemd that a stop is under way.
pub fn stopping(status: impl fmt::Display) {
    tell(&[NotifyState::Stopping, NotifyState::Status(&status.to_string())]);
}

/// Tells systemd that a stop takes longer than the unit allows: nobody is to kill us for so long from now on.
pub fn stop_takes(longer: Duration) {
    tell(&[NotifyState::ExtendTimeoutUsec(u32::try_from(longer.as_micros()).unwrap_or(u32::MAX))]);
}

/// The line that `systemctl status` shows.
pub fn status(status: impl fmt::Display) {
    tell(&[NotifyState::Status(&status.to_string())]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
