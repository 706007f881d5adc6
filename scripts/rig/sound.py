"""The yardstick of sound: our two timings beside Chromium's receiver (NetEQ) on the same packets: `scripts/sound`.

Speech is coded once, sent through seeded networks to every receiver, put through the codec that stands behind it,
and judged by PESQ against what was said, piece by piece. Chromium needs real time; our pipes run off-line.
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from rig import browser, material, quality, sender, sound_report, traces
from rig.browser import Heard
from rig.material import Material
from rig.programs import Programs, RigError
from rig.receivers import PLAYOUT, RELAY, TO_META, TO_PHONE, Gateway, Packet
from rig.sender import Punctuality, Stream
from rig.traces import Condition

CHROMIUM, LIBOPUS = "chromium", "libopus"
# How far below the yardstick, and on a clean network below the codecs alone, PESQ may be.
BEHIND_CHROMIUM, BEHIND_LIBOPUS = 0.1, 0.05
# Later than this, and Chromium got another trace than we did; it pulls 10 ms at a time.
LATE_MS, PAUSE_MS, PULLED_PERCENT = 10.0, 60.0, (99.5, 100.5)
# So many peer connections play at once; more take another round.
AT_ONCE = 16


@dataclass(frozen=True)
class Run:
    """One trace in one direction."""

    direction: str
    condition: Condition
    seed: int

    @property
    def name(self) -> str:
        """For files."""
        return f"{self.direction}-{self.condition.name}-{self.seed}"


@dataclass
class Row:
    """A condition in a direction, all seeds and pieces together."""

    direction: str
    condition: str
    says: str
    lost_percent: float
    jitter_ms: float
    # Receiver -> mean PESQ, and mean delay from the sender's sample to the far end's (milliseconds).
    pesq: dict[str, float] = field(default_factory=dict)
    delay_ms: dict[str, float] = field(default_factory=dict)
    # Receiver -> mean difference to the yardstick on the same pieces, and the standard error of that mean.
    difference: dict[str, float] = field(default_factory=dict)
    error: dict[str, float] = field(default_factory=dict)
    pieces: int = 0
    wrong: list[str] = field(default_factory=list)
    chromium: dict[str, float] = field(default_factory=dict)


class Yardstick:
    """Everything of a run."""

    def __init__(self, programs: Programs, cordboard: Path, asked: argparse.Namespace):
        self.programs, self.asked = programs, asked
        self.folder = programs.folder
        self.gateway = Gateway(cordboard, self.folder)
        self.material: Material = material.make(self.folder, asked.pieces)
        self.packets: dict[str, list[Packet]] = {}
        self.alone: dict[str, np.ndarray] = {}
        for direction, said in ((TO_PHONE, self.material.wide), (TO_META, self.material.narrow)):
            self.packets[direction], self.alone[direction] = self.gateway.packets(said, direction)
        wanted = [each for each in traces.CONDITIONS if not asked.only or each.name in asked.only]
        self.runs = [
            Run(direction, condition, seed)
            for direction in (TO_PHONE, TO_META)
            for condition in wanted
            for seed in range(1, asked.seeds + 1 if condition.random else 2)
        ]
        self.doubts: list[str] = []
        self.punctuality: list[Punctuality] = []

    def trace(self, run: Run) -> traces.Arrivals:
        """When the packets of a run arrive."""
        return run.condition.trace(run.seed, len(self.packets[run.direction]))

    def play(self) -> dict[Run, tuple[Heard, float]]:
        """Chromium hears everything; with each run, when its first packet left."""
        heard: dict[Run, tuple[Heard, float]] = {}
        certificate = sender.certificate()
        # One direction at a time: a page that plays Opus gives G.711 out at 48 kHz, too.
        for direction, media in ((TO_PHONE, sender.OPUS), (TO_META, sender.PCMU)):
            runs = [run for run in self.runs if run.direction == direction]
            for at in range(0, len(runs), AT_ONCE):
                batch = runs[at : at + AT_ONCE]
                payloads = [packet.payload for packet in self.packets[direction]]
                streams = [Stream(media, payloads, self.trace(run), certificate) for run in batch]
                _say(f"Chromium listens to {len(batch)} calls {direction}, {self.material.seconds:.0f} s")
                results, epoch, punctuality = browser.listen(self.programs, streams)
                self.punctuality.append(punctuality)
                heard.update({run: (result, epoch) for run, result in zip(batch, results, strict=True)})
                self._doubt(batch, results, punctuality)
        return heard

    def _doubt(self, batch: list[Run], results: list[Heard], punctuality: Punctuality) -> None:
        """What a busy machine may have falsified."""
        if punctuality.p99_ms > LATE_MS:
            self.doubts.append(f"1 % of the packets left more than {punctuality.p99_ms:.0f} ms late")
        for run, result in zip(batch, results, strict=True):
            if not PULLED_PERCENT[0] <= result.pulled_percent <= PULLED_PERCENT[1]:
                self.doubts.append(f"{run.name}: Chromium pulled {result.pulled_percent:.1f} % of the samples")
            if result.longest_pause_ms > PAUSE_MS:
                self.doubts.append(f"{run.name}: Chromium did not pull for {result.longest_pause_ms:.0f} ms")

    def receive(self, run: Run, heard: tuple[Heard, float] | None) -> dict[str, tuple[np.ndarray, float]]:
        """What each receiver made of a run, at 8 kHz, and where the sender's first sample stands in it (seconds)."""
        made: dict[str, tuple[np.ndarray, float]] = {LIBOPUS: (self.alone[run.direction], 0.0)}
        packets, arrivals = self.packets[run.direction], self.trace(run)
        if heard is not None:
            result, epoch = heard
            samples = self.gateway.behind(result.samples, result.rate, run.direction, f"{run.name}-chromium")
            made[CHROMIUM] = (samples, epoch - result.began)
        for timing in self.gateway.timings:
            samples, since = self.gateway.pipe(packets, arrivals, run.direction, timing, f"{run.name}-{timing}")
            made[timing] = (samples, -since / 1000)
        return made

    def said(self, direction: str) -> np.ndarray:
        """What PESQ compares with."""
        return self.material.user_said if direction == TO_PHONE else self.material.phone_said


def piecewise(said: np.ndarray, pieces: list[tuple[int, int]], heard: np.ndarray, zero: float) -> list[tuple[float, float]]:
    """PESQ and delay (milliseconds) of every piece."""
    scores = []
    for start, end in pieces:
        # A jitter buffer moves: every piece is looked for around its place, a little before and a second behind.
        place = start + round(zero * quality.RATE)
        low = max(0, place - quality.RATE // 4)
        window = heard[low : end + round(zero * quality.RATE) + quality.RATE]
        score, _, begins = quality.pesq_of(said[start:end], window)
        scores.append((score, 1000 * (begins + low / quality.RATE - start / quality.RATE - zero)))
    return scores


def _judge(job: tuple) -> dict[str, list[tuple[float, float]]]:
    said, pieces, made = job
    return {name: piecewise(said, pieces, heard, zero) for name, (heard, zero) in made.items()}


def _row(yardstick: Yardstick, runs: list[Run], scores: dict[Run, dict], heard: dict[Run, tuple[Heard, float]]) -> Row:
    """Puts the runs of a condition together."""
    first, lists = runs[0], {}
    for run in runs:
        for name, pieces in scores[run].items():
            lists.setdefault(name, []).extend(pieces)
    shown = [yardstick.trace(run) for run in runs]
    row = Row(
        direction=first.direction,
        condition=first.condition.name,
        says=first.condition.says,
        lost_percent=round(float(np.mean([traces.lost_percent(each) for each in shown])), 1),
        jitter_ms=round(float(np.mean([traces.jitter_ms(each) for each in shown])), 1),
        pieces=len(lists[LIBOPUS]),
    )
    values = {name: np.array([score for score, _ in pieces]) for name, pieces in lists.items()}
    row.pesq = {name: round(float(np.mean(each)), 3) for name, each in values.items()}
    row.delay_ms = {name: round(float(np.median([late for _, late in pieces])), 1) for name, pieces in lists.items()}
    for name in (PLAYOUT, RELAY):
        if name in values and CHROMIUM in values:
            apart = values[name] - values[CHROMIUM]
            row.difference[name] = round(float(np.mean(apart)), 3)
            row.error[name] = round(float(np.std(apart) / max(1, len(apart) - 1) ** 0.5), 3)
    _verdict(row, first.condition.random)
    results = [heard[run][0] for run in runs if run in heard]
    if results:
        means = {"concealed_percent": [each.concealed_percent for each in results], "buffer_ms": [each.delay_ms for each in results]}
        row.chromium = {name: round(float(np.mean(each)), 2) for name, each in means.items()}
    return row


def _verdict(row: Row, random: bool) -> None:
    """The two bars: beside the codecs alone on a clean network, beside Chromium on any other."""
    for name in (PLAYOUT, RELAY):
        if name not in row.pesq:
            continue
        if not random and row.pesq[LIBOPUS] - row.pesq[name] > BEHIND_LIBOPUS:
            row.wrong.append(f"{name} is {row.pesq[LIBOPUS] - row.pesq[name]:.2f} below the codecs alone")
        if random and -row.difference.get(name, 0.0) > BEHIND_CHROMIUM:
            row.wrong.append(f"{name} is {-row.difference[name]:.2f} below Chromium")


def run(cordboard: Path, folder: Path, asked: argparse.Namespace) -> dict:
    """Plays, receives, judges."""
    began = time.monotonic()
    with Programs(folder) as programs:
        yardstick = Yardstick(programs, cordboard, asked)
        heard = {} if asked.no_browser else yardstick.play()
    _say("our own pipes, and PESQ")
    scores: dict[Run, dict] = {}
    with ProcessPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        waiting = {}
        for each in yardstick.runs:
            made = yardstick.receive(each, heard.get(each))
            waiting[each] = pool.submit(_judge, (yardstick.said(each.direction), yardstick.material.pieces, made))
        scores = {each: future.result() for each, future in waiting.items()}
    if asked.svg:
        _draw(yardstick, asked.svg)
    groups: dict[tuple[str, str], list[Run]] = {}
    for each in yardstick.runs:
        groups.setdefault((each.direction, each.condition.name), []).append(each)
    rows = [_row(yardstick, runs, scores, heard) for runs in groups.values()]
    wrong = [f"{row.direction}, {row.condition}: {what}" for row in rows for what in row.wrong]
    missing = {PLAYOUT, RELAY} - set(yardstick.gateway.timings)
    wrong += [f"this cordboard has no {timing} timing" for timing in sorted(missing)]
    return {
        "good": not wrong,
        "wrong": wrong,
        "doubts": yardstick.doubts,
        "seconds": round(time.monotonic() - began, 1),
        "pieces": yardstick.material.names,
        "speech_seconds": round(yardstick.material.seconds, 1),
        "seeds": asked.seeds,
        "punctuality": [asdict(each) for each in yardstick.punctuality],
        "rows": [asdict(row) for row in rows],
        "scores": [
            {"run": each.name, **{name: [round(score, 3) for score, _ in pieces] for name, pieces in scores[each].items()}}
            for each in yardstick.runs
        ],
        "folder": str(folder),
    }


def _draw(yardstick: Yardstick, svg: Path) -> None:
    """The depth of the playout buffer over time, a line for each network, a picture for each direction."""
    charts = []
    for direction in (TO_PHONE, TO_META):
        lines = []
        for each in yardstick.runs:
            if each.direction == direction and each.seed == 1:
                table = np.loadtxt(yardstick.gateway.depth_file(f"{each.name}-{PLAYOUT}"), delimiter=",", skiprows=1)
                # A point every 200 ms: more is not seen.
                points = [[float(row[0]), float(row[1])] for row in table[::10] if np.isfinite(row[1])]
                lines.append({"name": each.condition.name, "points": points})
        title = f"Depth of the playout buffer, {direction}"
        charts.append({"title": title, "x": {"label": "seconds"}, "y": {"label": "milliseconds"}, "series": lines})
    yardstick.gateway.draw(charts, svg)


def _say(what: str) -> None:
    print(f"==> {what}", file=sys.stderr, flush=True)


def main() -> int:
    """The command line."""
    names = [each.name for each in traces.CONDITIONS]
    parser = argparse.ArgumentParser(prog="scripts/sound", description="Our sound beside Chromium's, on the same bad networks.")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("--seeds", type=int, default=3, help="networks of each kind (default 3)")
    parser.add_argument("--pieces", type=int, default=6, help="pieces of speech of about 8 s, at most 6 (default 6)")
    parser.add_argument("--only", nargs="+", choices=names, metavar="CONDITION", help=f"some of {', '.join(names)}")
    parser.add_argument("--no-browser", action="store_true", help="our own pipes only, without real time")
    parser.add_argument("--svg", type=Path, help="draw the depth of the playout buffer over time into this file")
    parser.add_argument("--cordboard", type=Path, required=True, help="the program")
    parser.add_argument("--out", type=Path, required=True, help="folder for recordings")
    asked = parser.parse_args()
    folder = (asked.out / datetime.now().strftime("%Y%m%d-%H%M%S")).resolve()
    folder.mkdir(parents=True)
    try:
        report = run(asked.cordboard.resolve(), folder, asked)
    except RigError as error:
        report = {"good": False, "wrong": [str(error)], "rows": [], "doubts": [], "folder": str(folder)}
    except KeyboardInterrupt:
        return 130
    (folder / "report.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report) if asked.json else sound_report.render(report, sys.stdout.isatty()))
    return 0 if report["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
