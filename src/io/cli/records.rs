//! The commands that read and write the store beside a running gateway.

use std::path::Path;

use super::calls::{CallsArgs, present};
use super::check::load_records;
use super::permission::{PermissionAction, PermissionArgs, PermissionOf, State, find_number, line};
use super::{Exit, complain, quality, say};
use crate::config::Records;
use crate::id::PhoneNumberId;
use crate::io::signalling::now;
use crate::io::store::{CallFilter, PermissionLine, Store, StoreError, StoreSettings};
use crate::policy::{LedgerSource, Permission};

/// What went wrong with the store, for the administrator.
pub(super) struct Trouble(pub(super) String);

/// `cordboard calls`
pub(super) fn calls(args: &CallsArgs) -> Exit {
    with_store(&args.config, async |_, store| {
        let records = store.calls(args.limit, &CallFilter::default()).await?;
        say(if args.quality { quality::table(&records) } else { present(&records, args.json, args.into()) });
        Ok(())
    })
}

/// `cordboard permission …`
pub(super) fn permission(args: &PermissionArgs) -> Exit {
    match &args.action {
        PermissionAction::Show(of) => super::policy::show(of),
        PermissionAction::Log(of) => with_store(&of.config, async |records, store| {
            let number = number(records, of)?;
            for PermissionLine { at, permission, source, context } in
                store.permission_log(number, &of.user).await?
            {
                let until = permission.until().map_or(String::new(), |it| format!(" until {it}"));
                let context = context.unwrap_or_default();
                say(format_args!("{at}  {}{until}  {}  {context}", permission.as_str(), source.as_str()));
            }
            Ok(())
        }),
        PermissionAction::Request(request) => super::policy::request(request),
        PermissionAction::Override { of, reason } => with_store(&of.config, async |records, store| {
            let number = number(records, of)?;
            store.override_run(number, &of.user, reason, now().wall).await?;
            say("noted: one more call may be made");
            Ok(())
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
            store.set_permission(number, &of.user, permission, LedgerSource::Operator, at).await?;
            let permission = store.permission(number, &of.user).await?;
            say(line(&of.user, permission.as_str(), permission.until(), now().wall));
            Ok(())
        }),
    }
}

fn number<'r>(records: &'r Records, of: &PermissionOf) -> Result<&'r PhoneNumberId, Trouble> {
    find_number(records, of.number.as_deref()).map_err(Trouble)
}

/// Opens the store that the configuration names and runs `act` on it.
pub(super) fn with_store(
    config: &Path,
    act: impl AsyncFnOnce(&Records, &Store) -> Result<(), Trouble>,
) -> Exit {
    let Some(records) = load_records(config) else { return Exit::Usage };
    run(&records.store.path, async |store| act(&records, store).await)
}

/// Opens the store at `path` and runs `act` on it.
pub(super) fn run(path: &Path, act: impl AsyncFnOnce(&Store) -> Result<(), Trouble>) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cordboard cannot start its threads: {error}"));
            return Exit::Internal;
        }
    };
    let outcome = runtime.block_on(async {
        let store = Store::open(path, StoreSettings::default()).await?;
        let outcome = act(&store).await;
        store.close().await;
        outcome
    });
    match outcome {
        Ok(()) => Exit::Done,
        Err(Trouble(text)) => {
            complain(format_args!("{}: {text}", path.display()));
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
