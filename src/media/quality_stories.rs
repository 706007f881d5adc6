//! Stories of what a call sounds like: reports both ways, loss, delay, and what nobody can know.

use std::time::Duration;

use super::quality::StreamQuality;
use super::world::*;
use super::*;
use crate::rtp::{
    Extended, GMIN, NtpClock, NtpTime, OurReport, PayloadType, Reception, ReportBlock, RtpTime, SenderFacts,
    SeqNo, Ssrc, VoipMetrics, read_rtcp,
};
use crate::time::{Now, Wall};

/// A far end that measures what it hears and reports it, as phones and WhatsApp's relay do.
struct FarEnd {
    by_user: bool,
    ssrc: Ssrc,
    reception: Reception,
    ntp: NtpClock,
    heard: usize,
    reports: usize,
    /// On the way to us; the way from us takes none in this world.
    delay: Duration,
    /// Every n-th packet does not reach it.
    loses: usize,
}

impl FarEnd {
    fn new(world: &World, by_user: bool) -> Self {
        let now = Now { mono: world.start, wall: Wall(1_700_000_000_123) };
        let (ssrc, clock) = if by_user { (Ssrc(77), 48_000) } else { (Ssrc(55), 8000) };
        Self {
            by_user,
            ssrc,
            reception: Reception::new(clock),
            ntp: NtpClock::new(now),
            heard: 0,
            reports: 0,
            delay: Duration::ZERO,
            loses: usize::MAX,
        }
    }

    /// Takes what has come, and answers each of our reports half a second later.
    fn listen(&mut self, world: &mut World) {
        let heard = if self.by_user { &world.user_heard } else { &world.phone_heard };
        for (at, it) in heard.iter().enumerate().skip(self.heard) {
            if !(at + 1).is_multiple_of(self.loses) {
                let arrived = world.start + it.at;
                self.reception.note(arrived, it.header.ssrc, it.header.seq, it.header.timestamp);
            }
        }
        self.heard = heard.len();
        let reports = if self.by_user { &world.user_rtcp } else { &world.phone_rtcp };
        for report in reports.iter().skip(self.reports) {
            for it in read_rtcp(report, self.ssrc).unwrap().reports {
                if let Some(ntp) = it.sender {
                    self.reception.note_sender_report(world.now, it.ssrc, ntp.middle());
                }
            }
        }
        self.reports = reports.len();
    }

    fn report(&mut self, world: &mut World, extended: &[Extended]) {
        let block = self.reception.report(world.now);
        let sender = SenderFacts { ntp: self.ntp.at(world.now), rtp: RtpTime(0), packets: 1, octets: 160 };
        let report = OurReport { ssrc: self.ssrc, sender: Some(sender), block, cname: "far", extended };
        self.post(world, &report.write());
    }

    fn post(&self, world: &mut World, compound: &[u8]) {
        let sealed = if self.by_user {
            world.user.protect_rtcp(compound).unwrap().1.to_vec()
        } else {
            compound.to_vec()
        };
        let (port, from) = if self.by_user { (BridgePort::WebRtc, USERS) } else { (BridgePort::Rtcp, PHONE) };
        world.post_after(self.delay, port, from.parse().unwrap(), &sealed);
    }
}

/// Both speak for `seconds`; each far end reports every two seconds.
fn talk(world: &mut World, ends: &mut [&mut FarEnd], seconds: u64) {
    world.phone.speaking = true;
    world.user_voice.speaking = true;
    for second in 0..seconds {
        for _ in 0..1000 {
            world.run(millis(1));
            for end in ends.iter_mut() {
                end.listen(world);
            }
        }
        if second % 2 == 1 {
            for end in ends.iter_mut() {
                end.report(world, &[]);
            }
        }
    }
    world.run(millis(500));
}

fn mos(quality: &StreamQuality) -> f64 {
    quality.conversational().unwrap().mos()
}

#[test]
fn a_clean_call_is_above_four_point_two_on_both_legs_and_for_both_listeners() {
    let mut world = World::up(30);
    let (mut user, mut phone) = (FarEnd::new(&world, true), FarEnd::new(&world, false));
    talk(&mut world, &mut [&mut user, &mut phone], 20);
    let Summary { to_phone, to_meta, .. } = world.bridge.summary();
    for direction in [&to_phone, &to_meta] {
        let delivered = direction.delivered.as_ref().unwrap();
        assert!(mos(&direction.received) > 4.2 && mos(delivered) > 4.2, "{direction:?}");
        assert!(direction.heard.unwrap().mos() > 4.2, "{:?}", direction.heard);
        assert!((direction.received.loss, delivered.loss) == Default::default());
    }
    assert_eq!((to_phone.received.codec, to_meta.received.codec), ("opus", "PCMU"));
    assert_eq!(to_phone.delivered.unwrap().codec, "PCMU");
    assert!(to_phone.received.round_trip.unwrap() < millis(2));
}

#[test]
fn a_lossy_leg_is_rated_lower_than_the_clean_one_and_the_listener_behind_it_hears_it() {
    let mut world = World::up(31);
    let (mut user, mut phone) = (FarEnd::new(&world, true), FarEnd::new(&world, false));
    // The phone's packets are lost on the way in, and the user loses every twentieth of ours.
    world.phone_path.loss_percent = 8;
    user.loses = 20;
    talk(&mut world, &mut [&mut user, &mut phone], 30);
    let Summary { to_phone, to_meta, .. } = world.bridge.summary();
    assert!((6.0..10.0).contains(&to_meta.received.loss.percent()), "{:?}", to_meta.received);
    let delivered = to_meta.delivered.as_ref().unwrap();
    assert!((4.5..5.5).contains(&delivered.loss.percent()), "{delivered:?}");
    let (received, delivered) = (mos(&to_meta.received), mos(delivered));
    assert!(received < 3.9 && delivered < 3.9, "{received} {delivered}");
    assert!(to_meta.heard.unwrap().mos() < received.min(delivered));
    assert!(to_phone.heard.unwrap().mos() > 4.2, "the other direction is clean");
}

#[test]
fn rule_19_without_reports_what_is_heard_is_unknown_however_clean_our_own_count_is() {
    let mut world = World::up(32);
    talk(&mut world, &mut [], 20);
    let Summary { to_phone, to_meta, .. } = world.bridge.summary();
    for direction in [&to_phone, &to_meta] {
        assert!(direction.received.packets > 900 && direction.received.listening().is_some());
        assert_eq!((direction.received.conversational(), direction.heard), (None, None));
        assert_eq!((direction.delivered.as_ref(), direction.round_trip), (None, None));
    }
    // One reporting side is not enough for what is heard at the end.
    let mut world = World::up(33);
    let mut phone = FarEnd::new(&world, false);
    talk(&mut world, &mut [&mut phone], 20);
    let Summary { to_phone, to_meta, .. } = world.bridge.summary();
    assert!(to_phone.delivered.is_some() && to_meta.delivered.is_none());
    assert_eq!((to_phone.heard, to_meta.heard), (None, None));
}

#[test]
fn the_round_trip_of_each_leg_is_its_own_and_a_long_one_costs() {
    let mut world = World::up(34);
    let (mut user, mut phone) = (FarEnd::new(&world, true), FarEnd::new(&world, false));
    (user.delay, phone.delay) = (millis(430), millis(30));
    talk(&mut world, &mut [&mut user, &mut phone], 20);
    let Summary { to_phone, to_meta, .. } = world.bridge.summary();
    let near = |quality: &StreamQuality, wanted: u64| {
        let round_trip = quality.round_trip.unwrap();
        assert!(round_trip >= millis(wanted - 2) && round_trip <= millis(wanted + 2), "{round_trip:?}");
    };
    near(&to_phone.received, 430);
    near(&to_meta.delivered.clone().unwrap(), 430);
    near(&to_meta.received, 30);
    near(&to_phone.delivered.clone().unwrap(), 30);
    assert!(mos(&to_phone.received) < mos(&to_meta.received));
    assert!(to_phone.heard.unwrap().mos() < 4.2, "{:?}", to_phone.heard);
    assert_eq!(to_phone.heard, to_meta.heard, "both wait for each other");
}

#[test]
fn jitter_of_the_way_in_is_measured_in_the_legs_own_clock() {
    let mut world = World::up(35);
    (world.phone_path.jitter_ms, world.user_path.jitter_ms) = (18, 18);
    let mut phone = FarEnd::new(&world, false);
    talk(&mut world, &mut [&mut phone], 20);
    let Summary { to_phone, to_meta, .. } = world.bridge.summary();
    for quality in [&to_phone.received, &to_meta.received] {
        let jitter = quality.jitter.unwrap();
        // Two uniform delays of 0 to 17 ms differ by a third of that on average.
        assert!((4..=9).contains(&jitter.as_millis()), "{} {jitter:?}", quality.codec);
    }
    assert_eq!(to_meta.delivered, None);
}

#[test]
fn rule_12_the_encoder_prepares_for_five_per_cent_and_then_for_what_the_user_reports() {
    let mut world = World::up(36);
    let mut user = FarEnd::new(&world, true);
    assert_eq!(world.bridge.expected_loss(), 5);
    user.loses = 5;
    talk(&mut world, &mut [&mut user], 8);
    assert!((18..=22).contains(&world.bridge.expected_loss()), "{}", world.bridge.expected_loss());
    user.loses = usize::MAX;
    talk(&mut world, &mut [&mut user], 8);
    let falling = world.bridge.expected_loss();
    assert!((10..20).contains(&falling), "slowly: {falling}");
    // Nothing lost for long: copies rest.
    talk(&mut world, &mut [&mut user], 120);
    assert_eq!(world.bridge.expected_loss(), 0);
}

#[test]
fn a_side_that_gets_nothing_from_us_gets_no_sender_report() {
    let mut world = World::up(37);
    talk(&mut world, &mut [], 6);
    let spoken_to = world.phone_rtcp.clone();
    world.order(Order::AnswerPhoneReoffer { sdp: Some(phone_sdp("inactive", 20)) });
    world.run(Duration::from_secs(25));
    assert!(spoken_to.iter().any(|it| it[1] == 200));
    assert_eq!(world.phone_rtcp.last().map(|it| it[1]), Some(201), "a receiver report");
    assert!(world.user_rtcp.iter().all(|it| it[1] == 200), "the line to Meta never rests");
}

#[test]
fn a_sender_report_names_the_time_stamp_of_its_own_moment() {
    let mut world = World::up(38);
    talk(&mut world, &mut [], 8);
    let report = world.phone_rtcp.last().unwrap();
    let word = |at: usize| u32::from_be_bytes(report[at..at + 4].try_into().unwrap());
    let at = Duration::from_secs(u64::from(word(8)) - 2_208_988_800 - 1_790_000_000)
        + Duration::from_secs_f64(f64::from(word(12)) / 4_294_967_296.0);
    let packet = world.phone_heard.iter().rev().find(|it| it.at <= at).unwrap();
    let expected = packet.header.timestamp.plus(((at - packet.at).as_micros() / 125) as u32);
    assert!(RtpTime(word(16)).since(expected).abs() <= 8, "{} {expected:?}", word(16));
}

#[test]
fn a_phone_that_changes_its_source_is_reported_on_from_its_new_one() {
    let mut world = World::up(39);
    let mut phone = FarEnd::new(&world, false);
    talk(&mut world, &mut [&mut phone], 8);
    world.phone.header.ssrc = Ssrc(0x99);
    world.phone.header.seq = SeqNo(3);
    phone.ssrc = Ssrc(0x99);
    let before = world.phone_rtcp.len();
    talk(&mut world, &mut [&mut phone], 12);
    let last = read_rtcp(world.phone_rtcp.last().unwrap(), Ssrc(0x99)).unwrap().reports[0].block.unwrap();
    assert!(world.phone_rtcp.len() > before);
    assert_eq!((last.total_lost, last.fraction_lost, last.highest_seq >> 16), (0, 0, 0));
    assert!(last.last_sr != 0, "its sender reports count");
    let received = world.bridge.summary().to_meta.received;
    assert!(received.loss.percent() < 0.1 && received.packets > 950, "{received:?}");
}

#[test]
fn nonsense_in_a_report_changes_no_figure_for_the_worse_than_it_says() {
    let mut world = World::up(40);
    let mut phone = FarEnd::new(&world, false);
    talk(&mut world, &mut [&mut phone], 10);
    let honest = world.bridge.summary().to_phone;
    let ours = world.phone_heard[0].header.ssrc;
    for (total_lost, last_sr) in [(8_000_000, 1), (-8_000_000, u32::MAX), (i32::MIN, 7)] {
        let block = ReportBlock { ssrc: ours, total_lost, last_sr, jitter: u32::MAX, ..Default::default() };
        let report = crate::rtp::write_report(phone.ssrc, None, Some(block), "far");
        phone.post(&mut world, &report);
        world.run(millis(10));
    }
    let after = world.bridge.summary().to_phone;
    assert_eq!((after.reported_lost, after.round_trip), (honest.reported_lost, honest.round_trip));
    assert_eq!(PayloadType(0), world.phone_heard[0].header.payload_type);
}

/// The VoIP metrics of our last report to the phone.
fn metrics_for_the_phone(world: &World) -> Option<VoipMetrics> {
    let facts = read_rtcp(world.phone_rtcp.last()?, Ssrc(55)).unwrap();
    facts.extended.iter().find_map(|it| match it {
        Extended::VoipMetrics(metrics) => Some(*metrics),
        _ => None,
    })
}

fn agree_on_metrics(world: &mut World) {
    let sdp = phone_sdp("sendrecv", 20) + "a=rtcp-xr:rcvr-rtt=all voip-metrics\r\n";
    world.order(Order::AnswerPhoneReoffer { sdp: Some(sdp) });
}

#[test]
fn voip_metrics_go_to_a_phone_that_wants_them_and_to_no_other() {
    let mut world = World::up(41);
    let mut phone = FarEnd::new(&world, false);
    talk(&mut world, &mut [&mut phone], 8);
    assert_eq!(metrics_for_the_phone(&world), None);
    agree_on_metrics(&mut world);
    let answer = world.reports.iter().rev().find_map(|(_, it)| match it {
        Report::PhoneReofferAnswered { sdp } => Some(sdp.clone()),
        _ => None,
    });
    assert!(answer.unwrap().contains("a=rtcp-xr:voip-metrics\r\n"));
    talk(&mut world, &mut [&mut phone], 12);
    let clean = metrics_for_the_phone(&world).unwrap();
    assert_eq!((clean.ssrc, clean.loss_rate, clean.gmin), (Ssrc(55), 0, GMIN));
    assert!(clean.mos_cq.unwrap() >= 43 && clean.r_factor.unwrap() > 90, "{clean:?}");
    world.phone_path.loss_percent = 25;
    talk(&mut world, &mut [&mut phone], 30);
    let lossy = metrics_for_the_phone(&world).unwrap();
    assert!(lossy.loss_rate > 20 && lossy.burst_density > 40 && lossy.burst_duration > 100, "{lossy:?}");
    assert!(lossy.mos_cq < clean.mos_cq && lossy.mos_lq < clean.mos_lq);
    assert!(world.user_rtcp.iter().all(|it| read_rtcp(it, Ssrc(77)).unwrap().extended.is_empty()));
}

#[test]
fn what_a_phone_says_in_voip_metrics_is_what_it_hears() {
    let mut world = World::up(42);
    let mut phone = FarEnd::new(&world, false);
    talk(&mut world, &mut [&mut phone], 8);
    let before = mos(&world.bridge.summary().to_phone.delivered.unwrap());
    let metrics = VoipMetrics {
        ssrc: world.phone_heard[0].header.ssrc,
        burst_density: 100,
        mos_cq: Some(31),
        ..VoipMetrics::default()
    };
    phone.report(&mut world, &[Extended::VoipMetrics(metrics)]);
    world.run(millis(20));
    let delivered = world.bridge.summary().to_phone.delivered.unwrap();
    assert!(before > 4.2 && (mos(&delivered) - 3.1).abs() < 0.05, "{before} {delivered:?}");
    assert!(delivered.burst_percent.unwrap() > 150);
}

#[test]
fn a_phone_that_only_listens_learns_the_round_trip_by_its_own_clock_and_we_by_ours() {
    let mut world = World::up(43);
    let mut phone = FarEnd::new(&world, false);
    agree_on_metrics(&mut world);
    let clock = Extended::ReferenceTime { ssrc: Ssrc(55), ntp: NtpTime(0x0001_0002_0003_0004) };
    phone.report(&mut world, &[clock]);
    world.run(Duration::from_secs(9));
    let said = world.phone_rtcp.last().unwrap();
    let facts = read_rtcp(said, Ssrc(55)).unwrap();
    assert!(facts.reports[0].sender.is_none(), "nothing was sent");
    let back = facts.extended.iter().find_map(|it| match it {
        Extended::Returned { to, last, delay } => Some((*to, *last, *delay > 65_536)),
        _ => None,
    });
    assert_eq!(back, Some((Ssrc(55), 0x0002_0003, true)));
    let asked = facts.extended.iter().find_map(|it| match it {
        Extended::ReferenceTime { ssrc, ntp } => Some((*ssrc, ntp.middle())),
        _ => None,
    });
    let (ours, last) = asked.unwrap();
    // Our clock comes back 250 ms after it left, kept for nothing.
    let age = world.now - world.start;
    phone.delay = millis(250);
    phone.report(&mut world, &[Extended::Returned { to: ours, last, delay: 0 }]);
    world.run(millis(300));
    let round_trip = world.bridge.summary().to_meta.received.round_trip.unwrap();
    assert!(round_trip >= millis(250) && round_trip < age, "{round_trip:?}");
}
