//! The sounds that calls share: read and decoded once at the start, before there is any call.

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::call::{HangupCause, Sound};
use crate::codec::{MAX_OPUS_SAMPLES, OpusDecoder, SampleRate};
use crate::config::{Consent, RefusalsConfig, SoundSource, SoundsConfig, VoiceConfig};
use crate::media::Clip;
use crate::media::tone::{Signal, Tone, ToneFault};

/// Nobody hears more of an announcement, and it must fit into memory twice.
const LONGEST: usize = 600;
/// RFC 7845 §5.1: the first packet of an Ogg stream with Opus.
const OPUS_HEAD: &[u8] = b"OpusHead";
/// Input samples on each side of an output sample that the resampler's filter reaches.
const REACH: f64 = 24.0;

/// What is played into calls; `None`: nothing.
#[derive(Clone, Debug)]
pub struct Sounds {
    /// For a user whose call goes to another phone, while that rings.
    pub ringback: Option<Clip>,
    /// For a user whom the phone holds.
    pub hold: Option<Clip>,
    /// For both sides when a call is answered.
    pub greeting: Option<Clip>,
    /// The same when the call is recorded: that it is, then the greeting.
    pub greeting_recorded: Option<Clip>,
    /// For a phone whose wish is done.
    pub done: Clip,
    /// The digits 0 to 9, or none.
    pub digits: Vec<Clip>,
    /// For a phone that is refused, by the label of the verdict.
    refusals: BTreeMap<&'static str, Clip>,
}

/// A sound of the configuration that cannot be played.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {problem}\n    -> {remedy}")]
pub struct SoundFault {
    /// Section and key.
    pub key: &'static str,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Sounds {
    /// Reads and decodes everything that the configuration names.
    ///
    /// # Errors
    /// The first [`SoundFault`].
    pub fn load(config: &SoundsConfig, consent: &Consent) -> Result<Self, SoundFault> {
        let country = config.country.as_deref().unwrap_or_default();
        let ringback = Some(Clip::of(&Tone::of(Signal::Ringback, country)));
        let hold = load("sounds.hold", &config.hold, country)?;
        let greeting = load("sounds.greeting", &config.greeting, country)?;
        let consent = match consent {
            Consent::Silent => None,
            Consent::Tone => Some(Clip::of(&Tone::recorded())),
            Consent::File(path) => load("recording.consent", &SoundSource::File(path.clone()), country)?,
        };
        let greeting_recorded = match (consent, &greeting) {
            (Some(consent), Some(greeting)) => Some(consent.then(greeting)),
            (consent, greeting) => consent.or_else(|| greeting.clone()),
        };
        let done = Clip::of(&Tone::done());
        let digits = config.digits.as_deref().map_or(Ok(Vec::new()), digits)?;
        let refusals = refusals(&config.refusals, country)?;
        Ok(Self { ringback, hold, greeting, greeting_recorded, done, digits, refusals })
    }

    /// What a call plays over and over until it is told to stop.
    #[must_use]
    pub fn clip(&self, sound: Sound) -> Option<Clip> {
        match sound {
            Sound::Ringback => self.ringback.clone(),
            Sound::Hold => self.hold.clone(),
        }
    }

    /// What a phone hears that is refused with this verdict.
    #[must_use]
    pub fn refusal(&self, label: &str) -> Option<Clip> {
        self.refusals.get(label).cloned()
    }

    /// A number, digit by digit; `None` without sounds for them.
    #[must_use]
    pub fn number(&self, number: u16) -> Option<Clip> {
        let text = number.to_string();
        let clips = text.bytes().map(|digit| self.digits.get(usize::from(digit - b'0')));
        clips.map(Option::<&Clip>::cloned).reduce(|all, next| Some(all?.then(&next?))).flatten()
    }
}

/// What a business number says by itself: its greeting with the tone behind it, and its announcement.
///
/// # Errors
/// The first [`SoundFault`].
pub fn voice(config: &VoiceConfig, country: &str) -> Result<(Clip, Clip), SoundFault> {
    let greeting = load("number.greeting", &config.greeting, country)?;
    let announcement = load("number.announcement", &config.announcement, country)?;
    let greeting = greeting.map_or_else(lead_in, |it| lead_in().then(&it));
    let announcement = announcement.map(|it| lead_in().then(&it)).unwrap_or_default();
    Ok((greeting.then(&Clip::of(&Tone::recorded())), announcement))
}

/// Silence before the first word: a phone needs a moment to open its ear.
fn lead_in() -> Clip {
    Clip::new(vec![0; 2400], vec![0; 4800])
}

fn refusals(config: &RefusalsConfig, country: &str) -> Result<BTreeMap<&'static str, Clip>, SoundFault> {
    const KEY: &str = "sounds.refusals.by_label";
    let labels: Vec<&'static str> = HangupCause::all().into_iter().map(|it| it.verdict().label).collect();
    let mut clips = BTreeMap::new();
    let other = load("sounds.refusals.other", &config.other, country)?;
    if let Some(other) = other.filter(|_| config.enabled) {
        let other = lead_in().then(&other);
        clips.extend(labels.iter().map(|label| (*label, other.clone())));
    }
    for (name, source) in &config.by_label {
        let Some(label) = labels.iter().find(|it| *it == name) else {
            let problem = format!("there is no verdict with the label {name:?}");
            return Err(SoundFault { key: KEY, problem, remedy: format!("one of {}", labels.join(", ")) });
        };
        match load(KEY, source, country)?.filter(|_| config.enabled) {
            Some(clip) => clips.insert(label, lead_in().then(&clip)),
            None => clips.remove(label),
        };
    }
    Ok(clips)
}

fn digits(folder: &Path) -> Result<Vec<Clip>, SoundFault> {
    let one = |digit: u8| {
        let paths = ["wav", "opus"].map(|kind| folder.join(format!("{digit}.{kind}")));
        let path = paths.iter().find(|it| it.exists()).unwrap_or(&paths[0]);
        load("sounds.digits", &SoundSource::File(path.clone()), "").map(Option::unwrap_or_default)
    };
    (0..10).map(one).collect()
}

fn load(key: &'static str, source: &SoundSource, country: &str) -> Result<Option<Clip>, SoundFault> {
    match source {
        SoundSource::None => Ok(None),
        SoundSource::Tone(text) => tone(text, country).map(|it| Some(Clip::of(&it))).map_err(|fault| {
            let problem = match fault {
                ToneFault::Step => {
                    "a cadence is HERTZ/MILLISECONDS or HERTZ+HERTZ/MILLISECONDS, with commas between"
                }
                ToneFault::Frequency => "a frequency is outside 100 to 3400 Hz",
                ToneFault::Span => "a step is longer than 20 s, or endless among others",
                ToneFault::Silent => "nothing but silence",
            };
            let problem = format!("\"tone:{text}\": {problem}");
            let remedy =
                "tone:hold, tone:ringback, tone:busy, tone:congestion, tone:sit, or tone:425/1000,0/4000";
            SoundFault { key, problem, remedy: remedy.to_owned() }
        }),
        SoundSource::File(path) => file(path).map(Some).map_err(|problem| {
            let problem = format!("{}: {problem}", path.display());
            let remedy = format!(
                "ffmpeg -i {} -ac 1 -ar 16000 sound.wav  makes a file that can be played",
                path.display()
            );
            SoundFault { key, problem, remedy }
        }),
    }
}

fn tone(text: &str, country: &str) -> Result<Tone, ToneFault> {
    Ok(match text {
        "hold" => Tone::hold(),
        "ringback" => Tone::of(Signal::Ringback, country),
        "busy" => Tone::of(Signal::Busy, country),
        "sit" => Tone::special_information(),
        "congestion" => Tone::of(Signal::Congestion, country),
        _ => return Tone::read(text),
    })
}

/// Decodes a file, WAV or Ogg Opus; what is wrong with it otherwise. Takes a while: not for the loop.
///
/// # Errors
/// What is wrong, for a person.
pub fn decode(path: &Path) -> Result<Clip, String> {
    file(path)
}

fn file(path: &Path) -> Result<Clip, String> {
    let mut magic = [0; 4];
    let mut file = File::open(path).map_err(|it| it.to_string())?;
    std::io::Read::read_exact(&mut file, &mut magic).map_err(|_| "too short to be a sound".to_owned())?;
    let clip = match &magic {
        b"RIFF" => wav(path)?,
        b"OggS" => ogg_opus(path)?,
        _ => return Err("neither WAV nor Ogg Opus".to_owned()),
    };
    if clip.is_empty() {
        return Err("no sound in it".to_owned());
    }
    Ok(clip)
}

fn wav(path: &Path) -> Result<Clip, String> {
    let mut reader = hound::WavReader::open(path).map_err(|it| it.to_string())?;
    let spec = reader.spec();
    let (rate, channels) = (spec.sample_rate, usize::from(spec.channels.max(1)));
    if !(4000..=192_000).contains(&rate) {
        return Err(format!("a sample rate of {rate} Hz"));
    }
    if reader.duration() as usize / rate as usize >= LONGEST {
        return Err("longer than 10 minutes".to_owned());
    }
    let samples: Vec<f32> = match spec.sample_format {
        hound::SampleFormat::Float => reader.samples::<f32>().collect::<Result<_, _>>(),
        hound::SampleFormat::Int => {
            let scale = 1.0 / (1_i64 << (spec.bits_per_sample.max(1) - 1)) as f32;
            reader.samples::<i32>().map(|it| it.map(|it| it as f32 * scale)).collect()
        }
    }
    .map_err(|it| it.to_string())?;
    let mono: Vec<f32> =
        samples.chunks_exact(channels).map(|it| it.iter().sum::<f32>() / channels as f32).collect();
    Ok(Clip::new(resample(&mono, rate, 8000), resample(&mono, rate, 16_000)))
}

/// By a windowed sinc, without hurry: this is done once for each file.
fn resample(samples: &[f32], from: u32, to: u32) -> Vec<i16> {
    let step = f64::from(from) / f64::from(to);
    // Below the lower of the two halves of the rates there is sound, above it would be folded.
    let cut = (1.0 / step).min(1.0) * if from == to { 1.0 } else { 0.95 };
    let reach = REACH / cut;
    let length = (samples.len() as f64 / step) as usize;
    let value = |at: usize| {
        let middle = at as f64 * step;
        let (first, last) = ((middle - reach).ceil().max(0.0) as usize, (middle + reach) as usize);
        let sum: f64 = (first..=last.min(samples.len() - 1))
            .map(|it| {
                let away = it as f64 - middle;
                let window = (PI * away / reach / 2.0).cos().powi(2);
                f64::from(samples[it]) * sinc(away * cut) * cut * window
            })
            .sum();
        (sum * 32_768.0).clamp(-32_768.0, 32_767.0) as i16
    };
    (0..length).map(value).collect()
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

fn ogg_opus(path: &Path) -> Result<Clip, String> {
    let file = File::open(path).map_err(|it| it.to_string())?;
    let mut packets = ogg::PacketReader::new(BufReader::new(file));
    let mut next = || packets.read_packet().map_err(|it| format!("broken Ogg: {it:?}"));
    let head = next()?.ok_or("an empty Ogg file")?;
    if !head.data.starts_with(OPUS_HEAD) || head.data.len() < 19 {
        return Err("Ogg, but not Opus in it".to_owned());
    }
    if head.data[18] != 0 {
        return Err("more than two channels".to_owned());
    }
    // RFC 7845 §5.1: samples of 48 kHz to be left out, and a gain in 1/256 dB.
    let skip = usize::from(u16::from_le_bytes([head.data[10], head.data[11]]));
    let gain = 10.0_f32.powf(f32::from(i16::from_le_bytes([head.data[16], head.data[17]])) / 256.0 / 20.0);
    let stream = head.stream_serial();
    let mut halves =
        [SampleRate::Narrow, SampleRate::Wide].map(|rate| (rate, OpusDecoder::new(rate), Vec::new()));
    let (mut end, mut tags) = (None, false);
    while let Some(packet) = next()? {
        if packet.stream_serial() != stream {
            continue;
        }
        if !std::mem::replace(&mut tags, true) {
            continue;
        }
        for (rate, decoder, samples) in &mut halves {
            let decoder = decoder.as_mut().map_err(|_| "no memory for libopus")?;
            let mut decoded = [0; MAX_OPUS_SAMPLES];
            let storage = &mut decoded[..rate.samples(120)];
            let count = decoder.decode(&packet.data, storage).map_err(|_| "a packet that is not Opus")?;
            samples.extend(storage[..count].iter().map(|it| (f32::from(*it) * gain) as i16));
            if samples.len() > rate.samples(LONGEST * 1000) {
                return Err("longer than 10 minutes".to_owned());
            }
        }
        if packet.last_in_stream() {
            end = usize::try_from(packet.absgp_page()).ok();
        }
    }
    let [narrow, wide] = halves.map(|(rate, _, mut samples)| {
        // RFC 7845 §4: the position of the last page says where the sound ends.
        let at = |ticks: usize| ticks / (48_000 / rate.hz() as usize);
        samples.truncate(end.map_or(usize::MAX, at));
        samples.drain(..at(skip).min(samples.len()));
        samples
    });
    Ok(Clip::new(narrow, wide))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{EncoderSettings, MAX_OPUS_PACKET, OpusEncoder, level_dbov};
    use crate::config::RefusalsConfig;

    fn silent() -> SoundsConfig {
        let none = SoundSource::None;
        let refusals = RefusalsConfig { enabled: true, other: none.clone(), by_label: Vec::new() };
        SoundsConfig { country: None, hold: none.clone(), greeting: none, digits: None, refusals }
    }

    fn sine(at: usize, rate: u32) -> f32 {
        (at as f32 * 440.0 / rate as f32 * std::f32::consts::TAU).sin() * 0.25
    }

    fn write_wav(path: &Path, rate: u32, channels: u16, bits: u16) {
        let sample_format = if bits == 32 { hound::SampleFormat::Float } else { hound::SampleFormat::Int };
        let spec = hound::WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format };
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        for at in 0..rate as usize {
            for _ in 0..channels {
                match bits {
                    32 => writer.write_sample(sine(at, rate)).unwrap(),
                    24 => writer.write_sample((sine(at, rate) * 8_388_607.0) as i32).unwrap(),
                    _ => writer.write_sample((sine(at, rate) * 32_767.0) as i16).unwrap(),
                }
            }
        }
        writer.finalize().unwrap();
    }

    /// How far `samples` are from the sine, in dB below it, away from the ends.
    fn distortion(samples: &[i16], rate: u32, delay: f32) -> f32 {
        let inner = rate as usize / 10..rate as usize * 8 / 10;
        let errors: Vec<i16> = inner
            .map(|at| {
                let t = (at as f32 - delay) * 440.0 / rate as f32;
                samples[at] - ((t * std::f32::consts::TAU).sin() * 0.25 * 32_768.0) as i16
            })
            .collect();
        level_dbov(&errors) - level_dbov(samples)
    }

    #[test]
    fn wav_files_of_every_common_kind_become_the_same_sound_at_both_rates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sound.wav");
        for (rate, channels, bits) in [
            (8000, 1, 16),
            (16_000, 1, 16),
            (11_025, 1, 16),
            (44_100, 2, 16),
            (48_000, 2, 24),
            (22_050, 1, 32),
        ] {
            write_wav(&path, rate, channels, bits);
            let clip = file(&path).unwrap();
            assert_eq!(clip.length().as_millis(), 1000, "{rate}");
            for out in [8000, 16_000] {
                let distortion = distortion(clip.samples(out), out, 0.0);
                assert!(distortion < -60.0, "{distortion} dB from {rate} Hz to {out} Hz");
            }
        }
    }

    #[test]
    fn what_a_rate_cannot_carry_is_left_out_and_not_folded() {
        let loud: Vec<f32> =
            (0..48_000).map(|at| (at as f32 * 6000.0 / 48_000.0 * std::f32::consts::TAU).sin()).collect();
        assert!(level_dbov(&resample(&loud, 48_000, 8000)[400..7600]) < -60.0);
        assert!(level_dbov(&resample(&loud, 48_000, 16_000)[800..15_200]) > -4.0);
    }

    #[test]
    fn ogg_opus_is_decoded_without_its_lead_in_and_as_long_as_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sound.opus");
        let mut encoder = OpusEncoder::new(
            SampleRate::Wide,
            &EncoderSettings { bitrate: 64_000, ..EncoderSettings::default() },
        )
        .unwrap();
        let skip = encoder.look_ahead() as u16 * 3;
        let mut writer = ogg::PacketWriter::new(File::create(&path).unwrap());
        let mut head = b"OpusHead\x01\x01".to_vec();
        head.extend(skip.to_le_bytes());
        head.extend(16_000_u32.to_le_bytes());
        head.extend([0, 0, 0]);
        writer.write_packet(head, 7, ogg::PacketWriteEndInfo::EndPage, 0).unwrap();
        let tags = b"OpusTags\x00\x00\x00\x00\x00\x00\x00\x00".to_vec();
        writer.write_packet(tags, 7, ogg::PacketWriteEndInfo::EndPage, 0).unwrap();
        for frame in 0..60_usize {
            let samples: [i16; 320] =
                std::array::from_fn(|at| (sine(frame * 320 + at, 16_000) * 32_767.0) as i16);
            let mut packet = [0; MAX_OPUS_PACKET];
            let length = encoder.encode(&samples, &mut packet).unwrap();
            let (info, at) = if frame == 59 {
                (ogg::PacketWriteEndInfo::EndStream, 48_000 + u64::from(skip))
            } else {
                (ogg::PacketWriteEndInfo::NormalPacket, (frame as u64 + 1) * 960)
            };
            writer.write_packet(packet[..length].to_vec(), 7, info, at).unwrap();
        }
        drop(writer);
        let clip = file(&path).unwrap();
        assert_eq!(clip.length().as_millis(), 1000);
        for rate in [8000, 16_000] {
            // SILK keeps waves within a fraction of a millisecond.
            let best = (-8..=8_i8)
                .map(|it| distortion(clip.samples(rate), rate, f32::from(it) * rate as f32 / 16_000.0))
                .fold(0.0, f32::min);
            assert!(best < -15.0, "{best} dB at {rate} Hz");
        }
    }

    #[test]
    fn what_cannot_be_played_is_told_with_its_key_and_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path: std::path::PathBuf = folder.path().join("sound.mp3");
        std::fs::write(&path, b"ID3 something").unwrap();
        let config = |hold| SoundsConfig { hold, ..silent() };
        let told = |hold| Sounds::load(&config(hold), &Consent::Silent).unwrap_err().to_string();
        assert!(
            told(SoundSource::File(path.clone()))
                .contains("sound.mp3: neither WAV nor Ogg Opus\n    -> ffmpeg")
        );
        std::fs::write(&path, b"OggS but not really an Ogg file at all, only its first letters").unwrap();
        assert!(told(SoundSource::File(path)).starts_with("sounds.hold"));
        assert!(told(SoundSource::Tone("loud".to_owned())).contains("HERTZ/MILLISECONDS"));
        let good = Sounds::load(&config(SoundSource::Tone("hold".to_owned())), &Consent::Silent).unwrap();
        assert!(good.hold.is_some_and(|it| it.length().as_secs() == 5));
        assert!(good.greeting.is_none() && good.greeting_recorded.is_none());
    }

    #[test]
    fn a_recorded_call_is_told_so_before_it_is_greeted() {
        let greeting = SoundSource::Tone("440/1000".to_owned());
        let config = SoundsConfig { greeting, ..silent() };
        let told = Sounds::load(&config, &Consent::Tone).unwrap();
        let length = |clip: Option<Clip>| clip.map(|it| it.length().as_millis());
        assert_eq!((length(told.greeting), length(told.greeting_recorded)), (Some(1000), Some(1400)));
        let path = Consent::File("/nowhere/ask.wav".into());
        let fault = Sounds::load(&config, &path).unwrap_err().to_string();
        assert!(fault.starts_with("recording.consent: /nowhere/ask.wav:"), "{fault}");
    }

    #[test]
    fn a_refusal_has_its_own_sound_the_one_for_all_others_or_none_and_every_label_is_a_verdicts() {
        let tone = |text: &str| SoundSource::Tone(text.to_owned());
        let by_label =
            vec![("no_permission".to_owned(), tone("busy")), ("number_cap".to_owned(), SoundSource::None)];
        let refusals = RefusalsConfig { enabled: true, other: tone("sit"), by_label };
        let config = SoundsConfig { refusals: refusals.clone(), ..silent() };
        let sounds = Sounds::load(&config, &Consent::Silent).unwrap();
        let length = |label: &str| sounds.refusal(label).map(|it| it.length().as_millis());
        assert_eq!((length("not_dialable"), length("number_cap")), (Some(300 + 1990), None));
        assert!(length("no_permission").is_some_and(|it| it != 2290));
        let off = RefusalsConfig { enabled: false, ..refusals };
        let sounds = Sounds::load(&SoundsConfig { refusals: off, ..silent() }, &Consent::Silent).unwrap();
        assert!(sounds.refusal("not_dialable").is_none() && sounds.refusal("no_permission").is_none());
        let by_label = vec![("no_permision".to_owned(), tone("busy"))];
        let wrong = RefusalsConfig { enabled: true, other: tone("sit"), by_label };
        let told = Sounds::load(&SoundsConfig { refusals: wrong, ..silent() }, &Consent::Silent).unwrap_err();
        assert!(told.to_string().contains("no verdict with the label \"no_permision\""), "{told}");
    }

    #[test]
    fn a_number_is_said_digit_by_digit_from_a_folder_of_ten_files() {
        let folder = tempfile::tempdir().unwrap();
        for digit in 0..10 {
            write_wav(&folder.path().join(format!("{digit}.wav")), 8000, 1, 16);
        }
        let config = SoundsConfig { digits: Some(folder.path().to_owned()), ..silent() };
        let sounds = Sounds::load(&config, &Consent::Silent).unwrap();
        assert_eq!(sounds.number(701).map(|it| it.length().as_secs()), Some(3));
        assert!(Sounds::load(&silent(), &Consent::Silent).unwrap().number(701).is_none());
        std::fs::remove_file(folder.path().join("7.wav")).unwrap();
        let told = Sounds::load(&config, &Consent::Silent).unwrap_err().to_string();
        assert!(told.starts_with("sounds.digits") && told.contains("7.wav"), "{told}");
    }
}
