"""What becomes of a trace in each receiver, and then in the codec that stands behind it: always the same one."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rig import g711
from rig.programs import RigError
from rig.speech import read_at_8k, write_wav
from rig.traces import Arrivals

TO_PHONE, TO_META = "to-phone", "to-meta"
PLAYOUT, RELAY = "playout", "relay"
# The gateway's own name for the codecs of a direction.
_CHAIN = {TO_PHONE: "to-phone", TO_META: "to-user"}


@dataclass(frozen=True)
class Packet:
    """One packet that comes to the gateway."""

    seq: int
    ts: int
    payload: bytes


class Gateway:
    """The gateway's program, off-line: its codecs alone, and its pipes."""

    def __init__(self, cordboard: Path, folder: Path):
        self._cordboard, self._folder = cordboard, folder
        asked = subprocess.run([cordboard, "pipe-chain", "--help"], capture_output=True, text=True, check=False)
        # A program from before the playout timing has only one.
        self.timings = [each for each in (PLAYOUT, RELAY) if asked.returncode == 0 and each in asked.stdout]

    def packets(self, said: Path, direction: str) -> tuple[list[Packet], np.ndarray]:
        """What comes to the gateway when a file is spoken, and what the far end hears with nothing but libopus between."""
        lines, heard = self._folder / f"{direction}.jsonl", self._folder / f"{direction}-libopus.wav"
        self._run("codec-chain", "--direction", _CHAIN[direction], "--packets", lines, said, heard)
        read = [json.loads(line) for line in lines.read_text().splitlines()]
        packets = [Packet(each["seq"], each["ts"], bytes.fromhex(each["payload"])) for each in read]
        return packets, read_at_8k(heard)

    def behind(self, samples: np.ndarray, rate: int, direction: str, name: str) -> np.ndarray:
        """Another receiver's sound through the codec that stands behind it: G.711 for a phone, Opus for a user."""
        came, narrow, heard = (self._folder / f"{name}{suffix}.wav" for suffix in ("", "-8k-in", "-coded"))
        write_wav(came, samples, rate)
        samples = read_at_8k(came)
        if direction == TO_PHONE:
            return g711.ulaw_decode(g711.ulaw_encode(samples))
        write_wav(narrow, samples, 8000)
        self._run("codec-chain", "--direction", "to-user-linear", narrow, heard)
        narrow.unlink()
        return read_at_8k(heard)

    def pipe(self, packets: list[Packet], arrivals: Arrivals, direction: str, timing: str, name: str) -> tuple[np.ndarray, float]:
        """The same packets through the gateway's own pipe, and when its first sample is heard (milliseconds)."""
        lines, heard = self._folder / f"{name}.jsonl", self._folder / f"{name}.wav"
        lines.write_text("".join(_lines(packets, arrivals)))
        depth = ["--depth", self.depth_file(name)] if timing == PLAYOUT else []
        told = self._run("pipe-chain", "--in", lines, "--timing", timing, "--direction", direction, "--out", heard, *depth)
        lines.unlink()
        return read_at_8k(heard), json.loads(told)["heard_from_ms"]

    def depth_file(self, name: str) -> Path:
        """The depth of the buffer of a run with playout, over time: seconds, depth and target in milliseconds."""
        return self._folder / f"{name}-depth.csv"

    def draw(self, charts: list[dict], svg: Path) -> None:
        """Charts as a picture."""
        described = self._folder / "charts.json"
        described.write_text(json.dumps(charts))
        self._run("draw", described, svg)

    def _run(self, *arguments: object) -> str:
        command = [str(self._cordboard), *(str(each) for each in arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise RigError(f"{' '.join(command)}\n{done.stderr}")
        return done.stdout


def _lines(packets: list[Packet], arrivals: Arrivals) -> Iterator[str]:
    for packet, at in zip(packets, arrivals, strict=True):
        facts = {"at_ms": at, "seq": packet.seq, "ts": packet.ts, "payload": packet.payload.hex()}
        yield json.dumps(facts) + "\n"
