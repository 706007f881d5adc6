//! From the words of SIP and media to the words of a call and back: values to values, without state.

use crate::call::desk::{DeskMedia, DeskOrder};
use crate::call::{
    Fork, ForkFailure, Gate, Input, LegEnd, MediaClosing, MediaFailure, MediaRefusal, Offer, Output, Towards,
    Verdict,
};
use crate::io::sounds::Sounds;
use crate::media::dtls::DtlsFailure;
use crate::media::{
    LegFailure, MetaSide, OpenRefusal, OpenSpec, Order, PhoneSide, RelayOrder, RelayReport, Repeat, Report,
    Side, Stage,
};
use crate::sdp::audio::AudioRefusal;
use crate::sip::{self, Event, Reason, Refusal};
use crate::time::{Now, Wall};

/// What a report of media means to its call; `None`: nothing.
#[must_use]
pub fn from_media(report: Report) -> Option<Input> {
    Some(match report {
        Report::Opened { meta_sdp, phone_sdp, .. } => Input::MediaOpened { meta_sdp, phone_sdp },
        Report::Refused(refusal) => Input::MediaRefused(media_refusal(refusal)),
        Report::IceConnected => Input::IceConnected,
        Report::DtlsUp => Input::DtlsUp,
        // Meta closes DTLS when the user hangs up; the webhook with the reason is on its way, and if
        // it never comes the call ends for want of media.
        Report::LegFailed(LegFailure::Closed) => return None,
        Report::LegFailed(failure) => Input::MediaFailed(media_failure(failure)),
        Report::UserSpoke => Input::UserSpoke,
        Report::FirstAudio { towards: Side::Meta } => Input::FirstAudio(Towards::User),
        Report::FirstAudio { towards: Side::Phone } => Input::FirstAudio(Towards::Phone),
        // The only sound for the phone alone that a call waits for.
        Report::Played { towards: Side::Phone } => Input::PlaceTold,
        Report::Played { towards: Side::Meta } => Input::SoundPlayed,
        // Read by the dial plan first.
        Report::CodePressed(_) => return None,
        // Said by SIP, which is nothing that changes the call.
        Report::KeyPressed { .. } => return None,
        Report::Stalled => Input::MediaStalled,
        Report::MetaAnswerRefused(_) => Input::MetaAnswerRefused,
        Report::PhoneAnswerRefused(_) => Input::PhoneAnswerRefused,
        Report::PhoneReofferAnswered { sdp } => Input::PhoneReofferAnswered(sdp),
        Report::PhoneReofferRefused(_) => Input::PhoneReofferRefused,
        Report::NextOffered { sdp, .. } => Input::NextPhoneOffered(sdp),
        Report::NextAnswered { sdp } => Input::NextPhoneAnswered(sdp),
        Report::NextRefused(_) => Input::NextPhoneRefused,
        Report::Relay(report) => Input::Desk(from_relay(report)?),
        Report::Closed(summary) => {
            let quality_json = summary.to_json();
            Input::MediaClosed(MediaClosing { line: summary.codecs, quality_json })
        }
    })
}

/// What an event on a leg means to the leg's call; `None`: nothing.
#[must_use]
pub fn from_sip(fork: Fork, event: Event) -> Option<Input> {
    Some(match event {
        Event::Ringing { sdp, .. } => Input::PhoneRang(fork, sdp),
        Event::Answered { sdp, dialog, .. } => Input::PhoneAnswered { fork, sdp, dialog: Box::new(dialog) },
        Event::Failed { failure, .. } => Input::PhoneFailed(fork, fork_failure(failure)),
        Event::Confirmed { dialog, .. } => Input::PhoneConfirmed(fork, Box::new(dialog)),
        Event::Cancelled { .. } => Input::PhoneCancelled(fork),
        Event::HungUp { .. } => Input::PhoneHungUp(fork),
        Event::AckTimeout { .. } if fork == Fork(0) => Input::PhoneAckMissed,
        Event::AckTimeout { .. } => Input::PhoneHungUp(fork),
        Event::ReofferRefused { status, .. } => Input::PhoneOfferRefused(fork, status),
        Event::Reoffered { sdp, .. } => Input::PhoneReoffered(fork, sdp),
        Event::Reanswered { sdp, .. } => Input::PhoneReanswered(fork, sdp),
        Event::Expired { .. } => Input::PhoneExpired(fork),
        Event::Invited { .. }
        | Event::Referred { .. }
        | Event::Digit { .. }
        | Event::DigitRefused { .. }
        | Event::Registered { .. }
        | Event::Trunk { .. }
        | Event::Unregistered { .. } => return None,
    })
}

/// What an output orders of the call's media; an output that is for somebody else comes back.
///
/// # Errors
/// The output itself.
pub fn to_media(output: Output) -> Result<Order, Output> {
    Ok(match output {
        Output::ApplyMetaAnswer(sdp) => Order::ApplyMetaAnswer { sdp },
        Output::StartDtls => Order::StartDtls,
        Output::SetGate(gate) => Order::SetStage(stage(gate)),
        Output::ApplyPhoneAnswer(sdp) => Order::ApplyPhoneAnswer { sdp },
        Output::AnswerReoffer(sdp) => Order::AnswerPhoneReoffer { sdp },
        Output::ApplyPhoneReanswer(sdp) => Order::ApplyPhoneReanswer { sdp },
        Output::OfferNextPhone => Order::OfferToNext,
        Output::TakeNextPhone(sdp) => Order::TakeNext { sdp },
        Output::AnswerNextPhone(offer) => Order::PrepareNext { offer },
        Output::SwitchToNextPhone => Order::SwitchToNext,
        Output::LeavePhone => Order::LeavePhone,
        Output::DropNextPhone => Order::DropNext,
        Output::StopPlaying => Order::StopPlaying { towards: Side::Meta },
        Output::StopPlayingToPhone => Order::StopPlaying { towards: Side::Phone },
        Output::CloseMedia => Order::Close,
        other => return Err(other),
    })
}

/// What the media of a call between desks told the call; keys are not its business.
fn from_relay(report: RelayReport) -> Option<DeskMedia> {
    Some(match report {
        RelayReport::Opened { sdp, .. } => DeskMedia::Opened(sdp),
        RelayReport::Described { seat, sdp } => DeskMedia::Described(seat, sdp),
        RelayReport::AnswerRefused { seat, .. } => DeskMedia::AnswerRefused(seat),
        RelayReport::ReofferAnswered { seat, sdp } => DeskMedia::ReofferAnswered(seat, sdp),
        RelayReport::ReofferRefused { seat } => DeskMedia::ReofferRefused(seat),
        RelayReport::NextOffered { sdp, .. } => DeskMedia::NextOffered(sdp),
        RelayReport::NextAnswered { sdp } => DeskMedia::NextAnswered(sdp),
        RelayReport::NextRefused(_) => DeskMedia::NextRefused,
        RelayReport::Stalled => DeskMedia::Stalled,
        RelayReport::KeyPressed { .. } => return None,
        RelayReport::Closed(summary) => {
            let quality_json = summary.to_json();
            DeskMedia::Closed(MediaClosing { line: summary.codecs, quality_json })
        }
    })
}

/// What a call between desks orders of its media; a sound that is not in `sounds` is not played.
#[must_use]
pub fn to_relay(order: DeskOrder, sounds: &Sounds) -> Option<RelayOrder> {
    Some(match order {
        DeskOrder::TakeAnswer(seat, sdp) => RelayOrder::TakeAnswer { seat, sdp },
        DeskOrder::Describe(seat) => RelayOrder::Describe { seat },
        DeskOrder::AnswerReoffer(seat, sdp) => RelayOrder::AnswerReoffer { seat, sdp },
        DeskOrder::OfferNext(seat) => RelayOrder::OfferToNext { seat },
        DeskOrder::TakeNext(seat, sdp) => RelayOrder::TakeNext { seat, sdp },
        DeskOrder::AnswerNext(seat, offer) => RelayOrder::AnswerNext { seat, offer },
        DeskOrder::DropNext => RelayOrder::DropNext,
        DeskOrder::Play(seat, sound) => {
            RelayOrder::Play { seat, clip: sounds.clip(sound)?, repeat: Repeat::Forever }
        }
        DeskOrder::StopPlaying(seat) => RelayOrder::StopPlaying { seat },
        DeskOrder::Close => RelayOrder::Close,
    })
}

/// How the media of a call is opened.
#[must_use]
pub fn open_spec(meta: Offer, phone: Offer) -> OpenSpec {
    let meta = match meta {
        Offer::Ours => MetaSide::Offer,
        Offer::Theirs(offer) => MetaSide::Answer { offer },
    };
    let phone = match phone {
        Offer::Ours => PhoneSide::Offer,
        Offer::Theirs(offer) => PhoneSide::Answer { offer },
    };
    OpenSpec::new(meta, phone)
}

const fn stage(gate: Gate) -> Stage {
    match gate {
        Gate::Shut => Stage::Shut,
        Gate::Comfort => Stage::Comfort,
        Gate::Open => Stage::Open,
    }
}

/// The Reason header of a leg's end (RFC 3326).
#[must_use]
pub fn reason(end: LegEnd) -> Reason {
    match end {
        LegEnd::CompletedElsewhere => Reason::completed_elsewhere(),
        LegEnd::Transferred => Reason { protocol: "SIP", cause: 200, text: "Transferred".to_owned() },
        LegEnd::Parked(place) => {
            Reason { protocol: "SIP", cause: 200, text: format!("Parked on {}", place.0) }
        }
        LegEnd::Verdict(verdict) => q850(verdict),
    }
}

fn q850(verdict: Verdict) -> Reason {
    Reason { protocol: "Q.850", cause: verdict.q850.into(), text: verdict.phrase.into() }
}

/// A final answer to a phone's INVITE, from the verdict table.
#[must_use]
pub fn refusal(verdict: Verdict, until: Option<Wall>, now: Now) -> Refusal {
    let wait = until.map(|until| u32::try_from(until.since(now.wall).as_secs()).unwrap_or(u32::MAX));
    let overloaded = verdict.sip == 503;
    Refusal {
        status: verdict.sip,
        phrase: verdict.phrase.to_owned(),
        reason: Some(q850(verdict)),
        warning: Some(verdict.advice.to_owned()),
        retry_after: wait.filter(|wait| *wait > 0).or(overloaded.then_some(5)),
    }
}

const fn media_refusal(refusal: OpenRefusal) -> MediaRefusal {
    match refusal {
        OpenRefusal::NoPorts => MediaRefusal::NoPorts,
        OpenRefusal::Meta(_) => MediaRefusal::MetaOffer,
        OpenRefusal::Phone(AudioRefusal::Unencrypted) => MediaRefusal::PhoneUnencrypted,
        OpenRefusal::Phone(AudioRefusal::ReadableKeys) => MediaRefusal::PhoneReadableKeys,
        OpenRefusal::Phone(AudioRefusal::Encrypted | AudioRefusal::NoCrypto | AudioRefusal::NoDtls) => {
            MediaRefusal::PhoneEncryption
        }
        OpenRefusal::Phone(_) => MediaRefusal::PhoneOffer,
        OpenRefusal::NoResources | OpenRefusal::Stopping => MediaRefusal::Unavailable,
    }
}

const fn media_failure(failure: LegFailure) -> MediaFailure {
    match failure {
        LegFailure::Ice => MediaFailure::Ice,
        LegFailure::Dtls(DtlsFailure::FingerprintMismatch) => MediaFailure::Fingerprint,
        LegFailure::Dtls(_) => MediaFailure::Dtls,
        LegFailure::ConsentLost | LegFailure::Closed => MediaFailure::Consent,
        LegFailure::Panicked => MediaFailure::Panic,
    }
}

const fn fork_failure(failure: sip::LegFailure) -> ForkFailure {
    match failure {
        sip::LegFailure::Status(status) => ForkFailure::Status(status),
        sip::LegFailure::Timeout => ForkFailure::TimedOut,
        sip::LegFailure::Unreachable => ForkFailure::Unreachable,
        sip::LegFailure::Cancelled => ForkFailure::Cancelled,
        sip::LegFailure::NoProvisional => ForkFailure::Silent,
    }
}
