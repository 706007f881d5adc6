//! Facts that must not be lost: they are written again until the store takes them.

use std::time::Duration;

use crate::io::store::StoreError;

/// Between the tries: the first pause, doubled up to the longest, for as long as the process lives. What the
/// process takes with it is told again by the inbox, whose row is marked only afterwards.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(250)..=Duration::from_secs(5);

/// Writes `what` until the store takes it. Every write told twice must do what it does once.
///
/// # Errors
/// Only that the store is closed: the process ends.
pub(super) async fn patiently<T, F>(what: &str, write: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let (mut pause, mut tries) = (*PAUSES.start(), 1_u32);
    loop {
        match write().await {
            Err(StoreError::Closed) => return Err(StoreError::Closed),
            Err(error) => {
                // The first, second, fourth … time: a store that is down for hours does not fill the log.
                if tries.is_power_of_two() {
                    tracing::warn!(what, %error, tries, "the store did not take it and is asked again");
                }
                tries = tries.saturating_add(1);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(*PAUSES.end());
            }
            Ok(written) => return Ok(written),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn what_must_not_be_lost_is_written_again_until_the_store_takes_it() {
        let tries = Cell::new(0);
        let written = patiently("a fact", || {
            tries.set(tries.get() + 1);
            std::future::ready(if tries.get() < 3 { Err(StoreError::Busy) } else { Ok("kept") })
        });
        assert_eq!(written.await.expect("the store took it at last"), "kept");
        assert_eq!(tries.get(), 3);
        let closed = patiently("a fact", || std::future::ready(Err::<(), _>(StoreError::Closed)));
        assert!(matches!(closed.await, Err(StoreError::Closed)), "it waited for a store that is gone");
    }
}
