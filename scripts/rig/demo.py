"""Two real calls on loopback, judged: what `scripts/demo` runs."""

import argparse
import json
import shutil
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from rig import figures, gateway, meta, quality, speech
from rig.baresip import Phone, PhoneSettings, wait_registered
from rig.gateway import Gateway
from rig.meta import Simulator
from rig.ports import PortBlock
from rig.programs import Programs, RigError, wait_for
from rig.report import render
from rig.speech import Clip

CALLER, CALLEE = "5521955500123", "5521955500456"
# Both clocks are the same, but a hang-up takes a round trip to be known.
DURATION_SLACK = 1.5


@dataclass
class Direction:
    """One way of a call."""

    packets: int
    lost: int
    pesq: float
    pesq_reference: float
    likeness: float
    wav: str
    delay: dict = field(default_factory=dict)


@dataclass
class CallReport:
    """All that the report says of a call."""

    title: str
    wa_call: str
    stages: list
    meta_stages: dict
    first_audio_ms: dict
    media: str
    directions: dict
    ended_by: str
    cause: str
    fault: str
    seconds: float
    record_seconds: float | None
    record: dict
    wrong: list


class Demo:
    """Everything that runs during the demo."""

    def __init__(self, programs: Programs, cordboard: Path, ports: PortBlock, graph_delay_ms: int):
        folder = programs.folder
        self.folder = folder
        self.chain = quality.Chain(cordboard)
        self.user_clip = speech.make_clip(folder, "user-speaks", speech.USER_TEXT, "en-us", 16000, 1.5, 4)
        self.phone_clips = [
            speech.make_clip(folder, f"phone-speaks-{number}", speech.PHONE_TEXT, "en-gb", 8000, lead, 40)
            for number, lead in ((1, 1.5), (2, 3.0))
        ]
        layout = gateway.lay_out(folder, ports)
        app_secret, token = layout.secret("app-secret"), layout.secret("access-token")
        self.simulator = Simulator(programs, cordboard, layout.webhook_url, app_secret, token)
        gateway.write_config(cordboard, layout, self.simulator.base)
        self.gateway = Gateway(programs, cordboard, layout)
        settings = PhoneSettings(
            name=gateway.PHONE,
            password=layout.phone_password,
            registrar=layout.registrar,
            sip_port=ports.take(2, even=True),
            control_port=ports.take(),
            rtp_ports=ports.range(20),
            speaks=self.phone_clips[0].played,
        )
        self.phone = Phone(programs, settings)
        wait_registered(self.phone)
        if graph_delay_ms:
            self.simulator.set_faults(graph_delay_ms=graph_delay_ms)

    def user_calls(self) -> CallReport:
        """Call 1: a user calls the business, the phone answers, the user hangs up."""
        clip, heard_by_user = self.phone_clips[0], self.folder / "call-1-user-heard.wav"
        start, dumps, before = len(self.phone.events), self.phone.recordings(), self.gateway.scrape()
        call = self.simulator.place_call(
            **{"from": CALLER}, name="Ana", speak=str(self.user_clip.played), record=str(heard_by_user)
        )
        self.phone.wait_event("CALL_ESTABLISHED", start)
        answered = time.monotonic()
        self._talk(call, clip)
        self.simulator.do(call, "hangup")
        return self._finish("user-initiated", call, clip, start, dumps, before, heard_by_user, answered, "user")

    def phone_calls(self) -> CallReport:
        """Call 2: the phone dials a user, who answers; the phone hangs up."""
        clip, heard_by_user = self.phone_clips[1], self.folder / "call-2-user-heard.wav"
        self.simulator.set_user(
            CALLEE,
            permission="permanent",
            ring_after_ms=150,
            answer_after_ms=700,
            speak=str(self.user_clip.played),
            record=str(heard_by_user),
        )
        start, dumps, before = len(self.phone.events), self.phone.recordings(), self.gateway.scrape()
        known = {meta.call_id(call) for call in self.simulator.calls()}
        self.phone.speak(clip.played)
        self.phone.command("dial", f"sip:{gateway.PREFIX}{CALLEE}@{self.gateway.layout.registrar}")
        call = self.simulator.wait_new_call(known)
        self.phone.wait_event("CALL_ESTABLISHED", start)
        answered = time.monotonic()
        self._talk(call, clip)
        self.phone.command("hangup")
        return self._finish("business-initiated", call, clip, start, dumps, before, heard_by_user, answered, "phone")

    def _talk(self, call: str, clip: Clip) -> None:
        seconds = max(clip.end_seconds, self.user_clip.end_seconds) + 0.6
        self.simulator.wait_packets(call, int(seconds * 50), seconds + 8)

    def _finish(self, title, call, clip, start, dumps, before, heard_by_user, answered, ended_by) -> CallReport:
        self.phone.wait_event("CALL_CLOSED", start)
        seconds = time.monotonic() - answered
        told = self.simulator.wait_ended(call)
        record = wait_for(lambda: self._closed_record(call), f"no closed record of {call}", 10)
        number = 1 if title == "user-initiated" else 2
        heard_by_phone = self.folder / f"call-{number}-phone-heard.wav"
        shutil.copy(self.phone.heard(dumps), heard_by_phone)
        delays = figures.transit_ms(self.gateway.scrape(), before)
        summary, rtp = self.phone.summary(), told["rtp"]
        phone_lost = sum(abs(int(part)) for part in summary.get("PL", "0").split(","))
        directions = {
            figures.TO_PHONE: self._judge(
                self.user_clip, heard_by_phone, "to-phone", int(summary.get("PR", 0)), phone_lost, delays
            ),
            figures.TO_USER: self._judge(clip, heard_by_user, "to-user", rtp["received"], rtp["lost"], delays),
        }
        report = CallReport(
            title=title,
            wa_call=call,
            stages=figures.stages(record),
            meta_stages=told.get("stages", {}),
            first_audio_ms={key: rtp.get(f"first_{key}_ms") for key in ("audio", "voice")},
            media=record.get("media") or "",
            directions={name: asdict(way) for name, way in directions.items()},
            ended_by=ended_by,
            cause=record.get("cause") or "",
            fault=record.get("fault") or "",
            seconds=round(seconds, 2),
            record_seconds=figures.answered_seconds(record),
            record=record,
            wrong=[],
        )
        report.wrong = faults_of(report, told)
        return report

    def _closed_record(self, call: str) -> dict | None:
        record = self.gateway.record_of(call)
        return record if record and record.get("ended") else None

    def _judge(self, spoken: Clip, wav: Path, chain: str, packets: int, lost: int, delays: dict) -> Direction:
        score = quality.judge(spoken, wav, chain, self.chain, self.folder)
        towards = figures.TO_PHONE if chain == "to-phone" else figures.TO_USER
        return Direction(
            packets, lost, round(score.pesq, 3), round(score.reference, 3), round(score.likeness, 3), str(wav),
            delays.get(towards, {}),
        )


def faults_of(report: CallReport, told: dict) -> list[str]:
    """All that is not as it must be, in words; empty for a good call."""
    wrong = []
    for name, way in report.directions.items():
        if way["packets"] < 100:
            wrong.append(f"{name}: only {way['packets']} packets")
        if way["lost"]:
            wrong.append(f"{name}: {way['lost']} packets lost")
        if way["likeness"] < quality.MIN_LIKENESS:
            wrong.append(f"{name}: the speech was not found in the recording (likeness {way['likeness']})")
        elif way["pesq_reference"] - way["pesq"] > quality.MAX_PENALTY:
            wrong.append(f"{name}: PESQ {way['pesq']:.2f}, more than 0.2 under {way['pesq_reference']:.2f}")
    rtp = told["rtp"]
    for key in ("gaps_over_60ms", "seq_breaks", "timestamp_breaks"):
        if rtp.get(key):
            wrong.append(f"to user: {key.replace('_', ' ')}: {rtp[key]}")
    ssrcs = rtp.get("ssrcs", 1)
    if (len(ssrcs) if isinstance(ssrcs, list) else ssrcs) != 1:
        wrong.append(f"to user: SSRCs {ssrcs}")
    wrong += [f"Meta's rules: {violation}" for violation in told.get("violations", [])]
    direction = report.title.replace("-", "_")
    if report.record.get("direction") != direction:
        wrong.append(f"record: direction {report.record.get('direction')}, not {direction}")
    if not report.cause:
        wrong.append("record: no cause")
    if report.fault != report.ended_by:
        wrong.append(f"record: ended by {report.fault}, but {report.ended_by} hung up")
    if report.record_seconds is None:
        wrong.append("record: not answered")
    elif abs(report.record_seconds - report.seconds) > DURATION_SLACK:
        wrong.append(f"record: {report.record_seconds:.1f} s long, {report.seconds:.1f} s seen")
    return wrong


def run(cordboard: Path, folder: Path, graph_delay_ms: int) -> dict:
    """Makes both calls and returns the report."""
    began = time.monotonic()
    ports = PortBlock()
    with Programs(folder) as programs:
        try:
            demo = Demo(programs, cordboard, ports, graph_delay_ms)
            calls = [demo.user_calls(), demo.phone_calls()]
            violations = demo.simulator.violations()
            metrics = demo.gateway.scrape()
            (folder / "metrics.txt").write_text("\n".join(f"{s.name} {s.value}" for s in metrics.samples) + "\n")
            layout = demo.gateway.layout
        finally:
            ports.release()
    stopped = demo.gateway.program.exit_code()
    wrong = [f"call {n}: {what}" for n, call in enumerate(calls, 1) for what in call.wrong]
    wrong += [f"Meta's rules: {violation}" for violation in violations]
    if stopped != 0:
        wrong.append(f"the gateway ended with status {stopped} after SIGTERM")
    return {
        "good": not wrong,
        "wrong": wrong,
        "seconds": round(time.monotonic() - began, 1),
        "calls": [asdict(call) for call in calls],
        "reference_chain": demo.chain.name,
        "graph_delay_ms": graph_delay_ms,
        "metrics_url": layout.metrics_url,
        "config": str(layout.config),
        "folder": str(folder),
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Two real calls on loopback, judged.")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("--cordboard", type=Path, required=True, help="the program")
    parser.add_argument("--out", type=Path, required=True, help="folder for recordings, logs and the configuration")
    parser.add_argument("--graph-delay-ms", type=int, default=0, help="let Graph take that long for every answer")
    asked = parser.parse_args()
    folder = (asked.out / datetime.now().strftime("%Y%m%d-%H%M%S")).resolve()
    folder.mkdir(parents=True)
    try:
        report = run(asked.cordboard.resolve(), folder, asked.graph_delay_ms)
    except RigError as error:
        report = {"good": False, "wrong": [str(error)], "calls": [], "folder": str(folder)}
    except KeyboardInterrupt:
        return 130
    print(json.dumps(report) if asked.json else render(report, sys.stdout.isatty()))
    return 0 if report["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
