"""How good a recording is: found in time, judged by PESQ, compared with the same codecs without a gateway."""

import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pesq import pesq

from rig import g711, opus
from rig.speech import Clip, read_at_8k, read_wav, write_wav

RATE = 8000
# How far under the reference a direction may be.
MAX_PENALTY = 0.2
# An Opus frame may start anywhere in the speech; the reference is the mean over these offsets (milliseconds).
PHASES_MS = (0, 5, 10, 15)
# At least this much correlation, or the recording is of something else.
MIN_LIKENESS = 0.5


@dataclass
class Score:
    """PESQ of one direction beside its reference."""

    pesq: float
    reference: float
    likeness: float
    starts_seconds: float
    chain: str

    @property
    def good(self) -> bool:
        """The rule: at most 0.2 under the reference, and it is the right speech."""
        return self.likeness >= MIN_LIKENESS and self.reference - self.pesq <= MAX_PENALTY


def align(reference: np.ndarray, recording: np.ndarray) -> tuple[int, float]:
    """Where the reference starts in the recording (samples) and how much the two are alike there (0 to 1)."""
    wanted, heard = reference.astype(float), recording.astype(float)
    if len(heard) < len(wanted):
        heard = np.pad(heard, (0, len(wanted) - len(heard)))
    size = 1 << (len(wanted) + len(heard)).bit_length()
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size))
    correlation = np.fft.irfft(product, size)[: len(heard)]
    start = int(np.argmax(np.abs(correlation)))
    cut = heard[start : start + len(wanted)]
    energy = float(np.sqrt(np.sum(cut**2) * np.sum(wanted[: len(cut)] ** 2)))
    return start, abs(float(correlation[start])) / energy if energy else 0.0


def pesq_of(reference: np.ndarray, recording: np.ndarray) -> tuple[float, float, float]:
    """PESQ (narrow band), likeness, and where the speech starts in the recording (seconds)."""
    start, likeness = align(reference, recording)
    cut = recording[start : start + len(reference)]
    cut = np.pad(cut, (0, len(reference) - len(cut)))
    if not np.any(cut):
        return 0.0, 0.0, start / RATE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(pesq(RATE, reference, cut, "nb")), likeness, start / RATE


class Chain:
    """The codecs of a direction without the gateway: its own libopus where it offers it, else Debian's."""

    def __init__(self, cordboard: Path | None):
        self._cordboard = cordboard if cordboard and _has_codec_chain(cordboard) else None
        self.name = "cordboard codec-chain" if self._cordboard else opus.version()

    def to_phone(self, played: Path, folder: Path) -> list[np.ndarray]:
        """The user's file as a phone would hear it: Opus at 16 kHz, decoded at 8 kHz, µ-law."""
        return [self._one("to-phone", samples, rate, folder) for samples, rate in _phases(played)]

    def to_user(self, played: Path, folder: Path) -> list[np.ndarray]:
        """The phone's file as a user would hear it: µ-law, Opus from 8 kHz."""
        return [self._one("to-user", samples, rate, folder) for samples, rate in _phases(played)]

    def _one(self, direction: str, samples: np.ndarray, rate: int, folder: Path) -> np.ndarray:
        if self._cordboard:
            source, result = folder / "chain-in.wav", folder / "chain-out.wav"
            write_wav(source, samples, rate)
            command = [str(self._cordboard), "codec-chain", "--direction", direction, str(source), str(result)]
            subprocess.run(command, check=True, capture_output=True)
            heard = read_at_8k(result)
            source.unlink()
            result.unlink()
            return heard
        if direction == "to-phone":
            return _ulaw(opus.round_trip(samples, rate, RATE, complexity=9, loss_percent=0))
        # The user hears wide band; the recording is brought to 8 kHz as every recording is.
        result = folder / "chain-out.wav"
        write_wav(result, opus.round_trip(_ulaw(samples), RATE, 16000, complexity=5, loss_percent=5), 16000)
        heard = read_at_8k(result)
        result.unlink()
        return heard


def judge(spoken: Clip, recording: Path, direction: str, chain: Chain, folder: Path) -> Score:
    """Compares what was heard with what was said and with the bare codecs."""
    through = chain.to_phone if direction == "to-phone" else chain.to_user
    references = [pesq_of(spoken.reference, heard)[0] for heard in through(spoken.played, folder)]
    score, likeness, start = pesq_of(spoken.reference, read_at_8k(recording))
    return Score(score, float(np.mean(references)), likeness, start, chain.name)


def _phases(played: Path) -> list[tuple[np.ndarray, int]]:
    samples, rate = read_wav(played)
    return [(np.pad(samples, (rate * phase // 1000, 0)), rate) for phase in PHASES_MS]


def _ulaw(samples: np.ndarray) -> np.ndarray:
    return g711.ulaw_decode(g711.ulaw_encode(samples))


def _has_codec_chain(cordboard: Path) -> bool:
    asked = subprocess.run([str(cordboard), "codec-chain", "--help"], capture_output=True, check=False)
    return asked.returncode == 0
