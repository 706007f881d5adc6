//! The commands that read and write the store beside a running gateway.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::call_actions::{self, CallsAction, CostsArgs, ExportArgs, outcome as known_outcome, tally};
use super::calls::{CallsArgs, Cover, present};
use super::check::load_records;
use super::missed::{self, MissedAction, MissedArgs};
use super::permission::{PermissionAction, PermissionArgs, PermissionOf, State, find_number, line};
use super::{Exit, Form, complain, desk_calls, gateway, quality, say};
use crate::billing::{Month, Statement};
use crate::call::CallNote;
use crate::config::Records;
use crate::id::{CallId, PhoneNumberId};
use crate::io::export::{self, ExportError};
use crate::io::signalling::now;
use crate::io::store::{CallFilter, MissedFilter, PermissionLine, Store, StoreError, StoreSettings};
use crate::masked::Masked;
use crate::policy::{LedgerSource, Permission};

/// What went wrong with the store, for the administrator.
pub(super) struct Trouble(pub(super) String);

/// `cordboard calls`
pub(super) fn calls(args: &CallsArgs) -> Exit {
    match &args.action {
        None => {}
        Some(CallsAction::Export(export)) => return export_calls(args, export),
        Some(CallsAction::Show { call, unmasked }) => return show_call(args, *call, *unmasked),
        Some(CallsAction::Note { call, outcome, text, by }) => {
            return with_store(&args.config, async |records, store| {
                let outcome = outcome.as_ref().map(|it| known_outcome(it, &records.records.outcomes));
                let outcome = outcome.transpose().map_err(Trouble)?;
                if outcome.is_none() && text.is_none() {
                    return Err(Trouble("nothing to note: write --outcome, --text or both".to_owned()));
                }
                let text = text.clone().map(Masked::new);
                let note = CallNote { at: now().wall, author: by.clone(), outcome, text };
                let known = store.note_call(*call, &note).await?;
                known.then_some(()).ok_or_else(|| Trouble(format!("there is no call {call}")))
            });
        }
    }
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

fn export_calls(args: &CallsArgs, export: &ExportArgs) -> Exit {
    with_store(&args.config, async |records, store| {
        let filter = export.filter(records).map_err(Trouble)?;
        let shown = export.out.as_ref().map_or_else(|| "stdout".to_owned(), |it| it.display().to_string());
        let mut out = export.open().map_err(|error| Trouble(format!("{shown}: {error}")))?;
        let how = (export.format.into(), export.cover());
        match export::export(store, &filter, tally(records), how, &mut out).await {
            // Whoever reads has read enough.
            Err(ExportError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            Err(ExportError::Write(error)) => Err(Trouble(format!("{shown}: {error}"))),
            Err(ExportError::Store(error)) => Err(error.into()),
            Ok(()) => Ok(()),
        }
    })
}

fn show_call(args: &CallsArgs, call: CallId, unmasked: bool) -> Exit {
    with_store(&args.config, async |records, store| {
        let missing = || Trouble(format!("there is no call {call}"));
        let record = store.call(call).await?.ok_or_else(missing)?;
        // What it costs depends on the calls of its month before it.
        let until = Some(record.opened + Duration::from_millis(1));
        let filter = CallFilter { since: Some(record.opened), until, ..CallFilter::default() };
        let (tally, cover) = (tally(records), if unmasked { Cover::Open } else { Cover::Masked });
        let currency = tally.card().currency.clone();
        let mut found = None;
        export::walk(store, &filter, tally, |line| {
            if line.record.id == call {
                found = Some(export::full(&line, &currency, cover));
            }
            Ok::<_, Trouble>(())
        })
        .await?;
        say(format_args!("{:#}", found.ok_or_else(missing)?));
        Ok(())
    })
}

/// `cordboard costs`
pub(super) fn costs(args: &CostsArgs) -> Exit {
    with_store(&args.config, async |records, store| {
        let (tally, at) = (tally(records), now().wall);
        let (filter, present) = (args.filter(&tally, at), Month::of(at, tally.zone()));
        let currency = tally.card().currency.clone();
        let mut statement = Statement::default();
        export::walk(store, &filter, tally, |line| {
            statement.add(&line.bill);
            Ok::<_, Trouble>(())
        })
        .await?;
        args.trim(&mut statement, present);
        say(call_actions::costs(&statement, &currency, args.json));
        Ok(())
    })
}

/// `cordboard missed`
pub(super) fn missed(args: &MissedArgs) -> Exit {
    with_store(&args.config, async |records, store| {
        if let Some(MissedAction::Done { call, by }) = &args.action {
            let settled = store.settle_missed(*call, by, now().wall).await?;
            return settled.then_some(()).ok_or_else(|| Trouble(format!("{call} is not on the list")));
        }
        let find = |label: &str| find_number(records, Some(label)).cloned();
        let numbers: Option<Result<Vec<_>, _>> = match (&args.number, &args.group) {
            (Some(label), _) => Some(find(label).map(|it| vec![it])),
            (None, Some(group)) => {
                let found = records.groups.iter().find(|(name, _)| name == group);
                let (_, labels) = found.ok_or_else(|| Trouble(format!("there is no [[group]] {group:?}")))?;
                Some(labels.iter().map(|it| find(it.as_str())).collect())
            }
            (None, None) => None,
        };
        let numbers = numbers.transpose().map_err(Trouble)?;
        let filter = MissedFilter { numbers, settled: args.all, after: None };
        let calls = store.missed(args.limit, &filter).await?;
        say(missed::present(&calls, args, now().wall));
        Ok(())
    })
}

/// `cordboard permission …`
pub(super) fn permission(args: &PermissionArgs) -> Exit {
    match &args.action {
        PermissionAction::Show(of) => super::policy::show(of),
        PermissionAction::Log(of) => with_store(&of.config, async |records, store| {
            let number = number(records, of)?;
            let lines = store.permission_log(number, &of.user).await?;
            let told: Vec<_> = lines.iter().map(entry).collect();
            Form::of(of.json).print(&told, || lines.iter().map(written).collect());
            Ok(())
        }),
        PermissionAction::Request(request) => super::policy::request(request),
        PermissionAction::Override { of, reason } => with_store(&of.config, async |records, store| {
            let number = number(records, of)?;
            store.override_run(number, &of.user, reason, now().wall).await?;
            let told = json!({ "overridden": true, "reason": reason });
            Form::of(of.json).print(&told, || "noted: one more call may be made".to_owned());
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
            let until = permission.until();
            let told = json!({ "permission": permission.as_str(), "until": until.map(|it| it.to_string()) });
            Form::of(of.json).print(&told, || line(&of.user, permission.as_str(), until, now().wall));
            Ok(())
        }),
    }
}

/// A line of the ledger for machines.
fn entry(line: &PermissionLine) -> Value {
    let PermissionLine { at, permission, source, context } = line;
    let until = permission.until().map(|it| it.to_string());
    json!({
        "at": at.to_string(), "state": permission.as_str(), "until": until,
        "source": source.as_str(), "context": context,
    })
}

/// The same for people.
fn written(line: &PermissionLine) -> String {
    let PermissionLine { at, permission, source, context } = line;
    let until = permission.until().map_or(String::new(), |it| format!(" until {it}"));
    let context = context.as_deref().unwrap_or_default();
    format!("{at}  {}{until}  {}  {context}\n", permission.as_str(), source.as_str())
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
    let runtime = match gateway::runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
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
