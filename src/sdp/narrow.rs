//! An offer as one phone or trunk is to have it: fewer codecs, another order, without telephone events.
//!
//! Ours, because a call is described once and may ring several phones, each of which answers what it was shown;
//! theirs, because the answerer takes the first codec that it knows.

use super::audio::codec_of;
use super::session::{Media, Session};
use crate::codec::AudioCodec;

/// What is to be left in an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Narrowing {
    /// The codecs, the best first.
    pub codecs: Vec<AudioCodec>,
    /// Whether keys may be reported (RFC 4733); without it they are sent as tones.
    pub events: bool,
}

/// The offer with what is wanted of it; as it is, if nothing would be left of an audio section.
#[must_use]
pub fn narrow(offer: &str, wanted: &Narrowing) -> String {
    let Ok(mut session) = Session::parse(offer) else { return offer.to_owned() };
    let mut sections = session.media.iter_mut().filter(|it| it.kind.eq_ignore_ascii_case("audio"));
    let narrowed = sections.all(|media| narrow_section(media, wanted));
    if narrowed { session.to_string() } else { offer.to_owned() }
}

fn narrow_section(media: &mut Media, wanted: &Narrowing) -> bool {
    let types: Vec<_> = media.payload_types().collect();
    let coded = |codec: AudioCodec| types.iter().copied().find(|it| codec_of(media, *it) == Some(codec));
    let mut kept: Vec<_> = wanted.codecs.iter().filter_map(|it| coded(*it)).collect();
    if kept.is_empty() {
        return false;
    }
    let opus = wanted.codecs.contains(&AudioCodec::Opus);
    let named = |it, name: &str| media.rtpmap(it).filter(|map| map.encoding.eq_ignore_ascii_case(name));
    kept.extend(types.iter().copied().filter(|it| match named(*it, "telephone-event") {
        // The events at 48 kHz stand beside Opus only.
        Some(map) => wanted.events && (opus || map.clock == 8000),
        // Comfort noise and what else is no codec stays.
        None => it.0 == 13 || named(*it, "CN").is_some(),
    }));
    let all: Vec<String> = kept.iter().map(|it| it.0.to_string()).collect();
    media.attributes.retain(|line| {
        let of_format = line.name == "rtpmap" || line.name == "fmtp";
        let format = line.value.as_deref().and_then(|it| it.split_whitespace().next());
        !of_format || format.is_some_and(|it| all.iter().any(|kept| kept == it))
    });
    media.formats = all;
    true
}

#[cfg(test)]
mod tests {
    use super::super::audio::{LocalAudio, LocalKeying, answer_offer, read_answer, write_offer};
    use super::*;

    fn local() -> LocalAudio {
        LocalAudio {
            session_id: 1,
            version: 1,
            rtp: "192.0.2.1:4000".parse().unwrap(),
            rtcp: "192.0.2.1:4001".parse().unwrap(),
            codecs: vec![AudioCodec::Opus, AudioCodec::G722, AudioCodec::Pcmu, AudioCodec::Pcma],
            voip_metrics: false,
            keying: LocalKeying::default(),
            opus_bitrate: 20_000,
        }
    }

    fn lines(sdp: &str) -> Vec<&str> {
        sdp.lines()
            .filter(|it| it.starts_with("m=") || it.starts_with("a=rtpmap") || it.starts_with("a=fmtp"))
            .collect()
    }

    #[test]
    fn a_trunk_is_offered_its_codecs_in_its_order_and_its_answer_is_understood() {
        let offer = write_offer(&local());
        let wanted = Narrowing { codecs: vec![AudioCodec::Pcma, AudioCodec::G722], events: true };
        let narrowed = narrow(&offer, &wanted);
        assert_eq!(
            lines(&narrowed),
            [
                "m=audio 4000 RTP/AVP 8 9 101",
                "a=rtpmap:9 G722/8000",
                "a=rtpmap:8 PCMA/8000",
                "a=rtpmap:101 telephone-event/8000",
                "a=fmtp:101 0-16",
            ]
        );
        let answer = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 9000 RTP/AVP 8\r\n";
        assert_eq!(read_answer(&local(), answer).unwrap().codec, AudioCodec::Pcma);
    }

    #[test]
    fn without_events_keys_are_not_offered_and_with_all_codecs_nothing_changes() {
        let offer = write_offer(&local());
        let all = local().codecs;
        assert_eq!(narrow(&offer, &Narrowing { codecs: all.clone(), events: true }), offer);
        let silent = narrow(&offer, &Narrowing { codecs: all, events: false });
        assert!(
            !silent.contains("telephone-event") && silent.contains("m=audio 4000 RTP/AVP 111 9 0 8\r\n"),
            "{silent}"
        );
    }

    #[test]
    fn an_offer_that_would_be_empty_stays_as_it_is() {
        let offer = write_offer(&LocalAudio { codecs: vec![AudioCodec::Pcmu], ..local() });
        assert_eq!(narrow(&offer, &Narrowing { codecs: vec![AudioCodec::Opus], events: true }), offer);
        assert_eq!(narrow("rubbish", &Narrowing { codecs: vec![], events: true }), "rubbish");
    }

    #[test]
    fn of_a_foreign_offer_our_first_codec_is_taken_and_one_without_any_is_refused() {
        let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
                     m=audio 9000 RTP/AVP 0 8 13 97\r\na=rtpmap:97 telephone-event/8000\r\na=ptime:30\r\n";
        let wanted = Narrowing { codecs: vec![AudioCodec::Pcma, AudioCodec::Pcmu], events: false };
        let (answer, agreed) = answer_offer(&local(), &narrow(offer, &wanted)).unwrap();
        assert_eq!((agreed.codec, agreed.telephone_event), (AudioCodec::Pcma, None));
        assert!(agreed.comfort_noise && answer.contains("m=audio 4000 RTP/AVP 8 13\r\n"), "{answer}");
        let none = Narrowing { codecs: vec![AudioCodec::Opus], events: true };
        let strict = LocalAudio { codecs: none.codecs.clone(), ..local() };
        assert!(answer_offer(&strict, &narrow(offer, &none)).is_err());
    }
}
