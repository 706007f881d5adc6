//! Recordings: stereo files of calls, the WhatsApp user left, the phone right.
//!
//! A call's media thread puts every packet into a ring (`media::tap`) and is done; a writer thread at low
//! priority decodes both sides onto one time line and writes the file. Whatever happens to the disk ends
//! recordings, never calls: a ring that is full loses packets, which are counted.
//!
//! | file | holds |
//! | --- | --- |
//! | `clock` `side` `timeline` | from packets to aligned frames; pure, time is an argument |
//! | `voiced` | when the user speaks, and when no more |
//! | `wide` | from 8 to 16 kHz |
//! | `ogg_opus` `wav` `file` | the two formats, and the file that holds one |
//! | `writer` | the threads |
//! | `orphans` | what a crash left behind |

mod clock;
mod file;
mod ogg_opus;
mod orphans;
mod side;
mod timeline;
mod voiced;
mod wav;
mod wide;
mod writer;

#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::id::CallId;

pub use file::Format;
pub use orphans::is_writable;
pub(in crate::io) use writer::free_bytes;
pub use writer::{Recorder, RecorderFigures};

/// How recordings are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecorderSettings {
    /// Where the files go; there is a folder for each day in it.
    pub directory: PathBuf,
    /// How a recording is kept.
    pub format: Format,
    /// Below so many free bytes recordings end and none begins.
    pub min_free: u64,
    /// Whom it keeps.
    pub kept: Kept,
}

/// Whom a recording keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The user left, the phone right.
    BothSides,
    /// The user alone: a message, which ends when the user is silent for so long.
    User {
        /// How long.
        silence: Duration,
    },
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The call did.
    Complete,
    /// The user had said everything.
    Silence,
    /// The disk has no room.
    DiskFull,
    /// The disk has less room than `recording.min_free`.
    LowSpace,
    /// The disk refused, or libopus did.
    WriteFailed,
    /// The file could not be created.
    NotBegun,
    /// A WAV file can be no larger.
    TooLarge,
    /// The process died; what was written until then was kept.
    Crashed,
    /// A bug of ours.
    Panicked,
}

impl End {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::Complete,
        Self::Silence,
        Self::DiskFull,
        Self::LowSpace,
        Self::WriteFailed,
        Self::NotBegun,
        Self::TooLarge,
        Self::Crashed,
        Self::Panicked,
    ];

    /// The word in records and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Silence => "silence",
            Self::DiskFull => "disk_full",
            Self::LowSpace => "low_space",
            Self::WriteFailed => "write_failed",
            Self::NotBegun => "not_begun",
            Self::TooLarge => "too_large",
            Self::Crashed => "crashed",
            Self::Panicked => "panic",
        }
    }

    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::WriteFailed,
        }
    }
}

/// What is told of a recording, for the call's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whose.
    pub call: CallId,
    /// The file, below the directory; `None` if there is none.
    pub file: Option<PathBuf>,
    /// How long it is.
    pub length: Duration,
    /// For how long the user was heard in it; unknown, and nothing, for what a crash left.
    pub voiced: Duration,
    /// Why it ended; `None`: it has begun.
    pub end: Option<End>,
}
