//! Looks once a minute whether enough of the users' calls are picked up: whoever should know is told before Meta
//! hides the call button (reference §16.7).

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::signalling::now;
use super::store::{PickUpTurn, Store, StoreError};
use crate::config::NumberConfig;

/// The rate of a day does not change faster.
const BEAT: Duration = Duration::from_secs(60);

/// Watches the numbers as long as the store is open.
pub(super) async fn watch(store: Store, numbers: Vec<NumberConfig>) {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        for number in &numbers {
            let alarm = number.guards.pickup;
            match store.judge_pick_up(&number.phone_number_id, alarm, now().wall).await {
                Ok(PickUpTurn::Unchanged) => {}
                Ok(PickUpTurn::Fell(rate, trend)) => tracing::error!(
                    number = %number.label,
                    calls = rate.calls,
                    percent = rate.percent(),
                    below = alarm.below,
                    trend = trend.as_str(),
                    "too few of the users' calls are picked up, and Meta hides the call button of such numbers: \
                     see `cordboard rules` and `cordboard missed`"
                ),
                Ok(PickUpTurn::Recovered(rate, trend)) => tracing::info!(
                    number = %number.label,
                    calls = rate.calls,
                    percent = rate.percent(),
                    trend = trend.as_str(),
                    "the alarm about users' calls that are not picked up is over"
                ),
                Err(StoreError::Closed) => return,
                Err(error) => tracing::warn!(number = %number.label, %error, "the pick-up rate is not known"),
            }
        }
    }
}
