//! One media thread: its sockets, its timers, its calls.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{error, warn};

use super::figures::WorkerFigures;
use super::flow::Flow;
use super::load::{BEHIND, LoadMeter, Measured};
use super::ports::Ports;
use super::slot::{Media, SOCKETS, is_last};
use super::sys::{Batch, thread_clock};
use crate::id::CallId;
use crate::media::dtls::Identity;
use crate::media::tap::Inlet;
use crate::media::{
    Bridge, BridgeSettings, LegFailure, OpenRefusal, OpenSpec, Order, RelayOrder, RelaySpec, Report, Side,
    Stage,
};
use crate::random::Random;
use crate::sdp::webrtc::FingerprintCase;
use crate::time::{Now, Wall};

/// The token of the waker.
pub(super) const WAKE: Token = Token(usize::MAX);
/// From so many calls on, packets that come close together share a wake-up …
const MANY: usize = 8;
/// … which saves an eighth of the processor time of 20 calls and costs half of this in delay.
const GATHER: Duration = Duration::from_millis(1);
/// Batches read from one socket before the others have their turn.
const TURNS: usize = 4;
/// How often the counters learn of live calls.
const TELL: Duration = Duration::from_secs(1);

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Command {
    Open(CallId, Box<OpenSpec>),
    Order(CallId, Order),
    OpenRelay(CallId, Box<RelaySpec>),
    OrderRelay(CallId, RelayOrder),
    /// Lets a recorder hear the call.
    Record(CallId, Inlet),
    Stop,
    /// A bug in the media of a call.
    #[cfg(test)]
    Panic(CallId),
}

/// What all workers share; locked when a call opens or closes, never per packet.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) outside: Mutex<Ports>,
    pub(super) inside: Mutex<Ports>,
    /// Which worker has a call.
    pub(super) calls: Mutex<BTreeMap<CallId, usize>>,
    pub(super) identity: Arc<Identity>,
    pub(super) fingerprint_case: FingerprintCase,
}

/// A lock whose holder panicked still protects sound data: every change under these locks is one step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Slot {
    call: CallId,
    media: Media,
    sockets: Vec<UdpSocket>,
    /// Its port outside, and the pairs inside by their even ports.
    outside: Option<u16>,
    inside: [Option<u16>; 2],
    /// The earliest entry in the heap that is for this bridge.
    armed: Option<Instant>,
    /// What the counters know of it, to the phone and to the user.
    told: [Flow; 2],
    /// Whether it was opened for speech, and costs what a call costs.
    talks: bool,
}

/// One media thread.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) poll: Poll,
    pub(super) commands: Receiver<Command>,
    pub(super) reports: UnboundedSender<(CallId, Report)>,
    pub(super) shared: Arc<Shared>,
    pub(super) figures: Arc<WorkerFigures>,
    pub(super) random: Random,
}

/// A worker's calls and timers, and how it copes with them.
pub(super) struct House {
    slots: Slab<Slot>,
    keys: BTreeMap<CallId, usize>,
    timers: BinaryHeap<Reverse<(Instant, usize, CallId)>>,
    /// When the counters learn of the calls next; `None` while there are none.
    tell_at: Option<Instant>,
    load: LoadMeter,
}

/// What is left of a bridge after it was called.
enum After {
    Lives,
    Closed(Report),
    Panicked,
}

pub(super) fn clock() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono: Instant::now(), wall: Wall(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)) }
}

/// How long a thread with `calls` calls lets packets gather that was `awake` for so long.
fn pause(calls: usize, awake: Duration) -> Option<Duration> {
    (calls >= MANY).then(|| GATHER.saturating_sub(awake)).filter(|pause| !pause.is_zero())
}

impl Worker {
    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        let mut house = House {
            slots: Slab::new(),
            keys: BTreeMap::new(),
            timers: BinaryHeap::new(),
            tell_at: None,
            load: LoadMeter::new(Instant::now()),
        };
        let mut events = Events::with_capacity(256);
        let mut batch = Batch::new();
        let mut woken = Instant::now();
        loop {
            let mut now = Instant::now();
            if let Some(measured) = house.load.note_awake(woken, now) {
                self.publish(measured, house.slots.len());
            }
            if let Some(pause) = pause(house.slots.len(), now.saturating_duration_since(woken)) {
                std::thread::sleep(pause);
                now = Instant::now();
            }
            let due = house.timers.peek().map(|Reverse((at, ..))| *at).into_iter().chain(house.tell_at).min();
            let timeout = due.map(|at| at.saturating_duration_since(now));
            if let Err(failure) = self.poll.poll(&mut events, timeout) {
                if failure.kind() != std::io::ErrorKind::Interrupted {
                    error!(%failure, "the media thread cannot wait for its sockets");
                    std::thread::sleep(Duration::from_millis(1));
                }
                woken = Instant::now();
                continue;
            }
            woken = Instant::now();
            for event in &events {
                if event.token() != WAKE {
                    self.receive(&mut house, &mut batch, event.token());
                }
            }
            self.run_timers(&mut house);
            self.tell(&mut house, woken);
            if !self.obey(&mut house) {
                return;
            }
        }
    }

    /// Lets others see how this thread copes; once a second.
    fn publish(&self, measured: Measured, calls: usize) {
        let figures = &self.figures;
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let store = |counter: &AtomicU64, value| counter.store(value, Ordering::Relaxed);
        store(&figures.permille, measured.permille);
        store(&figures.lag_micros, micros(measured.lag));
        store(&figures.worst_lag_micros, micros(measured.worst_lag));
        store(&figures.cpu_micros, micros(thread_clock()));
        store(&figures.measured_talking, figures.talking.load(Ordering::Relaxed));
        figures.measured.fetch_add(1, Ordering::Relaxed);
        if let Some(seconds) = measured.behind {
            let (load, lag) = (measured.permille / 10, measured.worst_lag.as_millis());
            warn!(
                worker = self.index,
                calls,
                load_percent = load,
                worst_lag_ms = lag,
                seconds,
                "this media thread falls behind: the machine is too slow or too busy for its calls"
            );
        }
    }

    fn receive(&self, house: &mut House, batch: &mut Batch, token: Token) {
        let (key, socket) = (token.0 / SOCKETS, token.0 % SOCKETS);
        for _ in 0..TURNS {
            let Some(slot) = house.slots.get_mut(key) else { return };
            // An ICMP error of an earlier send shows up here; the next datagram is behind it.
            let more = slot.sockets.get(socket).is_none_or(|it| batch.receive(it).unwrap_or(true));
            let now = clock();
            if let Some(first) = batch.first_arrival() {
                house.load.note_lag(now.mono.saturating_duration_since(first));
            }
            let mut count = 0;
            let Slot { media, .. } = slot;
            let calm = catch_unwind(AssertUnwindSafe(|| {
                for datagram in batch.datagrams() {
                    count += 1;
                    media.handle_arrival(now, datagram.arrived, socket, datagram.from, datagram.bytes);
                }
            }));
            self.figures.received.fetch_add(count, Ordering::Relaxed);
            self.finish(house, key, calm.is_ok());
            if !more {
                return;
            }
        }
        // The rest of a flood waits for the other sockets: the edge is asked for again.
        if let Some(socket) = house.slots.get_mut(key).and_then(|slot| slot.sockets.get_mut(socket)) {
            let _ = self.poll.registry().reregister(socket, token, Interest::READABLE);
        }
    }

    fn run_timers(&self, house: &mut House) {
        let now = clock();
        while house.timers.peek().is_some_and(|Reverse((at, ..))| *at <= now.mono) {
            let Some(Reverse((at, key, call))) = house.timers.pop() else { return };
            let Some(slot) =
                house.slots.get_mut(key).filter(|slot| slot.call == call && slot.armed == Some(at))
            else {
                continue;
            };
            slot.armed = None;
            let mut calm = true;
            if let Some(due) = slot.media.poll_timeout().filter(|due| *due <= now.mono) {
                let lag = now.mono.saturating_duration_since(due);
                house.load.note_lag(lag);
                if lag > BEHIND {
                    self.figures.behind.fetch_add(1, Ordering::Relaxed);
                }
                calm = catch_unwind(AssertUnwindSafe(|| slot.media.handle_timeout(now))).is_ok();
            }
            self.finish(house, key, calm);
        }
    }

    /// Lets the counters know of the calls, once a second.
    fn tell(&self, house: &mut House, now: Instant) {
        if house.tell_at.is_some_and(|at| at > now) {
            return;
        }
        for (_, slot) in &mut house.slots {
            self.tell_of(slot);
        }
        house.tell_at = (!house.slots.is_empty()).then(|| now + TELL);
    }

    fn tell_of(&self, slot: &mut Slot) {
        if let Some([to_phone, to_meta]) = slot.media.flows() {
            self.figures.flow_to_phone.add(&mut slot.told[0], &to_phone);
            self.figures.flow_to_meta.add(&mut slot.told[1], &to_meta);
        }
    }

    /// Does what was asked for; false when the worker is to stop.
    fn obey(&mut self, house: &mut House) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Open(call, spec)) => self.open(house, call, &spec),
                Ok(Command::Order(call, order)) => {
                    let Some(key) = house.keys.get(&call).copied() else { continue };
                    let Some(slot) = house.slots.get_mut(key) else { continue };
                    if order == Order::SetStage(Stage::Open) && !slot.talks {
                        slot.talks = true;
                        self.figures.talking.fetch_add(1, Ordering::Relaxed);
                    }
                    let Media::Bridge(bridge) = &mut slot.media else { continue };
                    let calm = catch_unwind(AssertUnwindSafe(|| bridge.handle_order(clock(), order)));
                    self.finish(house, key, calm.is_ok());
                }
                Ok(Command::OpenRelay(call, spec)) => self.open_relay(house, call, *spec),
                Ok(Command::OrderRelay(call, order)) => {
                    let Some(key) = house.keys.get(&call).copied() else { continue };
                    let Some(Slot { media: Media::Relay(relay), .. }) = house.slots.get_mut(key) else {
                        continue;
                    };
                    let calm = catch_unwind(AssertUnwindSafe(|| relay.handle_order(clock(), order)));
                    self.finish(house, key, calm.is_ok());
                }
                Ok(Command::Record(call, inlet)) => {
                    let key = house.keys.get(&call).copied();
                    let slot = key.and_then(|key| house.slots.get_mut(key));
                    if let Some(Slot { media: Media::Bridge(bridge), .. }) = slot {
                        bridge.record(inlet);
                    }
                }
                #[cfg(test)]
                Ok(Command::Panic(call)) => {
                    let key = house.keys.get(&call).copied().unwrap_or(usize::MAX);
                    let calm = catch_unwind(|| panic!("a bug in the media of a call, for a test"));
                    self.finish(house, key, calm.is_ok());
                }
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => {
                    let keys: Vec<usize> = house.keys.values().copied().collect();
                    for key in keys {
                        let Some(slot) = house.slots.get_mut(key) else { continue };
                        let close = || slot.media.close(clock());
                        let calm = catch_unwind(AssertUnwindSafe(close)).is_ok();
                        self.finish(house, key, calm);
                    }
                    return false;
                }
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn open(&mut self, house: &mut House, call: CallId, spec: &OpenSpec) {
        let opened = self.try_open(house, call, spec);
        self.opened(house, call, opened);
    }

    pub(super) fn opened(
        &self,
        house: &mut House,
        call: CallId,
        opened: Result<(usize, Report), OpenRefusal>,
    ) {
        match opened {
            Ok((key, report)) => {
                self.figures.opened.fetch_add(1, Ordering::Relaxed);
                let _ = self.reports.send((call, report));
                self.finish(house, key, true);
            }
            Err(refusal) => {
                self.figures.refused.fetch_add(1, Ordering::Relaxed);
                self.figures.calls.fetch_sub(1, Ordering::Relaxed);
                lock(&self.shared.calls).remove(&call);
                let _ = self.reports.send((call, Report::Refused(refusal)));
            }
        }
    }

    fn try_open(
        &mut self,
        house: &mut House,
        call: CallId,
        spec: &OpenSpec,
    ) -> Result<(usize, Report), OpenRefusal> {
        let now = clock();
        let outside = lock(&self.shared.outside).take(now.mono).ok_or(OpenRefusal::NoPorts)?;
        let Some(inside) = lock(&self.shared.inside).take(now.mono) else {
            self.rest(&outside, &[]);
            return Err(OpenRefusal::NoPorts);
        };
        let (bridge, report, ports) = match self.build(now, &outside, &inside, spec) {
            Ok(built) => built,
            Err(refusal) => {
                self.rest(&outside, &inside);
                return Err(refusal);
            }
        };
        let media = Media::Bridge(Box::new(bridge));
        let sockets = outside.into_iter().chain(inside).collect();
        let key = self.settle_in(house, call, media, sockets, (Some(ports.0), [Some(ports.1), None]))?;
        Ok((key, report))
    }

    /// Gives a call its place, and the kernel its sockets.
    pub(super) fn settle_in(
        &self,
        house: &mut House,
        call: CallId,
        media: Media,
        mut sockets: Vec<UdpSocket>,
        (outside, inside): (Option<u16>, [Option<u16>; 2]),
    ) -> Result<usize, OpenRefusal> {
        let entry = house.slots.vacant_entry();
        let key = entry.key();
        let registry = self.poll.registry();
        let watched = sockets.iter_mut().enumerate().try_for_each(|(at, socket)| {
            registry.register(socket, Token(key * SOCKETS + at), Interest::READABLE)
        });
        if watched.is_err() {
            drop(sockets);
            self.give_back(outside, inside);
            return Err(OpenRefusal::NoResources);
        }
        let told = [Flow::default(); 2];
        entry.insert(Slot { call, media, sockets, outside, inside, armed: None, talks: false, told });
        house.keys.insert(call, key);
        Ok(key)
    }

    fn build(
        &mut self,
        now: Now,
        outside: &[UdpSocket],
        inside: &[UdpSocket],
        spec: &OpenSpec,
    ) -> Result<(Bridge, Report, (u16, u16)), OpenRefusal> {
        let local = |sockets: &[UdpSocket], at: usize| {
            sockets.get(at).and_then(|socket| socket.local_addr().ok()).ok_or(OpenRefusal::NoResources)
        };
        let (webrtc, rtp, rtcp) = (local(outside, 0)?, local(inside, 0)?, local(inside, 1)?);
        let candidates = lock(&self.shared.outside).realm().addresses(webrtc.port());
        let advertised = |port| lock(&self.shared.inside).realm().addresses(port).into_iter().next();
        let settings = BridgeSettings {
            webrtc_local: webrtc,
            webrtc_candidates: candidates,
            identity: Arc::clone(&self.shared.identity),
            fingerprint_case: self.shared.fingerprint_case,
            rtp: advertised(rtp.port()).unwrap_or(rtp),
            rtcp: advertised(rtcp.port()).unwrap_or(rtcp),
            random: self.random.split(),
        };
        let built = catch_unwind(AssertUnwindSafe(|| Bridge::open(now, settings, spec)));
        let (bridge, report) = built.unwrap_or_else(|_| {
            self.figures.panics.fetch_add(1, Ordering::Relaxed);
            Err(OpenRefusal::NoResources)
        })?;
        Ok((bridge, report, (webrtc.port(), rtp.port())))
    }

    pub(super) fn rest(&self, outside: &[UdpSocket], inside: &[UdpSocket]) {
        let now = Instant::now();
        let port =
            |sockets: &[UdpSocket]| sockets.first().and_then(|it| it.local_addr().ok()).map(|it| it.port());
        if let Some(port) = port(outside) {
            lock(&self.shared.outside).give_back(now, port);
        }
        if let Some(port) = port(inside) {
            lock(&self.shared.inside).give_back(now, port);
        }
    }

    /// Sends what a bridge has to send, passes on its reports, sets its timer, buries it if it ended.
    fn finish(&self, house: &mut House, key: usize, calm: bool) {
        let Some(slot) = house.slots.get_mut(key) else { return };
        let call = slot.call;
        let after = if calm { self.flush(slot) } else { After::Panicked };
        let last = match after {
            After::Lives => {
                let due = slot.media.poll_timeout();
                // Later deadlines are found when the earlier entry comes up.
                if let Some(due) = due.filter(|due| slot.armed.is_none_or(|armed| *due < armed)) {
                    slot.armed = Some(due);
                    house.timers.push(Reverse((due, key, slot.call)));
                }
                return;
            }
            After::Closed(last) => {
                self.tell_of(slot);
                last
            }
            After::Panicked => {
                error!(%call, "the media of a call panicked; the call is lost");
                self.figures.panics.fetch_add(1, Ordering::Relaxed);
                let _ = self.reports.send((call, Report::LegFailed(LegFailure::Panicked)));
                slot.media.lost()
            }
        };
        // Who hears of the end finds ports and counters as they will stay.
        self.bury(house, key);
        let _ = self.reports.send((call, last));
    }

    fn flush(&self, slot: &mut Slot) -> After {
        let figures = &self.figures;
        let Slot { media, sockets, .. } = slot;
        let sent = catch_unwind(AssertUnwindSafe(|| {
            let mut stamps = [None; 16];
            let mut count = 0;
            while let Some(transmit) = media.poll_transmit() {
                let Some(socket) = sockets.get(transmit.socket) else { continue };
                match socket.send_to(transmit.bytes, transmit.to) {
                    Ok(_) => figures.sent.fetch_add(1, Ordering::Relaxed),
                    Err(_) => figures.send_errors.fetch_add(1, Ordering::Relaxed),
                };
                if let (Some((side, arrived)), true) = (transmit.transit, count < stamps.len()) {
                    stamps[count] = Some((side, arrived.elapsed()));
                    count += 1;
                }
            }
            for (side, delay) in stamps.into_iter().flatten() {
                media.note_transit(side, delay);
                match side {
                    Side::Meta => figures.to_meta.add(delay),
                    Side::Phone => figures.to_phone.add(delay),
                }
            }
        }));
        if sent.is_err() {
            return After::Panicked;
        }
        while let Some(report) = slot.media.poll_report() {
            if is_last(&report) {
                return After::Closed(report);
            }
            // Nobody listens only while the process ends.
            let _ = self.reports.send((slot.call, report));
        }
        After::Lives
    }

    /// Ports whose sockets are closed may serve other calls, after their rest.
    fn give_back(&self, outside: Option<u16>, inside: [Option<u16>; 2]) {
        let now = Instant::now();
        if let Some(port) = outside {
            lock(&self.shared.outside).give_back(now, port);
        }
        for port in inside.into_iter().flatten() {
            lock(&self.shared.inside).give_back(now, port);
        }
    }

    fn bury(&self, house: &mut House, key: usize) {
        let Some(mut slot) = house.slots.try_remove(key) else { return };
        house.keys.remove(&slot.call);
        for socket in &mut slot.sockets {
            let _ = self.poll.registry().deregister(socket);
        }
        drop(slot.sockets);
        self.give_back(slot.outside, slot.inside);
        lock(&self.shared.calls).remove(&slot.call);
        if slot.talks {
            self.figures.talking.fetch_sub(1, Ordering::Relaxed);
        }
        self.figures.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_calls_are_served_packet_by_packet_and_many_never_wait_beyond_the_gathering() {
        assert_eq!(pause(MANY - 1, Duration::ZERO), None);
        assert_eq!(pause(MANY, Duration::ZERO), Some(GATHER));
        assert_eq!(pause(MANY, GATHER / 4), Some(GATHER * 3 / 4));
        // A round that took long is followed by the next one at once.
        assert_eq!(pause(1000, GATHER * 5), None);
    }
}
