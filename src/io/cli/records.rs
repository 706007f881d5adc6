//! The commands that read and write the store beside a running gateway.

use std::path::Path;

use super::calls::{CallsArgs, present};
use super::check::load_records;
use super::permission::{PermissionAction, PermissionArgs, PermissionOf, State, find_number, line};
use super::{Exit, complain, desk_calls, quality, say};
use crate::config::Records;
use crate::id::PhoneNumberId;
use crate::io::signalling::now;
use crate::io::store::{CallFilter, Store, StoreError, StoreSettings};
use crate::policy::Permission;

/// What went wrong with the store, for the administrator.
struct Trouble(String);

/// `cordboard calls`
pub(super) fn calls(args: &CallsArgs) -> Exit {
    with_store(&args.config, async |_, store| {
        if args.desk {
            let records = store.desk_calls(args.limit).await?;
            say(desk_calls::present(&records, args.json, args.into()));
            return Ok(());
        }
        let records = store.calls(args.limit, &CallFilter::default()).await?;
        say(if args.quality { quality::table(&records) } else { present(&records, args.json, args.into()) });
        Ok(())
    })
}

/// `cordboard permission show|set`
pub(super) fn permission(args: &PermissionArgs) -> Exit {
    match &args.action {
        PermissionAction::Show(of) => with_store(&of.config, async |records, store| {
            let number = number(records, of)?;
            show(store, number, of).await
        }),
        PermissionAction::Set { of, state, lasts } => with_store(&of.config, async |records, store| {
            let number = number(records, of)?;
            let at = now().wall;
            let permission = match (*state, state.until(*lasts, at)) {
                (State::Temporary, Some(until)) => Permission::Temporary { until },
                (State::Permanent, _) => Permission::Permanent,
                (State::Declined, _) => Permission::Declined,
                _ => Permission::None,
            };
            store.set_permission(number, &of.user, permission, "operator", at).await?;
            show(store, number, of).await
        }),
    }
}

fn number<'r>(records: &'r Records, of: &PermissionOf) -> Result<&'r PhoneNumberId, Trouble> {
    find_number(records, of.number.as_deref()).map_err(Trouble)
}

async fn show(store: &Store, number: &PhoneNumberId, of: &PermissionOf) -> Result<(), Trouble> {
    let permission = store.permission(number, &of.user).await?;
    say(line(&of.user, permission.as_str(), permission.until(), now().wall));
    Ok(())
}

/// Opens the store that the configuration names and runs `act` on it.
fn with_store(config: &Path, act: impl AsyncFnOnce(&Records, &Store) -> Result<(), Trouble>) -> Exit {
    let Some(records) = load_records(config) else { return Exit::Usage };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cordboard cannot start its threads: {error}"));
            return Exit::Internal;
        }
    };
    let outcome = runtime.block_on(async {
        let store = Store::open(&records.store.path, StoreSettings::default()).await?;
        let outcome = act(&records, &store).await;
        store.close().await;
        outcome
    });
    match outcome {
        Ok(()) => Exit::Done,
        Err(Trouble(text)) => {
            complain(format_args!("{}: {text}", records.store.path.display()));
            Exit::Unavailable
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self(text)
    }
}
