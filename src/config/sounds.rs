//! `[sounds]`: what is played into calls.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::reader::Section;
use super::secret::plain;
use super::setting::Setting;
use toml::de::DeValue;

/// `[sounds]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundsConfig {
    /// Whose tones (ISO 3166, two letters); `None`: those that ITU-T E.180 recommends to everybody.
    pub country: Option<String>,
    /// For a user whom the phone holds, if the PBX sends no music of its own.
    pub hold: SoundSource,
    /// For both sides when a call is answered, before they hear each other.
    pub greeting: SoundSource,
    /// A folder with `0.wav` to `9.wav`, in which numbers are said.
    pub digits: Option<PathBuf>,
    /// `[sounds.refusals]`
    pub refusals: RefusalsConfig,
}

/// `[sounds.refusals]`: what a phone hears before its call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalsConfig {
    /// Whether it hears anything.
    pub enabled: bool,
    /// For causes without a sound of their own.
    pub other: SoundSource,
    /// By the label of the verdict.
    pub by_label: Vec<(String, SoundSource)>,
}

/// Where a sound comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SoundSource {
    /// `"none"`
    None,
    /// `"tone:…"`: a name or a cadence.
    Tone(String),
    /// A file, WAV or Ogg Opus; the folder of the configuration file is already put in front.
    File(PathBuf),
}

impl Setting for SoundSource {
    const WANTED: &'static str = "\"none\", \"tone:…\" or a file in quotes";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str().filter(|it| !it.is_empty())?;
        Some(match text.strip_prefix("tone:") {
            Some("") => return None,
            Some(tone) => Self::Tone(tone.to_owned()),
            None if text == "none" => Self::None,
            None => Self::File(text.into()),
        })
    }
    fn write(&self) -> String {
        match self {
            Self::None => "\"none\"".to_owned(),
            Self::Tone(tone) => format!("\"tone:{tone}\""),
            Self::File(path) => format!("{:?}", path.display().to_string()),
        }
    }
}

/// Two letters.
pub(super) struct Country(pub(super) String);

impl Setting for Country {
    const WANTED: &'static str = "the two letters of a country, in quotes";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let letters = text.len() == 2 && text.bytes().all(|it| it.is_ascii_alphabetic());
        letters.then(|| Self(text.to_ascii_uppercase()))
    }
    fn write(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// Reads the section.
pub(super) fn sounds(section: &mut Section<'_, '_, '_>) -> Option<SoundsConfig> {
    let country = section.optional::<Country>("country", "\"DE\"");
    let hold = source(section, "hold", SoundSource::Tone("hold".to_owned()));
    let greeting = source(section, "greeting", SoundSource::None);
    let digits = section.optional::<PathBuf>("digits", "\"/etc/cordboard/digits\"")?;
    let digits = digits.map(|it| section.resolve(&it));
    let refusals = section.part("refusals", refusals);
    let country = country?.map(|it| it.0);
    Some(SoundsConfig { country, hold: hold?, greeting: greeting?, digits, refusals: refusals? })
}

fn refusals(section: &mut Section<'_, '_, '_>) -> Option<RefusalsConfig> {
    let enabled = section.or("enabled", false);
    let other = source(section, "other", SoundSource::Tone("sit".to_owned()));
    let named = section.named::<SoundSource>("by_label", "{ no_permission = \"no-permission.wav\" }")?;
    let mut by_label = Vec::with_capacity(named.len());
    for (label, sound) in named {
        let sound = match sound {
            SoundSource::File(path) => {
                SoundSource::File(sound_file(section, "by_label", &path, "\"tone:sit\" or \"none\"")?)
            }
            other => other,
        };
        by_label.push((label, sound));
    }
    Some(RefusalsConfig { enabled: enabled?, other: other?, by_label })
}

/// A sound whose file, if it is one, is there and can be read.
pub(super) fn source(
    section: &mut Section<'_, '_, '_>,
    key: &'static str,
    default: SoundSource,
) -> Option<SoundSource> {
    match section.or(key, default)? {
        SoundSource::File(path) => {
            sound_file(section, key, &path, "\"tone:hold\" or \"none\"").map(SoundSource::File)
        }
        other => Some(other),
    }
}

/// The path of a sound that is there and can be read; `otherwise` says what may stand in its place.
pub(super) fn sound_file(
    section: &mut Section<'_, '_, '_>,
    key: &'static str,
    path: &Path,
    otherwise: &str,
) -> Option<PathBuf> {
    let path = section.resolve(path);
    match section.surroundings().read_file(&path) {
        Err(error) if error.kind() != ErrorKind::InvalidData => {
            let problem = format!("{} cannot be read: {}", path.display(), plain(&error));
            let remedy = format!(
                "{key} = \"sound.wav\"  (WAV or Ogg Opus, in the folder of this file or with a full path), {otherwise}"
            );
            section.fault_of(key, problem, remedy);
            None
        }
        // Sound is no text: that it is not UTF-8 is as it should be.
        _ => Some(path),
    }
}
