//! What a call costs on this machine: the real engine with real sockets, and far ends in processes of their own.
//!
//! `cordboard bench` asks how many calls fit ([`ramp`]); `scripts/bench` compares with libopus alone.

pub mod far_ends;
pub mod ramp;
pub mod report;
mod resources;
pub mod sound;

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub use self::resources::{cpu_of, cpu_of_process, raise_file_limit, resident};
use super::media::{MediaEngine, MediaFigures, MediaSettings, Realm};
use crate::codec::EncoderSettings;
use crate::id::CallId;
use crate::media::{CapacityLimits, MetaSide, OpenSpec, Order, PhoneSide, Report, Stage, Summary};
use crate::random::Random;

/// A report comes within this, or the engine is broken.
const PATIENCE: Duration = Duration::from_secs(20);
/// Calls that one process of far ends bears without being late itself.
const CALLS_PER_PROCESS: u64 = 150;

/// The engine in this process and its far ends in others.
#[derive(Debug)]
pub struct Rig {
    engine: MediaEngine,
    reports: UnboundedReceiver<(CallId, Report)>,
    arguments: Vec<String>,
    encoder: EncoderSettings,
    far_ends: Vec<FarEnds>,
    calls: u64,
    /// Calls whose keys are there.
    connected: u64,
    failed: Vec<String>,
}

/// A process with users and phones.
#[derive(Debug)]
pub struct FarEnds {
    child: Child,
    input: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl FarEnds {
    /// Starts this program with `arguments`; it must call [`far_ends::run`].
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(arguments: &[String]) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        Ok(Self { child, input, answers: BufReader::new(output) })
    }

    /// Gives both offers and gets both answers.
    fn meet(&mut self, meta: &str, phone: &str) -> io::Result<(String, String)> {
        let line = self.ask(&format!("{} {}", hex::encode(meta), hex::encode(phone)))?;
        let answers = line.split_once(' ').and_then(|(meta, phone)| Some((text(meta)?, text(phone)?)));
        answers.ok_or_else(|| io::Error::other("the far ends gave no answer"))
    }

    /// Lets another gateway stand between a user, who offers, and a phone: `to_phone` makes its offer to the phone
    /// from the user's, `to_user` its answer to the user from the phone's.
    ///
    /// # Errors
    /// The far ends are gone, or the gateway said no.
    pub fn meet_across(
        &mut self,
        to_phone: impl FnOnce(&str) -> io::Result<String>,
        to_user: impl FnOnce(&str) -> io::Result<String>,
    ) -> io::Result<()> {
        let silent = || io::Error::other("the far ends gave no answer");
        let offer = text(&self.ask("offer")?).ok_or_else(silent)?;
        let offer = to_phone(&offer)?;
        let answer = text(&self.ask(&format!("phone {}", hex::encode(offer)))?).ok_or_else(silent)?;
        writeln!(self.input, "user {}", hex::encode(to_user(&answer)?))
    }

    /// RTP packets that came to all users and phones since this was asked last.
    ///
    /// # Errors
    /// The far ends are gone.
    pub fn heard(&mut self) -> io::Result<u64> {
        self.ask("heard")?.parse().map_err(|_| io::Error::other("the far ends gave no answer"))
    }

    fn ask(&mut self, line: &str) -> io::Result<String> {
        writeln!(self.input, "{line}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }

    /// Ends the process.
    pub fn stop(mut self) {
        // Its input ends, and so does it.
        drop(self.input);
        let _ = self.child.wait();
    }
}

fn text(hexadecimal: &str) -> Option<String> {
    hex::decode(hexadecimal).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

impl Rig {
    /// Starts an engine with so many threads (0: one per processor) that refuses nobody. This program with
    /// `arguments` must call [`far_ends::run`].
    ///
    /// # Errors
    /// Threads or processes cannot be started.
    pub fn start(workers: usize, arguments: &[&str]) -> io::Result<Self> {
        let realm =
            Realm { bind: std::net::IpAddr::from([127, 0, 0, 1]), advertised: Vec::new(), ports: 0..=0 };
        let (sender, reports) = unbounded_channel();
        let mut settings = MediaSettings { workers, ..MediaSettings::new(realm.clone(), realm) };
        let most = Duration::from_secs(3600);
        settings.limits = CapacityLimits { economy_at: 1e9, refuse_at: 1e9, refuse_lag: most };
        let engine = MediaEngine::start(settings, Random::from_number(1), sender)?;
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        Ok(Self {
            engine,
            reports,
            arguments,
            encoder: EncoderSettings::default(),
            far_ends: Vec::new(),
            calls: 0,
            connected: 0,
            failed: Vec::new(),
        })
    }

    /// Encodes for the users like this from the next call on.
    pub const fn encode_as(&mut self, encoder: EncoderSettings) {
        self.encoder = encoder;
    }

    /// Sets up one more call in which both sides talk at once.
    ///
    /// # Errors
    /// The engine refused it or the far ends are gone.
    pub fn add_call(&mut self) -> io::Result<()> {
        self.set_up()?;
        self.engine.order(CallId(self.calls), Order::SetStage(Stage::Open));
        Ok(())
    }

    /// Sets up one more call in which nobody talks: its gate towards the user stays shut.
    ///
    /// # Errors
    /// The engine refused it or the far ends are gone.
    pub fn set_up(&mut self) -> io::Result<()> {
        let process = usize::try_from(self.calls / CALLS_PER_PROCESS).unwrap_or(usize::MAX);
        if process >= self.far_ends.len() {
            self.far_ends.push(FarEnds::start(&self.arguments)?);
        }
        self.calls += 1;
        let call = CallId(self.calls);
        let spec = OpenSpec { encoder: self.encoder, ..OpenSpec::new(MetaSide::Offer, PhoneSide::Offer) };
        self.engine.open(call, spec);
        let (meta, phone) = self.wait_opened(call)?;
        let Some(far_ends) = self.far_ends.last_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        let (meta, phone) = far_ends.meet(&meta, &phone)?;
        for order in
            [Order::ApplyMetaAnswer { sdp: meta }, Order::ApplyPhoneAnswer { sdp: phone }, Order::StartDtls]
        {
            self.engine.order(call, order);
        }
        Ok(())
    }

    fn wait_opened(&mut self, call: CallId) -> io::Result<(String, String)> {
        loop {
            match self.next_report()? {
                (told, Report::Opened { meta_sdp, phone_sdp, .. }) if told == call => {
                    return Ok((meta_sdp, phone_sdp));
                }
                (told, Report::Refused(why)) if told == call => {
                    return Err(io::Error::other(format!("the engine refused a call: {why:?}")));
                }
                (told, report) => self.note(told, &report),
            }
        }
    }

    fn next_report(&mut self) -> io::Result<(CallId, Report)> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Ok(report) = self.reports.try_recv() {
                return Ok(report);
            }
            if Instant::now() > end {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn note(&mut self, call: CallId, report: &Report) {
        self.connected += u64::from(*report == Report::DtlsUp);
        if matches!(report, Report::LegFailed(_) | Report::Stalled) {
            self.failed.push(format!("call {call}: {report:?}"));
        }
    }

    /// Lets the calls talk.
    pub fn run(&mut self, span: Duration) {
        std::thread::sleep(span);
        while let Ok((call, report)) = self.reports.try_recv() {
            self.note(call, &report);
        }
    }

    /// Calls whose WhatsApp leg has its keys.
    #[must_use]
    pub const fn connected(&self) -> u64 {
        self.connected
    }

    /// Calls that were set up.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// The engine's figures.
    #[must_use]
    pub fn figures(&self) -> MediaFigures {
        self.engine.figures()
    }

    /// Closes all calls; gives their summaries, and what went wrong with some of them.
    ///
    /// # Errors
    /// The engine does not tell of their end.
    pub fn finish(mut self) -> io::Result<(Vec<Summary>, Vec<String>)> {
        for call in 1..=self.calls {
            self.engine.order(CallId(call), Order::Close);
        }
        let mut summaries = Vec::new();
        while (summaries.len() as u64) < self.calls {
            match self.next_report()? {
                (_, Report::Closed(summary)) => summaries.push(*summary),
                (call, report) => self.note(call, &report),
            }
        }
        self.far_ends.into_iter().for_each(FarEnds::stop);
        self.engine.stop();
        Ok((summaries, self.failed))
    }
}
