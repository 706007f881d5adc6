//! `[recording]`: whether calls are recorded, where, and what the people in them hear of it.

use std::path::PathBuf;

use toml::de::DeValue;

use super::reader::Section;
use super::setting::{Setting, words};
use super::sounds::sound_file;

/// `[recording]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingConfig {
    /// Whether anything is recorded at all.
    pub enabled: bool,
    /// Where the files go.
    pub directory: PathBuf,
    /// The kind of file.
    pub format: RecordingFormat,
    /// Bits a second of Ogg/Opus, both sides together.
    pub bitrate: u32,
    /// What both sides hear when a recording begins.
    pub consent: Consent,
    /// Below so many free bytes nothing is recorded.
    pub min_free: u64,
}

/// The kind of file that a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingFormat {
    /// Ogg/Opus, 14 MB an hour.
    Opus,
    /// WAV, 230 MB an hour.
    Wav,
}

words!(RecordingFormat, "\"opus\" or \"wav\"", "opus" => RecordingFormat::Opus, "wav" => RecordingFormat::Wav);

/// What both sides hear when a recording begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Nothing: somebody else asks.
    Silent,
    /// A beep.
    Tone,
    /// A file with an announcement.
    File(PathBuf),
}

impl Setting for Consent {
    const WANTED: &'static str = "\"none\", \"tone\" or the path of a WAV or Opus file";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str()? {
            "" => None,
            "none" => Some(Self::Silent),
            "tone" => Some(Self::Tone),
            // A slip of the pen should not become a path.
            path if path.contains('/') || path.contains('.') => Some(Self::File(path.into())),
            _ => None,
        }
    }
    fn write(&self) -> String {
        match self {
            Self::Silent => "\"none\"".to_owned(),
            Self::Tone => "\"tone\"".to_owned(),
            Self::File(path) => path.write(),
        }
    }
}

/// An amount of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bytes(pub(super) u64);

/// The units, largest first.
const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];

impl Setting for Bytes {
    const WANTED: &'static str = "an amount with its unit: kB, MB or GB";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let (number, unit) = text.split_at_checked(text.bytes().take_while(u8::is_ascii_digit).count())?;
        let (_, bytes) = UNITS.into_iter().find(|(name, _)| *name == unit.trim_start())?;
        number.parse::<u64>().ok()?.checked_mul(bytes).map(Self)
    }
    fn write(&self) -> String {
        let unit = UNITS.into_iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        let (name, unit) = unit.unwrap_or(("kB", 1000));
        format!("\"{}{name}\"", self.0 / unit)
    }
}

pub(super) fn recording(section: &mut Section<'_, '_, '_>) -> Option<RecordingConfig> {
    let enabled = section.or("enabled", false);
    let directory = section.or("directory", PathBuf::from("/var/lib/cordboard/recordings"));
    let format = section.or("format", RecordingFormat::Opus);
    let bitrate = section.or("bitrate", 32_000);
    let why = "less is not understood, more is not heard";
    let bitrate = section.within("bitrate", bitrate, &(16_000..=128_000), why);
    let consent = section.or("consent", Consent::Silent).and_then(|consent| match consent {
        Consent::File(path) => {
            sound_file(section, "consent", &path, "\"tone\" or \"none\"").map(Consent::File)
        }
        other => Some(other),
    });
    let min_free = section.or("min_free", Bytes(1_000_000_000));
    Some(RecordingConfig {
        enabled: enabled?,
        directory: section.resolve(&directory?),
        format: format?,
        bitrate: bitrate?,
        consent: consent?,
        min_free: min_free?.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Setting>(toml: &str) -> Option<T> {
        T::read(DeValue::parse(toml).expect("TOML").get_ref())
    }

    #[test]
    fn an_amount_has_a_unit_and_prints_in_the_largest_that_fits() {
        for (text, bytes, printed) in [
            ("\"1GB\"", 1_000_000_000, "\"1GB\""),
            ("\"1500 MB\"", 1_500_000_000, "\"1500MB\""),
            ("\"0kB\"", 0, "\"0kB\""),
        ] {
            let amount: Bytes = read(text).expect(text);
            assert_eq!((amount.0, amount.write().as_str()), (bytes, printed));
        }
        for wrong in ["\"1\"", "1", "\"GB\"", "\"1.5GB\"", "\"1gb\"", "\"99999999999999GB\""] {
            assert!(read::<Bytes>(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn consent_is_a_word_or_a_path_and_never_a_slip_of_the_pen() {
        assert_eq!(read("\"none\""), Some(Consent::Silent));
        assert_eq!(read("\"tone\""), Some(Consent::Tone));
        assert_eq!(read("\"clips/ask.wav\""), Some(Consent::File("clips/ask.wav".into())));
        assert_eq!(read::<Consent>("\"tune\""), None);
    }
}
