//! Real files, full disks, stuck disks, crashes.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ogg::PacketReader;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::file::{Create, Disk, RecordingFile, create, relative_path};
use super::timeline::Frame;
use super::{End, Format, Kept, Recorder, RecorderSettings, Told, orphans};
use crate::codec::{ARCHIVE_FRAME, ARCHIVE_RATE, ArchiveDecoder, AudioCodec, G711, level_dbov};
use crate::id::CallId;
use crate::media::Side;
use crate::media::tap::{Inlet, Tap};
use crate::rtp::{PayloadType, RtpHeader, RtpTime, SeqNo, Ssrc};
use crate::time::{Now, Wall};

const OPUS: Format = Format::Opus { bitrate: 32_000 };
const CALL: CallId = CallId(0x0123_4567_89ab_cdef);
const OPENED: Wall = Wall(1_791_900_000_250);

fn syllables(t: f32) -> f32 {
    0.6 + 0.4 * (t * 4.0 * std::f32::consts::TAU).sin()
}

/// A user at 400 Hz on the left, a phone at 700 Hz on the right.
fn frame(number: usize) -> Frame {
    let mut frame = [0; 2 * ARCHIVE_FRAME];
    for (at, both) in frame.chunks_exact_mut(2).enumerate() {
        let t = (number * ARCHIVE_FRAME + at) as f32 / ARCHIVE_RATE as f32;
        // As loud and soft as syllables: a codec for speech takes anything steady for a room.
        let voice = |hertz: f32| (t * hertz * std::f32::consts::TAU).sin() * 8000.0 * syllables(t);
        both[0] = voice(400.0) as i16;
        both[1] = voice(700.0) as i16;
    }
    frame
}

fn write(create: Create, path: &Path, format: Format, frames: usize) -> Result<RecordingFile, End> {
    let mut file = RecordingFile::create(create, path.to_owned(), CALL, format).map_err(|it| End::of(&it))?;
    for number in 0..frames {
        file.push(&frame(number))?;
    }
    Ok(file)
}

/// Both channels of an Ogg/Opus file as a player would hear them.
fn play(path: &Path) -> [Vec<i16>; 2] {
    let mut packets = PacketReader::new(fs::File::open(path).unwrap());
    let head = packets.read_packet().unwrap().unwrap();
    assert!(head.data.starts_with(b"OpusHead\x01\x02") && head.first_in_stream());
    let skip = usize::from(u16::from_le_bytes([head.data[10], head.data[11]])) / 3;
    assert!(packets.read_packet().unwrap().unwrap().data.starts_with(b"OpusTags"));
    let mut decoder = ArchiveDecoder::new().unwrap();
    let (mut both, mut end) = ([Vec::new(), Vec::new()], 0);
    while let Some(packet) = packets.read_packet().unwrap() {
        let mut samples = [0; 2 * ARCHIVE_FRAME];
        assert_eq!(decoder.decode(&packet.data, &mut samples), Ok(ARCHIVE_FRAME));
        samples.chunks_exact(2).for_each(|pair| (0..2).for_each(|at| both[at].push(pair[at])));
        end = packet.absgp_page() as usize / 3;
    }
    both.map(|channel| channel[skip..end.min(channel.len())].to_vec())
}

/// How strong `hertz` is in `samples`, in decibels below full scale.
fn tone(samples: &[i16], hertz: f32) -> f32 {
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        let turn = at as f32 / ARCHIVE_RATE as f32 * hertz * std::f32::consts::TAU;
        sine += f32::from(*sample) * turn.sin();
        cosine += f32::from(*sample) * turn.cos();
    }
    20.0 * (2.0 * sine.hypot(cosine) / samples.len() as f32 / 32_768.0 + 1e-9).log10()
}

#[test]
fn an_opus_file_plays_with_a_side_on_each_channel_and_ends_to_the_sample() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.opus");
    let mut file = write(create, &path, OPUS, 130).unwrap();
    file.end().unwrap();
    assert!(!path.exists(), "the name comes with the last byte");
    file.seal().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let [user, phone] = play(&path);
    assert_eq!((user.len(), phone.len()), (130 * ARCHIVE_FRAME, 130 * ARCHIVE_FRAME));
    for (channel, own, other) in [(&user, 400.0, 700.0), (&phone, 700.0, 400.0)] {
        let steady = &channel[8000..32_000];
        let apart = tone(steady, own) - tone(steady, other);
        let level = tone(steady, own);
        assert!(level > -20.0 && apart > 30.0, "{own} Hz: {level} dB, {apart} dB above {other} Hz");
    }
}

#[test]
fn a_wav_file_is_sound_after_every_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wav");
    let mut file = write(create, &path, Format::Wav, 125).unwrap();
    let part = folder.path().join("a.wav.part");
    let read = |path: &Path| {
        let mut reader = hound::WavReader::open(path).unwrap();
        assert_eq!((reader.spec().channels, reader.spec().sample_rate), (2, ARCHIVE_RATE));
        reader.samples::<i16>().map(Result::unwrap).collect::<Vec<i16>>()
    };
    assert_eq!(read(&part).len(), 100 * 2 * ARCHIVE_FRAME, "two seconds are on the disk, half a one waits");
    file.end().unwrap();
    let path = file.seal().unwrap();
    let samples = read(&path);
    assert_eq!(samples.len(), 125 * 2 * ARCHIVE_FRAME);
    assert_eq!(samples[..2 * ARCHIVE_FRAME], frame(0));
}

#[test]
fn a_file_is_named_by_day_time_and_call() {
    let path = relative_path(OPENED, CALL, OPUS);
    assert_eq!(path, Path::new("2026-10-13/140000-0123456789abcdef.opus"));
}

/// A disk with room for so many bytes.
#[derive(Debug)]
struct Small(Box<dyn Disk>, u64);

impl Disk for Small {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let fits = bytes.len().min(self.1 as usize);
        self.1 -= fits as u64;
        self.0.append(&bytes[..fits])?;
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
    fn overwrite(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.overwrite(bytes, at)
    }
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.cut(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

fn small(path: &Path) -> io::Result<Box<dyn Disk>> {
    Ok(Box::new(Small(create(path)?, 12_000)))
}

#[test]
fn a_full_disk_ends_the_recording_and_leaves_a_file_that_plays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.opus");
    let mut file = write(small, &path, OPUS, 0).unwrap();
    let pushed = (0..).find_map(|number| file.push(&frame(number)).err().map(|end| (number, end)));
    let (frames, end) = pushed.unwrap();
    assert_eq!(end, End::DiskFull);
    let path = file.seal().unwrap();
    let [user, _] = play(&path);
    // The page that did not fit is gone, those before it are whole.
    assert!(frames > 100 && user.len() > (frames - 51) * ARCHIVE_FRAME, "{frames} frames, {}", user.len());
    assert!(tone(&user[8000..24_000], 400.0) > -20.0);
}

#[test]
fn what_a_crash_left_over_is_cut_to_what_is_sound_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    for (format, frames, seconds) in [(OPUS, 140, 2), (Format::Wav, 140, 2)] {
        let relative = relative_path(OPENED, CALL, format);
        let path = folder.path().join(&relative);
        let part = PathBuf::from(format!("{}.part", path.display()));
        let file = write(create, &path, format, frames).unwrap();
        assert_eq!(orphans::repair(folder.path()), [], "somebody writes it");
        drop(file);
        // Power was lost while a page was written.
        let mut torn = fs::read(&part).unwrap();
        torn.extend_from_slice(b"OggS\0\0torn");
        fs::write(&part, torn).unwrap();
        let told = orphans::repair(folder.path());
        let [told] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(
            (told.call, told.end, told.file.as_deref()),
            (CALL, Some(End::Crashed), Some(relative.as_path()))
        );
        assert_eq!(told.length.as_secs(), seconds);
        assert!(path.exists() && !part.exists());
        if format == OPUS {
            assert_eq!(
                play(&path)[0].len() / ARCHIVE_FRAME,
                99,
                "a hundred without the encoder's look-ahead"
            );
        } else {
            let reader = hound::WavReader::open(&path).unwrap();
            assert!(reader.duration() >= 100 * ARCHIVE_FRAME as u32);
        }
        assert_eq!(orphans::repair(folder.path()), [], "once is enough");
    }
}

#[test]
fn a_crash_before_the_first_second_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(relative_path(OPENED, CALL, OPUS));
    drop(write(create, &path, OPUS, 20).unwrap());
    let told = orphans::repair(folder.path());
    assert_eq!(
        told,
        [Told {
            call: CALL,
            file: None,
            length: Duration::ZERO,
            voiced: Duration::ZERO,
            end: Some(End::Crashed)
        }]
    );
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
}

fn settings(directory: &Path, format: Format) -> RecorderSettings {
    RecorderSettings { directory: directory.to_owned(), format, min_free: 0, kept: Kept::BothSides }
}

fn now() -> Now {
    Now { mono: Instant::now(), wall: OPENED }
}

fn tap(inlet: Inlet) -> Tap {
    let mut tap = Tap::default();
    tap.set_format(Side::Phone, PayloadType(0), AudioCodec::Pcmu);
    tap.open(inlet);
    tap
}

/// A packet of the phone's: a tone of 20 ms.
fn packet(number: u64) -> Vec<u8> {
    let header = RtpHeader {
        marker: false,
        payload_type: PayloadType(0),
        seq: SeqNo(number as u16),
        timestamp: RtpTime(number as u32 * 160),
        ssrc: Ssrc(1),
    };
    let tone = |at: u64| {
        let t = (number * 160 + at) as f32 / 8000.0;
        (t * 700.0 * std::f32::consts::TAU).sin() * 8000.0 * syllables(t)
    };
    let mut packet = header.to_bytes().to_vec();
    packet.extend((0..160).map(|at| G711::MuLaw.code(tone(at) as i16)));
    packet
}

fn last_word(told: &mut UnboundedReceiver<Told>) -> Told {
    std::iter::from_fn(|| told.blocking_recv()).find(|it| it.end.is_some()).unwrap()
}

#[test]
fn a_call_becomes_a_file_of_its_length_and_the_record_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (told_in, mut told) = unbounded_channel();
    let recorder = Recorder::start(settings(folder.path(), OPUS), told_in).unwrap();
    let began = now();
    let mut tap = tap(recorder.begin(began, CALL, OPENED));
    let first = told.blocking_recv().unwrap();
    assert_eq!((first.call, first.end), (CALL, None));
    // A call of three seconds, said faster than it was spoken: only the packets' own times count.
    for number in 0..150 {
        tap.hear(Side::Phone, began.mono + Duration::from_millis(20 * number), &packet(number));
    }
    tap.close(began.mono + Duration::from_secs(3));
    let last = last_word(&mut told);
    assert_eq!((last.end, last.length), (Some(End::Complete), Duration::from_secs(3)));
    recorder.stop();
    let path = folder.path().join(last.file.unwrap());
    assert_eq!(last.call, CALL);
    let [user, phone] = play(&path);
    assert_eq!((user.len(), phone.len()), (48_000, 48_000));
    assert!(tone(&phone[8000..40_000], 700.0) > -20.0 && level_dbov(&user[8000..40_000]) < -60.0);
    let figures = recorder.figures();
    assert_eq!((figures.active, figures.unheard, figures.late), (0, 0, 0));
    assert_eq!(figures.bytes, fs::metadata(&path).unwrap().len());
    assert!(figures.ended.contains(&(End::Complete, 1)));
}

static STUCK: AtomicBool = AtomicBool::new(false);

/// A disk that answers only when the test lets it.
#[derive(Debug)]
struct Stuck(Box<dyn Disk>);

impl Disk for Stuck {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        while STUCK.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.0.append(bytes)
    }
    fn overwrite(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.overwrite(bytes, at)
    }
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.cut(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

#[test]
fn a_disk_that_hangs_costs_packets_of_the_recording_and_nothing_else() {
    STUCK.store(true, Ordering::SeqCst);
    let folder = tempfile::tempdir().unwrap();
    let (told_in, mut told) = unbounded_channel();
    let stuck: Create = |path| Ok(Box::new(Stuck(create(path)?)));
    let recorder = Recorder::start_with(settings(folder.path(), OPUS), told_in, 1, stuck).unwrap();
    let began = now();
    let mut tap = tap(recorder.begin(began, CALL, OPENED));
    // A minute of packets: this loop ends although nobody takes them.
    for number in 0..3000 {
        tap.hear(Side::Phone, began.mono + Duration::from_millis(20 * number), &packet(number));
    }
    STUCK.store(false, Ordering::SeqCst);
    tap.close(began.mono + Duration::from_secs(60));
    let last = last_word(&mut told);
    recorder.stop();
    assert_eq!((last.end, last.length), (Some(End::Complete), Duration::from_secs(60)));
    let figures = recorder.figures();
    assert!((2000..2400).contains(&figures.unheard), "a ring holds twelve seconds: {figures:?}");
    let [_, phone] = play(&folder.path().join(last.file.unwrap()));
    assert!(tone(&phone[16_000..128_000], 700.0) > -20.0, "what the ring held is there");
    assert!(level_dbov(&phone[400_000..]) < -60.0, "what it had no room for is silence");
}

#[test]
fn too_little_room_refuses_a_recording_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (told_in, mut told) = unbounded_channel();
    let settings = RecorderSettings { min_free: u64::MAX, ..settings(folder.path(), Format::Wav) };
    let recorder = Recorder::start(settings, told_in).unwrap();
    let inlet = recorder.begin(now(), CALL, OPENED);
    let last = last_word(&mut told);
    assert_eq!((last.end, last.file), (Some(End::LowSpace), None));
    // The call goes on with a ring that nobody empties.
    let mut tap = tap(inlet);
    tap.hear(Side::Phone, Instant::now(), &packet(0));
    recorder.stop();
}

#[test]
fn a_directory_that_cannot_be_written_refuses_a_recording_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    assert!(orphans::is_writable(&file).is_err() && orphans::is_writable(folder.path()).is_ok());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the probe is gone");
    let (told_in, mut told) = unbounded_channel();
    let recorder = Recorder::start(settings(&file, OPUS), told_in).unwrap();
    drop(recorder.begin(now(), CALL, OPENED));
    assert_eq!(last_word(&mut told).end, Some(End::NotBegun));
    recorder.stop();
}

#[test]
fn a_stop_finishes_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (told_in, mut told) = unbounded_channel();
    let recorder = Recorder::start(settings(folder.path(), Format::Wav), told_in).unwrap();
    let began = now();
    let mut tap = tap(recorder.begin(began, CALL, OPENED));
    for number in 0..100 {
        tap.hear(Side::Phone, began.mono + Duration::from_millis(20 * number), &packet(number));
    }
    recorder.stop();
    let last = last_word(&mut told);
    assert_eq!(last.end, Some(End::Complete));
    assert!(hound::WavReader::open(folder.path().join(last.file.unwrap())).is_ok());
    drop(tap);
}
