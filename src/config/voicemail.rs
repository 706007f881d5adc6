//! `[voicemail]`: what users say to nobody, where it is kept and for how long.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::NumberConfig;
use super::hours::ClosedTarget;
use super::reader::{Reader, Section};
use super::recording::Bytes;
use super::sections::{Draft, secs};
use super::setting::Setting;
use super::sounds::{SoundSource, source};
use crate::id::Endpoint;

/// `[voicemail]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoicemailConfig {
    /// Where the files go.
    pub directory: PathBuf,
    /// The longest message.
    pub longest: Duration,
    /// A user who says nothing for so long has said everything.
    pub silence: Duration,
    /// Less sound than this is no message.
    pub shortest: Duration,
    /// Messages older than this are deleted.
    pub keep: Duration,
    /// Below so many free bytes no message is taken.
    pub min_free: u64,
}

/// What takes a call that nobody has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastTarget {
    /// This phone, or something behind a trunk.
    Ring(Endpoint),
    /// The gateway takes a message.
    Voicemail,
    /// The gateway plays the number's announcement and hangs up.
    Announcement,
}

impl Setting for LastTarget {
    const WANTED: &'static str = "\"voicemail\", \"announcement\", \"phone:NAME\" or \"trunk:NAME/NUMBER\"";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str()? {
            "voicemail" => Some(Self::Voicemail),
            "announcement" => Some(Self::Announcement),
            _ => Endpoint::read(value).map(Self::Ring),
        }
    }
    fn write(&self) -> String {
        match self {
            Self::Ring(target) => target.write(),
            Self::Voicemail => "\"voicemail\"".to_owned(),
            Self::Announcement => "\"announcement\"".to_owned(),
        }
    }
}

impl LastTarget {
    /// Whom it rings, if anybody.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Ring(target) => Some(target),
            Self::Voicemail | Self::Announcement => None,
        }
    }
}

impl NumberConfig {
    /// Whether the gateway takes messages for it.
    #[must_use]
    pub fn takes_messages(&self) -> bool {
        self.ring.overflow == Some(LastTarget::Voicemail)
            || self.hours.as_ref().is_some_and(|it| it.closed == ClosedTarget::Voicemail)
    }
}

/// What a business number says by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceConfig {
    /// Before the tone of the voicemail.
    pub greeting: SoundSource,
    /// In place of a conversation.
    pub announcement: SoundSource,
}

/// Reads the section.
pub(super) fn voicemail(section: &mut Section<'_, '_, '_>) -> Option<VoicemailConfig> {
    let directory = section.or("directory", PathBuf::from("/var/lib/cordboard/voicemail"));
    let longest = section.or("longest", secs(120));
    let why = "nobody says less in less, and nobody listens to more";
    let longest = section.within("longest", longest, &(secs(10)..=secs(600)), why);
    let silence = section.or("silence", secs(5));
    let why = "people pause for less, and more is waited for by nobody";
    let silence = section.within("silence", silence, &(secs(2)..=secs(60)), why);
    let shortest = section.or("shortest", secs(1));
    let why = "a message has words";
    let shortest = section.within("shortest", shortest, &(Duration::ZERO..=secs(10)), why);
    let keep = section.or("keep", Duration::from_hours(24 * 90));
    let why = "a message is heard by somebody first, and forgotten some day";
    let keep =
        section.within("keep", keep, &(Duration::from_hours(1)..=Duration::from_hours(24 * 3660)), why);
    let min_free = section.or("min_free", Bytes(200_000_000));
    Some(VoicemailConfig {
        directory: section.resolve(&directory?),
        longest: longest?,
        silence: silence?,
        shortest: shortest?,
        keep: keep?,
        min_free: min_free?.0,
    })
}

/// The sounds of a `[[number]]`.
pub(super) fn voice(section: &mut Section<'_, '_, '_>) -> Option<VoiceConfig> {
    let greeting = source(section, "greeting", SoundSource::None);
    let announcement = source(section, "announcement", SoundSource::None);
    Some(VoiceConfig { greeting: greeting?, announcement: announcement? })
}

/// Looks for numbers that would announce nothing.
pub(super) fn compare(reader: &mut Reader<'_>, draft: &Draft) {
    for (index, number) in draft.numbers.iter().enumerate() {
        let silent = number.config.as_ref().is_some_and(|it| it.voice.announcement == SoundSource::None);
        let announces = number.plan.ends_in(&LastTarget::Announcement)
            || matches!(&number.hours, Some(Some(it)) if it.closed == ClosedTarget::Announcement);
        if silent && announces {
            let problem = "the number is to play an announcement and has none".to_owned();
            let remedy = "announcement = \"closed.wav\"  (WAV or Ogg Opus)".to_owned();
            reader.fault_at(&format!("number[{}].announcement", index + 1), problem, remedy);
        }
    }
}
