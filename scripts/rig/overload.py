"""More calls than the gateway may carry: what `scripts/overload` runs.

Users call through the gateway to SIPp as a trunk, which echoes; a low `refuse_at` makes one media thread full with
few calls, so that the callers beside it have the processor they need. Then the trunk dials out and must be refused.
"""

import argparse
import json
import re
import socket
import sys
import time
from datetime import datetime
from pathlib import Path

from rig import figures, gateway, speech
from rig.gateway import Gateway
from rig.load import _start_trunk
from rig.meta import Simulator
from rig.ports import PortBlock
from rig.programs import Programs, RigError, wait_for

# Loss that the gateway may add to running calls.
MOST_LOSS = 0.001


class Trunk:
    """A PBX that dials users through the gateway."""

    def __init__(self, layout: gateway.Layout, port: int):
        self.layout, self.own = layout, f"{gateway.TRUNK_IP}:{port}"
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((gateway.TRUNK_IP, port))
        self.socket.settimeout(0.2)

    def dial(self, user: str, number: int) -> tuple[int, int | None]:
        """The first answer above 100, and the seconds of its Retry-After."""
        uri = f"sip:{gateway.PREFIX}{user}@127.0.0.1:{self.layout.sip_port}"
        sdp = f"v=0\r\no=- 1 1 IN IP4 {gateway.TRUNK_IP}\r\ns=-\r\nc=IN IP4 {gateway.TRUNK_IP}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
        invite = self._request("INVITE", uri, number, sdp)
        for _ in range(3):
            self.socket.sendto(invite, ("127.0.0.1", self.layout.sip_port))
            answer = self._answer(number)
            if answer:
                break
        else:
            return 0, None
        status = int(answer.split(" ", 2)[1])
        method = "ACK" if status >= 300 else "CANCEL"
        self.socket.sendto(self._request(method, uri, number, ""), ("127.0.0.1", self.layout.sip_port))
        after = re.search(r"^Retry-After:\s*(\d+)", answer, re.MULTILINE | re.IGNORECASE)
        return status, int(after.group(1)) if after else None

    def _request(self, method: str, uri: str, number: int, sdp: str) -> bytes:
        kind = "Content-Type: application/sdp\r\n" if sdp else ""
        return (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {self.own};branch=z9hG4bKoverload{number};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:300@{self.own}>;tag=t{number}\r\nTo: <{uri}>\r\nCall-ID: overload-{number}\r\n"
            f"CSeq: 1 {method}\r\nContact: <sip:300@{self.own}>\r\n{kind}Content-Length: {len(sdp)}\r\n\r\n{sdp}"
        ).encode()

    def _answer(self, number: int) -> str | None:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            try:
                text = self.socket.recv(65536).decode(errors="replace")
            except TimeoutError:
                continue
            mine = f"overload-{number}\r\n" in text and "INVITE" in text
            if mine and text.startswith("SIP/2.0 ") and not text.startswith("SIP/2.0 100"):
                return text
        return None


def run(asked: argparse.Namespace, folder: Path) -> dict:
    """Offers the calls and judges what came of them."""
    ports = PortBlock(chunks=(asked.calls * 3 + 96) // 256 + 1)
    with Programs(folder) as programs:
        try:
            return _offer(asked, programs, ports)
        finally:
            ports.release()


def _offer(asked: argparse.Namespace, programs: Programs, ports: PortBlock) -> dict:
    cordboard = asked.cordboard.resolve()
    layout = gateway.lay_out(programs.folder, ports, calls=asked.calls + 8, trunk=True)
    clip = speech.make_clip(programs.folder, "user-speaks", speech.USER_TEXT * 2, "en-us", 16000, 0.3, 20)
    simulator = Simulator(programs, cordboard, layout.webhook_url, layout.secret("app-secret"), layout.secret("access-token"))
    economy = max(1, asked.refuse_at * 7 // 10)
    media = f"workers = 1\neconomy_at = {economy}\nrefuse_at = {asked.refuse_at}"
    gateway.write_config(cordboard, layout, simulator.base, [f"trunk:{gateway.TRUNK}/200"], media)
    _start_trunk(programs, layout, ports, 0)
    trunk = Trunk(layout, ports.take())
    running = Gateway(programs, cordboard, layout)
    states, placed = [], []
    for number in range(asked.calls):
        placed.append(simulator.place_call(**{"from": f"5521{955500000 + number}", "speak": str(clip.played)}))
        time.sleep(1 / asked.rate)
        states.append(_state(running))
    dialled = []
    for number in range(asked.dials):
        user = f"5521{955600000 + number}"
        simulator.set_user(user, permission="permanent", answer_after_ms=20000)
        dialled.append(trunk.dial(user, number))
    time.sleep(asked.seconds)
    scrape = running.scrape()
    talking = [told for told in map(simulator.call, placed) if told.get("state") != "ended" and (told.get("rtp") or {}).get("received", 0) > 50]
    for told in talking:
        simulator.do(told["call"] if "call" in told else told["id"], "hangup")
    wait_for(lambda: all(record.get("ended") for record in running.records()), "records stay open", 30)
    records = {record.get("wa_call"): record for record in running.records()}
    causes = [records.get(call, {}).get("cause") for call in placed]
    report = {
        "offered": len(placed),
        "talked": len(talking),
        "rejected_for_load": causes.count("overloaded"),
        "lost_otherwise": len(placed) - len(talking) - causes.count("overloaded"),
        "dialled": len(dialled),
        "refused_with_503": sum(status == 503 and after is not None for status, after in dialled),
        "retry_after": sorted(after for _, after in dialled if after is not None),
        "statuses": sorted(status for status, _ in dialled),
        "states": list(dict.fromkeys(states)),
        "packets": sum(told["rtp"]["received"] + told["rtp"]["sent"] for told in talking),
        "lost_packets": sum(told["rtp"]["lost"] for told in talking),
        "gaps_over_60ms": sum(told["rtp"].get("gaps_over_60ms", 0) for told in talking),
        "transit": figures.transit_ms(scrape, None),
        "utilisation": scrape.total("cordboard_media_worker_utilisation"),
        "call_cost": scrape.total("cordboard_media_call_cost_ratio"),
        "folder": str(programs.folder),
    }
    return report


def _state(running: Gateway) -> str:
    samples = running.scrape().samples
    states = (dict(s.labels)["kind"] for s in samples if s.name == "cordboard_media_capacity_state" and s.value)
    return next(states, "unknown")


def faults(report: dict) -> list[str]:
    """What is not as it must be, whatever the machine."""
    wrong = []
    if report["lost_otherwise"]:
        wrong.append(f"{report['lost_otherwise']} calls neither talked nor were refused for load")
    if not report["rejected_for_load"]:
        wrong.append("nobody was refused: offer more calls or lower --refuse-at")
    if report["refused_with_503"] != report["dialled"]:
        wrong.append(f"of {report['dialled']} dialled calls {report['refused_with_503']} got 503 with Retry-After: {report['statuses']}")
    if report["lost_packets"] > MOST_LOSS * max(1, report["packets"]):
        wrong.append(f"{report['lost_packets']} of {report['packets']} packets of running calls were lost")
    return wrong


def render(report: dict) -> str:
    """The report as text."""
    if "offered" in report:
        lines = [
            f"{report['offered']} users called, {report['talked']} talked to the end (goodput {report['talked'] / report['offered']:.0%}), "
            f"{report['rejected_for_load']} were rejected for load, {report['lost_otherwise']} got lost",
            f"{report['dialled']} phones dialled, {report['refused_with_503']} got 503; Retry-After {report['retry_after']} s",
            f"states: {' -> '.join(report['states'])}; load {report['utilisation']:.0%}, a call costs {report['call_cost']:.2%} of a processor",
            f"running calls: {report['lost_packets']} of {report['packets']} packets lost, {report['gaps_over_60ms']} gaps over 60 ms",
        ]
        lines += [f"  delay {name:9} p50 {way['p50_ms']} ms, p99 {way['p99_ms']} ms" for name, way in sorted(report["transit"].items())]
    else:
        lines = []
    lines += [f"wrong: {what}" for what in report["wrong"]]
    return "\n".join([*lines, "GOOD" if report["good"] else "NOT GOOD"])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/overload", description="Offers more calls than the gateway may carry.")
    parser.add_argument("--calls", type=int, default=40, help="users that call (40)")
    parser.add_argument("--rate", type=float, default=4, help="calls a second (4)")
    parser.add_argument("--refuse-at", type=int, default=20, help="busy per cent of the one media thread at which it is full (20)")
    parser.add_argument("--dials", type=int, default=10, help="phones that dial once it is full (10)")
    parser.add_argument("--seconds", type=float, default=10, help="how long the running calls go on (10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--cordboard", type=Path, required=True, help="the program")
    parser.add_argument("--out", type=Path, required=True, help="folder for logs and the configuration")
    asked = parser.parse_args()
    folder = (asked.out / datetime.now().strftime("%Y%m%d-%H%M%S")).resolve()
    folder.mkdir(parents=True)
    try:
        report = run(asked, folder)
        report["wrong"] = faults(report)
    except RigError as error:
        report = {"wrong": [str(error)], "folder": str(folder)}
    report["good"] = not report["wrong"]
    print(json.dumps(report) if asked.json else render(report))
    return 0 if report["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
