"""Many calls at once, further ones while they are up, then many one after another: what `scripts/load` runs.

User-initiated calls from the simulator through the gateway to SIPp as a trunk, which echoes the audio, so that every
packet crosses the gateway twice. Figures are of the gateway's process alone.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from rig import figures, gateway, process, speech
from rig.gateway import Gateway
from rig.meta import Simulator
from rig.ports import PortBlock
from rig.process import Snapshot
from rig.programs import Program, Programs, RigError, wait_for

# What the product promises; printed beside the figures, judged only with --judge (machines differ).
GOALS = {"rss_kib_per_call": 300, "webhook_to_invite_p99_ms": 10, "first_audio_ms": 60}
# Added delay per direction, p50 and p99; Opus looks 6.5 ms ahead towards the user.
DELAY_GOALS_MS = {figures.TO_PHONE: (3.0, 10.0), figures.TO_USER: (9.5, 16.5)}
# A phone that rings longer than Graph takes for `pre_accept`, and DTLS after it.
RING_BEYOND_GRAPH_MS = 500
# Meta's relay and the quarantine of ports: one port per call for a minute.
PORTS_PER_CALL = 3


class Load:
    """Everything that runs during a load test."""

    def __init__(self, programs: Programs, cordboard: Path, ports: PortBlock, asked: argparse.Namespace):
        self.folder, self.asked = programs.folder, asked
        room = _room(asked)
        layout = gateway.lay_out(self.folder, ports, calls=room, trunk=True)
        self.clip = speech.make_clip(
            self.folder, "user-speaks", speech.USER_TEXT * 2, "en-us", 16000, 0.3, max(4, asked.seconds - 8)
        )
        secrets = layout.secret("app-secret"), layout.secret("access-token")
        self.simulator = Simulator(programs, cordboard, layout.webhook_url, *secrets)
        gateway.write_config(cordboard, layout, self.simulator.base, [f"trunk:{gateway.TRUNK}/200"])
        self.trunk = _start_trunk(programs, layout, ports, _ring_ms(asked))
        self.gateway = Gateway(programs, cordboard, layout)
        if asked.graph_delay_ms:
            self.simulator.set_faults(graph_delay_ms=asked.graph_delay_ms)
        self._users = 0

    def snapshot(self) -> Snapshot:
        """The gateway's process now."""
        return process.snapshot(self.gateway.program.pid)

    def place(self) -> str:
        """One more user calls."""
        self._users += 1
        call = {"from": f"5521{955500000 + self._users}", "speak": str(self.clip.played)}
        return self.simulator.place_call(**call)

    def wait_talking(self, call: str, packets: int = 5) -> dict:
        """Waits until the user hears the echo."""
        return self.simulator.wait_packets(call, packets, 20)

    def end(self, call: str) -> dict:
        """The user hangs up."""
        self.simulator.do(call, "hangup")
        return self.simulator.wait_ended(call)

    def warm_up(self) -> None:
        """One call, so that what is allocated once is not counted per call."""
        call = self.place()
        self.wait_talking(call, 50)
        self.end(call)
        self.wait_idle()

    def wait_idle(self) -> None:
        """Waits until all calls have closed records and their sockets are closed."""
        wait_for(lambda: all(record.get("ended") for record in self.gateway.records()), "records stay open", 30)

    def together(self) -> dict:
        """`calls` calls at once for `seconds` seconds."""
        calls, seconds = self.asked.calls, self.asked.seconds
        idle, scrape = self.snapshot(), self.gateway.scrape()
        ids, climb = [], [(0, 0.0)]
        for number in range(1, calls + 1):
            ids.append(self.place())
            if self.asked.svg and number in (calls // 4, calls // 2, 3 * calls // 4):
                climb.append(self._cpu_of(ids))
        for call in ids:
            self.wait_talking(call)
        time.sleep(1.0)  # the measured time begins after the set-up of the last call
        first, began = self.snapshot(), time.monotonic()
        time.sleep(seconds)
        last, lasted = self.snapshot(), time.monotonic() - began
        told = [self.simulator.call(call) for call in ids]
        transit = figures.transit_ms(self.gateway.scrape(), scrape)
        climb.append((calls, 100 * (last.cpu_seconds - first.cpu_seconds) / lasted))
        buckets = self._delays(scrape) if self.asked.svg else {}
        further = [self.one_more() for _ in range(self.asked.setups)]
        for call in ids:
            self.end(call)
        self.wait_idle()
        known = {record.get("wa_call"): record for record in self.gateway.records()}
        records = [known.get(call, {}) for call in further or ids]
        rtp = [call["rtp"] for call in told]
        cpu = last.cpu_seconds - first.cpu_seconds
        return {
            "calls": calls,
            "seconds": round(lasted, 1),
            "cpu_percent_of_a_core": round(100 * cpu / lasted, 1),
            "cpu_percent_per_call": round(100 * cpu / lasted / calls, 3),
            "cpu_microseconds_per_packet": round(1e6 * cpu / (lasted * 50 * 2 * calls), 1),
            "rss_kib_idle": idle.rss_kib,
            "rss_kib_active": last.rss_kib,
            "rss_kib_per_call": round((last.rss_kib - idle.rss_kib) / calls, 1),
            "packets_sent": sum(each["sent"] for each in rtp),
            "packets_received": sum(each["received"] for each in rtp),
            "lost": sum(each["lost"] for each in rtp),
            "gaps_over_60ms": sum(each.get("gaps_over_60ms", 0) for each in rtp),
            "transit": transit,
            "setups": len(records),
            "webhook_to_invite": _spread([_invite_ms(record) for record in records]),
            "first_audio": _spread([_first_audio_ms(record) for record in records]),
            "stages": _stage_spreads(records),
            "violations": len(self.simulator.violations()),
            "cpu_against_calls": climb,
            "delay_distribution": buckets,
        }

    def _cpu_of(self, calls: list[str]) -> tuple[int, float]:
        """So many calls and the CPU of the gateway with them, in per cent of a core, over two seconds."""
        for call in calls:
            self.wait_talking(call)
        first, began = self.snapshot(), time.monotonic()
        time.sleep(2.0)
        return len(calls), 100 * (self.snapshot().cpu_seconds - first.cpu_seconds) / (time.monotonic() - began)

    def _delays(self, before) -> dict[str, list[tuple[float, float]]]:
        """Per direction: milliseconds, and per cent of the packets below."""
        now, found = self.gateway.scrape(), {}
        for leg, name in (("whatsapp", figures.TO_PHONE), ("phone", figures.TO_USER)):
            buckets = now.buckets("cordboard_media_transit_seconds", before, leg=leg)
            total = buckets[-1][1] if buckets else 0
            found[name] = [(1000 * bound, 100 * count / total) for bound, count in buckets if total and bound != float("inf")]
        return found

    def one_more(self) -> str:
        """A call while the others are up, from its set-up to its end."""
        call = self.place()
        self.wait_talking(call)
        self.end(call)
        return call

    def churn(self) -> dict:
        """`churn` calls one after another, after as many again that fill caches and start threads; what did not come
        back to where it was."""
        cold = self.snapshot()
        for _ in range(self.asked.churn):
            self.one_more()
        self.wait_idle()
        before, scrape, began = self.snapshot(), self.gateway.scrape(), time.monotonic()
        failed, middle = 0, before
        for number in range(self.asked.churn):
            try:
                self.one_more()
            except RigError as error:
                failed += 1
                if failed > 5:
                    raise RigError(f"call {number}: {error}\n{self.gateway.program.tail()}") from None
            if number == self.asked.churn // 2:
                middle = self.snapshot()
        lasted = time.monotonic() - began
        self.wait_idle()
        strays = self._wait_gauges_back(scrape)
        after = self.snapshot()
        return {
            "calls": self.asked.churn,
            "failed": failed,
            "seconds": round(lasted, 1),
            "calls_per_second": round(self.asked.churn / lasted, 2),
            "cold": asdict(cold),
            "before": asdict(before),
            "middle": asdict(middle),
            "after": asdict(after),
            "rss_ratio": round(after.rss_kib / before.rss_kib, 3),
            "rss_ratio_second_half": round(after.rss_kib / middle.rss_kib, 3),
            "files_ratio": round(after.files / before.files, 3),
            "udp_sockets_more": after.udp_sockets - before.udp_sockets,
            "threads_more": after.threads - before.threads,
            "gauges_not_back": strays,
        }

    def _wait_gauges_back(self, before) -> dict[str, float]:
        """Gauges above where they were, after time for the ports' quarantine to end."""
        wanted, strays = before.gauges(), {}

        def back() -> bool:
            strays.clear()
            for (name, labels), value in self.gateway.scrape().gauges().items():
                if value > wanted.get((name, labels), 0) and not name.startswith("process_") and not name.endswith("_seconds"):
                    text = ",".join(f"{key}={worth}" for key, worth in labels)
                    strays[f"{name}{{{text}}}"] = value - wanted.get((name, labels), 0)
            return not strays

        try:
            wait_for(back, "gauges", self.asked.settle)
        except RigError:
            pass
        return dict(strays)


def _room(asked: argparse.Namespace) -> int:
    """WebRTC legs to have ports for: ports rest for a minute after a call."""
    return asked.calls + 8 + min(asked.churn * 2 + asked.setups, 700)


def _ring_ms(asked: argparse.Namespace) -> int:
    if asked.ring_ms is not None:
        return asked.ring_ms
    return asked.graph_delay_ms + RING_BEYOND_GRAPH_MS if asked.graph_delay_ms else 0


def _start_trunk(programs: Programs, layout: gateway.Layout, ports: PortBlock, ring_ms: int) -> Program:
    answers = Path(__file__).resolve().parents[2] / "tests/interop/sipp/trunk_answers.xml"
    scenario = programs.folder / "trunk.xml"
    pause = f'<pause milliseconds="{ring_ms}"/>\n  ' if ring_ms else ""
    scenario.write_text(answers.read_text().replace('<send retrans=', f'{pause}<send retrans=', 1))
    command = ["sipp", "-sf", str(scenario), "-i", gateway.TRUNK_IP, "-p", str(layout.trunk_port)]
    command += ["-mi", gateway.TRUNK_IP, "-mp", str(ports.take(4, even=True)), "-rtp_echo", "-nostdin", "-aa"]
    return programs.start("sipp-trunk", command)


def _invite_ms(record: dict) -> float | None:
    """Milliseconds from the webhook to the INVITE, whatever the stage is called."""
    return next((at for name, at in figures.stages(record) if name == "sent" or "invite" in name), None)


def _first_audio_ms(record: dict) -> float | None:
    """Milliseconds from the phone's 200 to the first audio in the later of the two directions."""
    at = dict(figures.stages(record))
    audio = [at.get("first_audio_to_user"), at.get("first_audio_to_phone")]
    if None in audio or "phone_answered" not in at:
        return None
    return max(audio) - at["phone_answered"]


def _spread(values: list[float | None]) -> dict:
    known = [value for value in values if value is not None]
    return {
        "p50_ms": figures.percentile(known, 0.5),
        "p99_ms": figures.percentile(known, 0.99),
        "max_ms": max(known, default=None),
        "calls": len(known),
    }


def _stage_spreads(records: list[dict]) -> dict:
    names: dict[str, list[float]] = {}
    for record in records:
        for name, at in figures.stages(record):
            names.setdefault(name, []).append(at)
    return {name: _spread(list(values)) for name, values in names.items()}


def faults(report: dict) -> list[str]:
    """What is not as it must be, whatever the machine."""
    wrong, load, churn = [], report.get("together"), report.get("churn")
    if load:
        wrong += [f"{load[key]} {key.replace('_', ' ')}" for key in ("lost", "gaps_over_60ms", "violations") if load[key]]
        if load["rss_kib_per_call"] > GOALS["rss_kib_per_call"]:
            wrong.append(f"{load['rss_kib_per_call']} KiB per active call, more than {GOALS['rss_kib_per_call']}")
    if churn:
        wrong += [f"{name} did not come back: +{more:g}" for name, more in churn["gauges_not_back"].items()]
        wrong += [f"{churn['failed']} calls failed"] if churn["failed"] else []
        for key in ("udp_sockets_more", "threads_more"):
            wrong += [f"{key.replace('_', ' ')}: {churn[key]}"] if churn[key] > 0 else []
        wrong += [f"open files: {churn['files_ratio']} x"] if churn["files_ratio"] > 1.1 else []
        wrong += [f"memory: {churn['rss_ratio']} x"] if churn["rss_ratio"] > 1.05 else []
    return wrong


def missed(report: dict) -> list[str]:
    """Goals of speed that were missed, for --judge."""
    load = report.get("together")
    if not load:
        return []
    wrong = []
    if not (invite := load["webhook_to_invite"]["p99_ms"]) or invite >= GOALS["webhook_to_invite_p99_ms"]:
        wrong.append(f"webhook to INVITE: p99 {invite} ms, not under {GOALS['webhook_to_invite_p99_ms']}")
    allowed = report["graph_delay_ms"] + GOALS["first_audio_ms"]
    if not (audio := load["first_audio"]["p99_ms"]) or audio > allowed:
        wrong.append(f"first audio: p99 {audio} ms after the phone's 200, more than {allowed}")
    for name, goals in DELAY_GOALS_MS.items():
        way = load["transit"].get(name)
        if not way or way["p50_ms"] > goals[0] or way["p99_ms"] > goals[1]:
            wrong.append(f"delay {name}: {way}, more than {goals}")
    return wrong


def render(report: dict) -> str:
    """The report as text."""
    lines = [f"load average {report['load_average']} on {os.cpu_count()} processors"] if "load_average" in report else []
    if load := report.get("together"):
        lines += [f"{load['calls']} calls at once, {load['seconds']} s, echoed by SIPp (the gateway's process alone)"]
        lines += [f"  CPU                {load['cpu_percent_of_a_core']} % of a core, {load['cpu_percent_per_call']} % per call, {load['cpu_microseconds_per_packet']} us per packet"]
        lines += [f"  memory             {load['rss_kib_per_call']} KiB per active call ({load['rss_kib_idle']} -> {load['rss_kib_active']} KiB); goal <= 300"]
        lines += [f"  packets            {load['packets_sent']} sent, {load['packets_received']} received, {load['lost']} lost, {load['gaps_over_60ms']} gaps over 60 ms"]
        for name, way in sorted(load["transit"].items()):
            lines += [f"  delay {name:12} p50 {way['p50_ms']} ms, p99 {way['p99_ms']} ms of {way['packets']} packets; goal <= {DELAY_GOALS_MS[name][0]:g} and {DELAY_GOALS_MS[name][1]:g}"]
        invite = load["webhook_to_invite"]
        lines += [f"  {load['setups']} calls set up one after another{' while these are up' if report['setups'] else ''}"]
        lines += [f"  webhook to INVITE  p50 {invite['p50_ms']} ms, p99 {invite['p99_ms']} ms of {invite['calls']} calls; goal p99 < 10"]
        audio, allowed = load["first_audio"], report["graph_delay_ms"] + GOALS["first_audio_ms"]
        lines += [f"  first audio        p50 {audio['p50_ms']} ms, p99 {audio['p99_ms']} ms after the phone's 200, both ways; goal <= {allowed}"]
        lines += [f"  {name.replace('_', ' '):24} p50 {spread['p50_ms']:.0f} ms, p99 {spread['p99_ms']:.0f} ms" for name, spread in load["stages"].items()]
    if churn := report.get("churn"):
        lines += ["", f"{churn['calls']} calls one after another, {churn['calls_per_second']} a second, after as many again that warmed it up"]
        for key, unit in (("rss_kib", "KiB"), ("files", "open files"), ("udp_sockets", "UDP sockets"), ("threads", "threads")):
            steps = " -> ".join(str(churn[moment][key]) for moment in ("cold", "before", "middle", "after"))
            lines += [f"  {unit:18} {steps}"]
        lines += [f"  ratios             memory {churn['rss_ratio']} (second half {churn['rss_ratio_second_half']}), files {churn['files_ratio']}"]
    lines += [f"wrong: {what}" for what in report["wrong"]]
    return "\n".join([*lines, "GOOD" if report["good"] else "NOT GOOD"])


def run(asked: argparse.Namespace, folder: Path) -> dict:
    """Runs what was asked for."""
    room = _room(asked) * PORTS_PER_CALL + 64
    ports = PortBlock(chunks=room // 256 + 1)
    report: dict = {"folder": str(folder), "cordboard": str(asked.cordboard), "graph_delay_ms": asked.graph_delay_ms}
    report["setups"] = asked.setups
    with Programs(folder) as programs:
        try:
            load = Load(programs, asked.cordboard.resolve(), ports, asked)
            load.warm_up()
            if asked.calls:
                report["together"] = load.together()
            if asked.churn:
                report["churn"] = load.churn()
        finally:
            ports.release()
    report["load_average"] = " ".join(f"{each:.2f}" for each in os.getloadavg())
    report["wrong"] = faults(report) + (missed(report) if asked.judge else [])
    report["good"] = not report["wrong"]
    return report


def draw(cordboard: Path, folder: Path, svg: Path, load: dict) -> None:
    """CPU against calls and the delays, drawn by `cordboard draw`."""
    def chart(title: str, across: dict, up: str, series: dict) -> dict:
        lines = [{"name": name, "points": points} for name, points in series.items()]
        return {"title": title, "x": across, "y": {"label": up}, "series": lines}

    charts = [
        chart("Processor time against calls", {"label": "calls"}, "% of a core", {"gateway": load["cpu_against_calls"]}),
        chart(
            f"Delay in the gateway with {load['calls']} calls",
            {"label": "milliseconds", "scale": "logarithmic"},
            "% of packets below",
            load["delay_distribution"],
        ),
    ]
    described = folder / "charts.json"
    described.write_text(json.dumps(charts))
    subprocess.run([str(cordboard), "draw", str(described), str(svg)], check=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/load", description="Calls at once, then calls one after another.")
    parser.add_argument("--calls", type=int, default=20, help="calls at once (20); 0: none")
    parser.add_argument("--seconds", type=float, default=20, help="how long they are measured (20)")
    parser.add_argument("--setups", type=int, default=100, help="further calls one after another while these are up (100)")
    parser.add_argument("--churn", type=int, default=0, help="then so many one after another, after as many to warm up (0)")
    parser.add_argument("--settle", type=float, default=75, help="seconds that figures have to come back (75)")
    parser.add_argument("--graph-delay-ms", type=int, default=0, help="let Graph take that long for every answer")
    parser.add_argument("--ring-ms", type=int, help="how long the phone rings (0, or half a second more than Graph takes)")
    parser.add_argument("--judge", action="store_true", help="a goal of speed that was missed is a fault, too")
    parser.add_argument("--svg", type=Path, help="draw CPU and delays of the calls at once into this file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--cordboard", type=Path, required=True, help="the program")
    parser.add_argument("--out", type=Path, required=True, help="folder for logs and the configuration")
    asked = parser.parse_args()
    folder = (asked.out / datetime.now().strftime("%Y%m%d-%H%M%S")).resolve()
    folder.mkdir(parents=True)
    try:
        report = run(asked, folder)
    except RigError as error:
        report = {"good": False, "wrong": [str(error)], "folder": str(folder)}
    except KeyboardInterrupt:
        return 130
    if asked.svg and report.get("together"):
        draw(asked.cordboard, folder, asked.svg, report["together"])
    print(json.dumps(report) if asked.json else render(report))
    return 0 if report["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
