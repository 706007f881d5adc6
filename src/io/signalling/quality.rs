//! What the figures of a call's media add to the metrics when they are known: at its end.

use std::collections::BTreeSet;

use super::switchboard::Switchboard;
use crate::id::{CallId, Endpoint, PhoneName, TrunkName};
use crate::media::{DirectionSummary, StreamQuality, Summary};
use crate::metrics::label::{Leg, LegWay, Listener, OfLeg, OfListener, Way};
use crate::metrics::table;

/// Calls with fewer packets than this, a second of speech, say nothing about quality.
const LEAST_PACKETS: u64 = 50;

/// The phones and trunks that are offered VoIP metrics of RTCP-XR.
#[derive(Clone, Debug, Default)]
pub struct MetricPeers {
    /// Phones.
    pub phones: BTreeSet<PhoneName>,
    /// Trunks.
    pub trunks: BTreeSet<TrunkName>,
}

impl MetricPeers {
    fn has(&self, endpoint: &Endpoint) -> bool {
        match endpoint {
            Endpoint::Phone(name) => self.phones.contains(name),
            Endpoint::Trunk(name, _) => self.trunks.contains(name),
        }
    }
}

impl Switchboard {
    /// Whether a phone that the call may reach is offered VoIP metrics. All that ring get one offer; those
    /// that do not know the attribute pass over it.
    pub(super) fn wants_metrics(&self, id: CallId) -> bool {
        let Some(live) = self.calls.get(&id) else { return false };
        let peers = &self.parts.metric_peers;
        match &live.call.record().endpoint {
            Some(endpoint) => peers.has(endpoint),
            None => self.parts.numbers[live.number].ring.targets().any(|it| peers.has(it)),
        }
    }

    /// Counts how the call sounded.
    pub(super) fn count_quality(&self, summary: &Summary) {
        let Summary { to_phone, to_meta, .. } = summary;
        self.count_stream(Leg::WhatsApp, Way::In, Some(&to_phone.received));
        self.count_stream(Leg::Phone, Way::Out, to_phone.delivered.as_ref());
        self.count_stream(Leg::Phone, Way::In, Some(&to_meta.received));
        self.count_stream(Leg::WhatsApp, Way::Out, to_meta.delivered.as_ref());
        // Both streams of a leg have its round trip.
        for (leg, round_trip) in
            [(Leg::WhatsApp, to_phone.received.round_trip), (Leg::Phone, to_meta.received.round_trip)]
        {
            if let Some(round_trip) = round_trip {
                self.parts.metrics.observe(&table::MEDIA_ROUND_TRIP, &OfLeg { leg }, round_trip);
            }
        }
        self.count_heard(Listener::Phone, to_phone);
        self.count_heard(Listener::User, to_meta);
    }

    fn count_stream(&self, leg: Leg, way: Way, quality: Option<&StreamQuality>) {
        let Some(quality) = quality.filter(|it| it.packets >= LEAST_PACKETS) else { return };
        let (metrics, labels) = (&self.parts.metrics, LegWay { leg, way });
        metrics.measure(&table::MEDIA_LOSS, &labels, quality.loss.ratio());
        if let Some(jitter) = quality.jitter {
            metrics.observe(&table::MEDIA_JITTER, &labels, jitter);
        }
        if let Some(rating) = quality.conversational() {
            metrics.measure(&table::MEDIA_MOS, &labels, rating.mos());
        }
    }

    /// Rule 19: a call that nobody reported on is counted as that, not as a good one.
    fn count_heard(&self, listener: Listener, direction: &DirectionSummary) {
        let (metrics, labels) = (&self.parts.metrics, OfListener { listener });
        match direction.heard {
            Some(rating) => metrics.measure(&table::CALL_MOS, &labels, rating.mos()),
            None if direction.packets_in >= LEAST_PACKETS => metrics.count(&table::CALLS_UNRATED, &labels),
            None => {}
        }
    }
}
