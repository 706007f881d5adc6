//! Voice messages: one for a call and source, counted for the lamps, fetched from Meta a few times.

use super::*;
use crate::call::voicemail::{VoiceMessage, VoicemailId, VoicemailSource};
use crate::id::NumberLabel;
use crate::whatsapp::{KeptSound, SoundDigest};

fn at_meta(media: &str, wa_call: &str, at: i64) -> KeptByMeta {
    KeptByMeta {
        number: "108911223344556".into(),
        label: "sales".into(),
        user: both(1),
        at: Wall(at),
        wa_call: wa_call.into(),
        sound: KeptSound { id: media.to_owned(), digest: Some(SoundDigest::of(b"OggS")) },
    }
}

fn user_call(id: u64, wa_call: &str) -> CallRecord {
    let direction = CallDirection::UserInitiated;
    let record = CallRecord::new(CallId(id), "sales".into(), "108911223344556".into(), direction, both(id));
    CallRecord { wa_call: Some(wa_call.into()), opened: Wall(1000), ..record }
}

async fn all(store: &Store) -> Vec<VoiceMessage> {
    store.voicemails(&VoicemailFilter::default(), 50).await.expect("read")
}

fn counted(new: u32, old: u32) -> Vec<MessageCount> {
    vec![MessageCount { number: NumberLabel::from("sales"), new, old }]
}

#[tokio::test]
async fn a_call_has_one_message_of_each_source_and_the_lamps_count_those_that_can_be_heard() {
    let (_directory, store) = fresh().await;
    store.open_record(&user_call(1, "wacid.A")).await.expect("open");
    assert!(store.add_voicemail(CallId(1), "day/one.opus", 12).await.expect("kept"));
    assert!(!store.add_voicemail(CallId(1), "day/two.opus", 12).await.expect("known"));
    assert!(!store.add_voicemail(CallId(9), "day/nobody.opus", 12).await.expect("no such call"));
    assert!(store.add_voicemail_of_meta(&at_meta("7155", "wacid.A", 2000)).await.expect("kept"));
    assert!(!store.add_voicemail_of_meta(&at_meta("7155", "wacid.A", 2000)).await.expect("known"));
    // Meta tells of a call that was never here.
    assert!(store.add_voicemail_of_meta(&at_meta("7156", "wacid.Z", 3000)).await.expect("kept"));
    let messages = all(&store).await;
    let brief: Vec<_> = messages.iter().map(|it| (it.call, it.source, it.file.as_deref())).collect();
    assert_eq!(
        brief,
        [
            (None, VoicemailSource::Meta, None),
            (Some(CallId(1)), VoicemailSource::Meta, None),
            (Some(CallId(1)), VoicemailSource::Gateway, Some("day/one.opus")),
        ]
    );
    assert_eq!(store.voicemail_counts().await.expect("read"), counted(1, 0));
    assert!(store.voicemail_heard(messages[2].id, "1001", Wall(5000)).await.expect("marked"));
    assert!(store.voicemail_heard(messages[2].id, "1002", Wall(6000)).await.expect("marked"));
    let heard = store.voicemail(messages[2].id).await.expect("read").expect("there").heard;
    assert_eq!(heard, Some((Wall(5000), "1001".to_owned())), "who heard it first");
    assert_eq!(store.voicemail_counts().await.expect("read"), counted(0, 1));
    assert!(!store.voicemail_heard(VoicemailId(99), "1001", Wall(5000)).await.expect("nobody"));
    let ended = CallRecord { ended: Some(Wall(9000)), ..user_call(1, "wacid.A") };
    store.close_record(&ended).await.expect("closed");
    let missed = store.missed(5, &MissedFilter::default()).await.expect("read");
    assert_eq!(missed[0].voicemails, [messages[2].id, messages[1].id], "they stand beside the missed call");
    let deleted = store.delete_voicemail(messages[2].id).await.expect("deleted");
    assert_eq!(deleted.and_then(|it| it.file).as_deref(), Some("day/one.opus"));
    assert_eq!(store.delete_voicemail(messages[2].id).await.expect("gone"), None);
}

#[tokio::test]
async fn a_sound_at_meta_is_fetched_when_its_time_has_come_and_told_of_when_it_is_here() {
    let (_directory, store) = fresh().await;
    store.add_voicemail_of_meta(&at_meta("7155", "wacid.A", 2000)).await.expect("kept");
    let due = async |at: i64| store.voicemails_to_fetch(Wall(at), 10).await.expect("read");
    assert_eq!(due(1999).await, []);
    let first = due(2000).await;
    assert_eq!((&first[0].sound, first[0].tries), (&at_meta("7155", "wacid.A", 0).sound, 0));
    let before = store.newest_event().await.expect("read");
    store.voicemail_not_fetched(first[0].id, Some(Wall(9000))).await.expect("noted");
    assert_eq!((due(8999).await.len(), due(9000).await[0].tries), (0, 1));
    assert_eq!(store.newest_event().await.expect("read"), before, "nothing can be heard yet");
    store.voicemail_fetched(first[0].id, "day/meta-1.opus").await.expect("kept");
    store.voicemail_fetched(first[0].id, "day/meta-1.opus").await.expect("kept");
    assert_eq!(due(i64::MAX / 2).await, []);
    let events = store.events_after(before, 10).await.expect("read");
    assert_eq!(events.iter().map(|it| it.kind.as_str()).collect::<Vec<_>>(), ["voicemail.left"]);
    assert_eq!(events[0].user, Some(both(1)), "no call tells whose it is");
    // What Meta never gave is tried no more.
    store.add_voicemail_of_meta(&at_meta("7156", "wacid.B", 3000)).await.expect("kept");
    let second = due(3000).await[0].id;
    store.voicemail_not_fetched(second, None).await.expect("noted");
    assert_eq!(due(i64::MAX / 2).await, []);
}
