//! One recording on the disk: grows by whole seconds, is sound after each, takes its name when it is complete.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::End;
use super::ogg_opus::OggOpus;
use super::timeline::Frame;
use super::wav::{self, Wav};
use crate::codec::ArchiveChannels;
use crate::id::CallId;
use crate::time::Wall;

/// What a file is called until it is complete.
pub(super) const PART: &str = "part";

/// How a recording is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Ogg/Opus of so many bits a second, both sides together.
    Opus {
        /// Bits a second.
        bitrate: u32,
    },
    /// Ogg/Opus of the user alone.
    UserOpus {
        /// Bits a second.
        bitrate: u32,
    },
    /// WAV, 16 bits: 230 MB an hour.
    Wav,
}

impl Format {
    pub(super) const fn extension(self) -> &'static str {
        match self {
            Self::Opus { .. } | Self::UserOpus { .. } => "opus",
            Self::Wav => "wav",
        }
    }
}

/// What a recording needs of a file; a test has files that are full or never answer.
pub(super) trait Disk: Send + std::fmt::Debug {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn overwrite(&mut self, bytes: &[u8], at: u64) -> io::Result<()>;
    fn cut(&mut self, length: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }
    fn overwrite(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Makes a file; where a test has another kind of disk, another function.
pub(super) type Create = fn(&Path) -> io::Result<Box<dyn Disk>>;

/// A new file for its owner's eyes only, locked so that a second process does not take it for an orphan.
pub(super) fn create(path: &Path) -> io::Result<Box<dyn Disk>> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let _ = file.try_lock();
    Ok(Box::new(file))
}

/// The file's place in the directory: a folder for each day of UTC, the time of day, the call.
///
/// No number and no name stands in it.
pub(super) fn relative_path(opened: Wall, call: CallId, format: Format) -> PathBuf {
    let at = opened.to_string();
    let (day, time) = at.split_once('T').unwrap_or((&at, ""));
    let time: String = time.chars().filter(char::is_ascii_digit).take(6).collect();
    Path::new(day).join(format!("{time}-{call}.{}", format.extension()))
}

/// The path of a file that is not complete.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(PART);
    PathBuf::from(name)
}

#[derive(Debug)]
enum Form {
    Opus(Box<OggOpus>),
    Wav(Wav),
}

/// A file that grows.
#[derive(Debug)]
pub(super) struct RecordingFile {
    disk: Box<dyn Disk>,
    path: PathBuf,
    form: Form,
    /// Bytes that make a sound file.
    sound: u64,
}

impl RecordingFile {
    /// Creates the file and writes its headers.
    pub(super) fn create(create: Create, path: PathBuf, call: CallId, format: Format) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file = Self {
            form: match format {
                Format::Opus { bitrate } => {
                    Form::Opus(Box::new(OggOpus::new(bitrate, ArchiveChannels::Two, call.0 as u32)?))
                }
                Format::UserOpus { bitrate } => {
                    Form::Opus(Box::new(OggOpus::new(bitrate, ArchiveChannels::Left, call.0 as u32)?))
                }
                Format::Wav => Form::Wav(Wav::default()),
            },
            disk: create(&part_of(&path))?,
            path,
            sound: 0,
        };
        if let Form::Wav(wav) = &mut file.form {
            *wav.samples() = wav::header(wav::HEADER);
        }
        if let Err(error) = file.write() {
            let _ = fs::remove_file(part_of(&file.path));
            return Err(error);
        }
        Ok(file)
    }

    /// Bytes that are on the disk.
    pub(super) const fn size(&self) -> u64 {
        self.sound
    }

    /// Adds a frame and tells how many bytes went to the disk.
    pub(super) fn push(&mut self, frame: &Frame) -> Result<u64, End> {
        let complete = match &mut self.form {
            Form::Opus(ogg) => ogg.push(frame).map_err(|_| End::WriteFailed)?,
            Form::Wav(_) if wav::is_full(self.sound) => return Err(End::TooLarge),
            Form::Wav(wav) => wav.push(frame),
        };
        if complete { self.write().map_err(|error| End::of(&error)) } else { Ok(0) }
    }

    /// Writes what is ready; what was written in part only is taken back.
    fn write(&mut self) -> io::Result<u64> {
        let bytes = match &mut self.form {
            Form::Opus(ogg) => ogg.pages(),
            Form::Wav(wav) => wav.samples(),
        };
        let count = bytes.len() as u64;
        let mut written = self.disk.append(bytes);
        bytes.clear();
        if written.is_ok() && matches!(self.form, Form::Wav(_)) {
            written = self.disk.overwrite(&wav::header(self.sound + count), 0);
        }
        match written {
            Ok(()) => self.sound += count,
            Err(_) => {
                let _ = self.disk.cut(self.sound);
            }
        }
        written.map(|()| count)
    }

    /// Writes the rest and ends the stream; the file still has to be [sealed](Self::seal).
    pub(super) fn end(&mut self) -> Result<u64, End> {
        if let Form::Opus(ogg) = &mut self.form {
            ogg.end().map_err(|_| End::WriteFailed)?;
        }
        self.write().map_err(|error| End::of(&error))
    }

    /// Makes sure that the file is on the disk and gives it its name. May take as long as a disk takes.
    pub(super) fn seal(mut self) -> io::Result<PathBuf> {
        self.disk.sync()?;
        drop(self.disk);
        rename(&part_of(&self.path), &self.path)?;
        Ok(self.path)
    }
}

/// Gives a file its name, also after a loss of power.
pub(super) fn rename(part: &Path, path: &Path) -> io::Result<()> {
    fs::rename(part, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
