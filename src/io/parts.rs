//! What the switchboard is given: the words of the file as values of the parts that work by them.

use std::sync::Arc;
use std::time::Duration;

use super::dns::Dns;
use super::graph::GraphClient;
use super::media::MediaEngine;
use super::recording::Recorder;
use super::signalling::{
    self, Browsers, BusinessNumber, CodecChoices, FeatureRules, GroupQueue, KeyChoices, MetricPeers, Parts,
    Timings, TransferRules, Voice,
};
use super::sounds::{SoundFault, Sounds};
use super::store::Store;
use super::voicemail::Cabinet;
use crate::call::{self, CallTimes};
use crate::codec::AudioCodec;
use crate::config::{self, Config};
use crate::dialplan::{DialEntry, DialPlan, Neighbours, TrunkEntry};
use crate::id::NumberLabel;
use crate::masked::Secret;
use crate::media::Timing;
use crate::metrics::Registry;
use crate::policy::{Cap, Rules, TollGuard};
use crate::random::Random;
use crate::sdp::narrow::Narrowing;
use crate::sdp::protection::Protection;
use crate::sip::UserAgent;
use crate::sip::alert::{Alert, Answering};

/// Meta counts initiations in 24 hours (reference §8).
const DAY: Duration = Duration::from_secs(86_400);

/// What is there before the switchboard, and goes on beside it.
pub(super) struct Ground {
    pub(super) agent: UserAgent,
    pub(super) media: MediaEngine,
    pub(super) recorder: Option<Recorder>,
    pub(super) messages: Option<Recorder>,
    pub(super) cabinet: Cabinet,
    pub(super) store: Store,
    pub(super) dns: Dns,
    pub(super) graph: Arc<GraphClient>,
    pub(super) sounds: Sounds,
    pub(super) metrics: Arc<Registry>,
    pub(super) random: Random,
}

/// The switchboard's parts by a configuration.
///
/// # Errors
/// A sound of a number cannot be played.
pub(super) fn parts(config: &Config, ground: Ground) -> Result<Parts, SoundFault> {
    let Ground { agent, media, recorder, messages, cabinet, store, dns, graph, sounds, metrics, random } =
        ground;
    Ok(Parts {
        agent,
        media,
        recorder,
        messages,
        cabinet,
        store,
        dns,
        graph,
        numbers: numbers(config, voices(config)?),
        dialplan: dialplan(config),
        feature_rules: feature_rules(config),
        transfer_rules: transfer_rules(config),
        toll: TollGuard::new(config.calls.toll),
        times: times(config),
        accept_window: config.calls.accept_window,
        dead_after: config.media.dead_after,
        ask_after: config.media.ask_after,
        comfort_after: config.media.comfort_after,
        metric_peers: metric_peers(config),
        timings: timings(config),
        keys: key_choices(config),
        ways: ways(config),
        codecs: codec_choices(config),
        encoder: config.media.opus,
        sounds,
        metrics,
        random,
    })
}

/// What each business number says by itself.
fn voices(config: &Config) -> Result<Vec<Voice>, SoundFault> {
    let country = config.sounds.country.as_deref().unwrap_or_default();
    let voice = |number: &config::NumberConfig| {
        let (greeting, announcement) = super::sounds::voice(&number.voice, country)?;
        Ok(Voice { greeting, announcement })
    };
    config.numbers.iter().map(voice).collect()
}

fn codec_choices(config: &Config) -> CodecChoices {
    let general = &config.media.codecs;
    let own = |codecs: &Option<Vec<AudioCodec>>, dtmf: config::KeyTelling| {
        let special = codecs.is_some() || dtmf != config::KeyTelling::Auto;
        let codecs = codecs.clone().unwrap_or_else(|| general.clone());
        special.then_some(Narrowing { codecs, events: dtmf == config::KeyTelling::Auto })
    };
    CodecChoices {
        general: Narrowing { codecs: general.clone(), events: true },
        phones: config
            .phones
            .iter()
            .filter_map(|it| Some((it.name.clone(), own(&it.codecs, it.dtmf)?)))
            .collect(),
        trunks: config
            .trunks
            .iter()
            .filter_map(|it| Some((it.name.clone(), own(&it.codecs, it.dtmf)?)))
            .collect(),
    }
}

fn key_choices(config: &Config) -> KeyChoices {
    KeyChoices {
        phones: config.phones.iter().map(|it| (it.name.clone(), it.dtmf)).collect(),
        trunks: config.trunks.iter().map(|it| (it.name.clone(), it.dtmf)).collect(),
    }
}

fn timings(config: &Config) -> Timings {
    let timing = |it: config::MediaTiming| match it {
        config::MediaTiming::Auto => Timing::Auto,
        config::MediaTiming::Relay => Timing::Relay,
        config::MediaTiming::Playout => Timing::Playout,
    };
    let own = |it: Option<config::MediaTiming>| it.map(timing);
    Timings {
        general: timing(config.media.timing),
        phones: config.phones.iter().filter_map(|it| Some((it.name.clone(), own(it.timing)?))).collect(),
        trunks: config.trunks.iter().filter_map(|it| Some((it.name.clone(), own(it.timing)?))).collect(),
    }
}

fn times(config: &Config) -> CallTimes {
    CallTimes {
        user_ring: config.calls.ring_user,
        max_duration: Some(config.calls.max_duration),
        ..CallTimes::default()
    }
}

fn numbers(config: &Config, voices: Vec<Voice>) -> Vec<BusinessNumber> {
    let number = |(number, voice): (&config::NumberConfig, Voice)| BusinessNumber {
        voice,
        label: number.label.clone(),
        id: number.phone_number_id.clone(),
        display: number.display_number.clone(),
        token: Secret::new(number.access_token.expose().clone()),
        ring: ring_plan(&number.ring, number.alert.as_deref(), config.voicemail.longest),
        alert: number.alert.clone(),
        pre_accept: match number.pre_accept {
            config::PreAccept::AtOnce => call::PreAcceptWhen::AtOnce,
            config::PreAccept::Ringing => call::PreAcceptWhen::Ringing,
        },
        answer_on: match number.answer_on {
            config::AnswerOn::Accepted => call::AnswerOn::Accepted,
            config::AnswerOn::Speech => call::AnswerOn::Speech,
        },
        record: number.record,
        hours: number.hours.as_ref().map(|it| opening(it, config.voicemail.longest)),
        rules: rules(&number.policy(), &config.policy, config.calls.reservation_life),
        hold_outside_hours: number.guards.hold_outside_hours,
        ask: number.ask.clone(),
    };
    config.numbers.iter().zip(voices).map(number).collect()
}

/// The rules of one business number.
pub(super) fn rules(number: &config::NumberPolicy, policy: &config::PolicyConfig, life: Duration) -> Rules {
    let cap = |cap: &config::CapConfig| cap.enabled.then_some(Cap { max: cap.max, window: cap.window });
    Rules {
        per_number: cap(&number.cap_per_number),
        per_pair: cap(&number.cap_per_pair),
        initiations: Some(Cap { max: number.max_initiations, window: DAY }),
        concurrent: Some(number.max_concurrent),
        reservation_life: life,
        country: policy.countries.of(number.display_number.digits()),
        barred_prefixes: number.never_call.clone(),
        unanswered_stop: number.guards.unanswered_stop,
        warn_at: number.guards.warn_at,
        ..Rules::default()
    }
}

fn opening(hours: &config::HoursConfig, longest: Duration) -> signalling::Hours {
    let closed = match &hours.closed {
        config::ClosedTarget::Reject => signalling::WhenClosed::Reject,
        config::ClosedTarget::Overflow => signalling::WhenClosed::Overflow,
        config::ClosedTarget::Target(target) => signalling::WhenClosed::Ring(target.clone()),
        config::ClosedTarget::Voicemail => {
            signalling::WhenClosed::Answer(call::Answering::Message { longest })
        }
        config::ClosedTarget::Announcement => signalling::WhenClosed::Answer(call::Answering::Announcement),
    };
    signalling::Hours { open: hours.hours.clone(), closed }
}

/// The plan of a number whose calls ring with the tone `alert`.
fn ring_plan(plan: &config::RingPlanConfig, alert: Option<&str>, longest: Duration) -> call::RingPlan {
    let step = |step: &config::RingStepConfig| call::RingStep {
        targets: step.targets.clone(),
        ring: step.ring,
        order: match step.order {
            config::RingOrder::Together => call::RingOrder::Together,
            config::RingOrder::OneByOne => call::RingOrder::OneByOne,
        },
        alert: Alert {
            name: step.alert.as_deref().or(alert).map(str::to_owned),
            answering: if step.auto_answer { Answering::AtOnce } else { Answering::ByPerson },
        },
    };
    let overflow =
        |target: &crate::id::Endpoint| call::Overflow { target: target.clone(), kept: config::OVERFLOW_KEPT };
    call::RingPlan {
        steps: plan.steps.iter().map(step).collect(),
        overflow: plan.overflow.as_ref().and_then(config::LastTarget::endpoint).map(overflow),
        answering: match plan.overflow {
            Some(config::LastTarget::Voicemail) => Some(call::Answering::Message { longest }),
            Some(config::LastTarget::Announcement) => Some(call::Answering::Announcement),
            Some(config::LastTarget::Ring(_)) | None => None,
        },
    }
}

/// The phones and trunks that are offered VoIP metrics.
fn metric_peers(config: &Config) -> MetricPeers {
    let phones = config.phones.iter().filter(|it| it.rtcp_xr).map(|it| it.name.clone());
    let trunks = config.trunks.iter().filter(|it| it.rtcp_xr).map(|it| it.name.clone());
    MetricPeers { phones: phones.collect(), trunks: trunks.collect() }
}

/// How the phones that are called may want to be offered protection.
fn ways(config: &Config) -> Vec<Protection> {
    let settings = config.phones.iter().map(|it| it.srtp).chain(config.trunks.iter().map(|it| it.srtp));
    let web = |kind: config::StreamTransport| {
        matches!(kind, config::StreamTransport::Ws | config::StreamTransport::Wss)
    };
    let browsers = if config.sip.streams.iter().any(|(kind, _)| web(*kind)) {
        Browsers::MayCome
    } else {
        Browsers::Cannot
    };
    signalling::ways(settings, browsers)
}

fn transfer_rules(config: &Config) -> TransferRules {
    let of = |which: fn(&config::TrunkConfig) -> bool| {
        config.trunks.iter().filter(|trunk| which(trunk)).map(|trunk| trunk.name.clone()).collect()
    };
    TransferRules {
        may_refer: of(|trunk| trunk.refer),
        voip_only: of(|trunk| trunk.voip_only),
        may_take_over: config.phones.iter().filter(|it| it.take_over).map(|it| it.name.clone()).collect(),
    }
}

fn feature_rules(config: &Config) -> FeatureRules {
    let config::FeaturesConfig { pick_up_by, parking, .. } = &config.features;
    FeatureRules {
        neighbours: Neighbours::new(config.groups.iter().map(|it| it.members.clone()).collect()),
        pick_up_by: *pick_up_by,
        retrieve_by: parking.retrieve_by,
        places: parking.slots.clone(),
        park_timeout: parking.timeout,
        park_overflow: parking.overflow.clone(),
        outcomes: config.records.outcomes.clone(),
        queues: config.groups.iter().map(|it| queue(config, it)).collect(),
    }
}

fn queue(config: &Config, group: &config::GroupConfig) -> GroupQueue {
    let number = |label: &NumberLabel| config.numbers.iter().find(|it| it.label == *label);
    GroupQueue {
        name: group.name.clone(),
        members: group.members.clone(),
        numbers: group.callbacks.iter().filter_map(number).map(|it| it.phone_number_id.clone()).collect(),
    }
}

fn dialplan(config: &Config) -> DialPlan {
    let entry = |number: &config::NumberConfig| {
        number.dial.as_ref().map(|dial| DialEntry {
            number: number.phone_number_id.clone(),
            prefix: dial.prefix.clone(),
            phones: dial.phones.clone(),
            trunks: dial.trunks.clone(),
        })
    };
    let trunk = |trunk: &config::TrunkConfig| {
        let prefix = trunk.dial_prefix.clone()?;
        Some(TrunkEntry { prefix, trunk: trunk.name.clone() })
    };
    let transit = |from: &config::TrunkConfig| {
        let (name, leads_to) = (from.name.clone(), from.transit.clone());
        leads_to.into_iter().map(move |to| (name.clone(), to))
    };
    DialPlan {
        entries: config.numbers.iter().filter_map(entry).collect(),
        phones: config.phones.iter().map(|phone| phone.name.clone()).collect(),
        trunks: config.trunks.iter().filter_map(trunk).collect(),
        transit: config.trunks.iter().flat_map(transit).collect(),
        emergency: config.emergency.clone(),
        features: config.features.codes.clone(),
    }
}
