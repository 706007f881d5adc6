"""What is said on the yardstick's calls: people reading (if their recordings are there) and three synthetic voices."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rig.speech import read_wav, write_wav

# Debian's pocketsphinx-testdata: sentences of a LibriVox reader, 16 kHz.
READINGS = Path("/usr/share/pocketsphinx/test/data/librivox")
READ = (("0870", "0880"), ("0890", "0930"), ("0920", "0880"))
SPOKEN = (
    ("en-us", "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. These days a chicken leg is a rare dish."),
    ("en-gb+f3", "Rice is often served in round bowls. The juice of lemons makes fine punch. The box was thrown beside the parked truck."),
    ("en-gb-scotland+m4", "Four hours of steady work faced us. A large size in stockings is hard to sell. The boy was there when the sun rose."),
)
PAUSE_SECONDS = 0.8
# A room is never digitally silent: noise at about -66 dB of full scale.
NOISE_RMS = 16.0


@dataclass
class Material:
    """Speech at 16 kHz as a user says it and at 8 kHz as a phone does, and where its pieces are."""

    wide: Path
    narrow: Path
    # What PESQ compares with, 8 kHz: the wide one brought down, and the narrow one as it is.
    user_said: np.ndarray
    phone_said: np.ndarray
    # (start, end) of every piece, in samples of 8 kHz; pieces are judged one by one, as PESQ is made for 8 to 12 s.
    pieces: list[tuple[int, int]]
    names: list[str]

    @property
    def seconds(self) -> float:
        """How long all of it is."""
        return len(self.phone_said) / 8000


def make(folder: Path, pieces: int) -> Material:
    """Writes `wide.wav` and `narrow.wav` with so many pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    clips, names = [], []
    for name, clip in _clips(folder):
        if len(clips) < pieces:
            clips.append(clip)
            names.append(name)
    noise = np.random.default_rng(1)
    spans, parts, at = [], [], 0
    for clip in clips:
        gap = np.zeros(int(16000 * PAUSE_SECONDS))
        parts += [gap, clip]
        spans.append((at + len(gap), at + len(gap) + len(clip)))
        at += len(gap) + len(clip)
    parts.append(np.zeros(int(16000 * PAUSE_SECONDS * 1.5)))
    said = np.concatenate(parts)
    said = said + noise.normal(0.0, NOISE_RMS, len(said))
    raw, wide, narrow, low = (folder / f"{name}.wav" for name in ("raw", "wide", "narrow", "wide-8k"))
    write_wav(raw, np.clip(said, -32768, 32767), 16000)
    _sox(raw, "-b", 16, wide, "sinc", "80-7000")
    _sox(raw, "-r", 8000, "-b", 16, narrow, "sinc", "120-3600")
    _sox(wide, "-r", 8000, "-b", 16, low)
    raw.unlink()
    return Material(wide, narrow, read_wav(low)[0], read_wav(narrow)[0], [(s // 2, e // 2) for s, e in spans], names)


def _clips(folder: Path) -> list[tuple[str, np.ndarray]]:
    """People and machines in turns, so that any number of pieces has both."""
    people, machines = [], []
    for parts in READ if READINGS.exists() else ():
        files = [next(READINGS.glob(f"*-{part}.wav")) for part in parts]
        people.append(("read " + "+".join(parts), _level(folder, *files)))
    for voice, text in SPOKEN:
        spoken = folder / "spoken.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", "160", "-w", spoken, text], check=True, capture_output=True)
        machines.append((f"espeak {voice}", _level(folder, spoken)))
        spoken.unlink()
    if not people:
        return machines
    return [clip for pair in zip(people, machines, strict=True) for clip in pair]


def _level(folder: Path, *files: Path) -> np.ndarray:
    """Joined, at 16 kHz, at the level of a telephone: -23 dB of full scale over the whole piece, never clipped."""
    joined = folder / "joined.wav"
    _sox(*files, "-r", 16000, "-c", 1, "-b", 16, joined)
    samples = read_wav(joined)[0].astype(float)
    joined.unlink()
    gain = 32768 * 10 ** (-23 / 20) / np.sqrt(np.mean(samples**2))
    return samples * min(gain, 30000 / np.max(np.abs(samples)))


def _sox(*arguments: object) -> None:
    subprocess.run(["sox", "-R", *(str(each) for each in arguments)], check=True, capture_output=True, text=True)
