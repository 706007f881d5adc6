//! The command line: one file per command, each ends with an [`Exit`].

pub mod bans;
pub mod bench;
pub mod call_actions;
pub mod calling;
pub mod calls;
pub mod check;
pub mod codec_chain;
pub mod desk_calls;
pub mod dnd;
mod doctor;
pub mod draw;
mod gateway;
pub mod missed;
pub mod password;
pub mod permission;
pub mod phone;
pub mod pipe_chain;
pub mod policy;
pub mod quality;
mod records;
pub mod serve;
pub mod settings;
mod simulate;
mod token;
mod trunks;
mod voicemail;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Puts WhatsApp Business calls on SIP desk phones and PBX trunks.
#[derive(Debug, Parser)]
#[command(name = "cordboard", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Doctor(doctor::DoctorArgs),
    Password(password::PasswordArgs),
    Calls(calls::CallsArgs),
    Costs(call_actions::CostsArgs),
    Permission(permission::PermissionArgs),
    Rules(policy::RulesArgs),
    Button(policy::ButtonArgs),
    Link(policy::LinkArgs),
    Bans(bans::BansArgs),
    Phone(phone::PhoneArgs),
    Phones(phone::PhonesArgs),
    Trunks(trunks::TrunksArgs),
    Token(token::TokenArgs),
    Settings(settings::SettingsArgs),
    Dnd(dnd::DndArgs),
    Missed(missed::MissedArgs),
    Callback(missed::CallbackArgs),
    Call(calling::CallArgs),
    Hangup(calling::HangupArgs),
    Voicemail(voicemail::VoicemailArgs),
    Simulate(crate::simulator::cli::SimulateArgs),
    Bench(bench::BenchArgs),
    #[command(hide = true)]
    CodecChain(codec_chain::CodecChainArgs),
    #[command(hide = true)]
    PipeChain(pipe_chain::PipeChainArgs),
    #[command(hide = true)]
    Draw(draw::DrawArgs),
}

/// How the program ends; the numbers are those of `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Done,
    /// A comparison found a difference, as `diff` says it, or an examination a fault.
    Different,
    /// The command line or the configuration is wrong; a message said what to write instead.
    Usage,
    /// Something outside is not there: the store, a port, the network.
    Unavailable,
    /// Our fault.
    Internal,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Different => 1,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Internal => 70,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Runs the command that this process was started with.
#[must_use]
pub fn run() -> ExitCode {
    run_args(std::env::args_os()).into()
}

/// Runs a command; the first argument is the program's name.
pub fn run_args<I: IntoIterator<Item = OsString>>(args: I) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(help) => {
            // A closed pipe takes the text away; the status still tells.
            let _ = help.print();
            return if help.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    match cli.command {
        Command::Serve(args) => serve::serve(&args, crate::io::app::serve),
        Command::Check(args) => check::check(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Password(args) => password::password(&args),
        Command::Calls(args) => records::calls(&args),
        Command::Costs(args) => records::costs(&args),
        Command::Permission(args) => records::permission(&args),
        Command::Rules(args) => policy::rules(&args),
        Command::Button(args) => policy::button(&args),
        Command::Link(args) => policy::link(&args),
        Command::Bans(args) => bans::bans(&args),
        Command::Phone(args) => phone::phone(&args),
        Command::Phones(args) => phone::phones(&args),
        Command::Trunks(args) => trunks::trunks(&args),
        Command::Token(args) => token::token(&args),
        Command::Dnd(args) => dnd::dnd(&args),
        Command::Missed(args) => records::missed(&args),
        Command::Callback(args) => missed::callback(&args),
        Command::Call(args) => calling::call(&args),
        Command::Hangup(args) => calling::hang_up(&args),
        Command::Voicemail(args) => voicemail::voicemail(&args),
        Command::Settings(args) => settings::settings(&args),
        Command::Simulate(args) => simulate::simulate(args),
        Command::Bench(args) => bench::bench(&args),
        Command::CodecChain(args) => codec_chain::codec_chain(&args),
        Command::PipeChain(args) => pipe_chain::pipe_chain(&args),
        Command::Draw(args) => draw::draw(&args),
    }
}

/// Prints a line of a report; a reader that has gone away is not a failure.
pub(super) fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// In which form a command reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

impl Form {
    /// The form that `--json` chooses.
    pub(super) const fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }

    /// Prints a report: the one place where it is decided what people read and what machines read.
    pub(super) fn print(self, value: &impl serde::Serialize, text: impl FnOnce() -> String) {
        say(self.write(value, text));
    }

    /// What [`Form::print`] prints.
    pub(super) fn write(self, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> String {
        match self {
            Self::Text => text().trim_end().to_owned(),
            Self::Json => serde_json::to_string_pretty(value).expect("keys are text"),
        }
    }
}

/// Prints a line for the person at the keyboard, or the journal.
pub(super) fn complain(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_words(words: &[&str]) -> Exit {
        run_args(std::iter::once("cordboard").chain(words.iter().copied()).map(OsString::from))
    }

    #[test]
    fn a_wrong_command_line_ends_with_64_and_help_with_0() {
        assert_eq!(run_words(&["chekc"]), Exit::Usage);
        assert_eq!(run_words(&["check"]), Exit::Usage);
        assert_eq!(run_words(&["--help"]), Exit::Done);
        assert_eq!(run_words(&["--version"]), Exit::Done);
    }

    #[test]
    fn a_configuration_that_is_not_there_ends_with_64() {
        assert_eq!(run_words(&["check", "/nowhere/gateway.toml"]), Exit::Usage);
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
