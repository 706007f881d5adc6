"""Speech made at run time with espeak-ng and sox; WAV files in and out of numpy."""

import subprocess
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

USER_TEXT = (
    "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. "
    "It is easy to tell the depth of a well."
)
PHONE_TEXT = (
    "The juice of lemons makes fine punch. The box was thrown beside the parked truck. "
    "Four hours of steady work faced us."
)


@dataclass
class Clip:
    """One side's speech: what is played (with silence around it) and the bare speech at 8 kHz to judge by."""

    played: Path
    reference: np.ndarray
    lead_seconds: float
    speech_seconds: float

    @property
    def end_seconds(self) -> float:
        """When the speech is over, counted from the start of the file."""
        return self.lead_seconds + self.speech_seconds


def make_clip(folder: Path, name: str, text: str, voice: str, rate: int, lead: float, trail: float) -> Clip:
    """Speaks a text into `folder/name.wav` at `rate`, with `lead` and `trail` seconds of silence around."""
    raw, bare, played, narrow = (folder / f"{name}{suffix}.wav" for suffix in ("-raw", "-bare", "", "-8k"))
    _run("espeak-ng", "-v", voice, "-s", "165", "-w", raw, text)
    # Both ends of a telephone speak in the telephone band and at a telephone's level.
    _run("sox", "-R", raw, "-r", rate, "-c", 1, "-b", 16, bare, "sinc", "120-3600", "gain", "-n", "-8")
    _run("sox", "-R", bare, played, "pad", lead, trail)
    _run("sox", "-R", bare, "-r", 8000, "-c", 1, "-b", 16, narrow)
    reference = read_wav(narrow)[0]
    for path in (raw, bare, narrow):
        path.unlink()
    return Clip(played, reference, lead, len(reference) / 8000)


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    """Samples (16 bit, first channel) and rate of a WAV file; a header that was never finished is forgiven."""
    with wave.open(str(path), "rb") as wav:
        if wav.getsampwidth() != 2:
            raise ValueError(f"{path}: {wav.getsampwidth() * 8} bit samples, 16 wanted")
        samples = np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2")
        return samples[:: wav.getnchannels()].copy(), wav.getframerate()


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """Writes mono 16 bit."""
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(samples.astype("<i2").tobytes())


def read_at_8k(path: Path) -> np.ndarray:
    """A recording, brought to 8 kHz by sox if it has another rate."""
    samples, rate = read_wav(path)
    if rate == 8000:
        return samples
    narrow = path.with_name(f"{path.stem}-8k.wav")
    _run("sox", "-R", path, "-r", 8000, "-c", 1, "-b", 16, narrow)
    samples = read_wav(narrow)[0]
    narrow.unlink()
    return samples


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
