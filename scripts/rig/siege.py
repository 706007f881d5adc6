"""What the SIP side bears: registrations and calls in masses, garbage in floods, questions for names that exist or do not.

What `scripts/siege` runs. SIPp registers phones with digest at a rate against the real gateway, or calls them through
it, and the gateway is held on one core; garbage comes to the SIP port at a rate while calls talk; and answers for known and unknown names are timed.
"""

import argparse
import hashlib
import json
import os
import random
import socket
import statistics
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

from rig import gateway, process, siege_calls, sipp, speech
from rig.gateway import Gateway
from rig.load import _start_trunk
from rig.meta import Simulator
from rig.ports import PortBlock
from rig.programs import Programs, RigError, wait_for

# Reliability goals R6 and S1, and issue 4's rates.
MOST_LOSS, MOST_GROWTH_KIB, MOST_WORSE_MS, MOST_APART = 0.001, 32 * 1024, 100.0, 0.10
PHONES = 2000


def _lay_out(programs: Programs, cordboard: Path, ports: PortBlock, asked: argparse.Namespace, phones: int) -> tuple:
    layout = gateway.lay_out(programs.folder, ports, calls=asked.calls + 8, trunk=True)
    if asked.kind == "calls":
        layout.inside = ports.range(siege_calls.ports_wanted(asked))
    secrets = layout.secret("app-secret"), layout.secret("access-token")
    simulator = Simulator(programs, cordboard, layout.webhook_url, *secrets)
    media = 'workers = 1\nquarantine = "1s"' if asked.kind == "calls" else "workers = 1"
    gateway.write_config(cordboard, layout, simulator.base, [f"trunk:{gateway.TRUNK}/200"], media)
    more = []
    for number in range(phones):
        name = f"p{number}"
        hashed = hashlib.md5(f"{name}:{gateway.REALM}:secret-{name}".encode()).hexdigest()
        gateway.write_secret(layout.secret(f"phone-{name}"), hashed)
        path = layout.secret(f"phone-{name}")
        more.append(f'[[phone]]\nname = "{name}"\ndisplay = "Phone"\nalgorithm = "md5"\nha1 = {{ file = "{path}" }}\n')
    layout.config.write_text(layout.config.read_text() + "\n".join(more))
    return layout, simulator


def registrations(asked: argparse.Namespace, programs: Programs, ports: PortBlock) -> dict:
    """Phones register with digest at a rate; both requests of each count as one registration."""
    cordboard = asked.cordboard.resolve()
    layout, _ = _lay_out(programs, cordboard, ports, asked, PHONES)
    running = Gateway(programs, cordboard, layout)
    # One core for the gateway, the other ones for those who ask.
    cores = sorted(os.sched_getaffinity(0))
    sipp.hold(running.program.pid, {cores[0]})
    users = programs.folder / "users.csv"
    rows = (f"p{at};[authentication username=p{at} password=secret-p{at}];\n" for at in range(PHONES))
    users.write_text("SEQUENTIAL\n" + "".join(rows))
    first, began, scrape = process.snapshot(running.program.pid), time.monotonic(), running.scrape()
    many = asked.rate * asked.seconds
    more = ["-inf", str(users.resolve()), "-r", str(asked.rate), "-m", str(many), "-l", str(4 * asked.rate)]
    more += ["-recv_timeout", "20000", f"127.0.0.1:{layout.sip_port}"]
    phones = sipp.Sipp(programs, "sipp-registers", "phones_register.xml", ("127.0.0.1", ports.take()), more)
    phones.hold(set(cores[1:] or cores))
    wait_for(phones.has_ended, "SIPp does not end", asked.seconds + 60)
    lasted, last, after = time.monotonic() - began, process.snapshot(running.program.pid), running.scrape()
    told, cpu = phones.counted(), last.cpu_seconds - first.cpu_seconds
    report = {
        "asked_a_second": asked.rate,
        "registrations": told.done,
        "failed": told.failed,
        "a_second": round(told.done / lasted, 1),
        "retransmissions": told.repeated + told.got_again,
        "dropped_by_the_defence": after.total("cordboard_sip_dropped_total") - scrape.total("cordboard_sip_dropped_total"),
        "lost_before_the_gateway": sipp.overflown(layout.sip_port),
        "lost_before_sipp": phones.lost_before_it(),
        "cpu_percent_of_a_core": round(100 * cpu / lasted, 1),
        "cpu_microseconds_each": round(1e6 * cpu / max(1, told.done), 1),
        "rss_kib": last.rss_kib,
    }
    report["kept"] = told.failed == 0 and told.done == many and report["retransmissions"] == 0
    return report


def calls(asked: argparse.Namespace, programs: Programs, ports: PortBlock) -> dict:
    """A trunk calls phones through the gateway at a rate, INVITE to BYE; nobody sends a packet of sound."""
    cordboard = asked.cordboard.resolve()
    layout, _ = _lay_out(programs, cordboard, ports, asked, siege_calls.PHONES)
    siege_calls.allow_many(layout)
    return siege_calls.run(asked, programs, ports, Gateway(programs, cordboard, layout))


class Peer:
    """Somebody who asks by UDP and waits for the answer."""

    def __init__(self, layout: gateway.Layout, own: str):
        self.to, self.number = ("127.0.0.1", layout.sip_port), random.randrange(1 << 30)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((own, 0))
        self.socket.settimeout(2.0)
        self.own = f"{own}:{self.socket.getsockname()[1]}"

    def ask(self, method: str, user: str, lines: str = "") -> float | None:
        """Seconds until an answer came, or `None`."""
        self.number += 1
        uri = f"sip:{user}@127.0.0.1"
        text = (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {self.own};branch=z9hG4bKs{self.number};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <{uri}>;tag=t{self.number}\r\nTo: <{uri}>\r\nCall-ID: siege-{self.number}\r\n"
            f"CSeq: 1 {method}\r\nContact: <sip:{user}@{self.own}>\r\n{lines}Content-Length: 0\r\n\r\n"
        ).encode()
        began = time.perf_counter()
        self.socket.sendto(text, self.to)
        while True:
            try:
                answer = self.socket.recv(65536)
            except TimeoutError:
                return None
            if f"siege-{self.number}\r\n".encode() in answer:
                return time.perf_counter() - began


def timing(asked: argparse.Namespace, programs: Programs, ports: PortBlock) -> dict:
    """Row S1: known and unknown names, asked for by turns, with and without credentials; the medians of the answers."""
    cordboard = asked.cordboard.resolve()
    layout, _ = _lay_out(programs, cordboard, ports, asked, 50)
    text = layout.config.read_text().replace("[media]\n", "[sip.defence]\nenabled = false\n\n[media]\n", 1)
    layout.config.write_text(text)
    Gateway(programs, cordboard, layout)
    peer, report, apart = Peer(layout, "127.0.0.9"), {}, 0.0
    wrong = (
        f'Authorization: Digest username="NAME", realm="{gateway.REALM}", nonce="{"0" * 64}", uri="sip:NAME@127.0.0.1", '
        'response="00000000000000000000000000000000", algorithm=MD5\r\n'
    )
    for method in ("REGISTER", "INVITE"):
        for credentials in (False, True):
            took: dict[str, list[float]] = {"known": [], "unknown": []}
            for at in range(asked.tries):
                for kind, name in (("known", f"p{at % 50}"), ("unknown", f"q{at % 50}")):
                    answer = peer.ask(method, name, wrong.replace("NAME", name) if credentials else "")
                    if answer is None:
                        raise RigError(f"{method} for {name} was not answered")
                    took[kind].append(answer)
            known, unknown = (statistics.median(took[kind]) for kind in ("known", "unknown"))
            difference = abs(known - unknown) / min(known, unknown)
            apart = max(apart, difference)
            words = f"{method} {'with' if credentials else 'without'} credentials"
            report[words] = {"known_us": round(1e6 * known, 1), "unknown_us": round(1e6 * unknown, 1), "apart": round(difference, 4)}
    report["kept"] = apart <= MOST_APART
    return report


def flood(asked: argparse.Namespace, programs: Programs, ports: PortBlock) -> dict:
    """Row R6: garbage at a rate, from one address and then from a thousand, while calls talk and a trunk asks."""
    cordboard = asked.cordboard.resolve()
    layout, simulator = _lay_out(programs, cordboard, ports, asked, 2)
    clip = speech.make_clip(programs.folder, "user-speaks", speech.USER_TEXT * 4, "en-us", 16000, 0.3, 2 * asked.seconds + 30)
    _start_trunk(programs, layout, ports, 0)
    running = Gateway(programs, cordboard, layout)
    calls = [simulator.place_call(**{"from": f"5521{955500000 + at}", "speak": str(clip.played)}) for at in range(asked.calls)]
    for call in calls:
        simulator.wait_packets(call, 25, 20)
    trunk = Peer(layout, gateway.TRUNK_IP)
    before = _asked(trunk, 3.0)
    start, report = process.snapshot(running.program.pid), {}
    for sources in (1, 1000):
        sent, stop = [0], threading.Event()
        thread = threading.Thread(target=_throw, args=(layout.sip_port, sources, asked.rate, stop, sent))
        thread.start()
        began = time.monotonic()
        during = _asked(trunk, asked.seconds)
        stop.set()
        thread.join()
        lasted = time.monotonic() - began
        now = process.snapshot(running.program.pid)
        report[f"from {sources}"] = {
            "packets_a_second": round(sent[0] / lasted),
            "trunk_p99_ms": during,
            "trunk_worse_by_ms": round(during - before, 2),
            "rss_growth_kib": now.rss_kib - start.rss_kib,
        }
    told = [simulator.call(call) for call in calls]
    rtp = [call.get("rtp") or {} for call in told]
    received, lost = sum(each.get("received", 0) for each in rtp), sum(each.get("lost", 0) for each in rtp)
    report |= {
        "calls": len(calls),
        "dropped": sum(call.get("state") == "ended" for call in told),
        "packets_lost": lost,
        "packets_received": received,
        "bans": {str(kind): running.scrape().total("cordboard_sip_banned", kind=kind) for kind in ("sources", "users")},
    }
    for call in calls:
        simulator.do(call, "hangup")
    both = [report["from 1"], report["from 1000"]]
    report["kept"] = (
        report["dropped"] == 0
        and lost <= MOST_LOSS * max(1, received)
        and all(each["rss_growth_kib"] <= MOST_GROWTH_KIB and each["trunk_worse_by_ms"] <= MOST_WORSE_MS for each in both)
    )
    return report


def _asked(peer: Peer, seconds: float) -> float:
    """OPTIONS twenty times a second; the p99 of the answers in milliseconds, an answer that did not come counts 2 s."""
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        took.append(peer.ask("OPTIONS", "gw") or 2.0)
        time.sleep(0.05)
    return round(1000 * sorted(took)[int(0.99 * (len(took) - 1))], 2)


def _throw(port: int, sources: int, rate: int, stop: threading.Event, sent: list[int]) -> None:
    """Half random bytes, half almost SIP."""
    sockets = []
    for at in range(sources):
        it = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        it.bind((f"127.9.{at // 250}.{at % 250 + 1}", 0))
        it.connect(("127.0.0.1", port))
        it.setblocking(False)
        sockets.append(it)
    pieces = [os.urandom(200), b"INVITE sip:x SIP/2.0\r\nVia: broken\r\n\r\n", b"REGISTER " + b"\xff" * 400, b"OPTIONS sip:a@b SIP/2.0\r\n" + b"X" * 900]
    began = time.monotonic()
    while not stop.is_set():
        due = int((time.monotonic() - began) * rate)
        for _ in range(min(due - sent[0], 2000)):
            try:
                sockets[sent[0] % sources].send(pieces[sent[0] % len(pieces)])
            except OSError:
                pass
            sent[0] += 1
        time.sleep(0.001)
    for it in sockets:
        it.close()


KINDS = {"registrations": registrations, "calls": calls, "timing": timing, "flood": flood}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="scripts/siege", description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--cordboard", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=int, help="registrations (1500), calls (300) or packets of garbage (20000) a second")
    parser.add_argument("--seconds", type=int, default=20, help="how long (twice for the flood)")
    parser.add_argument("--calls", type=int, default=20, help="calls that talk during the flood")
    parser.add_argument("--hold-ms", type=int, default=100, help="how long each of the calls at a rate lasts")
    parser.add_argument("--tries", type=int, default=2000, help="questions for each kind of name")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    asked = parser.parse_args()
    asked.rate = asked.rate or {"flood": 20000, "calls": 300}.get(asked.kind, 1500)
    folder = asked.out / f"{asked.kind}-{datetime.now():%Y%m%d-%H%M%S}"
    wanted = asked.calls * 3 + (siege_calls.ports_wanted(asked) if asked.kind == "calls" else 0)
    ports = PortBlock(chunks=(wanted + 96) // 256 + 1)
    try:
        with Programs(folder) as programs:
            report = KINDS[asked.kind](asked, programs, ports)
    except RigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 69
    finally:
        ports.release()
    if asked.json:
        print(json.dumps(report, indent=2))
    else:
        for name, value in report.items():
            print(f"{name:28} {value}")
    return 0 if report["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
