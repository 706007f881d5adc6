//! The threads that write recordings, and the way to them.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tracing::{error, info, warn};

use super::file::{Create, RecordingFile, create, relative_path};
use super::timeline::TimeLine;
use super::voiced::Voice;
use super::{End, Kept, RecorderSettings, Told, orphans};
use crate::id::CallId;
use crate::media::tap::{Inlet, MAX_PAYLOAD, Outlet, ring};
use crate::time::{Now, Wall};

/// How often the rings are emptied.
const TICK: Duration = Duration::from_millis(100);
/// How often the disk is asked for its room.
const MEASURED: Duration = Duration::from_secs(1);
/// What a ring holds: ten seconds of two sides in G.711, so long may a disk hang.
const RING: usize = 128 * 1024;
/// Writers yield to everything else on a machine that is short of time (setpriority(2)).
const NICE: libc::c_int = 10;

/// The recorder; clones are handles to the same one.
#[derive(Clone)]
pub struct Recorder(Arc<Threads>);

struct Threads {
    ways: Vec<Sender<Command>>,
    turn: AtomicUsize,
    counters: Arc<Counters>,
    /// Gone after a stop, so that who listens knows that there is no more.
    told: Mutex<Option<UnboundedSender<Told>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

enum Command {
    Begin(Beginning),
    Stop,
}

struct Beginning {
    call: CallId,
    opened: Wall,
    began: Instant,
    outlet: Outlet,
}

#[derive(Debug, Default)]
struct Counters {
    active: AtomicU64,
    bytes: AtomicU64,
    unheard: AtomicU64,
    late: AtomicU64,
    broken: AtomicU64,
    ended: [AtomicU64; End::ALL.len()],
}

/// What the recorder has done, for a scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecorderFigures {
    /// Recordings that run.
    pub active: u64,
    /// Bytes given to the disk.
    pub bytes: u64,
    /// Packets that a full ring had no room for.
    pub unheard: u64,
    /// Packets that came twice or when their time was written.
    pub late: u64,
    /// Packets that could not be decoded.
    pub broken: u64,
    /// Recordings that ended, by why.
    pub ended: Vec<(End, u64)>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorder").field(&self.0.counters).finish()
    }
}

impl Recorder {
    /// Starts the threads, one for two processors, and repairs what a crash left; `told` gets a word at each
    /// beginning and end of a recording.
    ///
    /// # Errors
    /// The kernel refused a thread.
    pub fn start(settings: RecorderSettings, told: UnboundedSender<Told>) -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::start_with(settings, told, processors.div_ceil(2), create)
    }

    pub(super) fn start_with(
        settings: RecorderSettings,
        told: UnboundedSender<Told>,
        writers: usize,
        create: Create,
    ) -> io::Result<Self> {
        let counters = Arc::new(Counters::default());
        let (mut ways, mut threads) = (Vec::new(), Vec::new());
        for at in 0..writers {
            let (way, commands) = channel();
            let (sealing_in, sealing) = channel();
            let sealer = Sealer {
                directory: settings.directory.clone(),
                counters: counters.clone(),
                told: told.clone(),
            };
            let writer = Writer {
                commands,
                settings: settings.clone(),
                create,
                sealing: sealing_in,
                counters: Arc::clone(&counters),
                told: told.clone(),
                recordings: Vec::new(),
                low: false,
                measured: None,
                buffer: Box::new([0; MAX_PAYLOAD]),
            };
            threads.push(spawn(format!("recording-{at}"), move || writer.run())?);
            threads.push(spawn(format!("sealing-{at}"), move || sealer.run(&sealing))?);
            ways.push(way);
        }
        let (directory, left, counted) = (settings.directory, told.clone(), Arc::clone(&counters));
        threads.push(spawn("recording-orphans".to_owned(), move || {
            for orphan in orphans::repair(&directory) {
                warn!(call = %orphan.call, file = ?orphan.file, "a recording that a crash left over was kept");
                counted.ended[End::Crashed as usize].fetch_add(1, Ordering::Relaxed);
                let _ = left.send(orphan);
            }
        })?);
        let threads = Mutex::new(threads);
        let told = Mutex::new(Some(told));
        Ok(Self(Arc::new(Threads { ways, turn: AtomicUsize::new(0), counters, told, threads })))
    }

    /// Begins to record a call that was opened at `opened`; what comes back is for its media.
    #[must_use]
    pub fn begin(&self, now: Now, call: CallId, opened: Wall) -> Inlet {
        let (inlet, outlet) = ring(now.mono, RING);
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        let way = &self.0.ways[turn % self.0.ways.len()];
        let beginning = Beginning { call, opened, began: now.mono, outlet };
        if way.send(Command::Begin(beginning)).is_err() {
            error!(%call, "the recorder's thread is gone");
            if let Some(told) = &*lock(&self.0.told) {
                let _ = told.send(Told {
                    call,
                    file: None,
                    length: Duration::ZERO,
                    voiced: Duration::ZERO,
                    end: Some(End::Panicked),
                });
            }
        }
        inlet
    }

    /// What it has done so far.
    #[must_use]
    pub fn figures(&self) -> RecorderFigures {
        let counters = &self.0.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RecorderFigures {
            active: read(&counters.active),
            bytes: read(&counters.bytes),
            unheard: read(&counters.unheard),
            late: read(&counters.late),
            broken: read(&counters.broken),
            ended: End::ALL.iter().map(|end| (*end, read(&counters.ended[*end as usize]))).collect(),
        }
    }

    /// Ends every recording and the threads; returns when all files are on the disk.
    pub fn stop(&self) {
        for way in &self.0.ways {
            let _ = way.send(Command::Stop);
        }
        for thread in lock(&self.0.threads).drain(..) {
            if thread.join().is_err() {
                error!("a thread of the recorder ended by a panic");
            }
        }
        lock(&self.0.told).take();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(move || {
        // SAFETY: takes numbers only; 0 is this thread on Linux.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
        work();
    })
}

/// Free bytes of the file system that holds `path`, for ordinary users.
pub(in crate::io) fn free_bytes(path: &Path) -> io::Result<u64> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero and lives, and the kernel fills the structure if it returns 0.
    let found = unsafe {
        if libc::statvfs(path.as_ptr(), found.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        found.assume_init()
    };
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

struct Recording {
    call: CallId,
    began: Instant,
    outlet: Outlet,
    line: TimeLine,
    voice: Voice,
    kept: Kept,
    file: RecordingFile,
    /// Arrival of the last packet.
    last: Duration,
    /// Packets counted as unheard already.
    unheard: u64,
}

impl Recording {
    /// Writes what is due at `now`; tells why the recording is over, once it is.
    fn pump(&mut self, now: Instant, buffer: &mut [u8; MAX_PAYLOAD], counters: &Counters) -> Option<End> {
        // Asked first: what is put into the ring before its end is then found in it.
        let over = self.outlet.is_over();
        let wrote = |bytes: u64| counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        let (voice, kept) = (&mut self.voice, self.kept);
        let mut push = |file: &mut RecordingFile, frame| {
            let said_all = voice.hear(&frame, kept);
            wrote(file.push(&frame)?);
            if said_all { Err(End::Silence) } else { Ok(()) }
        };
        let mut write = || -> Result<(), End> {
            while let Some(heard) = self.outlet.next(buffer) {
                self.last = self.last.max(heard.at);
                // After a long wait for the disk, the clock of the packets counts, not ours.
                while let Some(frame) = self.line.next(heard.at) {
                    push(&mut self.file, frame)?;
                }
                self.line.hear(&heard);
            }
            if over {
                let end = self.outlet.ended().unwrap_or(self.last + TICK);
                while let Some(frame) = self.line.next_last(end) {
                    push(&mut self.file, frame)?;
                }
                wrote(self.file.end()?);
                return Err(End::Complete);
            }
            while let Some(frame) = self.line.next(now.saturating_duration_since(self.began)) {
                push(&mut self.file, frame)?;
            }
            Ok(())
        };
        let outcome = match write() {
            // The stream ends here though the call goes on.
            Err(End::Silence) => match self.file.end() {
                Ok(bytes) => {
                    wrote(bytes);
                    Err(End::Silence)
                }
                Err(end) => Err(end),
            },
            outcome => outcome,
        };
        let unheard = self.outlet.dropped();
        counters.unheard.fetch_add(unheard - self.unheard, Ordering::Relaxed);
        self.unheard = unheard;
        outcome.err()
    }
}

struct Writer {
    commands: Receiver<Command>,
    settings: RecorderSettings,
    create: Create,
    sealing: Sender<(RecordingFile, Told)>,
    counters: Arc<Counters>,
    told: UnboundedSender<Told>,
    recordings: Vec<Recording>,
    /// The disk has too little room.
    low: bool,
    measured: Option<Instant>,
    buffer: Box<[u8; MAX_PAYLOAD]>,
}

impl Writer {
    fn run(mut self) {
        let mut due = Instant::now() + TICK;
        loop {
            match self.commands.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Command::Begin(beginning)) => self.begin(beginning),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.round(Instant::now());
                    for recording in std::mem::take(&mut self.recordings) {
                        self.end(recording, End::Complete);
                    }
                    return;
                }
            }
            let now = Instant::now();
            if now >= due {
                self.measure(now);
                self.round(now);
                due = Instant::now() + TICK;
            }
        }
    }

    fn measure(&mut self, now: Instant) {
        if self.measured.is_some_and(|at| now.saturating_duration_since(at) < MEASURED) {
            return;
        }
        self.measured = Some(now);
        let low = match free_bytes(&self.settings.directory) {
            Ok(free) => free < self.settings.min_free,
            // Not there yet, or not to be seen: the write itself will tell.
            Err(_) => false,
        };
        if low && !self.low {
            error!(directory = %self.settings.directory.display(), "too little room: nothing is recorded");
        }
        self.low = low;
    }

    fn begin(&mut self, beginning: Beginning) {
        let Beginning { call, opened, began, outlet } = beginning;
        self.measure(began);
        let relative = relative_path(opened, call, self.settings.format);
        let path = self.settings.directory.join(&relative);
        let file = if self.low {
            Err(End::LowSpace)
        } else {
            RecordingFile::create(self.create, path, call, self.settings.format).map_err(|failure| {
                error!(%call, %failure, "the file of a recording could not be created");
                End::NotBegun
            })
        };
        match file {
            Ok(file) => {
                self.counters.active.fetch_add(1, Ordering::Relaxed);
                self.counters.bytes.fetch_add(file.size(), Ordering::Relaxed);
                let _ = self.told.send(Told {
                    call,
                    file: Some(relative),
                    length: Duration::ZERO,
                    voiced: Duration::ZERO,
                    end: None,
                });
                let line = TimeLine::new();
                let last = Duration::ZERO;
                let (voice, kept) = (Voice::default(), self.settings.kept);
                let recording = Recording { call, began, outlet, line, voice, kept, file, last, unheard: 0 };
                self.recordings.push(recording);
            }
            Err(end) => {
                self.counters.ended[end as usize].fetch_add(1, Ordering::Relaxed);
                let _ = self.told.send(Told {
                    call,
                    file: None,
                    length: Duration::ZERO,
                    voiced: Duration::ZERO,
                    end: Some(end),
                });
            }
        }
    }

    fn round(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(recording) = self.recordings.get_mut(at) {
            let (buffer, counters) = (&mut self.buffer, &self.counters);
            let pumped = catch_unwind(AssertUnwindSafe(|| recording.pump(now, buffer, counters)));
            let end = pumped.unwrap_or(Some(End::Panicked)).or(self.low.then_some(End::LowSpace));
            if let Some(end) = end {
                let recording = self.recordings.swap_remove(at);
                self.end(recording, end);
            } else {
                at += 1;
            }
        }
    }

    fn end(&self, recording: Recording, end: End) {
        let Recording { call, line, voice, file, .. } = recording;
        let figures = line.figures();
        self.counters.late.fetch_add(figures.late, Ordering::Relaxed);
        self.counters.broken.fetch_add(figures.broken, Ordering::Relaxed);
        if !matches!(end, End::Complete | End::Silence) {
            warn!(%call, why = end.label(), "a recording ended before its call");
        }
        let told = Told { call, file: None, length: line.length(), voiced: voice.heard(), end: Some(end) };
        let _ = self.sealing.send((file, told));
    }
}

/// Brings finished files to the disk, which may take long, beside the writer.
struct Sealer {
    directory: std::path::PathBuf,
    counters: Arc<Counters>,
    told: UnboundedSender<Told>,
}

impl Sealer {
    fn run(self, sealing: &Receiver<(RecordingFile, Told)>) {
        for (file, told) in sealing {
            self.seal(file, told);
        }
    }

    fn seal(&self, file: RecordingFile, mut told: Told) {
        match file.seal() {
            Ok(path) => told.file = path.strip_prefix(&self.directory).ok().map(Path::to_owned),
            Err(failure) => {
                error!(call = %told.call, %failure, "a recording could not be brought to the disk");
                told.end = told.end.map(|end| {
                    if matches!(end, End::Complete | End::Silence) { End::WriteFailed } else { end }
                });
            }
        }
        if let Some(end) = told.end {
            self.counters.ended[end as usize].fetch_add(1, Ordering::Relaxed);
        }
        self.counters.active.fetch_sub(1, Ordering::Relaxed);
        info!(call = %told.call, seconds = told.length.as_secs(), "recorded");
        let _ = self.told.send(told);
    }
}
