"""Chromium without a window as a WebRTC receiver: what its jitter buffer (NetEQ) makes of the packets of a trace."""

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from rig.programs import Programs, RigError, wait_for
from rig.sender import Punctuality, Sender, Stream

SCRIPT = Path(__file__).with_name("listener.js")
PAGE = b'<!doctype html><meta charset="utf-8"><title>Listens</title><body><script src="/listener.js"></script>'
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio",
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
    "--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


@dataclass
class Heard:
    """What came out of one peer connection."""

    samples: np.ndarray
    rate: int
    # When the first sample was pulled, seconds since the epoch.
    began: float
    # Samples pulled beside samples that the clock asked for, and the longest time without a pull.
    pulled_percent: float
    longest_pause_ms: float
    statistics: dict

    @property
    def delay_ms(self) -> float:
        """Mean time in the jitter buffer, by the browser's own count."""
        emitted = self.statistics.get("jitterBufferEmittedCount", 0)
        return 1000 * self.statistics.get("jitterBufferDelay", 0.0) / emitted if emitted else 0.0

    @property
    def concealed_percent(self) -> float:
        """What the browser invented, by its own count, of all that it gave out."""
        total = self.statistics.get("totalSamplesReceived", 0)
        return 100 * self.statistics.get("concealedSamples", 0) / total if total else 0.0


@dataclass
class _Round:
    """What the page and the rig tell each other."""

    streams: list[Stream]
    over: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    failed: str = ""
    clock: float = 0.0
    facts: dict[int, dict] = field(default_factory=dict)
    samples: dict[int, bytes] = field(default_factory=dict)


def listen(programs: Programs, streams: list[Stream]) -> tuple[list[Heard], float, Punctuality]:
    """Plays all streams at once to one page; what was heard, when the first packet left, and how punctual all were."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise RigError("no chromium: apt-get install chromium")
    told = _Round(streams)
    with _first_in_line():
        return _listen(programs, chromium, told)


def _listen(programs: Programs, chromium: str, told: _Round) -> tuple[list[Heard], float, Punctuality]:
    streams = told.streams
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: _Page(told, *given))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    profile = programs.folder / "chromium"
    shutil.rmtree(profile, ignore_errors=True)
    url = f"http://127.0.0.1:{server.server_port}/"
    program = programs.start("chromium", [chromium, *FLAGS, f"--user-data-dir={profile}", url])
    sender = Sender(streams)
    try:
        sender.connect()
        wait_for(lambda: told.clock or told.failed, "the page never spoke", 20)
        epoch, punctuality = sender.play()
        told.over = True
        sender.idle(1.0)
        program.wait_for(lambda: told.done.is_set() or told.failed, "the page keeps what it heard", 60)
    finally:
        program.stop()
        server.shutdown()
        sender.close()
        shutil.rmtree(profile, ignore_errors=True)
    if told.failed:
        raise RigError(f"the page failed: {told.failed}")
    heard = [_heard(told.facts[index], told.samples[index], told.clock) for index in range(len(streams))]
    return heard, epoch, punctuality


@contextlib.contextmanager
def _first_in_line() -> Iterator[None]:
    """While real time counts, the browser and the sender go before the rest of the machine, if that is allowed."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -12)
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, before)


def _heard(facts: dict, samples: bytes, clock: float) -> Heard:
    lengths, rates, times = facts["lengths"], facts["rates"], np.array(facts["times"])
    if not lengths:
        raise RigError("a peer connection gave out nothing")
    # Until the first stream of a page plays, the receiver may run at another rate.
    rate = rates[-1]
    first = len(rates) - next((back for back, each in enumerate(reversed(rates)) if each != rate), len(rates))
    kept = np.frombuffer(samples, "<i2")[sum(lengths[:first]) :]
    times, lengths = times[first:], lengths[first:]
    span = (times[-1] - times[0]) / 1000 + lengths[-1] / rate
    return Heard(
        samples=kept,
        rate=rate,
        began=(clock + times[0]) / 1000,
        pulled_percent=100 * sum(lengths) / rate / span,
        longest_pause_ms=float(np.max(np.diff(times))) if len(times) > 1 else 0.0,
        statistics=facts["statistics"],
    )


class _Page(BaseHTTPRequestHandler):
    """The page and what it asks for."""

    protocol_version = "HTTP/1.1"

    def __init__(self, told: _Round, *given: object):
        self._told = told
        super().__init__(*given)

    def do_GET(self) -> None:  # noqa: N802 - the name is http.server's
        told = self._told
        known = {"/count": str(len(told.streams)), "/over": "yes" if told.over else "no"}
        if self.path == "/":
            self._answer(PAGE, "text/html")
        elif self.path == "/listener.js":
            self._answer(SCRIPT.read_bytes(), "text/javascript")
        elif self.path in known:
            self._answer(known[self.path].encode())
        else:
            self.send_error(404)

    def do_POST(self) -> None:  # noqa: N802 - the name is http.server's
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told, (what, _, index) = self._told, self.path[1:].partition("/")
        reply = ""
        match what:
            case "offer":
                reply = told.streams[int(index)].answer()
            case "clock":
                told.clock = float(body)
            case "facts":
                told.facts[int(index)] = json.loads(body)
            case "samples":
                told.samples[int(index)] = body
            case "done":
                told.done.set()
            case "failed":
                told.failed = body.decode()
        self._answer(reply.encode())

    def _answer(self, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent: stderr belongs to the rig."""
