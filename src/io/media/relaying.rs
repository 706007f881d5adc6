//! Opens the media of a call between desks: two pairs of ports inside, none outside.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mio::net::UdpSocket;

use super::slot::Media;
use super::worker::{House, Worker, clock, lock};
use crate::id::CallId;
use crate::media::{OpenRefusal, Relay, RelaySettings, RelaySpec, Report};
use crate::sdp::audio::AudioRefusal;
use crate::time::Now;

impl Worker {
    pub(super) fn open_relay(&mut self, house: &mut House, call: CallId, spec: RelaySpec) {
        let opened = self.try_open_relay(house, call, spec);
        self.opened(house, call, opened);
    }

    fn try_open_relay(
        &mut self,
        house: &mut House,
        call: CallId,
        spec: RelaySpec,
    ) -> Result<(usize, Report), OpenRefusal> {
        let now = clock();
        let caller = lock(&self.shared.inside).take(now.mono).ok_or(OpenRefusal::NoPorts)?;
        let Some(callee) = lock(&self.shared.inside).take(now.mono) else {
            self.rest(&[], &caller);
            return Err(OpenRefusal::NoPorts);
        };
        let port = |sockets: &[UdpSocket]| sockets.first()?.local_addr().ok().map(|it| it.port());
        let ports = [port(&caller), port(&callee)];
        let built = self.build_relay(now, [&caller, &callee], spec);
        let (relay, report) = match built {
            Ok(built) => built,
            Err(refusal) => {
                self.rest(&[], &caller);
                self.rest(&[], &callee);
                return Err(refusal);
            }
        };
        let (media, sockets) = (Media::Relay(Box::new(relay)), caller.into_iter().chain(callee).collect());
        let key = self.settle_in(house, call, media, sockets, (None, ports))?;
        Ok((key, report))
    }

    fn build_relay(
        &mut self,
        now: Now,
        pairs: [&[UdpSocket]; 2],
        spec: RelaySpec,
    ) -> Result<(Relay, Report), OpenRefusal> {
        let seen = |socket: &UdpSocket| {
            let local = socket.local_addr().ok()?;
            let advertised = lock(&self.shared.inside).realm().addresses(local.port()).into_iter().next();
            Some(advertised.unwrap_or(local))
        };
        let pair = |sockets: &[UdpSocket]| Some((seen(sockets.first()?)?, seen(sockets.get(1)?)?));
        let (Some(caller), Some(callee)) = (pair(pairs[0]), pair(pairs[1])) else {
            return Err(OpenRefusal::NoResources);
        };
        let settings = RelaySettings {
            addresses: [caller, callee],
            identity: Arc::clone(&self.shared.identity),
            fingerprint_case: self.shared.fingerprint_case,
            random: self.random.split(),
        };
        let built = catch_unwind(AssertUnwindSafe(|| Relay::open(now, settings, spec)));
        let (relay, report) = built
            .unwrap_or_else(|_| {
                self.figures.panics.fetch_add(1, Ordering::Relaxed);
                Err(AudioRefusal::NotSdp)
            })
            .map_err(OpenRefusal::Phone)?;
        Ok((relay, Report::Relay(report)))
    }
}
