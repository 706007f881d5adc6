//! Recordings that a crash left over: cut to what is sound and given their names.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ogg::reading::PageParser;

use super::file::{PART, rename};
use super::{End, Told, wav};
use crate::codec::ARCHIVE_RATE;
use crate::id::CallId;

/// Tries whether a recording could be written in `directory`, which is made if it is not there.
///
/// # Errors
/// Why not.
pub fn is_writable(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let probe = directory.join(format!(".cordboard-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe);
    made.and_then(|_| fs::remove_file(&probe))
}

/// Repairs what is not complete and not being written; tells of each.
pub(super) fn repair(directory: &Path) -> Vec<Told> {
    let mut told = Vec::new();
    let folders = fs::read_dir(directory).into_iter().flatten().flatten().map(|it| it.path());
    for folder in folders.filter(|it| it.is_dir()) {
        let files = fs::read_dir(&folder).into_iter().flatten().flatten().map(|it| it.path());
        for part in files.filter(|it| it.extension().is_some_and(|it| it == PART)) {
            let Some(call) = call_of(&part) else { continue };
            match repair_one(&part) {
                Ok(None) => {}
                Ok(Some((path, length))) => told.push(Told {
                    call,
                    file: path.and_then(|it| it.strip_prefix(directory).ok().map(Path::to_owned)),
                    length,
                    voiced: Duration::ZERO,
                    end: Some(End::Crashed),
                }),
                Err(failure) => {
                    tracing::error!(%call, %failure, "a recording that a crash left over cannot be repaired");
                }
            }
        }
    }
    told
}

/// `120000-0123456789abcdef.opus.part`
fn call_of(part: &Path) -> Option<CallId> {
    let (_, rest) = part.file_name()?.to_str()?.split_once('-')?;
    CallId::parse(rest.split('.').next()?)
}

/// Cuts a file to what is sound; `None` if somebody writes it. Without any sound it is removed.
fn repair_one(part: &Path) -> io::Result<Option<(Option<PathBuf>, Duration)>> {
    let file = OpenOptions::new().read(true).write(true).open(part)?;
    if file.try_lock().is_err() {
        return Ok(None);
    }
    let path = part.with_extension("");
    let (sound, length) = match path.extension().and_then(|it| it.to_str()) {
        Some("wav") => mend_wav(&file)?,
        Some("opus") => measure_opus(&file)?,
        _ => return Ok(None),
    };
    if length.is_zero() {
        fs::remove_file(part)?;
        return Ok(Some((None, length)));
    }
    file.set_len(sound)?;
    file.sync_all()?;
    rename(part, &path)?;
    Ok(Some((Some(path), length)))
}

fn mend_wav(file: &File) -> io::Result<(u64, Duration)> {
    /// Bytes of a moment: two samples of 16 bits.
    const MOMENT: u64 = 4;
    let moments = file.metadata()?.len().saturating_sub(wav::HEADER) / MOMENT;
    let sound = wav::HEADER + moments * MOMENT;
    if moments > 0 {
        file.write_all_at(&wav::header(sound), 0)?;
    }
    Ok((sound, Duration::from_micros(moments * 1_000_000 / u64::from(ARCHIVE_RATE))))
}

/// Walks over whole pages with a right checksum; tells where they end, and the sound in them.
fn measure_opus(mut file: &File) -> io::Result<(u64, Duration)> {
    file.seek(SeekFrom::Start(0))?;
    let mut pages = BufReader::new(file);
    let (mut sound, mut granules) = (0, 0);
    loop {
        let mut header = [0; 27];
        if pages.read_exact(&mut header).is_err() {
            break;
        }
        let Ok((mut page, segments)) = PageParser::new(header) else { break };
        let mut table = vec![0; segments];
        if pages.read_exact(&mut table).is_err() {
            break;
        }
        let mut data = vec![0; page.parse_segments(table)];
        if pages.read_exact(&mut data).is_err() {
            break;
        }
        let length = (header.len() + segments + data.len()) as u64;
        if page.parse_packet_data(data).is_err() {
            break;
        }
        sound += length;
        let granule = header[6..14].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        granules = granules.max(granule);
    }
    Ok((sound, Duration::from_micros(granules * 1_000_000 / 48_000)))
}
